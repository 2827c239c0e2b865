//! The life of a key, where several want something of it at once, or something that contradicts itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::rows::Rows as _;
use tower_api_key::audit::AuditEntry;
use tower_api_key::hash::HashPool;
use tower_api_key::key::{
    Actor, KeyFormat, KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Organization, OrganizationId, OrganizationStatus,
    RateLimit, Revocation, SecretHash, Timestamp,
};
use tower_api_key::store::query::{Answer, AuditEvents, Query, TheRealm};
use tower_api_key::store::{
    Candidate, Commit, Committed, DynStore, KeyStore, ManagedStore, MemoryStore, Sharing, StoreError, StoreErrorKind,
    StoreExt, Write,
};
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{Authenticator, Fence, IssueErrorKind, IssueRequest, Issuer, PresentedKey, RejectionKind};

use crate::house::*;

const MINUTE: Duration = Duration::from_secs(60);

fn limit(name: &str) -> RateLimit {
    RateLimit::per_minute(name, 1).unwrap()
}

#[tokio::test]
async fn missing_rows_are_not_found() {
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
        house.issuer.revoke(id, "").await.unwrap_err(),
        house.issuer.update(id, |_| {}).await.unwrap_err(),
        house.issuer.rotate(id, MINUTE).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), IssueErrorKind::NotFound);
    }
    let nothing = house.issuer.update_organization(OrganizationId::new(), |_| {}).await;
    assert_eq!(nothing.unwrap_err().kind(), IssueErrorKind::NotFound);
}

#[tokio::test]
async fn names_are_checked_everywhere() {
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
            assert_eq!(refused.field(), Some("name"));
            let expected = match bad.len() {
                3 => "invalid name: must have no control characters, got one at byte 2".to_owned(),
                bytes => format!("invalid name: must have 1 to 255 bytes, got {bytes}"),
            };
            assert_eq!(refused.to_string(), expected);
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
        let message = refused.to_string();
        assert!(
            message.starts_with("invalid rate limit name: ") && message.contains("used twice"),
            "{message}"
        );
    }
    // Another organization has names of its own.
    let other = house.issuer.create_organization("other").await.unwrap();
    let request = IssueRequest::new(other.id, "key").limit(limit("shared"));
    let _key = house.issuer.issue(request).await.unwrap();
}

#[tokio::test]
async fn more_than_sixteen_limits_are_refused() {
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
        assert_eq!(refused.to_string(), "invalid rate limits: must be at most 16, got 17");
    }
}

#[tokio::test]
async fn failed_hash_is_not_reported_as_busy() {
    let house = House::with_argon2().await;
    let pool = HashPool::builder().before_each_hash(|| panic!("on purpose")).build();
    let issuer = house.issuer_with(|settings| settings.pool(pool));
    let refused = issuer.issue(house.request("key")).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::HashingFailed);
    assert_eq!(refused.retry_after(), None);
}

#[tokio::test]
async fn update_keeps_identity() {
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
        acme.name = "renamed".into();
    });
    let mut expected = house.organization.clone();
    (expected.name, expected.revision) = ("renamed".into(), 2);
    assert_eq!(changed.await.unwrap(), expected);
}

#[tokio::test]
async fn second_revoke_keeps_the_first() {
    let house = House::new().await;
    let issued = house.key().await;
    let [alice, bob] = ["alice", "bob"].map(|name| house.issuer.acting_as(Actor::user(name)));
    let first = alice.revoke(issued.record.id, "laptop lost").await.unwrap();
    house.hand.advance(MINUTE);
    let second = bob.revoke(issued.record.id, "spring cleaning").await.unwrap();
    assert_eq!(first, second);
    let revocation = second.revocation.unwrap();
    assert_eq!(
        (revocation.reason.as_str(), revocation.actor),
        ("laptop lost", Actor::user("alice"))
    );
    assert_eq!(second.status, KeyStatus::Revoked);
}

#[tokio::test]
async fn too_long_reason_and_actor_still_revoke() {
    let house = House::new().await;
    let issued = house.key().await;
    // A character of two bytes stands across the end of what is kept.
    let reason = format!("{}é and more", "x".repeat(1023));
    let revoked = house
        .issuer
        .acting_as(Actor::user(&reason))
        .revoke(issued.record.id, &reason)
        .await
        .unwrap();
    let revocation = revoked.revocation.unwrap();
    assert_eq!(revocation.reason, "x".repeat(1023));
    assert_eq!(revocation.actor.id(), "x".repeat(255));
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
}

