//! The decision about a request: every kind of rejection, and what the context of an admitted request has.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::time::Duration;

use crate::support::rows::Rows as _;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    Checksum, KeyFormat, KeyFormats, KeyRecord, KeySecret, Lookup, Metadata, Organization, OrganizationStatus,
    RateLimit, Scope, SecretHash, Timestamp,
};
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, Write};
use tower_api_key::testing::FaultStore;
use tower_api_key::{
    ApiKeyLayer, ApiKeys, ApiKeysBuilder, AuthContext, Authenticator, HeadersOnly, IssueErrorKind, IssueRequest,
    IssuedKey, PresentedKey, Rejection, RejectionClass, RejectionKind,
};

use crate::house::*;

const MINUTE: Duration = Duration::from_secs(60);

fn limit(name: &str, limit: u32, per: Duration) -> RateLimit {
    RateLimit::new(name, limit, per).unwrap()
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

impl House {
    /// Checks with and without waiting. Both must decide the same.
    async fn both(&self, presented: impl Fn() -> PresentedKey<'static>) -> Result<AuthContext, Rejection> {
        let waited = self.authenticator.check(presented()).await;
        if let Some(now) = self.authenticator.try_check(presented()) {
            let kind = |checked: &Result<AuthContext, Rejection>| checked.as_ref().map(|_| ()).map_err(Rejection::kind);
            assert_eq!(kind(&now), kind(&waited));
        }
        waited
    }

    async fn both_refuse(&self, key: &str) -> Rejection {
        let key: &'static str = key.to_owned().leak();
        let rejection = self.both(|| PresentedKey::new(key.as_bytes())).await.unwrap_err();
        // The cached answer must be the same.
        assert_eq!(self.refusal(key).await, rejection.kind());
        rejection
    }

    async fn issued(&self, request: IssueRequest) -> IssuedKey {
        self.issuer.issue(request).await.unwrap()
    }

    async fn update(&self, issued: &IssuedKey, change: impl Fn(&mut KeyRecord) + Send + Sync) {
        self.issuer.update(issued.record.id, change).await.unwrap();
    }

    async fn update_organization(&self, change: impl Fn(&mut Organization) + Send + Sync) {
        self.issuer
            .update_organization(self.organization.id, change)
            .await
            .unwrap();
    }
}

/// A rejection names the key once its secret was verified, and not before.
#[track_caller]
fn names_key(rejection: &Rejection, issued: &IssuedKey, names: bool) {
    assert_eq!(rejection.key_id(), names.then_some(issued.record.id));
    assert_eq!(
        rejection.organization_id(),
        names.then_some(issued.record.organization_id)
    );
    assert_eq!(rejection.lookup(), Some(&issued.lookup));
}

#[tokio::test]
async fn malformed_keys_never_reach_the_store() {
    let house = House::new().await;
    let good = text(&house.key().await).to_owned();
    let mut bad: Vec<Vec<u8>> = vec![
        vec![],
        b" ".to_vec(),
        b"key_live_".to_vec(),
        b"Bearer".to_vec(),
        vec![b'a'; 257],
        vec![b'a'; 100_000],
        vec![0; 59],
        vec![0xFF; 59],
        good.as_bytes()[..good.len() - 1].to_vec(),
        format!("{good}0").into_bytes(),
        format!(" {good}").into_bytes(),
        format!("{good}\t").into_bytes(),
        format!("{good},{good}").into_bytes(),
        format!("Bearer {good}").into_bytes(),
        good.replace("key_", "KEY_").into_bytes(),
        good.replace("_live_", "_prod_").into_bytes(),
        good.replace("_live_", "_test_").into_bytes()[..20].to_vec(),
        "key_live_\u{e9}\u{e9}".as_bytes().to_vec(),
    ];
    // One wrong character: the checksum does not match.
    for place in 9..good.len() {
        let mut key = good.clone().into_bytes();
        key[place] = if key[place] == b'a' { b'b' } else { b'a' };
        bad.push(key);
    }
    // Of the greatest length that is read at all.
    let mut padded = good.clone().into_bytes();
    padded.resize(256, b'0');
    bad.push(padded);
    let bad: Vec<&'static [u8]> = bad.into_iter().map(|key| &*key.leak()).collect();
    // It makes no difference whether the key that they resemble is cached.
    for finds in 0..2 {
        for key in &bad {
            let now = house
                .authenticator
                .try_check(PresentedKey::new(key))
                .unwrap()
                .unwrap_err();
            assert_eq!(now.kind(), RejectionKind::MalformedKey, "{}", key.escape_ascii());
            assert_eq!((now.lookup(), now.key_id(), now.retry_after()), (None, None, None));
            let waited = house.authenticator.check(PresentedKey::new(key)).await;
            let waited = waited.unwrap_err();
            assert_eq!(waited.kind(), RejectionKind::MalformedKey);
            assert_eq!(waited.kind().class(), RejectionClass::InvalidCredential);
        }
        assert_eq!(house.faults().finds(), finds);
        house.check(&good).await.unwrap();
    }
}

#[tokio::test]
async fn unknown_key_and_wrong_secret_are_told_apart_inside() {
    let house = House::new().await;
    let issued = house.key().await;
    let rejection = house.both_refuse(&unknown_key(7)).await;
    assert_eq!(rejection.kind(), RejectionKind::UnknownKey);
    assert_eq!(rejection.key_id(), None);
    assert_eq!(rejection.lookup().unwrap().as_str(), "ZZZZZZZZZZZ7");
    for _ in 0..2 {
        let rejection = house.both_refuse(&with_other_secret(text(&issued), 1)).await;
        assert_eq!(rejection.kind(), RejectionKind::WrongSecret);
        names_key(&rejection, &issued, false);
        // And again when the right key is cached.
        house.check(text(&issued)).await.unwrap();
    }
}

#[tokio::test]
async fn disabled_key_is_rejected_until_enabled() {
    let house = House::new().await;
    let issued = house.known_key().await;
    for _ in 0..3 {
        house.issuer.disable(issued.record.id).await.unwrap();
        let rejection = house.both_refuse(text(&issued)).await;
        assert_eq!(rejection.kind(), RejectionKind::KeyDisabled);
        assert_eq!(rejection.kind().class(), RejectionClass::InvalidCredential);
        names_key(&rejection, &issued, true);
        // Without the secret, nothing tells that the key is disabled.
        let rejection = house.both_refuse(&with_other_secret(text(&issued), 1)).await;
        assert_eq!(rejection.kind(), RejectionKind::WrongSecret);
        names_key(&rejection, &issued, false);
        house.issuer.enable(issued.record.id).await.unwrap();
        house.check(text(&issued)).await.unwrap();
    }
}

#[tokio::test]
async fn revoked_key_cannot_be_enabled_again() {
    let house = House::new().await;
    let issued = house.known_key().await;
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    let rejection = house.both_refuse(text(&issued)).await;
    assert_eq!(rejection.kind(), RejectionKind::KeyRevoked);
    names_key(&rejection, &issued, true);
    for refused in [
        house.issuer.enable(issued.record.id).await.unwrap_err(),
        house.issuer.disable(issued.record.id).await.unwrap_err(),
        house.issuer.rotate(issued.record.id, MINUTE).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), IssueErrorKind::Revoked);
    }
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
}

