//! The life of a key, where several want something of it at once, or something that contradicts itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower_api_key::hash::{HashPolicy, HashPool};
use tower_api_key::key::{
    KeyFormat, KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Organization, OrganizationId, OrganizationStatus,
    RateLimit, Revocation, SecretHash, Timestamp,
};
use tower_api_key::store::{
    Candidate, KeyStore, ManageKeys, MemoryStore, Sharing, StoreError, StoreErrorKind, StoredKey,
};
use tower_api_key::testing::{Fault, Gate};
use tower_api_key::{Authenticator, Fence, IssueErrorKind, IssueRequest, Issuer, PresentedKey, RejectionKind};

use crate::house::*;

const MINUTE: Duration = Duration::from_secs(60);

fn limit(name: &str) -> RateLimit {
    RateLimit::per_minute(name, 1).unwrap()
}

#[tokio::test]
async fn a_key_of_nobody_and_a_change_of_nothing() {
    let house = House::new().await;
    let nobody = IssueRequest::new(OrganizationId::new(), "key");
    assert_eq!(
        house.issuer.issue(nobody).await.unwrap_err().kind(),
        IssueErrorKind::NotFound
    );
    let id = KeyId::new();
    for refused in [
        house.issuer.disable(id).await.unwrap_err(),
        house.issuer.enable(id).await.unwrap_err(),
        house.issuer.revoke(id, "", "").await.unwrap_err(),
        house.issuer.update(id, |_| {}).await.unwrap_err(),
        house.issuer.rotate(id, MINUTE).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), IssueErrorKind::NotFound);
    }
    let nothing = house.issuer.update_organization(OrganizationId::new(), |_| {}).await;
    assert_eq!(nothing.unwrap_err().kind(), IssueErrorKind::NotFound);
}

#[tokio::test]
async fn names_are_checked_wherever_they_are_given() {
    let house = House::new().await;
    let issued = house.key().await;
    for bad in ["", "a\nb", "a\0b", &"x".repeat(256)] {
        for refused in [
            house.issuer.create_organization(bad).await.unwrap_err(),
            house.issuer.issue(house.request(bad)).await.unwrap_err(),
            house
                .issuer
                .update(issued.record.id, |record| record.name = bad.into())
                .await
                .unwrap_err(),
            house
                .issuer
                .update_organization(house.organization.id, |acme| acme.name = bad.into())
                .await
                .unwrap_err(),
        ] {
            assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest, "{bad:?}");
            assert!(std::error::Error::source(&refused).is_some());
        }
    }
    house.issuer.create_organization("x".repeat(255)).await.unwrap();
}

#[tokio::test]
async fn two_limits_of_one_name_are_refused() {
    let house = House::new().await;
    let share = |acme: &mut Organization| acme.limits = vec![limit("shared")];
    house
        .issuer
        .update_organization(house.organization.id, share)
        .await
        .unwrap();
    let issued = house
        .issuer
        .issue(house.request("key").limit(limit("own")))
        .await
        .unwrap();
    let twice = |record: &mut KeyRecord| record.limits = vec![limit("own"), limit("own")];
    let clash = |record: &mut KeyRecord| record.limits = vec![limit("own"), limit("shared")];
    for refused in [
        house
            .issuer
            .issue(house.request("key").limit(limit("own")).limit(limit("own")))
            .await
            .unwrap_err(),
        house
            .issuer
            .issue(house.request("key").limit(limit("shared")))
            .await
            .unwrap_err(),
        house.issuer.update(issued.record.id, twice).await.unwrap_err(),
        house.issuer.update(issued.record.id, clash).await.unwrap_err(),
        house
            .issuer
            .update_organization(house.organization.id, |acme| acme.limits = vec![limit("a"), limit("a")])
            .await
            .unwrap_err(),
    ] {
        assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert!(source.contains("used twice"), "{source}");
    }
    // Another organization has names of its own.
    let other = house.issuer.create_organization("other").await.unwrap();
    let request = IssueRequest::new(other.id, "key").limit(limit("shared"));
    let _key = house.issuer.issue(request).await.unwrap();
}

#[tokio::test]
async fn a_key_and_an_organization_have_at_most_sixteen_limits() {
    let house = House::new().await;
    let limits = |count: usize| (0..count).map(|n| limit(&format!("limit-{n}"))).collect::<Vec<_>>();
    let requested = |count| {
        limits(count)
            .into_iter()
            .fold(house.request("key"), IssueRequest::limit)
    };
    let issued = house.issuer.issue(requested(16)).await.unwrap();
    for refused in [
        house.issuer.issue(requested(17)).await.unwrap_err(),
        house
            .issuer
            .update(issued.record.id, |record| record.limits = limits(17))
            .await
            .unwrap_err(),
        house
            .issuer
            .update_organization(house.organization.id, |acme| acme.limits = limits(17))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert!(source.contains("at most 16"), "{source}");
    }
}

