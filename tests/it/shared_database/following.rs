//! Processes that share a database: each sees what the others change in time, or refuses.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, Subject};
use tower_api_key::store::query::ChangesAfter;
use tower_api_key::store::{Commit, DynStore, KeyStore, ManagedStore, StoreExt, Write};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, PresentedKey, RejectionKind};

use super::processes::{database, play};
use super::{Database, insert, new_key, organization};
use crate::support::stores::BOUND;

/// How often what may go wrong by chance is tried.
pub(super) fn rounds(few: usize, many: usize) -> usize {
    match env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        true => many,
        false => few,
    }
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

pub(super) async fn handle(database: &Database) -> ApiKeys {
    open(database.open().await).await
}

pub(crate) async fn open(store: DynStore) -> ApiKeys {
    let builder = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    builder.open().await.unwrap()
}

pub(crate) async fn issue(keys: &ApiKeys) -> IssuedKey {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    let acme = match issuer.organization_by_slug("acme").await.unwrap() {
        Some(acme) => acme,
        None => issuer.create_organization("acme").await.unwrap(),
    };
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

pub(crate) async fn revoke(keys: &ApiKeys, id: KeyId) {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    issuer.revoke(id, "leaked").await.unwrap();
}

/// `None` if the key is admitted.
pub(crate) async fn check(keys: &ApiKeys, key: &str) -> Option<RejectionKind> {
    let checked = keys.authenticator().check(PresentedKey::new(key.as_bytes())).await;
    checked.err().map(|rejection| rejection.kind())
}

pub(crate) fn text(issued: &IssuedKey) -> &str {
    issued.key.expose_secret()
}

/// Checks a key until it is refused with this answer, and then some more. When a check began that admitted it last.
pub(crate) async fn until_refused(keys: &ApiKeys, key: &str, with: RejectionKind) -> Duration {
    let (begun, mut last) = (Instant::now(), Duration::ZERO);
    loop {
        let at = now();
        match check(keys, key).await {
            None => last = at,
            Some(kind) if kind == with => break,
            // It can be neither confirmed nor read.
            Some(RejectionKind::StoreUnavailable) => {}
            Some(kind) => panic!("{kind:?}"),
        }
        assert!(begun.elapsed() < 30 * BOUND, "admitted for half a minute");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..50 {
        assert_eq!(check(keys, key).await, Some(with));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    last
}

/// Another process that checks the keys it is given.
pub(super) struct Checker {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn checker() {
    let Some(database) = database() else { return };
    let keys = handle(&database).await;
    println!("said ready");
    for key in std::io::stdin().lines() {
        let key = key.unwrap();
        assert_eq!(check(&keys, &key).await, None);
        println!("said admitted");
        let last = until_refused(&keys, &key, RejectionKind::KeyRevoked).await;
        println!("said {}", last.as_millis());
    }
}

impl Checker {
    pub(super) fn start(database: &Database) -> Self {
        let mut process = play("shared_database::following::checker", &database.address());
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut checker = Self { process, input, output };
        assert_eq!(checker.says(), "ready");
        checker
    }

    fn says(&mut self) -> String {
        for line in &mut self.output {
            if let Some((_, said)) = line.unwrap().split_once("said ") {
                return said.to_owned();
            }
        }
        panic!("the other process ended: {:?}", self.process.wait());
    }

    /// The key is admitted there.
    pub(super) fn admits(&mut self, issued: &IssuedKey) {
        writeln!(self.input, "{}", text(issued)).unwrap();
        assert_eq!(self.says(), "admitted");
    }

    /// When a check began there that admitted the key last.
    pub(super) fn admitted_last(&mut self) -> Duration {
        Duration::from_millis(self.says().parse().unwrap())
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn key_revoked_in_one_process_is_refused_in_another() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let _ = issue(&keys).await;
        let mut checker = Checker::start(&database);
        let (rounds, mut latest, mut sum) = (rounds(20, 200), Duration::ZERO, Duration::ZERO);
        for round in 0..rounds {
            let issued = issue(&keys).await;
            checker.admits(&issued);
            revoke(&keys, issued.record.id).await;
            let returned = now();
            let late = checker.admitted_last().saturating_sub(returned);
            assert!(
                late <= BOUND,
                "round {round}: admitted {late:?} after the revoke returned"
            );
            latest = latest.max(late);
            sum += late;
        }
        println!(
            "{database}, {rounds} rounds: admitted {:?} longer on average, {latest:?} at most",
            sum / rounds as u32
        );
    }
}

/// Its follower does not run, and neither does the clock by which it would notice.
#[cfg(unix)]
#[tokio::test]
async fn process_that_was_stopped_admits_nothing_old() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let _ = issue(&keys).await;
        let mut checker = Checker::start(&database);
        for _ in 0..rounds(2, 20) {
            let issued = issue(&keys).await;
            checker.admits(&issued);
            checker.signal("STOP");
            revoke(&keys, issued.record.id).await;
            let returned = now();
            std::thread::sleep(BOUND + BOUND / 2);
            checker.signal("CONT");
            let late = checker.admitted_last().saturating_sub(returned);
            assert!(late <= BOUND, "admitted {late:?} after the revoke returned");
        }
    }
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn revoker() {
    let Some(database) = database() else { return };
    let keys = handle(&database).await;
    for id in std::io::stdin().lines() {
        let id: KeyId = id.unwrap().parse().unwrap();
        revoke(&keys, id).await;
        println!("said {id}");
    }
}

#[tokio::test]
async fn revokes_of_a_killed_process_are_seen() {
    let rounds = (0..rounds(2, 20)).flat_map(|round| Database::shared().map(move |database| (round, database)));
    for (round, database) in rounds {
        let keys = handle(&database).await;
        let mut issued = Vec::new();
        for _ in 0..60 {
            issued.push(issue(&keys).await);
        }
        for key in &issued {
            assert_eq!(check(&keys, text(key)).await, None);
        }
        let mut revoker = play("shared_database::following::revoker", &database.address());
        let mut input = revoker.stdin.take().unwrap();
        for key in &issued {
            writeln!(input, "{}", key.record.id).unwrap();
        }
        let mut revoked = Vec::new();
        for line in BufReader::new(revoker.stdout.take().unwrap()).lines() {
            if let Some(id) = line.unwrap().split_once("said ").and_then(|(_, id)| id.parse().ok()) {
                revoked.push(id);
            }
            if revoked.len() == 5 + round % 10 {
                revoker.kill().unwrap();
            }
        }
        let killed = now();
        revoker.wait().unwrap();
        assert!(revoked.len() >= 5);
        for key in issued.iter().filter(|key| revoked.contains(&key.record.id)) {
            let last = until_refused(&keys, text(key), RejectionKind::KeyRevoked).await;
            assert!(last <= killed + BOUND);
        }
        // Keys that nobody has changed are admitted as before, and this process can change them.
        let last = issued.last().unwrap();
        assert_eq!(check(&keys, text(last)).await, None);
        revoke(&keys, last.record.id).await;
        assert_eq!(check(&keys, text(last)).await, Some(RejectionKind::KeyRevoked));
    }
}

/// What someone changes by hand, and what the keys get then.
pub(crate) const BY_HAND: [(&str, RejectionKind); 6] = [
    (
        "UPDATE api_keys_keys SET status = 'revoked', status_at = 0, status_reason = 'leaked', status_actor = 'system'",
        RejectionKind::KeyRevoked,
    ),
    (
        "DELETE FROM api_keys_key_secrets; DELETE FROM api_keys_keys",
        RejectionKind::UnknownKey,
    ),
    (
        "UPDATE api_keys_organizations SET status = 'inactive'",
        RejectionKind::OrganizationInactive,
    ),
    (
        "UPDATE api_keys_key_secrets SET expires_at = 1",
        RejectionKind::KeyExpired,
    ),
    ("UPDATE api_keys_keys SET prefix = 'other'", RejectionKind::WrongSecret),
    (
        "UPDATE api_keys_keys SET environment = 'other'",
        RejectionKind::WrongSecret,
    ),
];

#[tokio::test]
async fn change_by_hand_is_seen() {
    for (sql, kind) in BY_HAND {
        for database in Database::shared() {
            let keys = handle(&database).await;
            let issued = issue(&keys).await;
            assert_eq!(check(&keys, text(&issued)).await, None);
            database.by_hand(sql, &[]).await;
            let changed = now();
            let last = until_refused(&keys, text(&issued), kind).await;
            assert!(last <= changed + BOUND, "{sql}");
        }
    }
}

#[tokio::test]
async fn ten_thousand_keys_changed_by_hand_are_seen() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let issued = [issue(&keys).await, issue(&keys).await];
        let by_hand = database.hand().await;
        let columns = "organization_id, name, name_folded, prefix, scopes, networks, limits, metadata, status, created_at, \
             created_by, revision";
        let insert = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO api_keys_keys (id, {columns}) SELECT randomblob(16), {columns} FROM api_keys_keys, n"
        );
        by_hand.run(&insert, &[]).await;
        for key in &issued {
            assert_eq!(check(&keys, text(key)).await, None);
        }
        let changed = by_hand.run("UPDATE api_keys_keys SET status = 'disabled'", &[]).await;
        assert!(changed > 10_000);
        let changed = now();
        for key in &issued {
            let last = until_refused(&keys, text(key), RejectionKind::KeyDisabled).await;
            assert!(last <= changed + BOUND);
        }
    }
}