#[tokio::test]
async fn update_neither_revokes_nor_enables() {
    let house = House::new().await;
    let issued = house.key().await;
    let revoke = |record: &mut KeyRecord| {
        record.status = KeyStatus::Revoked;
        record.revocation = Some(Revocation::new(record.created_at, "by the back door", Actor::system()));
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
async fn concurrent_revokes_all_return_the_first() {
    let house = House::new().await;
    for _ in 0..50 {
        let issued = house.key().await;
        let revokes: Vec<_> = (0..8)
            .map(|number| {
                let actor = Actor::user(format!("actor {number}"));
                let (issuer, id) = (house.issuer.acting_as(actor), issued.record.id);
                tokio::spawn(async move { issuer.revoke(id, "lost").await.unwrap() })
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
async fn change_of_a_revoked_key_is_refused() {
    let house = House::new().await;
    let issued = house.key().await;
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    let revive = |record: &mut KeyRecord| record.status = KeyStatus::Active;
    let refused = house.issuer.update(issued.record.id, revive).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::Revoked);
    assert_eq!(
        house.issuer.enable(issued.record.id).await.unwrap_err().kind(),
        IssueErrorKind::Revoked
    );
}

#[tokio::test]
async fn concurrent_changes_are_both_made() {
    let house = House::new().await;
    let issued = house.key().await;
    let barrier = Barrier::new();
    // The first has read the row when the second is made.
    house.faults().next_manage(Fault::After(barrier.clone()));
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
    barrier.reached(1).await;
    let scopes = |record: &mut KeyRecord| record.scopes = "orders:read".parse().unwrap();
    house.issuer.update(issued.record.id, scopes).await.unwrap();
    barrier.open();
    let record = slow.await.unwrap().unwrap();
    assert_eq!(
        (record.name.as_str(), record.scopes.as_str(), record.revision),
        ("renamed", "orders:read", 3)
    );
    assert_eq!(runs.load(Ordering::SeqCst), 2, "it was made on the old row first");
}

#[tokio::test]
async fn revoke_during_a_change_wins() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let barrier = Barrier::new();
    house.faults().next_manage(Fault::After(barrier.clone()));
    let slow = tokio::spawn({
        let (issuer, id) = (house.issuer.clone(), issued.record.id);
        async move { issuer.update(id, |record| record.name = "renamed".into()).await }
    });
    barrier.reached(1).await;
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    barrier.open();
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), IssueErrorKind::Revoked);
    assert!(house.check(text(&issued)).await.is_err());
}

#[tokio::test]
async fn endless_conflicts_end_in_conflict() {
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
    // Whether it may manage keys is read before.
    house.faults().next_manage(Fault::None);
    lose(256);
    let refused = house.issuer.revoke(id, "lost").await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::Conflict);

    // A key that is changed all the time must not be kept alive by that.
    lose(255);
    house.issuer.disable(id).await.unwrap();
    house.faults().next_manage(Fault::None);
    lose(255);
    house.issuer.revoke(id, "lost").await.unwrap();
}

#[tokio::test]
async fn taken_lookup_is_drawn_again() {
    let house = House::new().await;
    house.faults().next_manage(Fault::None);
    house.faults().next_manage(Fault::Error(StoreErrorKind::AlreadyExists));
    let issued = house.key().await;
    house.check(text(&issued)).await.unwrap();

    // Key and organization are read first.
    house.faults().next_manage(Fault::None);
    house.faults().next_manage(Fault::None);
    house.faults().next_manage(Fault::Error(StoreErrorKind::AlreadyExists));
    let rotated = house.issuer.rotate(issued.record.id, MINUTE).await.unwrap();
    house.check(text(&rotated)).await.unwrap();
}

#[tokio::test]
async fn failing_store_changes_nothing() {
    let house = House::new().await;
    let issued = house.known_key().await;
    for (error, expected) in [
        (StoreErrorKind::Unavailable, IssueErrorKind::StoreUnavailable),
        (StoreErrorKind::InvalidRecord, IssueErrorKind::InvalidRecord),
        (StoreErrorKind::OutcomeUnknown, IssueErrorKind::OutcomeUnknown),
    ] {
        house.faults().every_manage(Fault::Error(error));
        for refused in [
            house.issuer.revoke(issued.record.id, "").await.map(drop),
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
async fn rotation_needs_the_same_prefix_and_environment() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let other_prefix = KeyFormat::new("acme").unwrap();
    let other_environments = KeyFormat::builder("key").environments(["prod"]).build().unwrap();
    let no_environments = KeyFormat::builder("key").without_environments().build().unwrap();
    for format in [other_prefix, other_environments, no_environments.clone()] {
        let issuer = house.issuer_of(format);
        let refused = issuer.rotate(issued.record.id, MINUTE).await.unwrap_err();
        assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
        // The old one is as good as before.
        house.check(text(&issued)).await.unwrap();
    }

    // And the other way round: a key without an environment must not be given one, or its old secret would die at once.
    let plain = house.issuer_of(no_environments.clone());
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
async fn rotated_disabled_key_stays_disabled() {
    let house = House::new().await;
    let issued = house.key().await;
    house.issuer.disable(issued.record.id).await.unwrap();
    let new = house.issuer.rotate(issued.record.id, MINUTE).await.unwrap();
    assert_eq!(new.record.status, KeyStatus::Disabled);
    assert_eq!(house.refusal(text(&new)).await, RejectionKind::KeyDisabled);
}

#[tokio::test]
async fn concurrent_rotations_leave_two_secrets() {
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
fn store_without_a_fence_is_refused() {
    let store = Unannounced::new(None);
    let error = Issuer::new(store).unwrap_err();
    assert_eq!(error.setting(), "store");
}

/// A store in which a change can be read for a while before it is announced: its barrier stands in between.
#[derive(Clone)]
struct Unannounced {
    rows: MemoryStore,
    fence: Option<Fence>,
    before_announcing: Barrier,
}

impl Unannounced {
    fn new(fence: Option<Fence>) -> Self {
        Self {
            rows: MemoryStore::new(),
            fence,
            before_announcing: Barrier::new(),
        }
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

impl ManagedStore for Unannounced {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let is_update = commit.writes.iter().any(|write| matches!(write, Write::UpdateKey(_)));
        let committed = self.rows.commit(commit).await?;
        if is_update {
            self.before_announcing.pass().await;
            self.fence.as_ref().unwrap().announce(&committed.changes);
        }
        Ok(committed)
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.rows.read(query).await
    }
}

/// Two people stop the same key. The first one's change is committed and not announced yet when the second one finds the
/// key stopped already: told "done", they rely on it.
#[tokio::test]
async fn stopping_a_stopped_key_announces_it() {
    for is_revoke in [true, false] {
        let store = Unannounced::new(Some(Fence::new()));
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        let authenticator = Authenticator::new(store.clone());
        check(&authenticator, text(&issued)).await.unwrap();
        let stop = || {
            let (issuer, id) = (issuer.clone(), issued.record.id);
            async move {
                match is_revoke {
                    true => issuer.revoke(id, "lost").await.unwrap(),
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
async fn time_in_a_key_is_the_issuers() {
    let house = House::new().await;
    let issuer = house.issuer_of(KeyFormat::gml());
    let issued = issuer.issue(house.request("dated")).await.unwrap();
    let seconds = (house.hand.clock().wall().as_millis() / 1000).to_string();
    assert_eq!(text(&issued).split('_').nth(1), Some(&*seconds));
}

#[tokio::test]
async fn expiry_in_the_past_is_refused() {
    let house = House::new().await;
    // Not the system's clock, which is far beyond this one.
    let now = house.hand.clock().wall();
    let before = Timestamp::from_millis(now.as_millis() - 1);
    for end in [now, before, Timestamp::from_millis(0)] {
        let request = house.request("late").expires_at(end);
        let refused = house.issuer.issue(request).await.unwrap_err();
        assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest, "{end}");
        assert_eq!(
            refused.to_string(),
            format!("invalid expiry: must be in the future, got {end}")
        );
    }
    let soon = house.request("soon").expires_at(now.after(Duration::from_millis(1)));
    let issued = house.issuer.issue(soon).await.unwrap();
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test]
async fn expiry_after_the_year_9999_is_refused() {
    let house = House::new().await;
    let id = house.key().await.record.id;
    let last = Timestamp::from_millis(253_402_300_799_999);
    for end in [Timestamp::from_millis(last.as_millis() + 1), last.after(Duration::MAX)] {
        let refused = house
            .issuer
            .issue(house.request("late").expires_at(end))
            .await
            .map(drop);
        let changed = house.issuer.update(id, |record| record.expires_at = Some(end)).await;
        for error in [refused.unwrap_err(), changed.map(drop).unwrap_err()] {
            assert_eq!(error.kind(), IssueErrorKind::InvalidRequest);
            assert!(error.to_string().contains("years 0000 to 9999"), "{error}");
        }
    }
    let issued = house
        .issuer
        .issue(house.request("late").expires_at(last))
        .await
        .unwrap();
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test]
async fn grace_period_after_the_year_9999_is_refused() {
    let house = House::new().await;
    let id = house.key().await.record.id;
    let refused = house.issuer.rotate(id, Duration::MAX).await.unwrap_err();
    assert_eq!(refused.field(), Some("grace period"));
    assert_eq!(refused.to_string(), "invalid grace period: must end by the year 9999");
    assert_eq!(house.issuer.key(id).await.unwrap().unwrap().secrets.len(), 1);
    let century = Duration::from_secs(100 * 365 * 86_400);
    let _second = house.issuer.rotate(id, century).await.unwrap();
}

#[tokio::test]
async fn reached_limit_of_a_store_is_no_failure_of_it() {
    let house = House::new().await;
    let id = house.key().await.record.id;
    house.faults().next_manage(Fault::None);
    house.faults().next_manage(Fault::Error(StoreErrorKind::LimitReached));
    let refused = house.issuer.disable(id).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::LimitReached);
}

#[tokio::test]
async fn expiry_is_counted_from_the_issue() {
    let house = House::new().await;
    let request = house.request("key").expires_in(MINUTE);
    house.hand.advance(MINUTE);
    let issued = house.issuer.issue(request.clone()).await.unwrap();
    assert_eq!(issued.record.expires_at, Some(house.hand.clock().wall().after(MINUTE)));
    house.hand.advance(MINUTE - Duration::from_millis(1));
    house.check(text(&issued)).await.unwrap();
    house.hand.advance(Duration::from_millis(1));
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);

    // The one that was said last counts.
    let far = house.hand.clock().wall().after(10 * MINUTE);
    let issued = house.issuer.issue(request.clone().expires_at(far)).await.unwrap();
    assert_eq!(issued.record.expires_at, Some(far));
    let issued = house
        .issuer
        .issue(request.clone().expires_at(far).expires_in(MINUTE))
        .await
        .unwrap();
    assert!(issued.record.expires_at < Some(far));

    for (time, problem) in [
        (Duration::ZERO, "must be in the future"),
        (Duration::from_micros(999), "must be in the future"),
        (Duration::MAX, "years 0000 to 9999"),
    ] {
        let refused = house.issuer.issue(request.clone().expires_in(time)).await.unwrap_err();
        assert_eq!(refused.field(), Some("expiry"));
        assert!(refused.to_string().contains(problem), "{refused}");
    }
}

#[tokio::test]
async fn unknown_environment_is_named_with_those_there_are() {
    let house = House::new().await;
    let refused = house
        .issuer
        .issue(house.request("key").environment("prod"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
    assert_eq!(
        refused.to_string(),
        "invalid environment: must be one of live, test, got \"prod\""
    );
    let key = text(&house.key().await).to_owned();
    let refused = house
        .issuer
        .issue(house.request("key").environment(&key))
        .await
        .unwrap_err();
    assert!(!refused.to_string().contains(&key[9..]), "{refused}");

    let plain = house.issuer_of(KeyFormat::builder("key").without_environments().build().unwrap());
    let refused = plain.issue(house.request("key").environment("live")).await.unwrap_err();
    assert_eq!(refused.to_string(), "invalid environment: the key format has none");
    let imported = house.issuer_of(KeyFormat::raw());
    let refused = imported.issue(house.request("key")).await.unwrap_err();
    assert_eq!(refused.field(), Some("key format"));
}

/// Records that came in by another way than through an issuer, and that it would not have made. What is wrong with them
/// must not keep them alive.
#[tokio::test]
async fn invalid_imported_rows_can_be_stopped() {
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
        let revoked = house.issuer.revoke(record.id, "leaked").await.unwrap();
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

/// Actor, action and details of an organization's events, in order.
async fn trail(house: &House, organization: OrganizationId) -> Vec<(String, String, Vec<(String, String)>)> {
    let page = house
        .store
        .inner()
        .get(AuditEvents::of(organization).page(100))
        .await
        .unwrap();
    let said = |entry: AuditEntry| {
        let mut event = entry.event;
        // What the fields were and are is tried in `audit_trail`.
        let is_value = |name: &str| name.starts_with("before.") || name.starts_with("after.");
        event.details.retain(|(name, _)| !is_value(name));
        (event.actor.to_string(), event.action.to_string(), event.details)
    };
    page.items.into_iter().map(said).collect()
}

#[tokio::test]
async fn every_change_is_audited_with_its_actor() {
    let house = House::new().await;
    let alice = house.issuer.acting_as(Actor::user("alice"));
    let acme = alice.create_organization("acme").await.unwrap();
    let request = IssueRequest::new(acme.id, "key").user("bob".parse().unwrap());
    let issued = alice.issue(request).await.unwrap();
    assert_eq!(issued.record.created_by, Actor::user("alice"));
    let id = issued.record.id;
    let changed = |record: &mut KeyRecord| {
        record.scopes = "orders:read".parse().unwrap();
        record.name = "renamed".to_owned();
    };
    alice.update(id, changed).await.unwrap();
    alice.disable(id).await.unwrap();
    alice.enable(id).await.unwrap();
    let rotated = alice.rotate(id, MINUTE).await.unwrap();
    let deactivate = |acme: &mut Organization| acme.status = OrganizationStatus::Inactive;
    alice.update_organization(acme.id, deactivate).await.unwrap();
    alice.acting_as(Actor::key(id)).revoke(id, "lost").await.unwrap();
    let user = "user:alice".to_owned();
    let detail = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let ensured = alice.ensure("brand new", "first").await.unwrap();
    let lookup = async |key: KeyId| {
        let stored = house.issuer.key(key).await.unwrap().unwrap();
        detail("lookup", stored.secrets[0].lookup.as_str())
    };
    let new = trail(&house, ensured.organization.id).await;
    let issued_first = (user.clone(), "key.issued".to_owned(), lookup(ensured.record.id).await);
    assert_eq!(
        new,
        [(user.clone(), "organization.created".to_owned(), vec![]), issued_first]
    );
    assert_eq!(ensured.record.created_by, Actor::user("alice"));

    let expected = [
        (&user, "organization.created", vec![]),
        (&user, "key.issued", detail("lookup", issued.lookup.as_str())),
        (&user, "key.updated", detail("changed", "name scopes")),
        (&user, "key.disabled", vec![]),
        (&user, "key.enabled", vec![]),
        (&user, "key.rotated", detail("lookup", rotated.lookup.as_str())),
        (&user, "organization.updated", detail("changed", "status")),
        (&format!("key:{id}"), "key.revoked", detail("reason", "lost")),
    ];
    let expected = expected.map(|(actor, action, details)| (actor.clone(), action.to_owned(), details));
    assert_eq!(trail(&house, acme.id).await, expected);

    let events = house
        .store
        .inner()
        .get(AuditEvents::of(acme.id).key(id))
        .await
        .unwrap()
        .items;
    assert_eq!(events.len(), 6);
    for entry in events {
        assert_eq!(entry.event.user, Some("bob".parse().unwrap()));
        assert_eq!(entry.event.at, house.hand.clock().wall());
    }
}

#[tokio::test]
async fn every_change_of_the_realm_is_audited_with_its_actor() {
    let house = House::new().await;
    let alice = house.issuer.acting_as(Actor::user("alice"));
    alice.rotate_checksum_secret().await.unwrap();
    let rows = house.store.inner();
    let was = rows.get(TheRealm).await.unwrap();
    let mut row = was;
    row.crc_accepted_until = Timestamp::MAX;
    rows.commit(Commit::new().write(Write::UpdateRealm { was, row }))
        .await
        .unwrap();
    alice.end_crc_keys().await.unwrap();
    // There is nothing to end any more.
    alice.end_crc_keys().await.unwrap();

    let of_secret = |id: &str| vec![("purpose".into(), "checksum".into()), ("id".into(), id.to_owned())];
    let expected = [
        ("system".to_owned(), "server_secret.created".to_owned(), of_secret("0")),
        (
            "user:alice".to_owned(),
            "server_secret.rotated".to_owned(),
            of_secret("1"),
        ),
        ("user:alice".to_owned(), "crc_keys.ended".to_owned(), vec![]),
    ];
    let system = OrganizationId::from(uuid::Uuid::nil());
    assert_eq!(trail(&house, system).await, expected);
}

/// A new method that changes something belongs into the tests above, or into those of its own subject: of users, of the end of
/// rotations, of retention, of exports.
#[test]
fn methods_that_change_are_those_whose_audit_is_tested() {
    let page = include_str!("../../docs/public-api.md");
    let issuer = page.split("### `Issuer`").nth(1).unwrap().split("```").nth(1).unwrap();
    let lines = issuer
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub async fn "));
    let methods = lines.filter_map(|line| line.split(['(', '<']).next());
    let reading = [
        "count_active_keys",
        "count_organizations",
        "hygiene",
        "is_valid",
        "key",
        "key_by_hash",
        "key_by_lookup",
        "keys",
        "known_scopes",
        "max_keys",
        "may_create_key",
        "organization",
        "organization_by_email",
        "organization_by_slug",
        "organizations",
        "plan",
        "plan_named",
        "plans",
        "policy_preview",
        "preview",
        "preview_organization_deletion",
        "read",
        "role",
        "roles",
        "statistics",
        "user",
        "users",
    ];
    let mut methods: Vec<&str> = methods.filter(|method| !reading.contains(method)).collect();
    methods.sort_unstable();
    let audited = [
        "activate_organization",
        "commit",
        "create_organization",
        "create_plan",
        "create_role",
        "create_scope",
        "create_user",
        "deactivate_organization",
        "delete_expired",
        "delete_organization",
        "delete_plan",
        "delete_revoked",
        "delete_role",
        "delete_scope",
        "delete_user",
        "disable",
        "disable_all",
        "disable_user",
        "enable",
        "enable_all",
        "enable_user",
        "end_crc_keys",
        "ensure",
        "export_audit",
        "export_audit_file",
        "finish",
        "forget",
        "issue",
        "issue_once",
        "revoke",
        "revoke_all",
        "revoke_with_descendants",
        "rotate",
        "rotate_checksum_secret",
        "take_back",
        "update",
        "update_organization",
        "update_plan",
        "update_role",
        "update_scope",
        "update_user",
    ];
    assert_eq!(methods, audited);
}

#[tokio::test]
async fn what_changes_nothing_is_not_audited() {
    let house = House::new().await;
    let id = house.key().await.record.id;
    house.issuer.disable(id).await.unwrap();
    let before = trail(&house, house.organization.id).await;
    house.issuer.disable(id).await.unwrap();
    house.issuer.update(id, |_| {}).await.unwrap();
    let changes = house.store.fence().unwrap().changes();
    let acme = house
        .issuer
        .update_organization(house.organization.id, |_| {})
        .await
        .unwrap();
    assert_eq!(acme.revision, house.organization.revision);
    // Someone else may have made the change a moment ago.
    assert_eq!(house.store.fence().unwrap().changes(), changes + 1);
    house.faults().every_manage(Fault::Error(StoreErrorKind::Unavailable));
    house.issuer.enable(id).await.unwrap_err();
    house.faults().heal();
    house.issuer.rotate(KeyId::new(), MINUTE).await.unwrap_err();
    assert_eq!(trail(&house, house.organization.id).await, before);
}

#[tokio::test]
async fn read_only_store_is_reported_as_such() {
    let rows = MemoryStore::new();
    let issuer = Issuer::new(DynStore::find_only(rows)).unwrap();
    let refused = issuer.create_organization("acme").await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::ReadOnly);
    let refused = issuer.disable(KeyId::new()).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::ReadOnly);
}
