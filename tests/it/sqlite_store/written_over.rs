//! Something that is not SQLite writes the open file: `cp` of a backup over it keeps device and inode. SQLite in another process,
//! and programs that only touch the file, must go on beside the store.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use rusqlite::Connection;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::Actor;
use tower_api_key::store::query::Organizations;
use tower_api_key::store::{SqliteStore, StoreError, StoreErrorKind, StoreExt};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey};

use super::processes::{play, role};
use super::{File, chain, insert, new_key, organization};
use crate::support::rows::Rows as _;

/// A program of the operating system.
fn run(program: &str, arguments: &[&str], paths: &[&Path]) {
    let status = Command::new(program).args(arguments).args(paths).status().unwrap();
    assert!(status.success(), "{program}");
}

fn cp(from: &Path, to: &Path) {
    run("cp", &[], &[from, to]);
}

fn beside(path: &Path, end: &str) -> PathBuf {
    path.with_file_name(format!("keys.sqlite{end}"))
}

fn checkpoint(file: &File, mode: &str) {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let whole = file
        .by_hand()
        .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (busy, frames, copied): (i64, i64, i64) = whole.unwrap();
    assert!(busy == 0 && frames == copied, "{busy} {frames} {copied}");
}

/// A backup of the file.
enum Backup {
    /// As SQLite makes one.
    Vacuumed,
    /// A copy of the file once the log is in it.
    Copied,
    /// One of the same size, so that only contents differ.
    SameSize,
    /// Of another database.
    Another,
}

impl Backup {
    /// Makes it, and then a change that it does not have.
    async fn of(&self, file: &File, keys: &Keys) -> PathBuf {
        let backup = file.path.with_file_name("backup");
        let issuer = keys.issuer().acting_as(Actor::operator("test"));
        let other = issuer.create_organization("other").await.unwrap();
        match self {
            Self::Vacuumed => {
                let made = file.by_hand().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]);
                made.unwrap();
            }
            Self::Copied | Self::SameSize => {
                checkpoint(file, "TRUNCATE");
                cp(&file.path, &backup);
            }
            Self::Another => {
                let another = File::new();
                let keys = open(&another.path).await;
                let _ = issue(&keys).await;
                checkpoint(&another, "TRUNCATE");
                cp(&another.path, &backup);
            }
        }
        match self {
            Self::SameSize => {
                let renamed = issuer.update_organization(other.id, |other| other.name = "OTHER".to_owned());
                renamed.await.unwrap();
            }
            _ => drop(issue_more(keys).await),
        }
        checkpoint(file, "PASSIVE");
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(!matches!(self, Self::SameSize) || size(&file.path) == size(&backup));
        // What another program writes between two looks of the store, beside a checkpoint, is not found.
        keys.read(Organizations::all()).await.unwrap();
        backup
    }
}

type Keys = ApiKeys<SqliteStore>;

async fn open(path: &Path) -> Keys {
    let store = SqliteStore::open(path).await.unwrap();
    let settings = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    settings.open().await.unwrap()
}

