//! Databases that several processes use at once, and people with other programs: files, and schemas of a server.

mod by_hand;
mod change_log;
mod damage;
pub(crate) mod following;
#[cfg(feature = "testing")]
pub(crate) mod hand_edits;
mod moved_by_hand;
#[cfg(all(feature = "postgres", target_os = "linux"))]
mod open_transactions;
mod outgrown;
pub(crate) mod processes;
mod rolled_back;
mod using;

use std::sync::Arc;

use tower_api_key::key::KeyStatus;
use tower_api_key::store::{KeyStore, StoreError, StoreErrorKind};

pub(crate) use crate::support::chain;
use crate::support::rows::{NOW, Rows as _, insert, new_key, organization};
use crate::support::stores::Database;

#[tokio::test]
async fn written_rows_survive_a_restart() {
    for database in Database::shared() {
        let store = database.open().await;
        let organization = organization(&store).await;
        let mut key = new_key(&organization);
        insert(&store, &key).await.unwrap();
        key.record.status = KeyStatus::Revoked;
        key.record = store.update_key(key.clone()).await.unwrap();
        drop(store);

        let store = database.open().await;
        assert_eq!(store.key(key.record.id).await.unwrap(), Some(key.clone()));
        let found = store.find(&key.secrets[0].lookup).await.unwrap().unwrap();
        assert_eq!((found.record, found.organization), (key.record, organization));
    }
}

#[tokio::test]
async fn two_stores_on_one_database_see_each_other() {
    for database in Database::shared() {
        let (one, two) = (database.open().await, database.open().await);
        let key = new_key(&organization(&one).await);
        insert(&two, &key).await.unwrap();
        one.update_key(key.clone()).await.unwrap();
        let error = two.update_key(key.clone()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        let found = two.find(&key.secrets[0].lookup).await.unwrap().unwrap();
        assert_eq!(found.record.revision, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_and_readers_at_once() {
    const TASKS: usize = 64;
    for database in Database::shared() {
        let store = database.open().await;
        let shared = new_key(&organization(&store).await);
        insert(&store, &shared).await.unwrap();
        let start = Arc::new(tokio::sync::Barrier::new(TASKS));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (store, start, shared) = (store.clone(), start.clone(), shared.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    let mut key = new_key(&organization(&store).await);
                    insert(&store, &key).await.unwrap();
                    for _ in 0..5 {
                        key.record = store.update_key(key.clone()).await.unwrap();
                        let found = store.find(&key.secrets[0].lookup).await.unwrap().unwrap();
                        assert_eq!(found.record, key.record);
                    }
                    // All tasks also update one shared row.
                    loop {
                        let contested = store.key(shared.record.id).await.unwrap().unwrap();
                        match store.update_key(contested).await {
                            Ok(_) => return key,
                            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict),
                        }
                    }
                })
            })
            .collect();
        let mut keys = Vec::new();
        for task in tasks {
            keys.push(task.await.unwrap());
        }
        drop(store);
        let store = database.open().await;
        for key in keys {
            assert_eq!(store.key(key.record.id).await.unwrap().as_ref(), Some(&key));
        }
        let contested = store.key(shared.record.id).await.unwrap().unwrap();
        assert_eq!(contested.record.revision, 1 + TASKS as u64);
    }
}