/// What another process does otherwise makes no cached key stale: keys that it inserts, and hashes that it replaces.
#[tokio::test]
async fn keys_inserted_by_another_process_turn_nothing() {
    for database in Database::shared() {
        let store = database.open().await;
        let keys = open(store.clone()).await;
        let issued = issue(&keys).await;
        assert_eq!(check(&keys, text(&issued)).await, None);
        let mut writer = play("shared_database::processes::writer_until_killed", &database.address());
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut inserted = || lines.any(|line| line.unwrap().contains("inserted"));
        assert!(inserted());
        let (changes, begun) = (store.fence().unwrap().changes(), Instant::now());
        while begun.elapsed() < BOUND {
            assert!(inserted());
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        // SQLite that begins its log anew looks for a moment like a commit that left no row.
        assert!(store.fence().unwrap().changes() - changes <= 1);
    }
}

/// Reading goes on, and what is not committed is no change.
#[tokio::test]
async fn database_with_an_open_transaction_is_followed() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let issued = issue(&keys).await;
        assert_eq!(check(&keys, text(&issued)).await, None);
        let by_hand = database.hand().await;
        by_hand
            .run("BEGIN; UPDATE api_keys_keys SET status = 'disabled'", &[])
            .await;
        let begun = Instant::now();
        while begun.elapsed() < 2 * BOUND {
            assert_eq!(check(&keys, text(&issued)).await, None);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        by_hand.run("COMMIT", &[]).await;
        let changed = now();
        let last = until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
        assert!(last <= changed + BOUND);
    }
}

