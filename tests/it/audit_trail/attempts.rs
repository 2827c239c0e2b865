//! What requests meet: refusals are counted and sampled, first uses of keys are events.

use std::error::Error as _;

use tower_api_key::audit::{Audit, AuditAction, Forget, RefusalSample};
use tower_api_key::key::Networks;
use tower_api_key::store::query::{RefusalCounts, Refusals};
use tower_api_key::store::{DynStore, StoreError, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore};
use tower_api_key::{Authenticator, PresentedKey, Principal, RejectionKind};
use tracing::Level;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

async fn check<S: ManagedStore>(checks: &Authenticator<S>, key: &str, address: &str) -> Option<RejectionKind> {
    let presented = PresentedKey::new(key.as_bytes()).client_address(address.parse().ok());
    checks.check(presented).await.err().map(|rejection| rejection.kind())
}

async fn counts<S: ManagedStore + Clone>(trail: &Trail<S>) -> Vec<(OrganizationId, String, u64)> {
    let counts = trail.keys.read(RefusalCounts::all()).await.unwrap();
    counts
        .into_iter()
        .map(|count| (count.organization_id, count.kind, count.number))
        .collect()
}

async fn samples<S: ManagedStore + Clone>(trail: &Trail<S>) -> Vec<RefusalSample> {
    trail.keys.read(Refusals::all()).await.unwrap()
}

async fn uses<S: ManagedStore + Clone>(trail: &Trail<S>, organization: OrganizationId) -> Vec<AuditEntry> {
    let list = AuditEvents::of(organization).action(AuditAction::KEY_USED).page(1000);
    trail.keys.read(list).await.unwrap().items
}

async fn issue<S: ManagedStore + Clone>(
    trail: &Trail<S>,
    organization: OrganizationId,
) -> (String, tower_api_key::key::KeyId) {
    let issued = trail
        .alice()
        .issue(IssueRequest::new(organization, "orders"))
        .await
        .unwrap();
    (issued.key.expose_secret().to_owned(), issued.record.id)
}

#[tokio::test]
async fn refusals_are_counted_exactly_and_sampled() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let (key, id) = issue(&trail, acme).await;
    let checks = trail.keys.authenticator();
    assert_eq!(check(&checks, &key, "192.0.2.1").await, None);
    trail.alice().revoke(id, "lost").await.unwrap();
    for _ in 0..1000 {
        assert_eq!(check(&checks, &key, "192.0.2.1").await, Some(RejectionKind::KeyRevoked));
    }
    for _ in 0..700 {
        assert_eq!(
            check(&checks, "rubbish", "198.51.100.1").await,
            Some(RejectionKind::MalformedKey)
        );
    }
    let before = trail.entries(acme).await.len();
    // Nothing is written on the way of a request.
    assert_eq!((counts(&trail).await, samples(&trail).await), (vec![], vec![]));
    trail.keys.audit().flush().await.unwrap();
    let mut counted = counts(&trail).await;
    counted.sort();
    let should = [
        (system(), "malformed_key".to_owned(), 700),
        (acme, "key_revoked".to_owned(), 1000),
    ];
    assert_eq!(counted, should);
    let stored = samples(&trail).await;
    let of_keys: Vec<_> = stored.iter().filter(|sample| sample.key_id == Some(id)).collect();
    assert_eq!((of_keys.len(), stored.len()), (256, 512));
    assert_eq!(of_keys[0].organization_id, Some(acme));
    assert_eq!(of_keys[0].address, "192.0.2.1".parse().ok());
    assert!(key.contains(of_keys[0].lookup.as_deref().unwrap()));
    assert_eq!(
        stored.iter().filter(|sample| sample.kind == "malformed_key").count(),
        256
    );
    // Refusals are not in the chain; the one use is.
    assert_eq!(trail.entries(acme).await.len(), before + 1);

    // In the next hour they are other counts, and nothing is counted twice.
    trail.hand.advance(HOUR);
    assert_eq!(check(&checks, &key, "192.0.2.1").await, Some(RejectionKind::KeyRevoked));
    for _ in 0..2 {
        trail.keys.audit().flush().await.unwrap();
    }
    let all: u64 = counts(&trail).await.iter().map(|(.., number)| number).sum();
    assert_eq!((counts(&trail).await.len(), all), (3, 1701));
    trail.hand.advance(MINUTE);
    trail
        .keys
        .audit()
        .prune_refusals(trail.hand.clock().wall())
        .await
        .unwrap();
    assert_eq!(samples(&trail).await, []);
}