#[tokio::test]
async fn a_hash_that_fails_is_not_told_as_a_crowd() {
    let house = House::with_argon2().await;
    let pool = HashPool::builder().before_each_hash(|| panic!("on purpose")).build();
    let issuer = house.issuer.clone().pool(pool);
    let refused = issuer.issue(house.request("key")).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::HashingFailed);
    assert_eq!(refused.retry_after(), None);
}

#[tokio::test]
async fn what_a_key_is_cannot_be_changed() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let other = house.issuer.create_organization("other").await.unwrap();
    let changed = house.issuer.update(issued.record.id, |record| {
        record.id = KeyId::new();
        record.organization_id = other.id;
        record.prefix = "other".into();
        record.environment = None;
        record.created_at = Timestamp::from_millis(0);
        record.revision = 1_000;
        record.name = "renamed".into();
    });
    let changed = changed.await.unwrap();
    let mut expected = issued.record.clone();
    (expected.name, expected.revision) = ("renamed".into(), 2);
    assert_eq!(changed, expected);
    house.check(text(&issued)).await.unwrap();

    let changed = house.issuer.update_organization(house.organization.id, |acme| {
        acme.id = OrganizationId::new();
        acme.revision = 1_000;
    });
    let changed = changed.await.unwrap();
    assert_eq!((changed.id, changed.revision), (house.organization.id, 2));
}

#[tokio::test]
async fn the_first_revoke_stays() {
    let house = House::new().await;
    let issued = house.key().await;
    let first = house
        .issuer
        .revoke(issued.record.id, "laptop lost", "alice")
        .await
        .unwrap();
    house.hand.advance(MINUTE);
    let second = house
        .issuer
        .revoke(issued.record.id, "spring cleaning", "bob")
        .await
        .unwrap();
    assert_eq!(first, second);
    let revocation = second.revocation.unwrap();
    assert_eq!(
        (revocation.reason.as_str(), revocation.actor.as_str()),
        ("laptop lost", "alice")
    );
    assert_eq!(second.status, KeyStatus::Revoked);
}

#[tokio::test]
async fn however_much_is_said_a_revoke_revokes() {
    let house = House::new().await;
    let issued = house.key().await;
    // A character of two bytes stands across the end of what is kept.
    let reason = format!("{}é and more", "x".repeat(1023));
    let revoked = house.issuer.revoke(issued.record.id, &reason, &reason).await.unwrap();
    let revocation = revoked.revocation.unwrap();
    assert_eq!(revocation.reason, "x".repeat(1023));
    assert_eq!(revocation.actor, revocation.reason);
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
}

#[tokio::test]
async fn an_update_neither_revokes_nor_enables() {
    let house = House::new().await;
    let issued = house.key().await;
    let revoke = |record: &mut KeyRecord| {
        record.status = KeyStatus::Revoked;
        record.revocation = Some(Revocation::new(record.created_at, "by the back door", "nobody"));
        record.name = "renamed".to_owned();
    };
    let updated = house.issuer.update(issued.record.id, revoke).await.unwrap();
    assert_eq!((updated.status, updated.revocation), (KeyStatus::Active, None));
    assert_eq!(updated.name, "renamed");
    house.issuer.disable(issued.record.id).await.unwrap();
    let enable = |record: &mut KeyRecord| record.status = KeyStatus::Active;
    let updated = house.issuer.update(issued.record.id, enable).await.unwrap();
    assert_eq!(updated.status, KeyStatus::Disabled);
}

#[tokio::test]
async fn of_many_revokes_at_once_one_is_first_and_all_return_it() {
    let house = House::new().await;
    for _ in 0..50 {
        let issued = house.key().await;
        let revokes: Vec<_> = (0..8)
            .map(|number| {
                let (issuer, id) = (house.issuer.clone(), issued.record.id);
                tokio::spawn(async move { issuer.revoke(id, "lost", &format!("actor {number}")).await.unwrap() })
            })
            .collect();
        let mut records = Vec::new();
        for revoke in revokes {
            records.push(revoke.await.unwrap());
        }
        assert!(records.iter().all(|record| *record == records[0]));
        assert_eq!(records[0].revision, 2);
    }
}