#[tokio::test]
async fn purge_keeps_the_last_row_of_the_log() {
    for database in Database::shared() {
        let store = database.open().await;
        let key = new_key(&organization(&store).await);
        insert(&store, &key).await.unwrap();
        let mut record = key.record;
        for _ in 0..3 {
            let update = Commit::new().write(Write::UpdateKey(record.clone()));
            record.revision = store.commit(update).await.unwrap().revision_of(record.id).unwrap();
        }
        let purge = |older_than| Commit::new().write(Write::PurgeChanges { older_than });
        let logged = async || store.get(ChangesAfter(0)).await.unwrap();
        store.commit(purge(ChangesAfter::KEPT)).await.unwrap();
        assert_eq!(logged().await.len(), 3);
        let week = "UPDATE api_keys_key_changes SET at = at - 7 * 24 * 3600 * 1000 - 1 WHERE seq < 4";
        database.by_hand(week, &[]).await;
        store.commit(purge(ChangesAfter::KEPT)).await.unwrap();
        let left = logged().await;
        assert!(left.len() < 3 && left.iter().all(|row| row.change.subject() == Subject::Key(record.id)));
        let years = "UPDATE api_keys_key_changes SET at = 0";
        database.by_hand(years, &[]).await;
        store.commit(purge(ChangesAfter::KEPT)).await.unwrap();
        let rows = "SELECT count(*) FROM api_keys_key_changes";
        let count = database.hand().await.number(rows).await;
        // In a file the purge leaves a row too, so that no look takes it for a change without one.
        assert_eq!(count, if database.is_postgres() { 1 } else { 2 });
    }
}

/// The whole schema as it was, in one transaction. SQLite's is in `sqlite_store::following`.
#[cfg(all(feature = "postgres", target_os = "linux"))]
#[tokio::test]
async fn restored_schema_is_followed_as_another_history() {
    use crate::support::postgres::{dump_schema, psql};

    let database = Database::shared().find(Database::is_postgres).unwrap();
    let Database::Postgres { url, schema } = &database else {
        panic!("a server")
    };
    let keys = handle(&database).await;
    let [revoked, other] = [issue(&keys).await, issue(&keys).await];
    let backup = dump_schema(url, schema);
    let later = issue(&keys).await;
    for key in [&revoked, &other, &later] {
        assert_eq!(check(&keys, text(key)).await, None);
    }
    revoke(&keys, revoked.record.id).await;
    // The log is longer than that of the backup will be.
    tokio::time::sleep(BOUND / 2).await;
    psql(url, &format!("BEGIN; DROP SCHEMA {schema} CASCADE; {backup}\nCOMMIT;"));
    let restored = now();
    let last = until_refused(&keys, text(&later), RejectionKind::UnknownKey).await;
    assert!(last <= restored + 2 * BOUND);
    assert_eq!(check(&keys, text(&other)).await, None);
    // It is as it was, without a journal. What the process has announced of it does not contradict for good.
    assert_eq!(check(&keys, text(&revoked)).await, None);
    // The log is followed as before.
    revoke(&keys, other.record.id).await;
    assert_eq!(check(&keys, text(&other)).await, Some(RejectionKind::KeyRevoked));
    let issued = issue(&keys).await;
    assert_eq!(check(&keys, text(&issued)).await, None);
    database
        .by_hand("UPDATE api_keys_keys SET status = 'disabled'", &[])
        .await;
    until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
}
