//! Refusals are counted, sampled, forgotten and deleted.

use super::bench::{Bench, event, insert_key, new_key};
use crate::audit::{Forget, RefusalCount, RefusalSample};
use crate::key::{KeyId, OrganizationId, Timestamp, UserId};
use crate::store::query::{RefusalCounts, Refusals};
use crate::store::{Commit, ManagedStore, Write};

const HOUR: i64 = 3_600_000;

/// Counts of one hour, organization and kind are added up.
pub(super) async fn counts<S: ManagedStore>(bench: &Bench<S>) {
    let [one, two] = [OrganizationId::new(), OrganizationId::new()];
    let hours = hours();
    let count = |hour: usize, organization, kind: &'static str, number| {
        RefusalCount::new(hours[hour], organization, kind, number)
    };
    let mut commit = Commit::new();
    commit.writes = [
        count(0, one, "key_revoked", 3),
        count(0, one, "key_revoked", 4),
        count(0, one, "key_disabled", 1),
        count(0, two, "key_revoked", 9),
        count(1, one, "key_revoked", 5),
    ]
    .map(Write::CountRefusals)
    .to_vec();
    bench.commit("counting refusals", commit).await;
    let again = Commit::new().write(Write::CountRefusals(count(1, one, "key_revoked", 1)));
    bench.commit("counting refusals", again).await;

    let all = bench.get("reading counts", RefusalCounts::of(one)).await;
    let should = vec![
        count(0, one, "key_disabled", 1),
        count(0, one, "key_revoked", 7),
        count(1, one, "key_revoked", 6),
    ];
    bench.same("the counts of an organization", all, should);
    let later = bench
        .get("reading counts", RefusalCounts::of(one).since(hours[1]))
        .await;
    bench.same("the counts since an hour", later, vec![count(1, one, "key_revoked", 6)]);
    let earlier = bench
        .get("reading counts", RefusalCounts::of(two).until(hours[0]))
        .await;
    bench.same("the counts before any", earlier, vec![]);
    let range = RefusalCounts::all().since(hours[0]).until(hours[1]);
    let everywhere = bench.get("reading counts", range).await;
    bench.same("the counts of all organizations in an hour", everywhere.len(), 3);
}

/// With all that is known of them, and without what is forgotten.
pub(super) async fn samples<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, hours) = (OrganizationId::new(), hours());
    let address: Option<std::net::IpAddr> = address().parse().ok();
    let mut known = RefusalSample::new(hours[0], "key_revoked");
    known.organization_id = Some(organization);
    known.key_id = Some(KeyId::new());
    known.lookup = Some("4kTz0Q2mVbXw".to_owned());
    known.address = address;
    let mut later = RefusalSample::new(hours[1], "key_expired");
    later.organization_id = Some(organization);
    let mut of_nobody = RefusalSample::new(hours[0], "unknown_key");
    of_nobody.address = address;
    let mut commit = Commit::new();
    commit.writes = [later.clone(), known.clone(), of_nobody.clone()]
        .map(Write::InsertRefusal)
        .to_vec();
    bench.commit("samples of refusals", commit).await;

    let of = bench.get("reading samples", Refusals::of(organization)).await;
    bench.same("the samples of an organization", of, vec![known.clone(), later.clone()]);
    let until = bench
        .get("reading samples", Refusals::of(organization).until(hours[1]))
        .await;
    bench.same("the samples until a time", until, vec![known.clone()]);
    let Some(address) = address else { return };
    let forget = Commit::new().write(Write::ForgetPersonal(Forget::address(address)));
    bench.commit("forgetting an address", forget).await;
    known.address = None;
    of_nobody.address = None;
    let left = bench.get("reading samples", Refusals::of(organization)).await;
    bench.same("the samples without an address", left, vec![known, later]);
    let range = Refusals::all().since(hours[0]).until(hours[1]);
    let everywhere = bench.get("reading samples", range).await;
    bench.holds(
        everywhere.contains(&of_nobody),
        "a sample of no organization is not there, or has its address",
    );
}

/// The addresses of a user's keys, also of a deleted one, and of no other.
pub(super) async fn of_user<S: ManagedStore>(bench: &Bench<S>) {
    let Ok(user) = KeyId::new().to_string().parse::<UserId>() else {
        return;
    };
    let organization = bench.organization().await;
    let keys = [0, 1, 2].map(|_| new_key(&organization));
    let mut commit = Commit::new();
    for (place, mut key) in keys.clone().into_iter().enumerate() {
        key.record.user = (place < 2).then(|| user.clone());
        let id = key.record.id;
        commit.writes.extend(insert_key(&key).writes);
        let event = event(organization.id).key(id).user(key.record.user);
        commit.audit.push(event);
        let mut sample = RefusalSample::new(Timestamp::from_millis(HOUR), "key_disabled");
        sample.organization_id = Some(organization.id);
        sample.key_id = Some(id);
        sample.address = address().parse().ok();
        commit.writes.push(Write::InsertRefusal(sample));
    }
    bench.commit("keys of a user, and refusals of them", commit).await;
    let delete = Commit::new().write(Write::DeleteKey(keys[1].record.id));
    bench.commit("deleting a key", delete).await;
    let forget = Commit::new().write(Write::ForgetPersonal(Forget::user(user)));
    bench.commit("forgetting a user", forget).await;
    let left = bench.get("reading samples", Refusals::of(organization.id)).await;
    bench.same("the number of samples", left.len(), 3);
    let with_address: Vec<_> = left.iter().filter(|sample| sample.address.is_some()).collect();
    bench.same(
        "the keys of samples that have an address",
        with_address.iter().map(|sample| sample.key_id).collect(),
        vec![Some(keys[2].record.id)],
    );
}

/// What is older than a time is gone, and nothing else.
pub(super) async fn pruned<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, hours) = (OrganizationId::new(), hours());
    let mut commit = Commit::new();
    for hour in hours {
        let mut sample = RefusalSample::new(hour, "key_revoked");
        sample.organization_id = Some(organization);
        let count = RefusalCount::new(hour, organization, "key_revoked", 1);
        commit
            .writes
            .extend([Write::InsertRefusal(sample), Write::CountRefusals(count)]);
    }
    bench.commit("refusals", commit).await;
    let prune = Commit::new().write(Write::PruneRefusals { before: hours[1] });
    bench.commit("deleting old refusals", prune).await;
    let counts = bench.get("reading counts", RefusalCounts::of(organization)).await;
    bench.same(
        "the hours that are left",
        counts.iter().map(|count| count.hour).collect(),
        vec![hours[1]],
    );
    let samples = bench.get("reading samples", Refusals::of(organization)).await;
    bench.same(
        "the samples that are left",
        samples.iter().map(|sample| sample.at).collect(),
        vec![hours[1]],
    );
}

/// Two hours that no other rule has: rules may share a store, and some delete.
fn hours() -> [Timestamp; 2] {
    let random = (KeyId::new().as_uuid().as_u128() >> 16) as i64 & 0xf_ffff;
    [1, 2].map(|hour| Timestamp::from_millis((random * 2 + hour) * HOUR))
}

fn address() -> String {
    let number = KeyId::new().as_uuid().as_u128();
    std::net::Ipv6Addr::from_bits(0xfd << 120 | number >> 8).to_string()
}
