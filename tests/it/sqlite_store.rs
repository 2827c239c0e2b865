//! What only the SQLite store must do: with its file, its log, its lock and its threads.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::shared_database::{chain, processes};
use crate::support::rows::{Rows as _, insert, new_key, organization};
use rusqlite::Connection;
use tempfile::TempDir;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, KeyStatus};
use tower_api_key::store::{Commit, KeyStore, ManagedStore, SqliteStore, StoreErrorKind, Write};
use tower_api_key::{ApiKeys, IssueRequest, PresentedKey, RejectionKind};

mod backing_up;
mod backup;
mod change_log;
mod closing;
#[cfg(feature = "legacy-hashes")]
mod fixtures;
mod following;
mod one_file;
mod opening;
#[cfg(feature = "testing")]
mod set_back;
mod way_down;
#[cfg(unix)]
mod written_over;

struct File {
    _folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sqlite");
        Self { _folder: folder, path }
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path).await.unwrap()
    }

    /// A connection that does not use the store, with foreign keys and checks switched off.
    fn by_hand(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        connection
            .pragma_update(None, "ignore_check_constraints", true)
            .unwrap();
        connection
    }
}

/// To Tokio, nothing runs while a thread of the store does: it would move paused time on to the next timer.
#[tokio::test(start_paused = true)]
async fn issuing_and_checking_work_in_paused_time() {
    let file = File::new();
    let keys = ApiKeys::builder(file.open().await).hash_policy(HashPolicy::sha256());
    let keys = keys.open().await.unwrap();
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    for _ in 0..20 {
        let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        let key = issued.key.expose_secret().as_bytes();
        let check = || keys.authenticator().check(PresentedKey::new(key));
        check().await.unwrap();
        issuer.revoke(issued.record.id, "lost").await.unwrap();
        assert_eq!(check().await.unwrap_err().kind(), RejectionKind::KeyRevoked);
    }
}

/// After its first poll, a commit is made by the writer thread, without the caller or its runtime.
#[test]
fn commit_outlives_its_caller_and_runtime() {
    let file = File::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, mut key) = runtime().block_on(async {
        let store = file.open().await;
        let key = new_key(&organization(&store).await);
        insert(&store, &key).await.unwrap();
        (store, key)
    });
    let before = store.fence().unwrap().changes();
    runtime().block_on(async {
        key.record.status = KeyStatus::Revoked;
        tokio::select! {
            biased;
            _ = store.commit(Commit::new().write(Write::UpdateKey(key.record.clone()))) => panic!("committed in one poll"),
            () = std::future::ready(()) => {}
        }
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.fence().unwrap().changes() == before {
        assert!(Instant::now() < deadline, "the change is not announced");
        std::thread::yield_now();
    }
    let stored = runtime().block_on(store.key(key.record.id)).unwrap().unwrap();
    assert_eq!(stored.record.status, KeyStatus::Revoked);
}

#[tokio::test]
async fn lock_of_another_process_times_out() {
    let file = File::new();
    let store = SqliteStore::builder()
        .busy_timeout(Duration::from_millis(20))
        .open(&file.path)
        .await
        .unwrap();
    let key = new_key(&organization(&store).await);
    let changes = store.fence().unwrap().changes();
    let other = file.by_hand();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = insert(&store, &key).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(chain(&error).contains("locked"), "{}", chain(&error));
    assert_eq!(store.fence().unwrap().changes(), changes);
    assert_eq!(
        store.key(key.record.id).await.unwrap(),
        None,
        "reading goes on meanwhile"
    );
    other.execute_batch("ROLLBACK").unwrap();
    insert(&store, &key).await.unwrap();
}

/// A deferred constraint fails at COMMIT, and SQLite then keeps the transaction open.
#[tokio::test]
async fn store_works_after_a_refused_commit() {
    let file = File::new();
    let store = file.open().await;
    let key = new_key(&organization(&store).await);
    file.by_hand()
        .execute_batch(
            "CREATE TABLE poison (a INTEGER REFERENCES antidote (a) DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE antidote (a INTEGER PRIMARY KEY);
             CREATE TRIGGER poisoned AFTER INSERT ON api_keys_keys WHEN NEW.name = 'poison'
             BEGIN INSERT INTO poison VALUES (1); END;",
        )
        .unwrap();
    let mut poison = key.clone();
    poison.record.name = "poison".to_owned();
    let changes = store.fence().unwrap().changes();
    let error = insert(&store, &poison).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.key(key.record.id).await.unwrap(), None);
    assert_eq!(store.fence().unwrap().changes(), changes);
    insert(&store, &key).await.unwrap();
}
