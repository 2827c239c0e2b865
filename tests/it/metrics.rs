//! Metrics count exactly, and no label holds a part of a key.

use std::num::NonZeroUsize;

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyFormat, RateLimit};
use tower_api_key::limit::LocalLimiter;
use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{PresentedKey, RejectionKind};

use crate::house::brake::Brake;
use crate::house::*;
use crate::support::book::Book;

const ADMITTED: &str = "api_key_checks_total{outcome=admitted}";
const HIT: &str = "api_key_cache_total{result=hit}";
const MISS: &str = "api_key_cache_total{result=miss}";
const STALE: &str = "api_key_cache_total{result=stale}";
const VERIFY: &str = "api_key_verify_seconds{}";
const IN_FLIGHT: &str = "api_key_loads_in_flight{}";
const QUEUE: &str = "api_key_verify_queue{}";

fn outcome(kind: RejectionKind) -> String {
    format!("api_key_checks_total{{outcome={}}}", kind.as_str())
}

#[tokio::test]
async fn check_is_counted_once_by_either_path() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let house = House::new().await;
    let issued = house.key().await;
    // New; then cached, with and without waiting; then stale, first without waiting, as the layer does.
    house.check(text(&issued)).await.unwrap();
    for _ in 0..3 {
        house.check(text(&issued)).await.unwrap();
        let presented = PresentedKey::new(text(&issued).as_bytes());
        house.authenticator.try_check(presented).unwrap().unwrap();
    }
    house.everything_changed();
    let presented = PresentedKey::new(text(&issued).as_bytes());
    assert!(house.authenticator.try_check(presented).is_none());
    house.authenticator.check(presented).await.unwrap();
    book.reads(&[(HIT, 6), (MISS, 1), (STALE, 1), (ADMITTED, 8)]);
    assert_eq!(book.count(VERIFY), 1);
    assert_eq!(book.value(IN_FLIGHT), 0.0);
}

#[tokio::test]
async fn refusals_are_counted_by_kind() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let house = House::new().await;
    let issued = house.known_key().await;
    assert_eq!(house.refusal("not a key").await, RejectionKind::MalformedKey);
    for _ in 0..2 {
        assert_eq!(house.refusal(&unknown_key(1)).await, RejectionKind::UnknownKey);
        assert_eq!(
            house.refusal(&with_other_secret(text(&issued), 1)).await,
            RejectionKind::WrongSecret
        );
    }
    house.faults().every_find(Fault::Error(StoreErrorKind::Unavailable));
    assert_eq!(house.refusal(&unknown_key(2)).await, RejectionKind::StoreUnavailable);
    book.reads(&[
        // Both wrong secrets, and the second unknown one.
        (HIT, 3),
        (MISS, 3),
        (ADMITTED, 1),
        (&outcome(RejectionKind::MalformedKey), 1),
        (&outcome(RejectionKind::StoreUnavailable), 1),
        (&outcome(RejectionKind::UnknownKey), 2),
        (&outcome(RejectionKind::WrongSecret), 2),
    ]);
}

#[tokio::test]
async fn flood_logged_in_samples_is_counted_exactly() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let house = House::new().await;
    for _ in 0..5_000 {
        assert_eq!(house.refusal(&unknown_key(1)).await, RejectionKind::UnknownKey);
    }
    book.reads(&[(HIT, 4_999), (MISS, 1), (&outcome(RejectionKind::UnknownKey), 5_000)]);
}

#[tokio::test(start_paused = true)]
async fn loads_in_flight_return_to_zero_however_they_end() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let house = House::new().await;
    let barrier = Barrier::new();
    for _ in 0..10 {
        house.faults().next_find(Fault::Before(barrier.clone()));
    }
    let checks: Vec<_> = (0..10)
        .map(|n| tokio::spawn(house.authenticator.check(presented(&unknown_key(n)))))
        .collect();
    barrier.reached(10).await;
    assert_eq!(book.value(IN_FLIGHT), 10.0);
    for check in &checks[..5] {
        check.abort();
    }
    settle().await;
    assert_eq!(book.value(IN_FLIGHT), 5.0);
    barrier.open();
    for check in checks {
        let _ = check.await;
    }
    house.faults().next_find(Fault::Panic);
    assert_eq!(house.refusal(&unknown_key(20)).await, RejectionKind::StoreUnavailable);
    assert_eq!(book.value(IN_FLIGHT), 0.0);
    // Five went away before their answer, so they have no outcome.
    assert_eq!(book.count(&outcome(RejectionKind::UnknownKey)), 5);
}

#[tokio::test]
async fn queue_gauge_returns_to_zero_after_hashes() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let mut checks = Vec::new();
    for n in 0..6 {
        let issued = house.key().await;
        checks.push(tokio::spawn(house.authenticator.check(presented(text(&issued)))));
        settle().await;
        if n == 0 {
            brake.reached(1).await;
        }
    }
    until(|| house.pool.queued() == 5).await;
    // And the one whose hash is running.
    assert_eq!(book.value(QUEUE), 6.0);
    brake.open();
    for check in checks {
        check.await.unwrap().unwrap();
    }
    assert_eq!((book.value(QUEUE), book.count(VERIFY)), (0.0, 6));
}