async fn issue(keys: &Keys) -> IssuedKey {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    let acme = issuer.create_organization("acme").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

async fn issue_more(keys: &Keys) -> IssuedKey {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    let acme = issuer.create_organization("more").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

/// It would be acknowledged, and lost when the service starts again, or the file would be destroyed.
#[rstest]
#[tokio::test]
async fn revoke_fails_after_a_copy_over_the_file(
    #[values(Backup::Vacuumed, Backup::Copied, Backup::SameSize, Backup::Another)] backup: Backup,
    #[values("cp", "cp -p", "cat", "dd", "cp and rm -wal")] way: &str,
) {
    let file = File::new();
    let keys = open(&file.path).await;
    let issued = issue(&keys).await;
    let backup = backup.of(&file, &keys).await;
    match way {
        "cp" => cp(&backup, &file.path),
        "cp -p" => run("cp", &["-p"], &[&backup, &file.path]),
        "cat" => fs::write(&file.path, fs::read(&backup).unwrap()).unwrap(),
        // Not even emptied before.
        "dd" => {
            let (from, to) = (
                format!("if={}", backup.display()),
                format!("of={}", file.path.display()),
            );
            run("dd", &["conv=notrunc", "status=none", &from, &to], &[]);
        }
        _ => {
            cp(&backup, &file.path);
            fs::remove_file(beside(&file.path, "-wal")).unwrap();
        }
    }
    assert_unusable(&keys, &issued).await;
}

/// The store looks at the file before each change, so it knows the checkpoint of the other program by then.
#[rstest]
#[tokio::test]
async fn copy_after_a_checkpoint_of_another_program_is_noticed(
    #[values("PASSIVE", "FULL", "RESTART", "TRUNCATE")] mode: &str,
    #[values(Backup::Copied, Backup::Another)] backup: Backup,
) {
    let file = File::new();
    let keys = open(&file.path).await;
    let issued = issue(&keys).await;
    let backup = backup.of(&file, &keys).await;
    checkpoint(&file, mode);
    keys.read(Organizations::all()).await.unwrap();
    cp(&backup, &file.path);
    assert_unusable(&keys, &issued).await;
}

/// SQLite writes behind the end that it knows, and finds nothing there once it opens the log anew.
#[rstest]
#[tokio::test]
async fn copy_over_the_log_is_noticed(#[values("another", "older", "empty", "header")] from: &str) {
    let file = File::new();
    let store = file.open().await;
    let acme = organization(&store).await;
    let log = beside(&file.path, "-wal");
    let older = file.path.with_file_name("older");
    cp(&log, &older);
    insert(&store, &new_key(&acme)).await.unwrap();
    let another = File::new();
    let other = another.open().await;
    for _ in 0..10 {
        organization(&other).await;
    }
    match from {
        "another" => cp(&beside(&another.path, "-wal"), &log),
        "older" => cp(&older, &log),
        "empty" => cp(Path::new("/dev/null"), &log),
        _ => fs::File::options().write(true).open(&log).unwrap().set_len(32).unwrap(),
    }
    for _ in 0..3 {
        let error = insert(&store, &new_key(&acme)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(chain(&error).contains("-wal"), "{}", chain(&error));
    }
}

/// No change is acknowledged, and nothing is read.
async fn assert_unusable(keys: &Keys, issued: &IssuedKey) {
    let operator = keys.issuer().acting_as(Actor::operator("test"));
    let error = operator.revoke(issued.record.id, "leaked").await.unwrap_err();
    let source = error.source().unwrap().downcast_ref::<StoreError>().unwrap();
    assert_eq!(source.kind(), StoreErrorKind::Unusable, "{}", chain(source));
    assert!(chain(source).contains("in use"), "{}", chain(source));
    assert!(operator.create_organization("again").await.is_err());
    let error = keys.read(Organizations::all()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

/// After the service ends, as the error says.
#[tokio::test]
async fn backup_is_restored_as_the_error_says() {
    let file = File::new();
    let keys = open(&file.path).await;
    let issued = issue(&keys).await;
    let backup = Backup::Copied.of(&file, &keys).await;
    cp(&backup, &file.path);
    let operator = keys.issuer().acting_as(Actor::operator("test"));
    assert!(operator.revoke(issued.record.id, "leaked").await.is_err());
    drop((keys, operator));
    // SQLite deletes the log when the last connection is closed.
    while beside(&file.path, "-wal").exists() {
        tokio::task::yield_now().await;
    }
    let _ = fs::remove_file(beside(&file.path, "-shm"));
    cp(&backup, &file.path);
    let keys = open(&file.path).await;
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    issuer.revoke(issued.record.id, "leaked").await.unwrap();
    let whole = file.by_hand().query_row("PRAGMA integrity_check", [], |row| row.get(0));
    assert_eq!(whole, Ok("ok".to_owned()));
}

/// Even if nothing was written since the store was opened, and what was there is in the file.
#[tokio::test]
async fn copy_over_a_file_that_was_only_opened_is_noticed() {
    let file = File::new();
    let another = File::new();
    for file in [&file, &another] {
        let store = file.open().await;
        organization(&store).await;
        drop(store);
        while beside(&file.path, "-wal").exists() {
            tokio::task::yield_now().await;
        }
    }
    let store = file.open().await;
    cp(&another.path, &file.path);
    let error = store.get(Organizations::all()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

/// The index of the log is made anew then.
#[tokio::test]
async fn copy_over_a_file_with_a_log_of_a_crash_is_noticed() {
    let (before, file) = (File::new(), File::new());
    let store = before.open().await;
    let key = new_key(&organization(&store).await);
    insert(&store, &key).await.unwrap();
    // As a crash leaves them.
    for end in ["", "-wal"] {
        cp(&beside(&before.path, end), &beside(&file.path, end));
    }
    let backup = file.path.with_file_name("backup");
    before
        .by_hand()
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    let store = file.open().await;
    assert!(store.get(key.record.id).await.unwrap().is_some());
    cp(&backup, &file.path);
    let error = store.update_key(key).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

#[rstest]
#[case::touched("touch", &[])]
#[case::in_the_past("touch", &["-d", "2001-01-01"])]
#[case::permissions("chmod", &["600"])]
#[tokio::test]
async fn touched_file_stays_in_use(#[case] program: &str, #[case] arguments: &[&str]) {
    let file = File::new();
    let store = file.open().await;
    let acme = organization(&store).await;
    for _ in 0..3 {
        run(program, arguments, &[&file.path]);
        insert(&store, &new_key(&acme)).await.unwrap();
        checkpoint(&file, "PASSIVE");
        run(program, arguments, &[&file.path]);
        store.get(acme.id).await.unwrap();
    }
    // It is still watched.
    let backup = file.path.with_file_name("backup");
    file.by_hand()
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    cp(&backup, &file.path);
    assert!(insert(&store, &new_key(&acme)).await.is_err());
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn other_program() {
    let Some(path) = role() else { return };
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    connection.execute_batch("CREATE TABLE other (a BLOB)").unwrap();
    for round in 0_u32.. {
        let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][round as usize % 4];
        // Over a thousand pages, so that the commit makes a checkpoint, too.
        let sql = format!(
            "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 300)
             INSERT INTO other SELECT randomblob(16000) FROM many;
             PRAGMA wal_checkpoint({mode});
             DELETE FROM other;
             VACUUM;
             PRAGMA wal_checkpoint({mode});"
        );
        connection.execute_batch(&sql).unwrap();
        let mut out = std::io::stdout();
        // Nobody reads any more when enough rounds are counted.
        let _ = writeln!(out, "round {round}").and_then(|()| out.flush());
    }
}

/// Its checkpoints write the file at any time. Killed, it leaves one half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_goes_on_beside_another_program_of_sqlite() {
    let file = File::new();
    let store = file.open().await;
    let acme = organization(&store).await;
    let mut other = play("sqlite_store::written_over::other_program", file.path.to_str().unwrap());
    let rounds = BufReader::new(other.stdout.take().unwrap()).lines();
    let counting = tokio::task::spawn_blocking(move || {
        let rounds = rounds.filter(|line| line.as_ref().is_ok_and(|line| line.starts_with("round")));
        assert_eq!(rounds.take(24).count(), 24);
    });
    let inserted = async || {
        let key = new_key(&acme);
        insert(&store, &key)
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(store.get(key.record.id).await.unwrap().is_some());
        key.record.id
    };
    let mut keys = Vec::new();
    while !counting.is_finished() {
        keys.push(inserted().await);
    }
    other.kill().unwrap();
    other.wait().unwrap();
    for _ in 0..20 {
        keys.push(inserted().await);
    }
    counting.await.unwrap();
    drop(store);
    let store = file.open().await;
    for id in keys {
        assert!(store.get(id).await.unwrap().is_some(), "{id} is lost");
    }
}