#[tokio::test]
async fn use_is_an_event_once_for_secret_network_and_day() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let (key, id) = issue(&trail, acme).await;
    let checks = trail.keys.authenticator();
    let use_it = async |address: &str| assert_eq!(check(&checks, &key, address).await, None);
    for _ in 0..50 {
        for address in [
            "192.0.2.1",
            "192.0.2.200",
            "198.51.100.1",
            "2001:db8:1::1",
            "2001:db8:1:ffff::2",
        ] {
            use_it(address).await;
        }
    }
    assert!(uses(&trail, acme).await.is_empty());
    trail.keys.audit().flush().await.unwrap();
    let events = uses(&trail, acme).await;
    let addresses: Vec<_> = events
        .iter()
        .filter_map(|entry| entry.event.personal.get("address"))
        .collect();
    assert_eq!(addresses, ["192.0.2.1", "198.51.100.1", "2001:db8:1::1"]);
    let event = &events[0].event;
    assert_eq!((event.key_id, event.actor.clone()), (Some(id), Actor::key(id)));
    assert!(key.contains(event.detail_of("lookup").unwrap()));
    assert!(!events[0].payload().contains("192.0.2"));

    trail.hand.advance(24 * HOUR);
    trail.keys.audit().flush().await.unwrap();
    use_it("192.0.2.7").await;
    use_it("192.0.2.7").await;
    trail.keys.audit().flush().await.unwrap();
    assert_eq!(uses(&trail, acme).await.len(), 4);
    assert!(trail.verify(&AuditAnchors::default()).await.is_ok());
}

#[tokio::test]
async fn every_use_or_none_is_stored_where_that_is_wanted() {
    for (audit, expected) in [(Audit::every_use(), 20), (Audit::no_use(), 0), (Audit::first_use(), 1)] {
        let keys = ApiKeys::builder(MemoryStore::new())
            .hash_policy(cheap_hashes())
            .audit(audit);
        let trail = Trail {
            keys: keys.open().await.unwrap(),
            hand: ManualClock::new(),
        };
        let acme = trail.alice().create_organization("acme").await.unwrap().id;
        let (key, _) = issue(&trail, acme).await;
        let checks = trail.keys.authenticator();
        for _ in 0..20 {
            assert_eq!(check(&checks, &key, "192.0.2.1").await, None);
        }
        trail.keys.audit().flush().await.unwrap();
        assert_eq!(uses(&trail, acme).await.len(), expected, "{audit:?}");
    }
}

/// All handles of a store fill one book, whichever of them stores it.
#[tokio::test]
async fn handles_of_one_store_share_what_waits() {
    let store = MemoryStore::new();
    let one = Trail::over(store.clone(), true).await;
    let two = Trail::over(DynStore::new(store), true).await;
    assert_eq!(
        check(&one.keys.authenticator(), "rubbish", "192.0.2.1").await,
        Some(RejectionKind::MalformedKey)
    );
    two.keys.audit().flush().await.unwrap();
    assert_eq!(counts(&two).await.len(), 1);
    one.keys.audit().flush().await.unwrap();
    assert_eq!(counts(&one).await, [(system(), "malformed_key".to_owned(), 1)]);
}

