//! Maintenance: each task once in its period, by one process of all.

use std::time::Duration;

use tower_api_key::key::Actor;
use tower_api_key::store::query::{KeyUses, Refusals};
use tower_api_key::store::{ManagedStore, MemoryStore, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore, cheap_hashes};
use tower_api_key::{ApiKeys, IssueRequest, Maintenance, PresentedKey, Task, TaskOutcome};

const HOUR: Duration = Duration::from_secs(3600);

async fn open<S: ManagedStore + Clone>(store: S) -> ApiKeys<S> {
    ApiKeys::builder(store)
        .hash_policy(cheap_hashes())
        .open()
        .await
        .unwrap()
}

#[tokio::test]
async fn each_task_is_done_once_in_a_period_by_one_of_two() {
    let store = MemoryStore::new();
    let (one, other) = (open(store.clone()).await, open(store).await);
    let (one, other) = (one.maintenance(), other.maintenance());
    let (first, second) = tokio::join!(one.run_once(), other.run_once());
    let of_all: Vec<Task> = first
        .done()
        .chain(second.done())
        .filter(|task| *task != Task::Flush)
        .collect();
    let mut names: Vec<&str> = of_all.iter().map(|task| task.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "audit_anchor",
            "change_log",
            "expired_keys",
            "idempotency",
            "origins",
            "refusals",
            "use_sources"
        ]
    );
    for maintenance in [one, other] {
        assert_eq!(maintenance.run_once().await.done().collect::<Vec<_>>(), [Task::Flush]);
    }
}

#[tokio::test]
async fn failing_task_is_named_and_others_are_done() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    let keys = open(store).await;
    let maintenance = keys.maintenance();
    // Of the change log: its lease, and then the task itself.
    faults.next_manage(Fault::None);
    faults.next_manage(Fault::Error(StoreErrorKind::Unavailable));
    let report = maintenance.run_once().await;
    assert_eq!(
        report.failed().map(|(task, _)| task).collect::<Vec<_>>(),
        [Task::ChangeLog]
    );
    assert_eq!(report.done().count(), 7);
    // It is due again, and no other.
    let again = maintenance.run_once().await;
    assert_eq!(again.done().collect::<Vec<_>>(), [Task::Flush, Task::ChangeLog]);
}

#[tokio::test]
async fn task_whose_lease_is_lost_is_stopped() {
    tokio::time::pause();
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    let keys = open(store).await;
    let maintenance = keys.maintenance();
    // The task hangs, and its lease is another one's when it is to be prolonged.
    faults.next_manage(Fault::None);
    faults.next_manage(Fault::Hang);
    faults.next_manage(Fault::Error(StoreErrorKind::Conflict));
    let report = maintenance.run_once().await;
    let lost: Vec<Task> = report
        .tasks()
        .filter(|(_, outcome)| matches!(outcome, TaskOutcome::Lost))
        .map(|(task, _)| task)
        .collect();
    assert_eq!(lost, [Task::ChangeLog]);
}

#[tokio::test]
async fn run_that_is_dropped_leaves_tasks_to_others() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    let keys = open(store).await;
    let maintenance = keys.maintenance();
    faults.next_manage(Fault::None);
    faults.next_manage(Fault::Hang);
    let run = tokio::time::timeout(Duration::from_millis(50), maintenance.run()).await;
    assert!(run.is_err());
    faults.release();
    let report = keys.maintenance().run_once().await;
    // That one is under its lease for a minute.
    assert!(!report.done().any(|task| task == Task::ChangeLog));
    assert!(report.done().any(|task| task == Task::Origins));
}

#[tokio::test]
async fn run_stores_uses_and_applies_retention() {
    let store = MemoryStore::new();
    let hand = tower_api_key::testing::ManualClock::new();
    let builder = ApiKeys::builder(store).hash_policy(cheap_hashes()).clock(hand.clock());
    let keys = builder.open().await.unwrap();
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
    let checks = keys.authenticator();
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes()).client_address("192.0.2.1".parse().ok());
    checks.check(key).await.unwrap();
    let wrong = PresentedKey::new(b"rubbish").client_address("192.0.2.1".parse().ok());
    assert!(checks.check(wrong).await.is_err());
    hand.advance(2 * HOUR);
    // Another key, which is used just now.
    let newer = issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
    let key = PresentedKey::new(newer.key.expose_secret().as_bytes()).client_address("192.0.2.1".parse().ok());
    checks.check(key).await.unwrap();
    let maintenance = keys.maintenance().origins(HOUR).unwrap().refusals(HOUR).unwrap();
    let report = maintenance.run_once().await;
    assert_eq!(report.failed().count(), 0);
    let use_of = async |id| keys.read(KeyUses::of(id)).await.unwrap().remove(0);
    let (old, new) = (use_of(issued.record.id).await, use_of(newer.record.id).await);
    assert_eq!((old.requests(), old.secrets[0].last_address), (1, None));
    assert_eq!(
        (new.requests(), new.secrets[0].last_address),
        (1, "192.0.2.1".parse().ok())
    );
    // The sample is of the hour in which it was stored or refused; both are over.
    assert_eq!(keys.read(Refusals::all()).await.unwrap(), []);
}

#[tokio::test]
async fn ended_keys_are_deleted_after_their_retention() {
    type Configure = fn(Maintenance<MemoryStore>) -> Maintenance<MemoryStore>;
    let cases: [(u32, Configure, [bool; 3]); 4] = [
        (80, |maintenance| maintenance, [true, true, true]),
        (100, |maintenance| maintenance, [false, true, true]),
        (100, |it| it.revoked_keys(90 * 24 * HOUR).unwrap(), [false, false, true]),
        (100, |it| it.expired_keys(None).unwrap(), [true, true, true]),
    ];
    for (days, configure, expected) in cases {
        let hand = tower_api_key::testing::ManualClock::new();
        let builder = ApiKeys::builder(MemoryStore::new()).hash_policy(cheap_hashes());
        let keys = builder.clock(hand.clock()).open().await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::user("alice"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let mut ids = Vec::new();
        for request in [
            IssueRequest::new(acme.id, "expires").expires_in(HOUR),
            IssueRequest::new(acme.id, "revoked"),
            IssueRequest::new(acme.id, "lives"),
        ] {
            ids.push(issuer.issue(request).await.unwrap().record.id);
        }
        issuer.revoke(ids[1], "leaked").await.unwrap();
        hand.advance(days * 24 * HOUR);
        let report = configure(keys.maintenance()).run_once().await;
        assert_eq!(report.failed().count(), 0);
        let mut are_there = Vec::new();
        for id in ids {
            are_there.push(issuer.key(id).await.unwrap().is_some());
        }
        assert_eq!(are_there, expected, "after {days} days");
    }
}

#[tokio::test]
async fn retention_of_less_than_an_hour_is_refused() {
    let keys = open(MemoryStore::new()).await;
    let error = keys.maintenance().origins(Duration::from_secs(59)).unwrap_err();
    assert!(
        error.to_string().contains("must be at least an hour, got 59 seconds"),
        "{error}"
    );
    let nearly = HOUR - Duration::from_nanos(1);
    assert!(keys.maintenance().audit_events(nearly).is_err());
    assert!(keys.maintenance().audit_events(HOUR).is_ok());
    assert!(keys.maintenance().change_log(Duration::ZERO).is_err());
}