#[tokio::test]
async fn a_change_of_a_revoked_key_is_refused() {
    let house = House::new().await;
    let issued = house.key().await;
    house.issuer.revoke(issued.record.id, "lost", "alice").await.unwrap();
    let revive = |record: &mut KeyRecord| record.status = KeyStatus::Active;
    let refused = house.issuer.update(issued.record.id, revive).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::Revoked);
    assert_eq!(
        house.issuer.enable(issued.record.id).await.unwrap_err().kind(),
        IssueErrorKind::Revoked
    );
}

#[tokio::test]
async fn two_changes_at_once_are_both_made() {
    let house = House::new().await;
    let issued = house.key().await;
    let gate = Gate::new();
    // The first has read the row when the second is made.
    house.faults().next_manage(Fault::After(gate.clone()));
    let runs = Arc::new(AtomicU32::new(0));
    let slow = tokio::spawn({
        let (issuer, id, runs) = (house.issuer.clone(), issued.record.id, runs.clone());
        async move {
            let rename = |record: &mut KeyRecord| {
                runs.fetch_add(1, Ordering::SeqCst);
                record.name = "renamed".into();
            };
            issuer.update(id, rename).await
        }
    });
    gate.reached(1).await;
    let scopes = |record: &mut KeyRecord| record.scopes = "orders:read".parse().unwrap();
    house.issuer.update(issued.record.id, scopes).await.unwrap();
    gate.open();
    let record = slow.await.unwrap().unwrap();
    assert_eq!(
        (record.name.as_str(), record.scopes.as_str(), record.revision),
        ("renamed", "orders:read", 3)
    );
    assert_eq!(runs.load(Ordering::SeqCst), 2, "it was made on the old row first");
}

#[tokio::test]
async fn a_revoke_that_meets_a_change_wins() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let gate = Gate::new();
    house.faults().next_manage(Fault::After(gate.clone()));
    let slow = tokio::spawn({
        let (issuer, id) = (house.issuer.clone(), issued.record.id);
        async move { issuer.update(id, |record| record.name = "renamed".into()).await }
    });
    gate.reached(1).await;
    house.issuer.revoke(issued.record.id, "lost", "alice").await.unwrap();
    gate.open();
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), IssueErrorKind::Revoked);
    assert!(house.check(text(&issued)).await.is_err());
}

#[tokio::test]
async fn conflicts_without_end_are_told() {
    let house = House::new().await;
    let issued = house.key().await;
    // Each try reads, and is refused.
    let lose = |times| {
        for _ in 0..times {
            house.faults().next_manage(Fault::None);
            house.faults().next_manage(Fault::Error(StoreErrorKind::Conflict));
        }
    };
    let (id, rename) = (issued.record.id, |record: &mut KeyRecord| record.name.push('!'));
    lose(8);
    let refused = house.issuer.update(id, rename).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::Conflict);
    lose(256);
    let refused = house.issuer.revoke(id, "lost", "alice").await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::Conflict);

    // Whoever changes a key all the time must not keep it alive by that.
    lose(255);
    house.issuer.disable(id).await.unwrap();
    lose(255);
    house.issuer.revoke(id, "lost", "alice").await.unwrap();
}

#[tokio::test]
async fn a_taken_lookup_is_drawn_anew() {
    let house = House::new().await;
    house.faults().next_manage(Fault::None);
    house.faults().next_manage(Fault::Error(StoreErrorKind::AlreadyExists));
    let issued = house.key().await;
    house.check(text(&issued)).await.unwrap();

    house.faults().next_manage(Fault::None);
    house.faults().next_manage(Fault::Error(StoreErrorKind::AlreadyExists));
    let rotated = house.issuer.rotate(issued.record.id, MINUTE).await.unwrap();
    house.check(text(&rotated)).await.unwrap();
}

#[tokio::test]
async fn a_store_that_fails_changes_nothing_and_says_so() {
    let house = House::new().await;
    let issued = house.known_key().await;
    for (error, expected) in [
        (StoreErrorKind::Unavailable, IssueErrorKind::StoreUnavailable),
        (StoreErrorKind::InvalidRecord, IssueErrorKind::InvalidRecord),
        (StoreErrorKind::OutcomeUnknown, IssueErrorKind::OutcomeUnknown),
    ] {
        house.faults().every_manage(Fault::Error(error));
        for refused in [
            house.issuer.revoke(issued.record.id, "", "").await.map(drop),
            house.issuer.rotate(issued.record.id, MINUTE).await.map(drop),
            house.issuer.issue(house.request("key")).await.map(drop),
            house.issuer.create_organization("other").await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), expected);
        }
        house.faults().heal();
        house.check(text(&issued)).await.unwrap();
    }
}