#[tokio::test]
async fn key_expires_at_its_date_and_not_before() {
    let house = House::new().await;
    let end = house.hand.clock().wall().after(MINUTE);
    let issued = house.issued(house.request("key").expires_at(end)).await;
    assert_eq!(house.check(text(&issued)).await.unwrap().expires_at(), Some(end));
    house.hand.advance(MINUTE - Duration::from_millis(1));
    house.check(text(&issued)).await.unwrap();
    house.hand.advance(Duration::from_millis(1));
    let rejection = house.both_refuse(text(&issued)).await;
    assert_eq!(rejection.kind(), RejectionKind::KeyExpired);
    names_key(&rejection, &issued, true);
    // Its expiry was cached: no read was needed.
    assert_eq!(house.faults().finds(), 1);
    // A node that sees the key for the first time rejects it too.
    let another = Authenticator::builder(house.store.clone())
        .clock(house.hand.clock())
        .build();
    assert_eq!(kind(&check(&another, text(&issued)).await), RejectionKind::KeyExpired);
}

#[tokio::test]
async fn wall_clock_set_back_never_unexpires_a_key() {
    let house = House::new().await;
    let day = 24 * 3600 * 1000;
    let end = house.hand.clock().wall().after(MINUTE);
    let (cached, unread) = (
        house.issued(house.request("cached").expires_at(end)).await,
        house.issued(house.request("unread").expires_at(end)).await,
    );
    house.check(text(&cached)).await.unwrap();
    house.hand.advance(MINUTE);
    assert_eq!(house.refusal(text(&cached)).await, RejectionKind::KeyExpired);
    house.hand.step_wall(-day);
    for _ in 0..2 {
        assert_eq!(house.refusal(text(&cached)).await, RejectionKind::KeyExpired);
        assert_eq!(house.refusal(text(&unread)).await, RejectionKind::KeyExpired);
        // The same after a new read.
        house.everything_changed();
        assert_eq!(house.refusal(text(&cached)).await, RejectionKind::KeyExpired);
        house.hand.advance(Duration::from_secs(301));
    }
}

/// The clock is set back before any key with an expiry is read: the authenticator must know the time of its start.
#[tokio::test]
async fn wall_clock_set_back_before_the_first_read_unexpires_no_key() {
    let hand = tower_api_key::testing::ManualClock::new();
    let store = MemoryStore::new();
    // A clock of its own, as another process has it.
    let elsewhere = tower_api_key::testing::ManualClock::new().clock();
    let end = elsewhere.wall().after(MINUTE);
    let issuing = acting(
        ApiKeys::builder(store.clone())
            .hash_policy(HashPolicy::sha256())
            .clock(elsewhere),
    );
    let acme = issuing.create_organization("acme").await.unwrap();
    let issued = issuing
        .issue(IssueRequest::new(acme.id, "key").expires_at(end))
        .await
        .unwrap();
    let authenticator = Authenticator::builder(store).clock(hand.clock()).build();
    hand.advance(2 * MINUTE);
    hand.step_wall(-24 * 3600 * 1000);
    assert_eq!(
        kind(&check(&authenticator, text(&issued)).await),
        RejectionKind::KeyExpired
    );
}

#[tokio::test]
async fn wall_clock_set_forward_counts_at_the_next_read() {
    let house = House::new().await;
    let end = house.hand.clock().wall().after(MINUTE);
    let issued = house.issued(house.request("key").expires_at(end)).await;
    house.check(text(&issued)).await.unwrap();
    house.hand.step_wall(60_000);
    house.everything_changed();
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
}

#[tokio::test]
async fn later_expiry_revives_an_expired_key() {
    let house = House::new().await;
    let clock = house.hand.clock();
    let issued = house
        .issued(house.request("key").expires_at(clock.wall().after(MINUTE)))
        .await;
    house.hand.advance(MINUTE);
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyExpired);
    let later = clock.wall().after(MINUTE);
    house.update(&issued, |record| record.expires_at = Some(later)).await;
    house.check(text(&issued)).await.unwrap();
    house.update(&issued, |record| record.expires_at = None).await;
    assert_eq!(house.check(text(&issued)).await.unwrap().expires_at(), None);
}