#[tokio::test]
async fn failed_flush_keeps_counts_and_uses_for_the_next() {
    let store = FaultStore::new(MemoryStore::new());
    let trail = Trail::over(store.clone(), true).await;
    let acme = trail.acme().await;
    let (key, _) = issue(&trail, acme).await;
    let checks = trail.keys.authenticator();
    assert_eq!(check(&checks, &key, "192.0.2.1").await, None);
    for _ in 0..600 {
        check(&checks, "rubbish", "192.0.2.1").await;
    }
    store.faults().every_manage(Fault::Error(StoreErrorKind::Unavailable));
    for _ in 0..3 {
        assert_eq!(
            trail.keys.audit().flush().await.unwrap_err().kind(),
            AuditErrorKind::Store
        );
    }
    store.faults().heal();
    check(&checks, "rubbish", "192.0.2.1").await;
    trail.keys.audit().flush().await.unwrap();
    assert_eq!(counts(&trail).await, [(system(), "malformed_key".to_owned(), 601)]);
    assert_eq!(uses(&trail, acme).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn opened_handle_flushes_every_minute_and_ends_with_its_last_clone() {
    let store = MemoryStore::new();
    let trail = Trail::over(store.clone(), true).await;
    let checks = trail.keys.authenticator();
    check(&checks, "rubbish", "192.0.2.1").await;
    tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
    assert_eq!(counts(&trail).await.len(), 1);
    drop((trail, checks));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn forgotten_person_is_not_stored_afterwards() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let request = IssueRequest::new(acme, "orders").user("bob".parse().unwrap());
    let issued = trail.alice().issue(request).await.unwrap();
    let checks = trail.keys.authenticator();
    check(&checks, issued.key.expose_secret(), "203.0.113.5").await;
    check(&checks, "rubbish", "198.51.100.9").await;
    trail
        .alice()
        .forget(Forget::address("198.51.100.9".parse().unwrap()))
        .await
        .unwrap();
    trail
        .alice()
        .forget(Forget::user("bob".parse().unwrap()))
        .await
        .unwrap();
    trail.keys.audit().flush().await.unwrap();
    assert_eq!(samples(&trail).await[0].address, None);
    assert_eq!(uses(&trail, acme).await[0].event.personal.get("address"), None);
}

#[tokio::test]
async fn security_events_have_a_name_in_the_log() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let alice = trail.alice();
    let checks = trail.keys.authenticator();
    let (audit, _guard) = crate::support::audit::Audit::start();
    let (disabled, id) = issue(&trail, acme).await;
    alice.disable(id).await.unwrap();
    check(&checks, &disabled, "192.0.2.1").await;
    let (revoked, id) = issue(&trail, acme).await;
    alice.revoke(id, "lost").await.unwrap();
    check(&checks, &revoked, "192.0.2.1").await;
    let networks: Networks = "10.0.0.0/8".parse().unwrap();
    let elsewhere = alice
        .issue(IssueRequest::new(acme, "inside").networks(networks))
        .await
        .unwrap();
    check(&checks, elsewhere.key.expose_secret(), "192.0.2.1").await;
    let canary = alice
        .issue(IssueRequest::new(acme, "in the wiki").canary())
        .await
        .unwrap();
    check(&checks, canary.key.expose_secret(), "192.0.2.1").await;
    check(&checks, "rubbish", "192.0.2.1").await;

    let lines = audit.of_level(Level::INFO);
    let named = |name: &str| {
        lines
            .iter()
            .filter(|line| line.fields.contains(&format!("security=\"{name}\"")))
            .count()
    };
    for name in [
        "disabled_key_used",
        "revoked_key_used",
        "network_refused",
        "canary_used",
    ] {
        assert_eq!(named(name), 1, "{name} in {lines:?}");
    }
    let all = lines.iter().filter(|line| line.fields.contains("security="));
    assert_eq!(all.count(), 4, "a malformed key is no security event: {lines:?}");
}

/// Refused before anything is taken: what waits is there for the next one, samples as well.
#[tokio::test]
async fn flush_by_one_who_may_not_loses_nothing() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let (key, id) = issue(&trail, acme).await;
    let checks = trail.keys.authenticator();
    let context = checks.check(PresentedKey::new(key.as_bytes())).await.unwrap();
    let acting = trail.keys.issuer_for(&context);
    let login = Principal::new(acme, "bob".parse().unwrap());
    let login = trail.keys.issuer_for_principal(&login);
    for _ in 0..3 {
        assert_eq!(
            check(&checks, "rubbish", "198.51.100.1").await,
            Some(RejectionKind::MalformedKey)
        );
    }
    for issuer in [&acting, &login] {
        let refused = issuer.audit().flush().await.unwrap_err();
        let reason = refused.source().unwrap().downcast_ref::<StoreError>().unwrap();
        assert_eq!(reason.kind(), StoreErrorKind::Forbidden);
    }
    assert_eq!((counts(&trail).await, samples(&trail).await), (vec![], vec![]));
    trail.keys.audit().flush().await.unwrap();
    assert_eq!(counts(&trail).await, [(system(), "malformed_key".to_owned(), 3)]);
    assert_eq!(samples(&trail).await.len(), 3);
    assert_eq!(uses(&trail, acme).await[0].event.key_id, Some(id));
}
