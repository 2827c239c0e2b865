//! Uses of keys are added up, once, and forgotten; a lease has one holder.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::bench::{Bench, NOW, new_secret, new_text, one};
use crate::audit::Forget;
use crate::key::{KeyId, KeyStatus, Scope, Timestamp, UserId};
use crate::last_use::{NetworkUse, ScopeUse, SecretUse, UseBatch, UseOfKey, UseSource};
use crate::store::query::{KeyStatistics, KeyUses, Statistics};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoredKey, Write};

/// Each secret has its own row, from the start; the last use only grows.
pub(super) async fn added_up<S: ManagedStore>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    bench.add_secret(&mut key, new_secret("sha256:01")).await;
    let mut should = unused(&key);
    bench.same("the uses of a new key", of(bench, &key).await, should.clone());

    let (source, address) = (UseSource::new(), address());
    let at = |minutes: i64| Timestamp::from_millis(NOW.as_millis() + minutes * 60_000);
    let used = |secret: usize, minutes, requests| {
        let mut used = SecretUse::new(
            key.secrets[secret].lookup.clone(),
            key.record.id,
            key.record.organization_id,
        );
        used.last_used_at = Some(at(minutes));
        used.last_address = Some(address);
        used.requests = requests;
        used
    };
    let mut first = UseBatch::new(source, 1);
    first.secrets = vec![used(0, 2, 3), used(1, 1, 5)];
    add(bench, &first).await;
    // Of another process, which stores an earlier one later.
    let mut earlier = UseBatch::new(UseSource::new(), 1);
    earlier.secrets = vec![used(0, 1, 4)];
    earlier.secrets[0].last_address = None;
    add(bench, &earlier).await;
    for (secret, minutes, requests) in [(0, 2, 7), (1, 1, 5)] {
        let place = place(&should, &key, secret);
        should.secrets[place] = used(secret, minutes, requests);
    }
    bench.same("the uses of a key", of(bench, &key).await, should.clone());
    bench.same("when a key was last used", should.last_used_at(), Some(at(2)));

    let lookup = key.secrets[0].lookup.clone();
    let delete = super::bench::update_key(&key.record).write(Write::DeleteSecret {
        key: key.record.id,
        lookup: lookup.clone(),
    });
    bench.commit("deleting a secret", delete).await;
    should.secrets.retain(|secret| secret.lookup != lookup);
    bench.same("the uses after a secret was deleted", of(bench, &key).await, should);
}

/// A batch that comes again, or after a later one of its source, changes nothing.
pub(super) async fn once<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let source = UseSource::new();
    for number in [1, 1, 3, 2, 3] {
        add(bench, &requests(source, number, &key, 1)).await;
    }
    bench.same(
        "requests in three batches, two of them again",
        of(bench, &key).await.requests(),
        2,
    );
    let prune = one(Write::PruneUseSources { before: Timestamp::MAX });
    bench.commit("deleting sources of uses", prune).await;
    add(bench, &requests(source, 1, &key, 1)).await;
    bench.same(
        "requests after the source was deleted",
        of(bench, &key).await.requests(),
        3,
    );
}

/// A batch that comes late fails for no deleted key, and brings none back.
pub(super) async fn of_deleted<S: ManagedStore>(bench: &Bench<S>) {
    let ((_, gone), (_, there)) = (bench.inserted().await, bench.inserted().await);
    let source = UseSource::new();
    add(bench, &all_of(source, 1, &gone)).await;
    bench
        .commit("deleting a key", one(Write::DeleteKey(gone.record.id)))
        .await;
    let mut late = all_of(source, 2, &gone);
    late.secrets.extend(requests(source, 2, &there, 1).secrets);
    add(bench, &late).await;
    let uses = KeyUses::of_all([gone.record.id, there.record.id, KeyId::new()]);
    let uses = bench.get("reading uses", uses).await;
    bench.same(
        "the keys that have uses",
        uses.iter().map(|of| of.key_id).collect(),
        vec![there.record.id],
    );
    bench.same("the requests of the other key", uses[0].requests(), 1);

    bench.insert(&gone).await;
    bench.same(
        "the uses of a key that is inserted again",
        of(bench, &gone).await,
        unused(&gone),
    );
}