#[tokio::test]
async fn rotation_grace_admits_both_secrets_then_only_the_new() {
    let house = House::new().await;
    let old = house.known_key().await;
    let end = house.hand.clock().wall().after(MINUTE);
    let new = house.issuer.rotate(old.record.id, MINUTE).await.unwrap();
    assert_eq!(new.record.id, old.record.id);
    assert_ne!(new.lookup, old.lookup);
    let (by_old, by_new) = (
        house.check(text(&old)).await.unwrap(),
        house.check(text(&new)).await.unwrap(),
    );
    assert_eq!((by_old.key_id(), by_new.key_id()), (old.record.id, old.record.id));
    assert_eq!((by_old.expires_at(), by_new.expires_at()), (Some(end), None));

    let again = house.issuer.rotate(old.record.id, MINUTE).await.unwrap_err();
    assert_eq!(again.kind(), IssueErrorKind::RotationInProgress);

    house.hand.advance(MINUTE - Duration::from_millis(1));
    house.check(text(&old)).await.unwrap();
    house.hand.advance(Duration::from_millis(1));
    assert_eq!(house.both_refuse(text(&old)).await.kind(), RejectionKind::KeyExpired);
    house.check(text(&new)).await.unwrap();
    // Now there is room for another secret.
    let newest = house.issuer.rotate(old.record.id, MINUTE).await.unwrap();
    for issued in [&new, &newest] {
        house.check(text(issued)).await.unwrap();
    }
    assert_eq!(house.refusal(text(&old)).await, RejectionKind::UnknownKey);
}

#[tokio::test]
async fn old_secret_ends_with_its_key_if_that_is_before_the_grace() {
    let house = House::new().await;
    let end = house.hand.clock().wall().after(MINUTE);
    let old = house.issued(house.request("key").expires_at(end)).await;
    let new = house.issuer.rotate(old.record.id, 10 * MINUTE).await.unwrap();
    for issued in [&old, &new] {
        assert_eq!(house.check(text(issued)).await.unwrap().expires_at(), Some(end));
    }
    house.hand.advance(MINUTE);
    for issued in [&old, &new] {
        assert_eq!(house.refusal(text(issued)).await, RejectionKind::KeyExpired);
    }
    let late = house.issuer.rotate(old.record.id, MINUTE).await.unwrap_err();
    assert_eq!(late.kind(), IssueErrorKind::Expired);
}

#[tokio::test]
async fn rotation_without_grace_ends_all_older_secrets_at_once() {
    let house = House::new().await;
    let first = house.known_key().await;
    let second = house.issuer.rotate(first.record.id, MINUTE).await.unwrap();
    house.check(text(&second)).await.unwrap();
    let third = house.issuer.rotate(first.record.id, Duration::ZERO).await.unwrap();
    for old in [&first, &second] {
        assert_eq!(house.both_refuse(text(old)).await.kind(), RejectionKind::UnknownKey);
    }
    house.check(text(&third)).await.unwrap();
}

#[tokio::test]
async fn revoke_ends_both_secrets_of_a_rotation() {
    let house = House::new().await;
    let old = house.known_key().await;
    let new = house.issuer.rotate(old.record.id, MINUTE).await.unwrap();
    house.check(text(&new)).await.unwrap();
    house.issuer.revoke(old.record.id, "lost").await.unwrap();
    for issued in [&old, &new] {
        assert_eq!(house.both_refuse(text(issued)).await.kind(), RejectionKind::KeyRevoked);
    }
}

#[tokio::test]
async fn inactive_organization_stops_all_its_keys_and_no_other() {
    let house = House::new().await;
    let (one, two) = (house.known_key().await, house.key().await);
    let other = house.issuer.create_organization("other").await.unwrap();
    let foreign = house.issued(IssueRequest::new(other.id, "key")).await;
    house
        .update_organization(|acme| acme.status = OrganizationStatus::Inactive)
        .await;
    for issued in [&one, &two] {
        let rejection = house.both_refuse(text(issued)).await;
        assert_eq!(rejection.kind(), RejectionKind::OrganizationInactive);
        assert_eq!(rejection.kind().class(), RejectionClass::InvalidCredential);
        names_key(&rejection, issued, true);
    }
    house.check(text(&foreign)).await.unwrap();
    house
        .update_organization(|acme| acme.status = OrganizationStatus::Active)
        .await;
    house.check(text(&one)).await.unwrap();
}

#[tokio::test]
async fn key_is_bound_to_its_networks() {
    let house = House::new().await;
    let request = house
        .request("key")
        .networks("192.0.2.0/24 2001:db8::/48".parse().unwrap());
    let issued = house.issued(request).await;
    let key: &'static str = text(&issued).to_owned().leak();
    let from = |address: Option<&'static str>| {
        let address = address.map(|address| address.parse().unwrap());
        house.both(move || PresentedKey::new(key.as_bytes()).client_address(address))
    };
    for inside in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8:0:ffff::1"] {
        from(Some(inside)).await.unwrap();
    }
    for outside in [
        None,
        Some("192.0.3.7"),
        Some("::ffff:192.0.3.7"),
        Some("2001:db9::1"),
        Some("::192.0.2.7"),
    ] {
        let rejection = from(outside).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::NetworkNotAllowed, "{outside:?}");
        assert_eq!(rejection.kind().class(), RejectionClass::Forbidden);
        names_key(&rejection, &issued, true);
    }
    // Without the secret, the network is not even looked at.
    let wrong = house.refusal(&with_other_secret(key, 1)).await;
    assert_eq!(wrong, RejectionKind::WrongSecret);
    house
        .update(&issued, |record| record.networks = Default::default())
        .await;
    from(None).await.unwrap();
}

