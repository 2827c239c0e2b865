//! Transactions that others leave open on a server: they delay no change, and none is missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tower_api_key::key::Actor;
use tower_api_key::{ApiKeys, IssuedKey, RejectionKind};

use super::Database;
use super::following::{Checker, check, handle, issue, now, revoke, rounds, text, until_refused};
use crate::support::postgres::psql;
use crate::support::stores::BOUND;

/// When a change must be seen, at the latest.
const LATEST: Duration = BOUND.saturating_add(Duration::from_secs(1));

fn server() -> Database {
    Database::shared().find(Database::is_postgres).unwrap()
}

/// Someone at psql: transactions of three seconds, one after the other, each of which ends with its change.
struct Someone {
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Someone {
    fn at_psql(database: &Database, statements: &str) -> Self {
        let Database::Postgres { url, schema } = database else {
            panic!("a server")
        };
        let (url, ends) = (url.clone(), Arc::new(AtomicBool::new(false)));
        let text =
            format!("BEGIN; {statements}; SELECT pg_sleep(3); COMMIT;").replace("api_keys_", &format!("{schema}."));
        let thread = std::thread::spawn({
            let ends = ends.clone();
            move || {
                let mut transactions = 0;
                while !ends.load(Ordering::SeqCst) {
                    psql(&url, &text);
                    transactions += 1;
                }
                transactions
            }
        });
        let thread = Some(thread);
        Self { ends, thread }
    }

    /// How many transactions there were.
    fn goes_away(mut self) -> usize {
        self.ends.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Someone {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// A key that is revoked here, and checked by another process, beside transactions that begin and end all the time.
async fn revoked_keys_are_refused_elsewhere(statements: impl Fn(&IssuedKey) -> String) {
    let database = server();
    let keys = handle(&database).await;
    let others = issue(&keys).await;
    let mut checker = Checker::start(&database);
    let someone = Someone::at_psql(&database, &statements(&others));
    let (rounds, mut latest, mut slowest) = (rounds(20, 200), Duration::ZERO, Duration::ZERO);
    let mut revoked = Vec::new();
    for round in 0..rounds {
        let issued = issue(&keys).await;
        checker.admits(&issued);
        let begun = Instant::now();
        revoke(&keys, issued.record.id).await;
        slowest = slowest.max(begun.elapsed());
        let returned = now();
        let late = checker.admitted_last().saturating_sub(returned);
        assert!(
            late <= LATEST,
            "round {round}: admitted {late:?} after the revoke returned"
        );
        latest = latest.max(late);
        revoked.push(issued);
    }
    let transactions = someone.goes_away();
    // Never again, wherever.
    for keys in [&keys, &handle(&database).await] {
        for key in &revoked {
            assert_eq!(check(keys, text(key)).await, Some(RejectionKind::KeyRevoked));
        }
    }
    eprintln!(
        "{rounds} rounds beside {transactions} transactions: admitted {latest:?} longer at most, the slowest revoke took {slowest:?}"
    );
}

#[tokio::test]
async fn revoked_key_is_refused_beside_a_transaction_that_reads() {
    revoked_keys_are_refused_elsewhere(|_| "SELECT count(*) FROM api_keys_keys".to_owned()).await;
}

/// A trigger that logged at once would hold the counter until that transaction ends.
#[tokio::test]
async fn revoked_key_is_refused_beside_a_change_by_hand() {
    let change = |key: &IssuedKey| {
        let id = key.record.id.as_uuid();
        format!("UPDATE api_keys_keys SET name = name || '!' WHERE id = '{id}'")
    };
    revoked_keys_are_refused_elsewhere(change).await;
}

/// It is a change when it is committed, and not before.
#[tokio::test]
async fn change_by_hand_is_seen_when_its_transaction_ends() {
    let database = server();
    let keys = handle(&database).await;
    for _ in 0..rounds(2, 20) {
        let issued = issue(&keys).await;
        let hand = database.hand().await;
        let disable = "BEGIN; UPDATE api_keys_keys SET status = 'disabled' WHERE id = ?1";
        hand.run(disable, &[issued.record.id.as_uuid()]).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            assert_eq!(check(&keys, text(&issued)).await, None);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        hand.run("COMMIT", &[]).await;
        let changed = now();
        let last = until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
        assert!(last <= changed + LATEST);
    }
}

/// The numbers of a sequence, instead of the lock under which a number is the next one. As of a later version: a function that was
/// replaced by hand is noticed.
const SEQUENCE: &str = "CREATE SEQUENCE api_keys_numbers;
    SELECT setval('api_keys_numbers', (SELECT coalesce(max(seq), 0) + 1 FROM api_keys_key_changes), false);
    CREATE OR REPLACE FUNCTION api_keys_log_change(of_kind bigint, of_id uuid, at_revision bigint, about text) RETURNS void
    LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO api_keys_key_changes (seq, tag, kind, id, revision, at, part)
        VALUES (nextval('api_keys_numbers'), gen_random_uuid(), of_kind, of_id, at_revision, 0, about);
    END $$;
    INSERT INTO api_keys_schema_migrations (version, name, checksum, min_program, applied_at)
    SELECT max(version) + 1, 'sequence', '', 0, 0 FROM api_keys_schema_migrations";

/// Someone revokes a key by hand, and its change gets its number early. Another change gets the next number, and is committed and
/// read first, if it can be. Whether the key is refused in time, once its transaction ends.
async fn late_commit_is_seen(database: &Database) -> bool {
    let (node, other): (ApiKeys, ApiKeys) = (handle(database).await, handle(database).await);
    let (issued, another) = (issue(&other).await, issue(&other).await);
    assert_eq!(check(&node, text(&issued)).await, None);
    let hand = database.hand().await;
    let revoke = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; UPDATE api_keys_keys SET status = 'revoked', status_at = 0, \
                  status_reason = 'leaked', status_actor = 'system' WHERE id = ?1";
    hand.run(revoke, &[issued.record.id.as_uuid()]).await;
    let rename = tokio::spawn(async move {
        let issuer = other.issuer().acting_as(Actor::operator("test"));
        issuer
            .update(another.record.id, |key| key.name = "renamed".into())
            .await
    });
    // The node reads what there is, and has the key in its cache again.
    tokio::time::sleep(BOUND).await;
    assert_eq!(check(&node, text(&issued)).await, None);
    hand.run("COMMIT", &[]).await;
    rename.await.unwrap().unwrap();
    let committed = Instant::now();
    while committed.elapsed() < 2 * LATEST {
        if check(&node, text(&issued)).await == Some(RejectionKind::KeyRevoked) {
            return committed.elapsed() <= LATEST;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It is revoked all the same: who has it not in the cache sees that.
    let fresh = handle(database).await;
    assert_eq!(check(&fresh, text(&issued)).await, Some(RejectionKind::KeyRevoked));
    false
}

#[tokio::test]
async fn late_commit_is_missed_by_a_follower_of_a_sequence() {
    for _ in 0..rounds(1, 5) {
        let database = server();
        assert!(late_commit_is_seen(&database).await);
        let database = server();
        drop(database.open().await);
        database.by_hand(SEQUENCE, &[]).await;
        assert!(!late_commit_is_seen(&database).await);
    }
}