/// Of networks and scopes, the first 64 and 256 are kept.
pub(super) async fn bounded<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let (id, later) = (key.record.id, Timestamp::from_millis(NOW.as_millis() + 1));
    let scope = |number: usize| -> Option<Scope> { format!("resource{number:03}:read").parse().ok() };
    let mut batch = UseBatch::new(UseSource::new(), 1);
    let numbers = 0..UseOfKey::MOST_NETWORKS + 1;
    batch.networks = numbers
        .map(|number| NetworkUse::new(id, network(number), NOW))
        .collect();
    let scopes = (0..UseOfKey::MOST_SCOPES + 1).filter_map(scope);
    batch.scopes = scopes.map(|scope| ScopeUse::new(id, scope, NOW)).collect();
    add(bench, &batch).await;
    let uses = of(bench, &key).await;
    bench.same(
        "how many networks are kept",
        uses.networks.len(),
        UseOfKey::MOST_NETWORKS,
    );
    bench.same("how many scopes are kept", uses.scopes.len(), UseOfKey::MOST_SCOPES);

    // What is there already is still noted.
    batch.number = 2;
    batch.networks = vec![NetworkUse::new(id, network(0), later)];
    batch.scopes = scope(0)
        .map(|scope| ScopeUse::new(id, scope, later))
        .into_iter()
        .collect();
    add(bench, &batch).await;
    let uses = of(bench, &key).await;
    let first = uses.networks.iter().find(|seen| seen.network == network(0));
    bench.same(
        "when a network was first seen",
        first.map(|seen| seen.first_seen),
        Some(NOW),
    );
    bench.same("when a scope was last used", uses.scopes[0].last_used_at, later);
}

/// The last address is deleted with a person's data and when it is old, and networks with a user's.
pub(super) async fn forgotten<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let mut key = super::bench::new_key(&organization);
    let user: Option<UserId> = new_text().parse().ok();
    key.record.user.clone_from(&user);
    let mut other = super::bench::new_key(&organization);
    other.record.user = new_text().parse().ok();
    bench.insert(&key).await;
    bench.insert(&other).await;
    let (source, mut number) = (UseSource::new(), 0);
    let Some(user) = user else { return };
    let of_user = Forget::user(user);
    let elsewhere = of_user.clone().of(crate::key::OrganizationId::new());
    let by_address = |of: &UseOfKey| of.secrets[0].last_address.map(Forget::address);
    let after = Timestamp::from_millis(NOW.as_millis() + 1);
    // What is forgotten, whether by address, and what is left of this key and of the other one.
    for (forget, is_kept, has_networks, is_of_all) in [
        (Some(elsewhere), true, true, false),
        (Some(of_user), false, false, false),
        (None, false, true, false),
        (None, false, true, true),
    ] {
        let old = Write::ForgetOrigins {
            before: if is_of_all { after } else { NOW },
        };
        for key in [&key, &other] {
            number += 1;
            add(bench, &all_of(source, number, key)).await;
        }
        let write = match forget {
            Some(forget) => Some(forget),
            None if is_of_all => None,
            None => by_address(&of(bench, &key).await),
        };
        let write = write.map_or(old, Write::ForgetPersonal);
        bench.commit("forgetting addresses of uses", one(write)).await;
        let (uses, others) = (of(bench, &key).await, of(bench, &other).await);
        bench.same(
            "whether an address is kept",
            uses.secrets[0].last_address.is_some(),
            is_kept,
        );
        bench.same("whether networks are kept", !uses.networks.is_empty(), has_networks);
        let others_are_kept = others.secrets[0].last_address.is_some();
        bench.same("whether another key's address is kept", others_are_kept, !is_of_all);
        bench.holds(
            uses.requests() > 0 && !others.networks.is_empty(),
            "too much was forgotten",
        );
    }
    let (_, stranger) = bench.inserted().await;
    for key in [&key, &other, &stranger] {
        number += 1;
        add(bench, &all_of(source, number, key)).await;
    }
    let everyone = Write::ForgetPersonal(Forget::everyone().of(organization.id));
    bench
        .commit("forgetting everyone of an organization", one(everyone))
        .await;
    for (key, is_kept) in [(&key, false), (&other, false), (&stranger, true)] {
        let uses = of(bench, key).await;
        let has_address = uses.secrets[0].last_address.is_some();
        bench.same("whether an address is kept", has_address, is_kept);
        bench.same("whether networks are kept", !uses.networks.is_empty(), is_kept);
        bench.holds(uses.requests() > 0, "too much was forgotten");
    }
}

/// No cached answer depends on a use.
pub(super) async fn quiet<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let (of_key, of_organization) = (
        bench.watch_key(key.record.id),
        bench.watch_organization(organization.id),
    );
    add(bench, &all_of(UseSource::new(), 1, &key)).await;
    bench.holds(
        !of_key.was_bumped() && !of_organization.was_bumped(),
        "a use was announced",
    );
    bench.same("the key", bench.stored(key.record.id).await, key);
}