#[tokio::test]
async fn required_scope_must_be_granted() {
    let house = House::new().await;
    let request = house.request("key").scopes("orders:* invoices:read".parse().unwrap());
    let issued = house.issued(request).await;
    let key: &'static str = text(&issued).to_owned().leak();
    let with = |needed: &str| {
        let needed: &'static Scope = Box::leak(Box::new(scope(needed)));
        house.both(move || PresentedKey::new(key.as_bytes()).require_scope(needed))
    };
    for held in ["orders:read", "orders:write", "orders:*", "invoices:read"] {
        let context = with(held).await.unwrap();
        assert!(context.allows(&scope(held)));
    }
    for lacking in ["invoices:write", "invoices:*", "*", "orders", "orders-archive:read"] {
        let rejection = with(lacking).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::InsufficientScope);
        assert_eq!(rejection.kind().class(), RejectionClass::Forbidden);
        assert_eq!(rejection.required_scopes(), [scope(lacking)]);
        names_key(&rejection, &issued, true);
    }
}

#[tokio::test]
async fn exhausted_limit_of_the_key_rejects_until_refilled() {
    let house = House::new().await;
    let two = limit("requests", 2, MINUTE);
    let issued = house.issued(house.request("key").limit(two.clone())).await;
    let context = house.check(text(&issued)).await.unwrap();
    let allowance: Vec<_> = context.allowance().collect();
    assert_eq!(allowance.len(), 1);
    assert_eq!((allowance[0].0, allowance[0].1.remaining()), (&two, 1));
    house.check(text(&issued)).await.unwrap();

    let rejection = house.check(text(&issued)).await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    assert_eq!(rejection.kind().class(), RejectionClass::TooManyRequests);
    assert_eq!(rejection.retry_after(), Some(MINUTE / 2));
    names_key(&rejection, &issued, true);
    let limits = rejection.limits().unwrap();
    assert_eq!((limits.violated.as_slice(), &limits.limits[0].0), (&[0][..], &two));
    let now = house
        .authenticator
        .try_check(PresentedKey::new(text(&issued).as_bytes()))
        .unwrap();
    assert_eq!(kind(&now), RejectionKind::RateLimited);

    house.hand.advance(MINUTE / 2);
    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::RateLimited);
}

/// Its entry is still cached, stale. Without this, every retry of an ended secret would wait for a read.
#[tokio::test]
async fn secret_found_ended_a_moment_ago_is_rejected_at_once() {
    for limits in [vec![], vec![limit("requests", 100, MINUTE)]] {
        let house = House::new().await;
        let mut request = house.request("key");
        for limit in limits {
            request = request.limit(limit);
        }
        let issued = house.issued(request).await;
        house.check(text(&issued)).await.unwrap();
        let _ = house.issuer.rotate(issued.record.id, Duration::ZERO).await.unwrap();

        let presented = || PresentedKey::new(text(&issued).as_bytes());
        assert!(
            house.authenticator.try_check(presented()).is_none(),
            "its record was not read since"
        );
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::UnknownKey);
        let now = house.authenticator.try_check(presented()).unwrap();
        assert_eq!(kind(&now), RejectionKind::UnknownKey);
    }
}

#[tokio::test]
async fn limit_of_the_organization_is_shared_by_its_keys() {
    let house = House::new().await;
    house
        .update_organization(|acme| acme.limits = vec![limit("together", 3, MINUTE)])
        .await;
    let (one, two) = (house.key().await, house.key().await);
    house.check(text(&one)).await.unwrap();
    house.check(text(&two)).await.unwrap();
    let context = house.check(text(&one)).await.unwrap();
    let (name, state) = context.allowance().next().unwrap();
    assert_eq!((name.name(), state.remaining()), ("together", 0));
    for issued in [&one, &two] {
        assert_eq!(house.refusal(text(issued)).await, RejectionKind::RateLimited);
    }
}

#[tokio::test]
async fn key_and_organization_limits_are_charged_all_or_none() {
    let house = House::new().await;
    house
        .update_organization(|acme| acme.limits = vec![limit("together", 3, MINUTE)])
        .await;
    let tight = house
        .issued(house.request("tight").limit(limit("own", 1, MINUTE)))
        .await;
    let other = house.key().await;
    let context = house.check(text(&tight)).await.unwrap();
    let names: Vec<_> = context
        .allowance()
        .map(|(limit, state)| (limit.name().to_owned(), state.remaining()))
        .collect();
    assert_eq!(names, [("own".to_owned(), 0), ("together".to_owned(), 2)]);
    // Rejected by its own limit: the shared limit is not charged.
    for _ in 0..10 {
        let rejection = house.check(text(&tight)).await.unwrap_err();
        assert_eq!(rejection.limits().unwrap().violated, [0]);
    }
    house.check(text(&other)).await.unwrap();
    house.check(text(&other)).await.unwrap();
    // Rejected by the shared limit: its own limit is not charged.
    house.hand.advance(MINUTE / 3);
    house.check(text(&other)).await.unwrap();
    let rejection = house.check(text(&tight)).await.unwrap_err();
    assert_eq!(rejection.limits().unwrap().violated, [0, 1]);
    house.hand.advance(2 * MINUTE);
    house.check(text(&tight)).await.unwrap();
}