#[tokio::test]
async fn a_rotation_must_make_a_key_of_the_same_prefix_and_environment() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let other_prefix = KeyFormat::new("acme").unwrap();
    let other_environments = KeyFormat::builder("key").environments(["prod"]).build().unwrap();
    let no_environments = KeyFormat::builder("key").without_environments().build().unwrap();
    for format in [other_prefix, other_environments, no_environments.clone()] {
        let issuer: Issuer<_> = house.issuer.clone().format(format);
        let refused = issuer.rotate(issued.record.id, MINUTE).await.unwrap_err();
        assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
        // The old one is as good as before.
        house.check(text(&issued)).await.unwrap();
    }

    // And the other way round: a key without an environment must not be given one, or its old secret would die at once.
    let plain = house.issuer.clone().format(no_environments.clone());
    let issued = plain.issue(house.request("plain")).await.unwrap();
    let authenticator = Authenticator::builder(house.store.clone())
        .formats(no_environments)
        .clock(house.hand.clock())
        .build();
    check(&authenticator, text(&issued)).await.unwrap();
    let refused = house.issuer.rotate(issued.record.id, MINUTE).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
    check(&authenticator, text(&issued)).await.unwrap();
    let new = plain.rotate(issued.record.id, MINUTE).await.unwrap();
    for issued in [&issued, &new] {
        check(&authenticator, text(issued)).await.unwrap();
    }
}

#[tokio::test]
async fn a_disabled_key_may_be_rotated_and_stays_disabled() {
    let house = House::new().await;
    let issued = house.key().await;
    house.issuer.disable(issued.record.id).await.unwrap();
    let new = house.issuer.rotate(issued.record.id, MINUTE).await.unwrap();
    assert_eq!(new.record.status, KeyStatus::Disabled);
    assert_eq!(house.refusal(text(&new)).await, RejectionKind::KeyDisabled);
}

#[tokio::test]
async fn rotations_at_once_leave_two_secrets_at_most() {
    let house = House::new().await;
    for _ in 0..50 {
        let issued = house.key().await;
        let rotations: Vec<_> = (0..4)
            .map(|_| {
                let (issuer, id) = (house.issuer.clone(), issued.record.id);
                tokio::spawn(async move { issuer.rotate(id, MINUTE).await })
            })
            .collect();
        let mut made = 0;
        for rotation in rotations {
            match rotation.await.unwrap() {
                Ok(_) => made += 1,
                Err(error) => assert_eq!(error.kind(), IssueErrorKind::RotationInProgress),
            }
        }
        assert_eq!(made, 1);
        let stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
        assert_eq!(stored.secrets.len(), 2);
    }
}

#[test]
fn a_store_without_a_fence_cannot_be_issued_from() {
    let store = Unannounced::new(None);
    let error = Issuer::new(store).unwrap_err();
    assert_eq!(error.setting(), "store");
}

/// A store in which a change can be read for a while before it is announced: its gate stands in between.
#[derive(Clone)]
struct Unannounced {
    rows: MemoryStore,
    fence: Option<Fence>,
    before_announcing: Gate,
}

impl Unannounced {
    fn new(fence: Option<Fence>) -> Self {
        Self {
            rows: MemoryStore::new(),
            fence,
            before_announcing: Gate::new(),
        }
    }

    async fn announce(&self, id: KeyId, revision: u64) {
        self.before_announcing.pass().await;
        self.fence.as_ref().unwrap().key_changed(id, revision);
    }
}

impl KeyStore for Unannounced {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

impl ManageKeys for Unannounced {
    async fn insert_organization(&self, organization: Organization) -> Result<(), StoreError> {
        self.rows.insert_organization(organization).await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        self.rows.organization(id).await
    }

    async fn update_organization(&self, organization: Organization) -> Result<Organization, StoreError> {
        self.rows.update_organization(organization).await
    }

    async fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> Result<(), StoreError> {
        self.rows.insert_key(record, secret).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.rows.key(id).await
    }

    async fn update_key(&self, key: StoredKey) -> Result<KeyRecord, StoreError> {
        let record = self.rows.update_key(key).await?;
        self.announce(record.id, record.revision).await;
        Ok(record)
    }

