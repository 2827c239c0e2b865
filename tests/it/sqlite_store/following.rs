//! A file that is restored, away, or used by one process alone.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tower_api_key::ApiKeys;
use tower_api_key::RejectionKind;
use tower_api_key::hash::HashPolicy;
use tower_api_key::store::{
    Commit, DynStore, KeyStore, ManagedStore, Sharing, SqliteStore, StoreErrorKind, StoreExt, Write,
};

use super::processes::{play, role};
use super::{File, chain, organization};
use crate::shared_database::following::{BY_HAND, check, issue, now, open, revoke, text, until_refused};
use crate::support::stores::BOUND;

async fn handle(path: &Path) -> ApiKeys {
    open(DynStore::new(SqliteStore::open(path).await.unwrap())).await
}

#[tokio::test]
async fn change_by_hand_without_triggers_is_seen() {
    for (sql, kind) in BY_HAND {
        let file = File::new();
        let keys = handle(&file.path).await;
        let issued = issue(&keys).await;
        assert_eq!(check(&keys, text(&issued)).await, None);
        // Only a commit that leaves a row, within the same look, would hide one that leaves none.
        tokio::time::sleep(BOUND / 2).await;
        let by_hand = file.by_hand();
        by_hand
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .unwrap();
        by_hand.execute_batch(sql).unwrap();
        let changed = now();
        let last = until_refused(&keys, text(&issued), kind).await;
        assert!(last <= changed + BOUND, "{sql}");
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

fn impatient() -> tower_api_key::store::SqliteStoreBuilder {
    SqliteStore::builder().busy_timeout(Duration::from_millis(50))
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn holder() {
    let Some(path) = role() else { return };
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
    let mut holder = play("sqlite_store::following::holder", path.to_str().unwrap());
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