#[tokio::test]
async fn rejected_request_is_not_charged() {
    let house = House::new().await;
    let request = house
        .request("key")
        .limit(limit("requests", 1, MINUTE))
        .scopes("orders:read".parse().unwrap());
    let issued = house.issued(request).await;
    let needed = scope("orders:write");
    for _ in 0..10 {
        let presented = PresentedKey::new(text(&issued).as_bytes()).require_scope(&needed);
        let refused = house.authenticator.check(presented).await;
        assert_eq!(kind(&refused), RejectionKind::InsufficientScope);
        assert_eq!(
            house.refusal(&with_other_secret(text(&issued), 1)).await,
            RejectionKind::WrongSecret
        );
    }
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test]
async fn request_that_has_to_wait_is_charged_once() {
    // The limiter itself makes a change, between the charge and the last step.
    struct Meddling(tower_api_key::limit::LocalLimiter, FaultStore<MemoryStore>);
    impl tower_api_key::limit::RateLimiter for Meddling {
        fn take(&self, charge: &tower_api_key::limit::Charge<'_>) -> tower_api_key::limit::Take {
            let taken = self.0.take(charge);
            tower_api_key::store::KeyStore::fence(&self.1)
                .unwrap()
                .everything_changed();
            taken
        }

        fn is_immediate(&self) -> bool {
            true
        }
    }
    let store = FaultStore::new(MemoryStore::new());
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let request = IssueRequest::new(acme.id, "key").limit(limit("requests", 10, MINUTE));
    let issued = issuer.issue(request).await.unwrap();
    let hand = tower_api_key::testing::ManualClock::new();
    let limiter = Meddling(Default::default(), store.clone());
    let authenticator = Authenticator::builder(store)
        .clock(hand.clock())
        .limiter(limiter)
        .build();
    let remaining = |context: &AuthContext| context.allowance().next().unwrap().1.remaining();
    let context = check(&authenticator, text(&issued)).await.unwrap();
    assert_eq!(remaining(&context), 9);
    // The layer steps at once, which cannot be confirmed, and continues the same check in its future.
    let layer = ApiKeyLayer::from(authenticator.clone()).responder(HeadersOnly);
    let begin = || {
        let request = Request::builder().header("x-api-key", text(&issued)).body(()).unwrap();
        let inner = service_fn(|request: Request<()>| ready(Ok::<_, Infallible>(Response::new(request))));
        layer.layer(inner).call(request)
    };
    let context_of = |response: Result<Response<Request<()>>, Infallible>| {
        let request = response.unwrap().into_body();
        request.extensions().get::<AuthContext>().unwrap().clone()
    };
    for left in [8, 7] {
        assert_eq!(remaining(&context_of(begin().await)), left, "charged twice");
    }
    // The states of the charged limits are not reported for other limits, not even for as many.
    for limits in [
        vec![limit("new", 5, MINUTE), limit("requests", 10, MINUTE)],
        vec![limit("others", 5, MINUTE), limit("other", 10, MINUTE)],
    ] {
        check(&authenticator, text(&issued)).await.unwrap();
        let charged = begin();
        let change = |record: &mut KeyRecord| record.limits.clone_from(&limits);
        issuer.update(issued.record.id, change).await.unwrap();
        assert_eq!(context_of(charged.await).allowance().len(), 0);
    }
    // Without a future the check cannot continue, and a new check would charge the request again.
    check(&authenticator, text(&issued)).await.unwrap();
    let presented = PresentedKey::new(text(&issued).as_bytes());
    let now = authenticator.try_check(presented).unwrap();
    assert_eq!(kind(&now), RejectionKind::NotConfirmed);
    // The entry is stale now, which shows before anything is charged.
    assert!(authenticator.try_check(presented).is_none());
    assert!(authenticator.try_check(presented).is_none());
}

/// The states of charged limits are not reported for limits that replaced them meanwhile.
#[tokio::test]
async fn states_of_replaced_limits_are_not_reported_for_new_limits() {
    use tower_api_key::limit::{Charge, Decision, LocalLimiter, RateLimiter, Take};

    /// Changes the limits of the first key that it charges.
    struct Meddling {
        inner: LocalLimiter,
        change: std::sync::Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    }
    impl RateLimiter for Meddling {
        fn take(&self, charge: &Charge<'_>) -> Take {
            let Take::Now(decision) = self.inner.take(charge) else {
                return Take::Now(Decision::Unavailable);
            };
            let change = self.change.lock().unwrap().take();
            Take::Later(Box::pin(async {
                if let Some(change) = change {
                    change.await;
                }
                decision
            }))
        }
    }
    let store = FaultStore::new(MemoryStore::new());
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let request = IssueRequest::new(acme.id, "key").limit(limit("old", 10, MINUTE));
    let issued = issuer.issue(request).await.unwrap();
    let (id, writer) = (issued.record.id, issuer.clone());
    let change = async move {
        let change = |record: &mut KeyRecord| record.limits = vec![limit("new", 3, MINUTE)];
        writer.update(id, change).await.unwrap();
    };
    let limiter = Meddling {
        inner: LocalLimiter::new(),
        change: std::sync::Mutex::new(Some(Box::pin(change))),
    };
    let authenticator = Authenticator::builder(store).limiter(limiter).build();
    let left = |context: &AuthContext| -> Vec<_> {
        let left = context
            .allowance()
            .map(|(limit, state)| (limit.name().to_owned(), state.remaining()));
        left.collect()
    };
    let context = check(&authenticator, text(&issued)).await.unwrap();
    assert_eq!(left(&context), []);
    let context = check(&authenticator, text(&issued)).await.unwrap();
    assert_eq!(left(&context), [("new".to_owned(), 2)]);
}