    async fn replace_hash(&self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Result<bool, StoreError> {
        self.rows.replace_hash(lookup, old, new).await
    }
}

/// Two people stop the same key. The first one's change is committed and not announced yet when the second one finds the
/// key stopped already: told "done", they rely on it.
#[tokio::test]
async fn who_is_told_that_a_key_was_stopped_before_can_rely_on_it() {
    for is_revoke in [true, false] {
        let store = Unannounced::new(Some(Fence::new()));
        let issuer = Issuer::new(store.clone()).unwrap().hash_policy(HashPolicy::sha256());
        let acme = issuer.create_organization("acme").await.unwrap();
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        let authenticator = Authenticator::new(store.clone());
        check(&authenticator, text(&issued)).await.unwrap();
        let stop = || {
            let (issuer, id) = (issuer.clone(), issued.record.id);
            async move {
                match is_revoke {
                    true => issuer.revoke(id, "lost", "alice").await.unwrap(),
                    false => issuer.disable(id).await.unwrap(),
                }
            }
        };
        let first = tokio::spawn(stop());
        store.before_announcing.reached(1).await;
        let presented = PresentedKey::new(text(&issued).as_bytes());
        assert!(
            authenticator.try_check(presented).unwrap().is_ok(),
            "nothing has returned yet"
        );

        stop().await;
        let presented = PresentedKey::new(text(&issued).as_bytes());
        let admitted = matches!(authenticator.try_check(presented), Some(Ok(_)));
        assert!(!admitted, "revoke {is_revoke}: it had returned");
        assert!(check(&authenticator, text(&issued)).await.is_err());
        store.before_announcing.open();
        first.await.unwrap();
    }
}

#[tokio::test]
async fn the_time_in_a_key_is_the_issuers() {
    let house = House::new().await;
    let issuer = house.issuer.clone().format(KeyFormat::gml());
    let issued = issuer.issue(house.request("dated")).await.unwrap();
    let seconds = (house.hand.clock().wall().as_millis() / 1000).to_string();
    assert_eq!(text(&issued).split('_').nth(1), Some(&*seconds));
}

#[tokio::test]
async fn a_key_that_would_be_born_dead_is_refused() {
    let house = House::new().await;
    // Not the system's clock, which is far beyond this one.
    let now = house.hand.clock().wall();
    let before = Timestamp::from_millis(now.as_millis() - 1);
    for end in [now, before, Timestamp::from_millis(0)] {
        let request = house.request("late").expires_at(end);
        let refused = house.issuer.issue(request).await.unwrap_err();
        assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest, "{end}");
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert!(source.contains(&end.to_string()), "{source}");
    }
    let soon = house.request("soon").expires_at(now.after(Duration::from_millis(1)));
    let issued = house.issuer.issue(soon).await.unwrap();
    house.check(text(&issued)).await.unwrap();
}

/// Records that came in by another way than through an issuer, and that it would not have made. What is wrong with them
/// must not keep them alive.
#[tokio::test]
async fn what_was_imported_can_be_stopped_whatever_else_is_wrong_with_it() {
    let house = House::new().await;
    let limits = |count: usize| (0..count).map(|n| limit(&format!("limit-{n}"))).collect::<Vec<_>>();
    for (n, name) in ["", "a\nb", &"x".repeat(300)].into_iter().enumerate() {
        let mut organization = Organization::new(name);
        organization.limits = limits(17);
        house.store.insert_organization(organization.clone()).await.unwrap();
        let now = house.hand.clock().wall();
        let mut record = KeyRecord::new(organization.id, name, now);
        record.limits = limits(17);
        let hash = SecretHash::new(format!("sha256:{}", "0".repeat(64))).unwrap();
        let secret = KeySecret::new(Lookup::new(&format!("imported{n}")).unwrap(), hash, now);
        house.store.insert_key(record.clone(), secret).await.unwrap();

        let disabled = house.issuer.disable(record.id).await.unwrap();
        assert_eq!((disabled.status, &*disabled.name), (KeyStatus::Disabled, name));
        house.issuer.enable(record.id).await.unwrap();
        let revoked = house.issuer.revoke(record.id, "leaked", "alice").await.unwrap();
        assert_eq!(revoked.status, KeyStatus::Revoked);
        let deactivate = |organization: &mut Organization| organization.status = OrganizationStatus::Inactive;
        let stopped = house.issuer.update_organization(organization.id, deactivate).await;
        assert_eq!(stopped.unwrap().status, OrganizationStatus::Inactive);

        // What is changed is looked at, with all its neighbours.
        let one_more = |organization: &mut Organization| organization.limits.push(limit("one-more"));
        let another_bad_name = |organization: &mut Organization| organization.name.push('\n');
        for refused in [
            house.issuer.update_organization(organization.id, one_more).await,
            house
                .issuer
                .update_organization(organization.id, another_bad_name)
                .await,
        ] {
            assert_eq!(refused.unwrap_err().kind(), IssueErrorKind::InvalidRequest);
        }
    }
}
