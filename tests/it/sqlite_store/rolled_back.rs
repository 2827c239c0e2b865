//! Errors that end a whole transaction: SQLite rolls it back, and later statements would run outside of it.

use std::time::Duration;

use rstest::rstest;
use tower_api_key::audit::{AuditAction, AuditEntry, AuditEvent};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, OrganizationId};
use tower_api_key::store::query::{AuditEvents, Keys, Organizations};
use tower_api_key::store::{Commit, KeyStore, ManagedStore, SqliteStore, StoreErrorKind, StoreExt, Write};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, Issuer};

use super::{File, NOW, organization};

/// An issuer whose keys are hashed with SHA-256, which is fast.
fn issuer(store: &SqliteStore) -> Issuer<SqliteStore> {
    let keys = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
    keys.checking().issuer().acting_as(Actor::service())
}

/// Everything that a change writes: all rows, and the end of the audit chain.
async fn state(file: &File, store: &SqliteStore, id: OrganizationId) -> (String, Vec<AuditEntry>) {
    let organizations = store.get(Organizations::all()).await.unwrap();
    let keys = store.get(Keys::all()).await.unwrap();
    let events = store.get(AuditEvents::of(id)).await.unwrap().items;
    let all: (i64, i64) = file
        .by_hand()
        .query_row(
            "SELECT (SELECT count(*) FROM api_keys_audit_events), (SELECT sum(audit_seq) FROM api_keys_organization_state)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(all.0, all.1, "the chains end with their last events");
    (format!("{organizations:?} {keys:?} {all:?}"), events)
}

#[rstest]
#[case("BEFORE INSERT ON api_keys_audit_events", "ROLLBACK")]
#[case("BEFORE INSERT ON api_keys_audit_events", "ABORT")]
#[case("AFTER INSERT ON api_keys_audit_events", "FAIL")]
#[case("AFTER INSERT ON api_keys_audit_events", "ROLLBACK")]
#[case("BEFORE UPDATE ON api_keys_organization_state", "ROLLBACK")]
#[case("BEFORE UPDATE ON api_keys_organization_state", "FAIL")]
#[tokio::test]
async fn failed_audit_leaves_neither_change_nor_event(#[case] event: &str, #[case] action: &str) {
    let file = File::new();
    let store = file.open().await;
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let request = || IssueRequest::new(acme.id, "key");
    let [one, two] = [
        issuer.issue(request()).await.unwrap().record.id,
        issuer.issue(request()).await.unwrap().record.id,
    ];
    let before = state(&file, &store, acme.id).await;
    let announced = store.fence().unwrap().changes();
    let trigger = format!("CREATE TRIGGER full {event} BEGIN SELECT RAISE({action}, 'full'); END");
    file.by_hand().execute_batch(&trigger).unwrap();

    // All at once, so that some share a transaction.
    let (revoked, disabled, rotated, issued, renamed) = tokio::join!(
        issuer.revoke(one, "lost"),
        issuer.disable(two),
        issuer.rotate(two, Duration::from_secs(60)),
        issuer.issue(request()),
        issuer.update_organization(acme.id, |acme| acme.name = "renamed".to_owned()),
    );
    for error in [
        revoked.map(drop).unwrap_err(),
        disabled.map(drop).unwrap_err(),
        rotated.map(drop).unwrap_err(),
        issued.map(drop).unwrap_err(),
        renamed.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable, "{error:?}");
    }
    assert_eq!(state(&file, &store, acme.id).await, before);
    assert_eq!(store.fence().unwrap().changes(), announced);

    file.by_hand().execute_batch("DROP TRIGGER full").unwrap();
    issuer.revoke(one, "lost").await.unwrap();
    let (_, events) = state(&file, &store, acme.id).await;
    let numbers: Vec<u64> = events.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(events[..3], before.1);
}