#[tokio::test]
async fn change_counts_from_the_very_next_check() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let needed = scope("orders:read");
    for round in 0..20 {
        let (scopes, limits) = match round % 2 {
            0 => ("orders:read", vec![]),
            _ => ("", vec![limit("requests", 1_000 + round, MINUTE)]),
        };
        house
            .update(&issued, |record| {
                record.scopes = scopes.parse().unwrap();
                record.limits.clone_from(&limits);
                record.name = format!("round {round}");
            })
            .await;
        let presented = PresentedKey::new(text(&issued).as_bytes()).require_scope(&needed);
        let with_scope = house.authenticator.check(presented).await;
        assert_eq!(with_scope.is_ok(), round % 2 == 0, "round {round}");
        let context = house.check(text(&issued)).await.unwrap();
        assert_eq!(context.name(), format!("round {round}"));
        let seen: Vec<RateLimit> = context.allowance().map(|(limit, _)| limit.clone()).collect();
        assert_eq!(seen, limits);
    }
    house.update_organization(|acme| acme.name = "renamed".into()).await;
    assert_eq!(house.check(text(&issued)).await.unwrap().organization().name, "renamed");
    house
        .update_organization(|acme| acme.limits = vec![limit("few", 1, MINUTE)])
        .await;
    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::RateLimited);
    house.update_organization(|acme| acme.limits = vec![]).await;
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test]
async fn context_has_all_fields_of_the_key() {
    let house = House::new().await;
    let mut metadata = Metadata::default();
    metadata.set("team", "exports").unwrap();
    let end = house.hand.clock().wall().after(MINUTE);
    let request = house
        .request("nightly export")
        .user("u-17".parse().unwrap())
        .environment("test")
        .scopes("orders:read".parse().unwrap())
        .limit(limit("requests", 5, MINUTE))
        .metadata(metadata.clone())
        .expires_at(end);
    let issued = house.issued(request).await;
    let context = house.check(text(&issued)).await.unwrap();
    assert_eq!(context.organization(), &house.organization);
    assert_eq!(context.user(), Some("u-17"));
    assert_eq!(context.key_id(), issued.record.id);
    assert_eq!(context.name(), "nightly export");
    assert_eq!(context.lookup(), &issued.lookup);
    assert_eq!(context.scopes().as_str(), "orders:read");
    assert!(context.allows(&scope("orders:read")));
    assert!(!context.allows(&scope("orders:write")));
    assert_eq!(context.environment(), Some("test"));
    assert_eq!(context.metadata(), &metadata);
    assert_eq!(context.expires_at(), Some(end));
    assert_eq!(context.allowance().len(), 1);

    let plain = house.known_key().await;
    let context = house.check(text(&plain)).await.unwrap();
    assert_eq!((context.user(), context.name()), (None, "key"));
    assert_eq!(context.environment(), Some("live"));
    assert!(context.metadata().is_empty());
    assert_eq!((context.expires_at(), context.allowance().len()), (None, 0));
    assert_eq!(context.scopes().iter().count(), 0);
}

#[tokio::test]
async fn same_body_in_another_environment_is_another_key() {
    let house = House::new().await;
    let live = house.key().await;
    let forged = in_test_environment(text(&live));
    for _ in 0..2 {
        let rejection = house.both_refuse(&forged).await;
        assert_eq!(rejection.kind(), RejectionKind::WrongSecret);
        names_key(&rejection, &live, false);
        house.check(text(&live)).await.unwrap();
    }
}

fn formats(builder: ApiKeysBuilder<FaultStore<MemoryStore>>) -> ApiKeysBuilder<FaultStore<MemoryStore>> {
    let formats = [
        KeyFormat::default(),
        KeyFormat::cmpz(),
        KeyFormat::pk(),
        KeyFormat::raw(),
    ];
    builder.formats(KeyFormats::new(formats).unwrap())
}

#[tokio::test]
async fn keys_of_several_formats_are_accepted() {
    let house = House::with(HashPolicy::sha256(), formats).await;
    let mut issued = vec![house.key().await];
    for format in [KeyFormat::cmpz(), KeyFormat::pk()] {
        let issuer = house.issuer_of(format);
        issued.push(issuer.issue(house.request("key")).await.unwrap());
    }
    for _ in 0..2 {
        for issued in &issued {
            assert_eq!(house.check(text(issued)).await.unwrap().key_id(), issued.record.id);
        }
    }
    assert_eq!(
        house.refusal("cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV").await,
        RejectionKind::UnknownKey
    );
    assert_eq!(
        house.refusal("some key of long ago, or not").await,
        RejectionKind::MalformedKey
    );
    let raw = house
        .check("0123456789-some-key-of-another-system-9876543210")
        .await
        .unwrap_err();
    assert_eq!(raw.kind(), RejectionKind::UnknownKey);
    // The lookup of such a key is its hash, of which only the start may be shown.
    assert_eq!(raw.lookup().unwrap().to_string().len(), 8);
    // A key of none of the authenticator's formats is malformed.
    let own_only = Authenticator::new(house.store.clone());
    assert_eq!(
        kind(&check(&own_only, text(&issued[1])).await),
        RejectionKind::MalformedKey
    );
}

