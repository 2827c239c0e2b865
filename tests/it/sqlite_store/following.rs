//! Processes that share a file: each sees what the others change within a second, or refuses.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, Subject};
use tower_api_key::store::query::ChangesAfter;
use tower_api_key::store::{
    Commit, DynStore, KeyStore, ManagedStore, Sharing, SqliteStore, StoreErrorKind, StoreExt, Write,
};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, PresentedKey, RejectionKind};

use super::processes::{ROLE, play};
use super::{File, chain, insert, new_key, organization};

/// The default of `SqliteStoreBuilder::max_staleness`.
const BOUND: Duration = Duration::from_secs(1);

/// How often what may go wrong by chance is tried.
fn rounds(few: usize, many: usize) -> usize {
    match env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        true => many,
        false => few,
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

async fn handle(path: &Path) -> ApiKeys {
    let store = DynStore::open(&format!("sqlite:{}", path.display())).await.unwrap();
    let builder = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    builder.open().await.unwrap()
}

async fn issue(keys: &ApiKeys) -> IssuedKey {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    let acme = match issuer.organization_by_slug("acme").await.unwrap() {
        Some(acme) => acme,
        None => issuer.create_organization("acme").await.unwrap(),
    };
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

async fn revoke(keys: &ApiKeys, id: KeyId) {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    issuer.revoke(id, "leaked").await.unwrap();
}

/// `None` if the key is admitted.
async fn check(keys: &ApiKeys, key: &str) -> Option<RejectionKind> {
    let checked = keys.authenticator().check(PresentedKey::new(key.as_bytes())).await;
    checked.err().map(|rejection| rejection.kind())
}

fn text(issued: &IssuedKey) -> &str {
    issued.key.expose_secret()
}

/// Checks a key until it is refused with this answer, and then some more. When a check began that admitted it last.
async fn until_refused(keys: &ApiKeys, key: &str, with: RejectionKind) -> Duration {
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
struct Checker {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn checker() {
    let Ok(path) = env::var(ROLE) else { return };
    let keys = handle(Path::new(&path)).await;
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
    fn start(path: &Path) -> Self {
        let mut process = play("sqlite_store::following::checker", path);
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
    fn admits(&mut self, issued: &IssuedKey) {
        writeln!(self.input, "{}", text(issued)).unwrap();
        assert_eq!(self.says(), "admitted");
    }

    /// When a check began there that admitted the key last.
    fn admitted_last(&mut self) -> Duration {
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
    let file = File::new();
    let keys = handle(&file.path).await;
    let _ = issue(&keys).await;
    let mut checker = Checker::start(&file.path);
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
        "{rounds} rounds: admitted {:?} longer on average, {latest:?} at most",
        sum / rounds as u32
    );
}

/// Its follower does not run, and neither does the clock by which it would notice.
#[cfg(unix)]
#[tokio::test]
async fn process_that_was_stopped_admits_nothing_old() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let _ = issue(&keys).await;
    let mut checker = Checker::start(&file.path);
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

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn revoker() {
    let Ok(path) = env::var(ROLE) else { return };
    let keys = handle(Path::new(&path)).await;
    for id in std::io::stdin().lines() {
        let id: KeyId = id.unwrap().parse().unwrap();
        revoke(&keys, id).await;
        println!("said {id}");
    }
}

#[tokio::test]
async fn revokes_of_a_killed_process_are_seen() {
    for round in 0..rounds(2, 20) {
        let file = File::new();
        let keys = handle(&file.path).await;
        let mut issued = Vec::new();
        for _ in 0..60 {
            issued.push(issue(&keys).await);
        }
        for key in &issued {
            assert_eq!(check(&keys, text(key)).await, None);
        }
        let mut revoker = play("sqlite_store::following::revoker", &file.path);
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

#[tokio::test]
async fn change_by_hand_is_seen() {
    const MANY: &str = "UPDATE api_keys_keys SET status = 'revoked', status_at = 0, status_reason = 'leaked', \
         status_actor = 'system'";
    for (sql, kind) in [
        (MANY, RejectionKind::KeyRevoked),
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
    ] {
        for has_triggers in [true, false] {
            let file = File::new();
            let keys = handle(&file.path).await;
            let issued = issue(&keys).await;
            assert_eq!(check(&keys, text(&issued)).await, None);
            if !has_triggers {
                // Only a commit that leaves a row, within the same look, would hide one that leaves none.
                tokio::time::sleep(BOUND / 2).await;
            }
            let by_hand = file.by_hand();
            by_hand
                .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, has_triggers)
                .unwrap();
            by_hand.execute_batch(sql).unwrap();
            let changed = now();
            let last = until_refused(&keys, text(&issued), kind).await;
            assert!(last <= changed + BOUND, "{sql}");
        }
    }
}

#[tokio::test]
async fn ten_thousand_keys_changed_by_hand_are_seen() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let issued = [issue(&keys).await, issue(&keys).await];
    let by_hand = file.by_hand();
    let columns = "organization_id, name, name_folded, prefix, scopes, networks, limits, metadata, status, created_at, \
         created_by, revision";
    by_hand
        .execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO api_keys_keys (id, {columns}) SELECT randomblob(16), {columns} FROM api_keys_keys, n"
        ))
        .unwrap();
    for key in &issued {
        assert_eq!(check(&keys, text(key)).await, None);
    }
    let changed = by_hand.execute("UPDATE api_keys_keys SET status = 'disabled'", []);
    assert!(changed.unwrap() > 10_000);
    let changed = now();
    for key in &issued {
        let last = until_refused(&keys, text(key), RejectionKind::KeyDisabled).await;
        assert!(last <= changed + BOUND);
    }
}

/// All tables as they were, in one transaction and past the triggers, as SQLite's own restore leaves an open file.
fn restore(by_hand: &Connection, backup: &Path) {
    by_hand
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .unwrap();
    by_hand
        .execute("ATTACH ?1 AS backup", [backup.to_str().unwrap()])
        .unwrap();
    let tables: Vec<String> = by_hand
        .prepare("SELECT name FROM backup.sqlite_schema WHERE type = 'table' AND name LIKE 'api_keys_%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .chain(["sqlite_sequence".to_owned()])
        .collect();
    let copies = tables
        .iter()
        .map(|table| format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM backup.{table};"));
    by_hand
        .execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT", copies.collect::<String>()))
        .unwrap();
}

#[tokio::test]
async fn restored_backup_is_followed_as_another_history() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let [revoked, other] = [issue(&keys).await, issue(&keys).await];
    let (by_hand, backup) = (file.by_hand(), file.path.with_extension("backup"));
    by_hand.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    let later = issue(&keys).await;
    for key in [&revoked, &other, &later] {
        assert_eq!(check(&keys, text(key)).await, None);
    }
    revoke(&keys, revoked.record.id).await;
    tokio::time::sleep(BOUND / 2).await;
    restore(&by_hand, &backup);
    let restored = now();
    let last = until_refused(&keys, text(&later), RejectionKind::UnknownKey).await;
    assert!(last <= restored + BOUND);
    assert_eq!(check(&keys, text(&other)).await, None);
    // By the revocation journal.
    assert_eq!(check(&keys, text(&revoked)).await, Some(RejectionKind::KeyRevoked));
    // Keys of the other history are found, and the log is followed as before.
    revoke(&keys, other.record.id).await;
    assert_eq!(check(&keys, text(&other)).await, Some(RejectionKind::KeyRevoked));
    let issued = issue(&keys).await;
    assert_eq!(check(&keys, text(&issued)).await, None);
    by_hand
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)
        .unwrap();
    by_hand
        .execute_batch("UPDATE api_keys_keys SET status = 'disabled'")
        .unwrap();
    until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
}

/// Its thread cannot look, so nothing confirms what is cached.
#[cfg(unix)]
#[tokio::test]
async fn file_that_is_away_is_answered_503_within_the_bound() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let issued = issue(&keys).await;
    let by_hand = file.by_hand();
    // It has its files open from its first read on.
    by_hand
        .query_row("SELECT count(*) FROM api_keys_keys", [], |_| Ok(()))
        .unwrap();
    assert_eq!(check(&keys, text(&issued)).await, None);
    let away = file.path.with_extension("away");
    std::fs::rename(&file.path, &away).unwrap();
    let left = now();
    by_hand
        .execute_batch("UPDATE api_keys_keys SET status = 'disabled'")
        .unwrap();
    let last = until_refused(&keys, text(&issued), RejectionKind::StoreUnavailable).await;
    assert!(last <= left + BOUND);
    std::fs::rename(&away, &file.path).unwrap();
    until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
}

/// What another process does otherwise makes no cached key stale: keys that it inserts, and hashes that it replaces.
#[tokio::test]
async fn keys_inserted_by_another_process_turn_nothing() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let issued = issue(&keys).await;
    assert_eq!(check(&keys, text(&issued)).await, None);
    let store = file.open().await;
    let mut writer = play("sqlite_store::processes::writer_until_killed", &file.path);
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

/// Reading goes on, and what is not committed is no change.
#[tokio::test]
async fn file_locked_by_another_writer_is_followed() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let issued = issue(&keys).await;
    assert_eq!(check(&keys, text(&issued)).await, None);
    let by_hand = file.by_hand();
    by_hand
        .execute_batch("BEGIN IMMEDIATE; UPDATE api_keys_keys SET status = 'disabled'")
        .unwrap();
    let begun = Instant::now();
    while begun.elapsed() < 2 * BOUND {
        assert_eq!(check(&keys, text(&issued)).await, None);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    by_hand.execute_batch("COMMIT").unwrap();
    let changed = now();
    let last = until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
    assert!(last <= changed + BOUND);
}

/// They were announced when they were made.
#[tokio::test]
async fn own_changes_are_not_announced_twice() {
    let file = File::new();
    let keys = handle(&file.path).await;
    let store = file.open().await;
    let issued = issue(&keys).await;
    let begun = store.fence().unwrap().changes();
    for _ in 0..5 {
        let mut record = store.get(issued.record.id).await.unwrap().unwrap().record;
        record.name.push('!');
        store
            .commit(Commit::new().write(Write::UpdateKey(record)))
            .await
            .unwrap();
    }
    tokio::time::sleep(BOUND / 2).await;
    // At most one was looked at between its commit and its announcement.
    assert!(store.fence().unwrap().changes() - begun <= 6);
}

#[tokio::test]
async fn sharing_says_how_late_changes_are_seen() {
    let file = File::new();
    let store = file.open().await;
    assert_eq!(store.sharing(), Sharing::ChangeLog { max_staleness: BOUND });
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(3600));
    for time in [short, long] {
        let file = File::new();
        let store = SqliteStore::builder()
            .max_staleness(time)
            .open(&file.path)
            .await
            .unwrap();
        assert_eq!(store.sharing(), Sharing::ChangeLog { max_staleness: time });
    }
    for time in [
        Duration::ZERO,
        short - Duration::from_nanos(1),
        long + Duration::from_nanos(1),
    ] {
        let file = File::new();
        let error = SqliteStore::builder()
            .max_staleness(time)
            .open(&file.path)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(
            chain(&error).contains("between 50 ms and one hour"),
            "{}",
            chain(&error)
        );
        assert!(!file.path.exists());
    }
}

#[tokio::test]
async fn purge_keeps_the_last_row_of_the_log() {
    let file = File::new();
    let store = file.open().await;
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
    file.by_hand().execute_batch(week).unwrap();
    store.commit(purge(ChangesAfter::KEPT)).await.unwrap();
    let left = logged().await;
    assert!(left.len() < 3 && left.iter().all(|row| row.change.subject() == Subject::Key(record.id)));
    let years = "UPDATE api_keys_key_changes SET at = 0";
    file.by_hand().execute_batch(years).unwrap();
    store.commit(purge(ChangesAfter::KEPT)).await.unwrap();
    let rows = "SELECT count(*) FROM api_keys_key_changes";
    let count: i64 = file.by_hand().query_row(rows, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2, "the last one, and that of the purge");
}

fn impatient() -> tower_api_key::store::SqliteStoreBuilder {
    SqliteStore::builder().busy_timeout(Duration::from_millis(50))
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn holder() {
    let Ok(path) = env::var(ROLE) else { return };
    let (path, exclusive) = match path.strip_suffix("?exclusive") {
        Some(path) => (PathBuf::from(path), true),
        None => (PathBuf::from(path), false),
    };
    let builder = if exclusive {
        impatient().exclusive()
    } else {
        impatient()
    };
    match builder.open(path).await {
        Ok(_store) => {
            println!("said open");
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        Err(error) => println!("said {}", chain(&error)),
    }
}

/// A process that has the file open, or says why not.
fn hold(path: &Path, exclusive: bool) -> (Child, String) {
    let path = match exclusive {
        true => PathBuf::from(format!("{}?exclusive", path.display())),
        false => path.to_owned(),
    };
    let mut holder = play("sqlite_store::following::holder", &path);
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| Some(line.unwrap().split_once("said ")?.1.to_owned()));
    (holder, said.unwrap())
}

fn kill(mut holder: Child) {
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[tokio::test]
async fn exclusive_file_is_refused_to_another_process() {
    let file = File::new();
    for (theirs, ours) in [(true, true), (true, false), (false, true)] {
        let (holder, said) = hold(&file.path, theirs);
        assert_eq!(said, "open");
        let builder = if ours { impatient().exclusive() } else { impatient() };
        let error = builder.clone().open(&file.path).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(
            chain(&error).contains("another process has the file open"),
            "{}",
            chain(&error)
        );
        let downgraded = impatient().downgrade_and_lose_data(&file.path, 0).await;
        assert_eq!(downgraded.unwrap_err().kind(), StoreErrorKind::Unusable);

        kill(holder);
        let store = builder.open(&file.path).await.unwrap();
        assert_eq!(store.sharing() == Sharing::Exclusive, ours);
        organization(&store).await;
        let (other, said) = hold(&file.path, theirs);
        assert!(said.contains("another process has the file open"), "{said}");
        kill(other);
        drop(store);
    }
    // Both share it.
    let (holder, said) = hold(&file.path, false);
    assert_eq!(said, "open");
    organization(&file.open().await).await;
    kill(holder);
}

/// Another process would lock a new one.
#[cfg(unix)]
#[tokio::test]
async fn exclusive_store_without_its_lock_file_fails() {
    let file = File::new();
    let store = impatient().exclusive().open(&file.path).await.unwrap();
    organization(&store).await;
    let lock = file.path.with_file_name("keys.sqlite-lock");
    let away = lock.with_extension("away");
    std::fs::rename(&lock, &away).unwrap();
    let failed = Commit::new().write(Write::InsertOrganization(tower_api_key::key::Organization::new("late")));
    let error = store.commit(failed).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    std::fs::rename(&away, &lock).unwrap();
    organization_again(&store).await;
}

async fn organization_again(store: &SqliteStore) {
    let mut again = tower_api_key::key::Organization::new("Again");
    again.slug = "again".to_owned();
    store
        .commit(Commit::new().write(Write::InsertOrganization(again)))
        .await
        .unwrap();
}

#[tokio::test]
async fn exclusive_store_is_found_and_not_made_of_a_shared_one() {
    let file = File::new();
    let shared = file.open().await;
    let error = impatient().exclusive().open(&file.path).await.unwrap_err();
    assert!(
        chain(&error).contains("without `SqliteStoreBuilder::exclusive`"),
        "{}",
        chain(&error)
    );
    drop(shared);
    // Its threads may have it open still.
    let alone = SqliteStore::builder().exclusive().open(&file.path).await.unwrap();
    let same = file.open().await;
    assert_eq!(
        (alone.sharing(), same.sharing()),
        (Sharing::Exclusive, Sharing::Exclusive)
    );
}

/// A change by hand is not prevented, and noticed all the same.
#[tokio::test]
async fn change_by_hand_is_noticed_by_an_exclusive_store() {
    let file = File::new();
    let store = SqliteStore::builder().exclusive().open(&file.path).await.unwrap();
    let keys = ApiKeys::builder(DynStore::new(store)).hash_policy(HashPolicy::sha256());
    let keys = keys.open().await.unwrap();
    let issued = issue(&keys).await;
    assert_eq!(check(&keys, text(&issued)).await, None);
    file.by_hand()
        .execute_batch("UPDATE api_keys_keys SET status = 'disabled'")
        .unwrap();
    until_refused(&keys, text(&issued), RejectionKind::KeyDisabled).await;
}
