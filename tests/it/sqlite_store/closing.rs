//! The orderly end of a store.

use std::path::PathBuf;

use tower_api_key::key::{Actor, Organization};
use tower_api_key::store::{Commit, DynStore, KeyStore, ManagedStore, SqliteStore, StoreExt, Write};
use tower_api_key::{ApiKeys, IssueRequest};

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.sqlite");
    (folder, path)
}

fn beside(path: &std::path::Path) -> Vec<String> {
    let names = path.parent().unwrap().read_dir().unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"))
        .collect()
}

#[tokio::test]
async fn closed_store_is_one_file_with_all_commits() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    let clone = store.clone();
    let acme = Organization::new("Acme");
    // One that nobody waits for is made all the same.
    let write = Write::InsertOrganization(acme.clone());
    let commit = tokio::spawn(async move { clone.commit(Commit::new().write(write)).await });
    commit.await.unwrap().unwrap();
    assert!(!beside(&path).is_empty());
    DynStore::new(store.clone()).close().await;
    assert_eq!(beside(&path), [""; 0]);
    // A second time there is nothing to do.
    store.close().await;
    assert!(store.get(acme.id).await.is_err());
    let late = store.commit(Commit::new().write(Write::InsertOrganization(Organization::new("Late"))));
    assert!(late.await.is_err());

    // The handles of before are still there, and the file is opened anew.
    let again = SqliteStore::open(&path).await.unwrap();
    assert_eq!(again.get(acme.id).await.unwrap().as_ref(), Some(&acme));
    assert!(store.get(acme.id).await.is_err());
}

/// What requests counted is stored first.
#[tokio::test]
async fn closed_handle_has_stored_what_it_counted() {
    let (_folder, path) = place();
    let keys = ApiKeys::builder(SqliteStore::open(&path).await.unwrap())
        .open()
        .await
        .unwrap();
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "first")).await.unwrap();
    let key = tower_api_key::PresentedKey::new(issued.key.expose_secret().as_bytes());
    keys.authenticator().check(key).await.unwrap();
    keys.close().await.unwrap();
    assert_eq!(beside(&path), [""; 0]);
    let again = ApiKeys::builder(SqliteStore::open(&path).await.unwrap())
        .open()
        .await
        .unwrap();
    assert_eq!(again.statistics(acme.id).await.unwrap().requests, 1);
}