/// The lengths of a text say which format to look for in the cache, and two formats may have them.
#[tokio::test]
async fn cached_key_of_a_format_as_long_as_another_is_not_read_again() {
    let without_prefix = KeyFormat::builder("").without_environments().body_length(41);
    let without_prefix = without_prefix.checksum(Checksum::None).build().unwrap();
    let formats = KeyFormats::new([without_prefix, KeyFormat::django_rest_framework()]).unwrap();
    let house = House::with(HashPolicy::sha256(), |settings| settings.formats(formats)).await;
    let issuer = house.issuer_of(KeyFormat::django_rest_framework());
    let issued = issuer.issue(house.request("key")).await.unwrap();
    assert_eq!(text(&issued).len(), 41);
    house.check(text(&issued)).await.unwrap();
    let finds = house.store.faults().finds();
    for _ in 0..3 {
        let context = house.check(text(&issued)).await.unwrap();
        assert_eq!(context.key_id(), issued.record.id);
    }
    assert_eq!(house.store.faults().finds(), finds);
    let wrong = text(&issued).replace('.', "0");
    assert_ne!(house.refusal(&wrong).await, RejectionKind::MalformedKey);
    issuer.revoke(issued.record.id, "lost").await.unwrap();
    assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
}

#[tokio::test]
async fn raw_key_like_a_misspelled_key_of_ours_is_accepted() {
    let house = House::with(HashPolicy::sha256(), formats).await;
    let ours = house.known_key().await;
    let mut raw = text(&ours).to_owned();
    let last = raw.pop().unwrap();
    raw.push(if last == '0' { '1' } else { '0' });
    assert_eq!(
        house.refusal(&raw).await,
        RejectionKind::UnknownKey,
        "it is no malformed one"
    );

    let lookup = KeyFormat::raw().parse(raw.as_bytes()).unwrap().lookup().to_owned();
    let now = Timestamp::from_millis(0);
    let record = KeyRecord::new(house.organization.id, "of another system", now);
    let hash = SecretHash::new(format!("sha256:{lookup}")).unwrap();
    let secret = KeySecret::new(Lookup::new(&lookup).unwrap(), hash, now);
    house.store.inner().insert_key(record.clone(), secret).await.unwrap();
    for _ in 0..2 {
        let raw: &'static str = raw.clone().leak();
        let context = house.both(|| PresentedKey::new(raw.as_bytes())).await.unwrap();
        assert_eq!(context.key_id(), record.id);
        let ours = house.check(text(&ours)).await.unwrap();
        assert_ne!(ours.key_id(), record.id);
    }
}

#[tokio::test]
async fn clones_share_cache_and_limits() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let clone = house.authenticator.clone();
    clone
        .try_check(PresentedKey::new(text(&issued).as_bytes()))
        .unwrap()
        .unwrap();
    assert_eq!(clone.cached_keys(), 1);
    // Another authenticator has its own cache, but sees the same changes.
    let other = Authenticator::new(house.store.clone());
    assert!(other.try_check(PresentedKey::new(text(&issued).as_bytes())).is_none());
    check(&other, text(&issued)).await.unwrap();
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    for authenticator in [&clone, &other] {
        assert_eq!(
            kind(&check(authenticator, text(&issued)).await),
            RejectionKind::KeyRevoked
        );
    }
}

/// Keys and organizations have ids of their own, which may be equal: imported ones are often small numbers.
#[tokio::test]
async fn key_and_organization_with_equal_ids_stay_apart() {
    let house = House::new().await;
    let other = house.issuer.create_organization("other").await.unwrap();
    let (key, mut record, secret) = unborn(&house.organization).await;
    record.id = other.id.as_uuid().into();
    house.store.insert_key(record.clone(), secret).await.unwrap();
    let rename = |other: &mut Organization| other.name.push('!');
    house.issuer.update_organization(other.id, rename).await.unwrap();
    house.check(&key).await.unwrap();

    for n in 0..3 {
        let rename = |record: &mut KeyRecord| record.name = format!("key {n}");
        house.issuer.update(record.id, rename).await.unwrap();
    }
    let of_other = IssueRequest::new(other.id, "key");
    let issued = house.issuer.issue(of_other).await.unwrap();
    house.check(text(&issued)).await.unwrap();
}

/// Otherwise it would be hashed at every request: the cache drops what is too heavy without a word.
#[tokio::test]
async fn heaviest_key_fits_into_the_smallest_cache() {
    let house = House::with(HashPolicy::sha256(), |builder| builder.cache_bytes(1 << 20).unwrap()).await;
    let mut metadata = Metadata::default();
    for n in 0..64 {
        metadata.set(&format!("{n:064}"), &"x".repeat(1024)).unwrap();
    }
    let scopes: Vec<String> = (0..256).map(|n| format!("{n:0128}")).collect();
    let networks: Vec<String> = (0..256).map(|n| format!("2001:db8:{n:x}::/48")).collect();
    let request = house
        .request(&"n".repeat(255))
        .user("u".repeat(255).parse().unwrap())
        .scopes(scopes.join(" ").parse().unwrap())
        .networks(networks.join(" ").parse().unwrap());
    let limits = |of: &'static str| (0..16).map(move |n| limit(&format!("{of}-{n:060}"), 1000, MINUTE));
    let request = limits("key").fold(request, IssueRequest::limit);
    let issued = house.issuer.issue(request).await.unwrap();
    // More than an issuer takes, by another way.
    let mut record = issued.record.clone();
    record.metadata = metadata;
    let commit = Commit::new().write(Write::UpdateKey(record));
    house.store.commit(commit).await.unwrap();
    let with_limits = |acme: &mut Organization| (acme.name, acme.limits) = ("o".repeat(255), limits("org").collect());
    let updated = house
        .issuer
        .update_organization(house.organization.id, with_limits)
        .await;
    assert_eq!(updated.unwrap().limits.len(), 16);
    let from_there = || PresentedKey::new(text(&issued).as_bytes()).client_address("2001:db8::1".parse().ok());
    house.authenticator.check(from_there()).await.unwrap();
    assert!(
        house.authenticator.try_check(from_there()).is_some(),
        "it was not cached"
    );
}

