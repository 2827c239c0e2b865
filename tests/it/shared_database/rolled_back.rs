//! Errors that end a whole transaction: what was rolled back takes no other commit with it.

use std::time::Duration;

use rstest::rstest;
use tower_api_key::audit::{AuditAction, AuditEntry, AuditEvent};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, OrganizationId};
use tower_api_key::store::query::{AuditEvents, Keys, Organizations};
use tower_api_key::store::{Commit, DynStore, KeyStore, ManagedStore, StoreErrorKind, StoreExt, Write};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, Issuer};

use super::{Database, NOW, organization};
use crate::support::stores::{BOUND, Hand};

/// An issuer whose keys are hashed with SHA-256, which is fast.
fn issuer(store: &DynStore) -> Issuer<DynStore> {
    let keys = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
    keys.checking().issuer().acting_as(Actor::service())
}

/// A trigger by hand, for rows of which this holds.
async fn trigger(database: &Database, event: &str, row: &str, does: &str) {
    let when = match row {
        "" => String::new(),
        row => format!("WHEN ({row})"),
    };
    let trigger = match database.is_postgres() {
        true => format!(
            "CREATE FUNCTION api_keys_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$; \
             CREATE TRIGGER full_up {event} FOR EACH ROW {when} EXECUTE FUNCTION api_keys_full()"
        ),
        false => format!("CREATE TRIGGER full_up {event} {when} BEGIN {does}; END"),
    };
    database.by_hand(&trigger, &[]).await;
}

/// What ends the transaction in SQLite, in this way.
fn raise(database: &Database, action: &str) -> String {
    match database.is_postgres() {
        true => "RAISE EXCEPTION 'full'".to_owned(),
        false => format!("SELECT RAISE({action}, 'full')"),
    }
}

/// Everything that a change writes: all rows, and the end of the audit chain.
async fn state(hand: &Hand, store: &DynStore, id: OrganizationId) -> (String, Vec<AuditEntry>) {
    let organizations = store.get(Organizations::all()).await.unwrap();
    let keys = store.get(Keys::all()).await.unwrap();
    let events = store.get(AuditEvents::of(id)).await.unwrap().items;
    let all =
        "SELECT (SELECT count(*) FROM api_keys_audit_events), (SELECT sum(audit_seq) FROM api_keys_organization_state)";
    let all = hand.rows(all, &[]).await.remove(0);
    assert_eq!(all[0], all[1], "the chains end with their last events");
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
    for database in Database::shared() {
        let (store, hand) = (database.open().await, database.hand().await);
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let request = || IssueRequest::new(acme.id, "key");
        let [one, two] = [
            issuer.issue(request()).await.unwrap().record.id,
            issuer.issue(request()).await.unwrap().record.id,
        ];
        let before = state(&hand, &store, acme.id).await;
        if database.is_postgres() {
            // Its follower announces once more what it reads of this process's changes.
            tokio::time::sleep(BOUND / 2).await;
        }
        let announced = store.fence().unwrap().changes();
        trigger(&database, event, "", &raise(&database, action)).await;

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
        assert_eq!(state(&hand, &store, acme.id).await, before);
        assert_eq!(store.fence().unwrap().changes(), announced);

        let drop_trigger = match database.is_postgres() {
            true => format!("DROP TRIGGER full_up ON {}", event.rsplit(' ').next().unwrap()),
            false => "DROP TRIGGER full_up".to_owned(),
        };
        hand.run(&drop_trigger, &[]).await;
        issuer.revoke(one, "lost").await.unwrap();
        let (_, events) = state(&hand, &store, acme.id).await;
        let numbers: Vec<u64> = events.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(events[..3], before.1);
    }
}

/// What ends a transaction: an error of a statement, or a constraint that only COMMIT checks.
#[rstest]
#[tokio::test]
async fn commit_that_ends_its_transaction_fails_alone(#[values(true, false)] at_its_end: bool) {
    for database in Database::shared() {
        let store = database.open().await;
        let acme = organization(&store).await;
        let (row, poison) = ("NEW.name = 'poison'", "INSERT INTO api_keys_poison VALUES (1)");
        if at_its_end {
            let tables = "CREATE TABLE api_keys_antidote (a INTEGER PRIMARY KEY); CREATE TABLE api_keys_poison \
                          (a INTEGER REFERENCES api_keys_antidote (a) DEFERRABLE INITIALLY DEFERRED)";
            database.by_hand(tables, &[]).await;
            trigger(&database, "AFTER INSERT ON api_keys_keys", row, poison).await;
        } else {
            let event = "BEFORE INSERT ON api_keys_keys";
            trigger(&database, event, row, &raise(&database, "ROLLBACK")).await;
        }
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
        let mut events: Vec<_> = events.iter().map(|entry| (entry.seq, entry.event.key_id)).collect();
        let expected = ids.iter().filter(|id| **id != ids[30]);
        let mut expected: Vec<_> = (1..).zip(expected.map(|id| Some(*id))).collect();
        // A server makes several at once.
        if database.is_postgres() {
            let number = |index: usize| index as u64 + 1;
            assert!(events.iter().enumerate().all(|(index, event)| event.0 == number(index)));
            events.sort_by_key(|event| event.1);
            expected.sort_by_key(|event| event.1);
            events.iter_mut().chain(&mut expected).for_each(|event| event.0 = 0);
        }
        assert_eq!(events, expected, "each once, in the order in which they came");
        assert_eq!(store.fence().unwrap().changes(), announced + 59);
    }
}

/// A change that fails by itself must not take the others of its transaction with it.
#[tokio::test]
async fn issuing_beside_a_rolled_back_key_is_whole() {
    for database in Database::shared() {
        let store = database.open().await;
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let (event, row) = ("BEFORE INSERT ON api_keys_keys", "NEW.name = 'poison'");
        trigger(&database, event, row, &raise(&database, "ROLLBACK")).await;
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
}
