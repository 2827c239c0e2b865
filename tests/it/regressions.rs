//! Regressions: defects that this crate once had.

use std::sync::mpsc;
use std::time::Duration;

use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::KeyFormat;
use tower_api_key::store::MemoryStore;
use tower_api_key::testing::FaultStore;
use tower_api_key::{ApiKeys, Authenticator, IssueRequest, PresentedKey, RejectionKind};

fn quick() -> HashPolicy {
    HashPolicy::argon2id(Argon2Params::new(64, 1, 1).unwrap())
}

/// During its shutdown, a runtime drops a new task inside `spawn`, on the calling thread. Dropping it must not take a lock that
/// the caller of `spawn` holds.
#[test]
fn runtime_under_load_shuts_down() {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..30 {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let authenticator = Authenticator::new(MemoryStore::new());
            for number in 0..64 {
                let authenticator = authenticator.clone();
                runtime.spawn(async move {
                    for round in 0.. {
                        let key = KeyFormat::default().generate(Some("live")).unwrap();
                        let presented = PresentedKey::new(key.key().expose_secret().as_bytes());
                        let refused = authenticator.check(presented).await.unwrap_err();
                        assert_ne!(refused.kind(), RejectionKind::MalformedKey, "{number} {round}");
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(5));
            drop(runtime);
        }
        done.send(()).unwrap();
    });
    ended
        .recv_timeout(Duration::from_secs(60))
        .expect("a runtime did not shut down");
}

/// If lookups can be guessed, a key of another environment costs as much as an unknown one.
#[tokio::test]
async fn lookup_of_other_environment_costs_a_hash_like_unknown() {
    let store = MemoryStore::new();
    let pool = HashPool::builder().build();
    let settings = ApiKeys::builder(store.clone()).formats(KeyFormat::pk());
    let issuer = crate::house::acting(settings.hash_policy(quick()).pool(pool.clone()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer
        .issue(IssueRequest::new(acme.id, "live").environment("live"))
        .await
        .unwrap();
    let authenticator = Authenticator::builder(store)
        .formats(KeyFormat::pk())
        .hash_policy(quick())
        .pool(pool.clone())
        .build();

    let moved = issued.key.expose_secret().replace("pk_live_", "pk_test_");
    let unknown = format!("pk_test_{}", "A".repeat(43));
    for key in [moved, unknown] {
        let before = pool.hashes_run();
        let presented = PresentedKey::new(key.as_bytes());
        let _ = authenticator.check(presented).await.unwrap_err();
        assert_eq!(pool.hashes_run() - before, 1, "{key}");
    }
}

/// The cache still has the old entry of a secret that was rotated out. Repeated checks must not read each time.
#[tokio::test]
async fn rotated_out_secret_is_read_once_a_second() {
    let store = FaultStore::new(MemoryStore::new());
    let issuer = crate::house::issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "a")).await.unwrap();
    let clock = tower_api_key::testing::ManualClock::new();
    let authenticator = Authenticator::builder(store.clone()).clock(clock.clock()).build();
    let check = async || {
        let presented = PresentedKey::new(issued.key.expose_secret().as_bytes());
        authenticator.check(presented).await
    };
    let _ = check().await.unwrap();
    let _ = issuer.rotate(issued.record.id, Duration::ZERO).await.unwrap();

    assert_eq!(check().await.unwrap_err().kind(), RejectionKind::UnknownKey);
    let reads = store.faults().finds();
    for _ in 0..100 {
        assert_eq!(check().await.unwrap_err().kind(), RejectionKind::UnknownKey);
    }
    assert_eq!(store.faults().finds(), reads);
    clock.advance(Duration::from_secs(2));
    assert_eq!(check().await.unwrap_err().kind(), RejectionKind::UnknownKey);
    assert_eq!(store.faults().finds(), reads + 1);
}