#[tokio::test]
async fn cache_too_small_for_all_keys_rejects_none_of_them() {
    let house = House::with(HashPolicy::sha256(), |builder| builder.cache_bytes(1 << 20).unwrap()).await;
    let mut keys = Vec::new();
    for _ in 0..4_000 {
        keys.push(house.known_key().await);
    }
    assert!(house.authenticator.cached_keys() < 4_000);
    for issued in &keys {
        house.check(text(issued)).await.unwrap();
    }
}

/// Rejections have their own tenth of the cache, so guessed keys evict no valid ones.
#[tokio::test]
async fn flood_of_wrong_keys_evicts_no_right_key() {
    let house = House::with(HashPolicy::sha256(), |builder| builder.cache_bytes(1 << 20).unwrap()).await;
    let mut keys = Vec::new();
    for _ in 0..1_000 {
        keys.push(house.known_key().await);
    }
    assert_eq!(house.authenticator.cached_keys(), 1_000);
    // Issuing later keys has turned the stripes of some.
    for issued in &keys {
        house.check(text(issued)).await.unwrap();
    }
    let known = text(&keys[0]);
    for n in 0..5_000 {
        assert_eq!(house.refusal(&unknown_key(n)).await, RejectionKind::UnknownKey);
        assert_eq!(
            house.refusal(&with_other_secret(known, n)).await,
            RejectionKind::WrongSecret
        );
    }
    let reads = house.faults().finds();
    for issued in &keys {
        house.check(text(issued)).await.unwrap();
    }
    assert_eq!(
        house.faults().finds(),
        reads,
        "a key that was known had to be read again"
    );
}

#[tokio::test]
async fn invalid_settings_are_errors_where_they_are_made() {
    let builder = || Authenticator::builder(MemoryStore::new());
    let day = Duration::from_secs(24 * 3600);
    // With a nanosecond, every key would have to be read again while it is checked.
    let shortest = Duration::from_millis(100);
    let nanosecond = Duration::from_nanos(1);
    for time in [Duration::ZERO, nanosecond, shortest - nanosecond, day + nanosecond] {
        let error = builder().time_to_live(time).unwrap_err();
        let expected = format!("invalid time to live: must be between 100ms and 86400s, got {time:?}");
        assert_eq!(error.to_string(), expected);
    }
    assert!(builder().time_to_live(day).is_ok() && builder().time_to_live(shortest).is_ok());
    for time in [Duration::ZERO, nanosecond, Duration::from_secs(3601)] {
        assert!(builder().max_staleness(time).is_err());
        assert!(builder().read_timeout(time).is_err());
    }
    assert!(builder().cache_bytes((1 << 20) - 1).is_err());
}

#[tokio::test]
async fn each_store_decides_the_same() {
    for (store, _database) in crate::support::stores::stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let request = IssueRequest::new(acme.id, "key").scopes("orders:read".parse().unwrap());
        let issued = issuer.issue(request).await.unwrap();
        // Reads of a database take real time, on a machine that may be busy.
        let authenticator = Authenticator::builder(store.clone())
            .read_timeout(MINUTE)
            .unwrap()
            .build();
        for _ in 0..3 {
            let context = check(&authenticator, text(&issued)).await.unwrap();
            assert_eq!((context.name(), context.scopes().as_str()), ("key", "orders:read"));
            let wrong = check(&authenticator, &with_other_secret(text(&issued), 1)).await;
            assert_eq!(kind(&wrong), RejectionKind::WrongSecret);
        }
        assert_eq!(
            kind(&check(&authenticator, &unknown_key(1)).await),
            RejectionKind::UnknownKey
        );
        let new = issuer.rotate(issued.record.id, MINUTE).await.unwrap();
        for issued in [&issued, &new] {
            check(&authenticator, text(issued)).await.unwrap();
        }
        issuer.disable(issued.record.id).await.unwrap();
        assert_eq!(
            kind(&check(&authenticator, text(&new)).await),
            RejectionKind::KeyDisabled
        );
        issuer.enable(issued.record.id).await.unwrap();
        check(&authenticator, text(&new)).await.unwrap();
        issuer.revoke(issued.record.id, "lost").await.unwrap();
        for issued in [&issued, &new] {
            assert_eq!(
                kind(&check(&authenticator, text(issued)).await),
                RejectionKind::KeyRevoked
            );
        }
    }
}

#[test]
fn every_kind_has_a_class_and_a_unique_name() {
    use RejectionKind::*;
    let kinds = [
        MissingCredential,
        MultipleCredentials,
        MalformedKey,
        UnknownKey,
        WrongSecret,
        KeyDisabled,
        KeyRevoked,
        KeyExpired,
        OrganizationInactive,
        NetworkNotAllowed,
        InsufficientScope,
        InsecureTransport,
        RateLimited,
        TooManyFailures,
        Busy,
        StoreUnavailable,
        NotConfirmed,
        InvalidRecord,
        LimiterUnavailable,
    ];
    let names: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), kinds.len());
    // Everything that would reveal whether a key exists has one class.
    let secretive = [
        MalformedKey,
        UnknownKey,
        WrongSecret,
        KeyDisabled,
        KeyRevoked,
        KeyExpired,
        OrganizationInactive,
    ];
    for kind in kinds {
        let is_secretive = secretive.contains(&kind);
        assert_eq!(
            kind.class() == RejectionClass::InvalidCredential,
            is_secretive,
            "{kind:?}"
        );
    }
}