#[tokio::test]
async fn queue_gauge_returns_to_zero_after_cancelled_checks() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let mut checks = Vec::new();
    for n in 0..6 {
        let issued = house.key().await;
        checks.push(tokio::spawn(house.authenticator.check(presented(text(&issued)))));
        settle().await;
        if n == 0 {
            brake.reached(1).await;
        }
    }
    until(|| house.pool.queued() == 5).await;
    assert_eq!(book.value(QUEUE), 6.0);
    // First the waiting ones, the last of them first, then the one whose hash is running.
    for check in checks.into_iter().rev() {
        check.abort();
        assert!(check.await.unwrap_err().is_cancelled());
    }
    until(|| house.authenticator.loads_in_flight() == 0).await;
    assert_eq!((house.pool.queued(), book.value(QUEUE)), (0, 0.0));
    brake.open();
    house.is_at_rest().await;
    assert_eq!((book.value(QUEUE), book.value(IN_FLIGHT)), (0.0, 0.0));
}

#[tokio::test]
async fn limits_without_own_bucket_are_counted() {
    const OVERFLOW: &str = "api_key_limit_overflow_total{}";
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let limiter = LocalLimiter::with_capacity(NonZeroUsize::MIN);
    let house = House::with(HashPolicy::sha256(), |builder| builder.limiter(limiter)).await;
    let daily = |name: &str| RateLimit::per_day(name, 10).unwrap();
    let issue = async |limits: &[&str]| {
        let request = limits
            .iter()
            .fold(house.request("key"), |request, name| request.limit(daily(name)));
        house.issuer.issue(request).await.unwrap()
    };
    let (first, second, third) = (issue(&["a"]).await, issue(&["a"]).await, issue(&["a", "b"]).await);
    house.check(text(&first)).await.unwrap();
    assert_eq!(book.count(OVERFLOW), 0);
    for (key, counted) in [(&second, 1), (&first, 1), (&second, 2), (&third, 4)] {
        house.check(text(key)).await.unwrap();
        assert_eq!(book.count(OVERFLOW), counted);
    }
}

#[tokio::test]
async fn dummy_hashes_of_unknown_keys_show_in_queue_gauge() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder.formats(KeyFormat::cmpz())).await;
    let mut checks = Vec::new();
    for n in 0..6 {
        // Its lookup could be guessed.
        let unknown = format!("cmpz_{n}{}", "0".repeat(31));
        checks.push(tokio::spawn(house.authenticator.check(presented(&unknown))));
        settle().await;
        if n == 0 {
            brake.reached(1).await;
        }
    }
    until(|| house.pool.queued() == 5).await;
    // And the one whose hash is running.
    assert_eq!(book.value(QUEUE), 6.0);
    brake.open();
    for check in checks {
        assert_eq!(kind(&check.await.unwrap()), RejectionKind::UnknownKey);
    }
    assert_eq!((book.value(QUEUE), book.count(VERIFY)), (0.0, 6));
}

#[tokio::test]
async fn labels_hold_nothing_of_a_key() {
    let book = Book::default();
    let _recording = metrics::set_default_local_recorder(&book);
    let house = House::new().await;
    for n in 0..100 {
        let issued = house.known_key().await;
        house.issuer.revoke(issued.record.id, "lost").await.unwrap();
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
        assert_eq!(house.refusal(&unknown_key(n)).await, RejectionKind::UnknownKey);
    }
    let names = book.names();
    let expected = [
        HIT,
        MISS,
        STALE,
        ADMITTED,
        &outcome(RejectionKind::KeyRevoked),
        &outcome(RejectionKind::UnknownKey),
        IN_FLIGHT,
        QUEUE,
        VERIFY,
    ];
    let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
    expected.retain(|name| name != HIT);
    expected.sort();
    assert_eq!(names, expected);
}

/// In a process of its own, since the thread that looks at the file has the recorder of the process.
#[cfg(feature = "file")]
#[tokio::test]
async fn reloads_of_a_file_are_counted_by_their_result() {
    use tower_api_key::store::FileStore;

    if !process::is_alone("metrics::reloads_of_a_file_are_counted_by_their_result") {
        return;
    }
    let book = Book::default();
    metrics::set_global_recorder(book.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let write = |text: &str| {
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("keys = []\n[end]\n");
    let builder = FileStore::builder()
        .poll_interval(std::time::Duration::from_secs(60))
        .unwrap();
    let store = builder.open(&path).await.unwrap();
    write("keys = []\n");
    for _ in 0..2 {
        store.reload().await.unwrap_err();
    }
    write("keys = [] # and none\n[end]\n");
    store.reload().await.unwrap();
    let counted = |result: &str| book.count(&format!("api_key_file_reloads_total{{result={result}}}"));
    assert_eq!((counted("failed"), counted("taken")), (1, 1));
}