/// What ends a transaction in SQLite: an error of a statement that rolls everything back, or a constraint that only COMMIT
/// checks.
#[rstest]
#[case(
    "CREATE TRIGGER full BEFORE INSERT ON api_keys_keys WHEN NEW.name = 'poison' \
     BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
)]
#[case(
    "CREATE TABLE antidote (a INTEGER PRIMARY KEY); \
     CREATE TABLE poison (a INTEGER REFERENCES antidote (a) DEFERRABLE INITIALLY DEFERRED); \
     CREATE TRIGGER full AFTER INSERT ON api_keys_keys WHEN NEW.name = 'poison' \
     BEGIN INSERT INTO poison VALUES (1); END"
)]
#[tokio::test]
async fn commit_that_ends_its_transaction_fails_alone(#[case] trigger: &str) {
    let file = File::new();
    let store = file.open().await;
    let acme = organization(&store).await;
    file.by_hand().execute_batch(trigger).unwrap();
    let announced = store.fence().unwrap().changes();
    let commit = |name: &str| {
        let record = KeyRecord::new(acme.id, name, NOW);
        let event = AuditEvent::new(acme.id, NOW, Actor::system(), AuditAction::KEY_ISSUED).key(record.id);
        (record.id, Commit::new().write(Write::InsertKey(record)).audit(event))
    };
    let names = (0..60).map(|number| if number == 30 { "poison" } else { "orders" });
    let (ids, commits): (Vec<_>, Vec<_>) = names.map(commit).unzip();

    // On one thread, all are queued before the first is answered: others are in the transaction of the poison.
    let spawn = |commit| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(commit).await })
    };
    let tasks: Vec<_> = commits.into_iter().map(spawn).collect();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(committed) => assert_eq!(committed.revision_of(ids[number]), Some(1)),
            Err(error) => assert_eq!((number, error.kind()), (30, StoreErrorKind::Unavailable), "{error:?}"),
        }
    }

    let stored = store.get(Keys::of(acme.id).page(100)).await.unwrap().items;
    let mut stored: Vec<_> = stored.iter().map(|key| key.record.id).collect();
    let mut made = ids.clone();
    made.remove(30);
    stored.sort();
    made.sort();
    assert_eq!(stored, made);
    let events = store.get(AuditEvents::of(acme.id).page(100)).await.unwrap().items;
    let events: Vec<_> = events.iter().map(|entry| (entry.seq, entry.event.key_id)).collect();
    let expected = ids.iter().filter(|id| **id != ids[30]);
    let expected: Vec<_> = (1..).zip(expected.map(|id| Some(*id))).collect();
    assert_eq!(events, expected, "each once, in the order in which they came");
    assert_eq!(store.fence().unwrap().changes(), announced + 59);
}

/// A change that fails by itself must not take the others of its transaction with it.
#[tokio::test]
async fn issuing_beside_a_rolled_back_key_is_whole() {
    let file = File::new();
    let store = file.open().await;
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON api_keys_keys WHEN NEW.name = 'poison' \
                   BEGIN SELECT RAISE(ROLLBACK, 'full'); END";
    file.by_hand().execute_batch(trigger).unwrap();
    let mut tasks = Vec::new();
    for number in 0..60 {
        let issuer = issuer.clone();
        let name = if number % 10 == 5 {
            "poison".to_owned()
        } else {
            format!("key {number}")
        };
        tasks.push(tokio::spawn(async move {
            let issued = issuer.issue(IssueRequest::new(acme.id, name.as_str())).await;
            (name, issued.map(|issued| issued.record))
        }));
    }
    let mut made = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (name, Ok(record)) => {
                assert_ne!(name, "poison");
                made.push(record.id);
            }
            (name, Err(error)) => {
                assert_eq!(name, "poison");
                assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable);
            }
        }
    }
    let stored = store.get(Keys::of(acme.id).page(100)).await.unwrap().items;
    let mut there: Vec<_> = stored.iter().map(|key| key.record.id).collect();
    assert_eq!(made.len(), 54);
    made.sort();
    there.sort();
    assert_eq!(there, made);
    let events = store.get(AuditEvents::of(acme.id).page(100)).await.unwrap().items;
    assert_eq!(events.len(), 1 + made.len());
    assert!(events.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
}