/// Keys are counted by their status, end and last use, of one organization or of all.
pub(super) async fn statistics<S: ManagedStore>(bench: &Bench<S>) {
    // Of another organization.
    bench.inserted().await;
    let organization = bench.organization().await;
    let day = 86_400_000;
    let at = |days: i64| Timestamp::from_millis(NOW.as_millis() + days * day);
    let mut batch = UseBatch::new(UseSource::new(), 1);
    // Status, end and last use.
    let all = [
        (KeyStatus::Active, None, None),
        (KeyStatus::Active, Some(10), Some(0)),
        (KeyStatus::Active, Some(40), Some(-3)),
        (KeyStatus::Disabled, None, Some(-20)),
        (KeyStatus::Revoked, Some(-1), Some(-40)),
        (KeyStatus::Active, Some(0), None),
        (KeyStatus::Disabled, Some(-1), None),
    ];
    for (status, end, last) in all {
        let mut key = super::bench::new_key(&organization);
        key.secrets.push(new_secret("sha256:01"));
        (key.record.status, key.record.expires_at) = (status, end.map(at));
        bench.insert(&key).await;
        for secret in key.secrets.iter().filter(|_| last.is_some()) {
            let mut used = SecretUse::new(secret.lookup.clone(), key.record.id, organization.id);
            (used.last_used_at, used.requests) = (last.map(at), 5);
            batch.secrets.push(used);
        }
    }
    add(bench, &batch).await;
    let of_one = bench
        .get("counting keys", KeyStatistics::at(NOW).of(organization.id))
        .await;
    let mut should = Statistics::default();
    (should.total, should.active, should.disabled, should.revoked) = (7, 3, 1, 1);
    (should.expired, should.expiring, should.never_used) = (2, 1, 3);
    (should.used_in_a_day, should.used_in_a_week, should.used_in_a_month) = (1, 2, 3);
    should.requests = 40;
    bench.same("the statistics of an organization", of_one, should);

    let before = bench.get("counting keys", KeyStatistics::at(NOW)).await;
    bench.inserted().await;
    let after = bench.get("counting keys", KeyStatistics::at(NOW)).await;
    bench.same("how many keys there are in all", after.total, before.total + 1);
    bench.holds(before.total >= 7 && before.requests >= 40, "not all keys are counted");
}

/// Who has a lease keeps it until it ends, and can prolong and end it.
pub(super) async fn leases<S: ManagedStore>(bench: &Bench<S>) {
    let (task, [one, two]) = (new_text(), [Uuid::now_v7(), Uuid::now_v7()]);
    let hold = |holder, lasts| {
        Commit::new().write(Write::HoldLease {
            task: task.clone(),
            holder,
            lasts,
        })
    };
    let (long, none) = (Duration::from_secs(3600), Duration::ZERO);
    bench.commit("taking a lease", hold(one, long)).await;
    bench
        .fails("taking another's lease", hold(two, long), StoreErrorKind::Conflict)
        .await;
    bench.commit("prolonging a lease", hold(one, long)).await;
    bench
        .fails("taking a prolonged lease", hold(two, none), StoreErrorKind::Conflict)
        .await;
    bench.commit("ending a lease", hold(one, none)).await;
    bench.commit("taking a lease that ended", hold(two, long)).await;
    bench
        .fails("prolonging a lost lease", hold(one, long), StoreErrorKind::Conflict)
        .await;
}

async fn add<S: ManagedStore>(bench: &Bench<S>, batch: &UseBatch) {
    let committed = bench
        .commit("adding uses", one(Write::AddUses(Arc::new(batch.clone()))))
        .await;
    bench.same("what a batch of uses changed", committed.changes, vec![]);
}

async fn of<S: ManagedStore>(bench: &Bench<S>, key: &StoredKey) -> UseOfKey {
    let uses = bench.get("reading uses", KeyUses::of(key.record.id)).await;
    match uses.into_iter().next() {
        Some(of) => of,
        None => bench.broken("a key that is there has no uses"),
    }
}

fn unused(key: &StoredKey) -> UseOfKey {
    let mut of = UseOfKey::new(key.record.id);
    let unused = |lookup| SecretUse::new(lookup, key.record.id, key.record.organization_id);
    of.secrets = key.secrets.iter().map(|secret| unused(secret.lookup.clone())).collect();
    of.secrets
        .sort_by(|one, two| one.lookup.as_str().cmp(two.lookup.as_str()));
    of
}

fn place(of: &UseOfKey, key: &StoredKey, secret: usize) -> usize {
    let lookup = &key.secrets[secret].lookup;
    of.secrets
        .iter()
        .position(|used| used.lookup == *lookup)
        .unwrap_or_default()
}

fn requests(source: UseSource, number: u64, key: &StoredKey, requests: u64) -> UseBatch {
    let mut used = SecretUse::new(key.secrets[0].lookup.clone(), key.record.id, key.record.organization_id);
    (used.last_used_at, used.requests) = (Some(NOW), requests);
    let mut batch = UseBatch::new(source, number);
    batch.secrets = vec![used];
    batch
}

/// A use of everything that is known of one.
fn all_of(source: UseSource, number: u64, key: &StoredKey) -> UseBatch {
    let mut batch = requests(source, number, key, 1);
    batch.secrets[0].last_address = Some(address());
    batch.networks = vec![NetworkUse::new(key.record.id, network(1), NOW)];
    let scope = "orders:read".parse().ok();
    batch.scopes = scope
        .map(|scope| ScopeUse::new(key.record.id, scope, NOW))
        .into_iter()
        .collect();
    batch
}

fn network(number: usize) -> String {
    format!("198.51.{number}.0/24")
}

/// An address that no other rule has.
fn address() -> IpAddr {
    let number = KeyId::new().as_uuid().as_u128();
    std::net::Ipv6Addr::from_bits(0xfd << 120 | number >> 8).into()
}
