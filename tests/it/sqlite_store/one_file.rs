//! One file is one store in a process, under whatever path; and a file that is deleted, replaced or renamed while it is open
//! takes no more changes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rstest::rstest;
use tower_api_key::key::Actor;
use tower_api_key::store::query::Organizations;
use tower_api_key::store::{KeyStore, SqliteStore, StoreError, StoreErrorKind, StoreExt};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, PresentedKey, RejectionKind};

use super::{File, chain, insert, new_key, organization};

async fn open(path: &Path) -> Result<ApiKeys, StoreError> {
    ApiKeys::open(&format!("sqlite:{}", path.display())).await
}

async fn issue(keys: &ApiKeys) -> IssuedKey {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    let acme = issuer.create_organization("acme").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

async fn check(keys: &ApiKeys, issued: &IssuedKey) -> Result<(), RejectionKind> {
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    let checked = keys.authenticator().check(key).await;
    checked.map(drop).map_err(|rejection| rejection.kind())
}

#[cfg(unix)]
fn link(to: &Path, name: &str) -> PathBuf {
    let path = to.with_file_name(name);
    std::os::unix::fs::symlink(to, &path).unwrap();
    path
}

/// Each handle has a cache of its own, so the second must reach the first one's through the fence.
#[cfg(unix)]
#[rstest]
#[case::same_path(|path: &Path| path.to_owned())]
#[case::link(|path: &Path| link(path, "link.sqlite"))]
#[case::link_to_a_link(|path: &Path| link(&link(path, "one.sqlite"), "two.sqlite"))]
#[case::folder_link(|path: &Path| link(path.parent().unwrap(), "keys-folder").join("keys.sqlite"))]
#[case::dots(|path: &Path| {
    let folder = path.parent().unwrap();
    folder.join("..").join(folder.file_name().unwrap()).join("./keys.sqlite")
})]
#[tokio::test]
async fn key_revoked_through_another_path_is_refused(#[case] other: fn(&Path) -> PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("keys.sqlite");
    let first = open(&path).await.unwrap();
    let issued = issue(&first).await;
    check(&first, &issued).await.unwrap();

    let second = open(&other(&path)).await.unwrap();
    check(&second, &issued).await.unwrap();
    let operator = second.issuer().acting_as(Actor::operator("test"));
    operator.revoke(issued.record.id, "leaked").await.unwrap();
    assert_eq!(check(&first, &issued).await, Err(RejectionKind::KeyRevoked));
}

/// What the thread of the first store still does is announced to the second one's caches.
#[tokio::test]
async fn store_opened_after_another_has_its_fence() {
    let file = File::new();
    let store = file.open().await;
    let fence = store.fence().unwrap().clone();
    drop(store);
    let store = file.open().await;
    let before = store.fence().unwrap().changes();
    fence.everything_changed();
    assert_ne!(store.fence().unwrap().changes(), before);
}

/// Each name would have a write-ahead log of its own.
#[cfg(unix)]
#[tokio::test]
async fn file_with_two_names_is_not_opened() {
    let file = File::new();
    let store = file.open().await;
    let other = file.path.with_file_name("other.sqlite");
    fs::hard_link(&file.path, &other).unwrap();
    // Under the other name it is the open store.
    let same = SqliteStore::open(&other).await.unwrap();
    let before = store.fence().unwrap().changes();
    organization(&same).await;
    assert_ne!(store.fence().unwrap().changes(), before);
    drop((store, same));

    let error = SqliteStore::open(&other).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(chain(&error).contains("2 hard links"), "{}", chain(&error));
    // The threads of the store may have it open still, with the log of its first name.
    fs::remove_file(&file.path).unwrap();
    let store = SqliteStore::open(&other).await.unwrap();
    organization(&store).await;
}

#[tokio::test]
async fn open_file_is_not_taken_to_an_older_schema() {
    let file = File::new();
    let store = file.open().await;
    let downgraded = SqliteStore::builder().downgrade_and_lose_data(&file.path, 0).await;
    let error = downgraded.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(chain(&error).contains("has the file open"), "{}", chain(&error));
    organization(&store).await;
}

fn beside(path: &Path, end: &str) -> PathBuf {
    path.with_file_name(format!("keys.sqlite{end}"))
}

fn replace(path: &Path) {
    let copy = path.with_file_name("copy");
    fs::copy(path, &copy).unwrap();
    fs::rename(copy, path).unwrap();
}

/// SQLite would go on with the files that it has open, and report success for what nobody finds again.
#[cfg(unix)]
#[rstest]
#[case::log_deleted(|path: &Path| fs::remove_file(beside(path, "-wal")).unwrap())]
#[case::log_replaced(|path: &Path| replace(&beside(path, "-wal")))]
#[case::index_deleted(|path: &Path| fs::remove_file(beside(path, "-shm")).unwrap())]
#[case::index_replaced(|path: &Path| replace(&beside(path, "-shm")))]
#[case::file_deleted(|path: &Path| fs::remove_file(path).unwrap())]
#[case::file_emptied(|path: &Path| drop(fs::File::create(path).unwrap()))]
#[case::file_replaced(replace)]
#[case::file_renamed(|path: &Path| fs::rename(path, path.with_file_name("moved.sqlite")).unwrap())]
#[case::folder_renamed(|path: &Path| {
    let folder = path.parent().unwrap();
    fs::rename(folder, folder.with_file_name("moved")).unwrap();
})]
#[tokio::test]
async fn revoke_fails_when_the_files_are_no_longer_there(#[case] harm: fn(&Path)) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("keys.sqlite");
    let keys = open(&path).await.unwrap();
    let issued = issue(&keys).await;
    check(&keys, &issued).await.unwrap();
    harm(&path);

    let operator = keys.issuer().acting_as(Actor::operator("test"));
    let error = operator.revoke(issued.record.id, "leaked").await.unwrap_err();
    let source = error.source().unwrap().downcast_ref::<StoreError>().unwrap();
    assert_eq!(source.kind(), StoreErrorKind::Unusable, "{}", chain(source));
    assert!(chain(source).contains("in use"), "{}", chain(source));
    let written = operator.create_organization("other").await;
    assert!(written.is_err(), "a change was acknowledged");
    // What is read could be out of date by now.
    let error = keys.read(Organizations::all()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    // Nothing has changed, so the cached answer is right.
    assert_eq!(check(&keys, &issued).await, Ok(()));
}

#[cfg(unix)]
#[tokio::test]
async fn link_to_another_file_now_is_noticed() {
    let (one, two) = (File::new(), File::new());
    drop((one.open().await, two.open().await));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.sqlite");
    std::os::unix::fs::symlink(&one.path, &path).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let key = new_key(&organization(&store).await);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&two.path, &path).unwrap();
    let error = insert(&store, &key).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    // The path is that of the other file, which is fine.
    let other = SqliteStore::open(&path).await.unwrap();
    organization(&other).await;
}

/// Emptied in place, the log is the same file, and SQLite goes on behind its old end: what it writes then has no beginning.
#[tokio::test]
async fn change_in_an_emptied_log_is_not_acknowledged_and_lost() {
    let file = File::new();
    let store = file.open().await;
    let acme = organization(&store).await;
    let log = beside(&file.path, "-wal");
    fs::File::options().write(true).truncate(true).open(&log).unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let key = new_key(&acme);
        if insert(&store, &key).await.is_ok() {
            acknowledged.push(key.record.id);
        }
    }
    // As after a crash: what is found then is in these two files.
    let later = File::new();
    fs::copy(&file.path, &later.path).unwrap();
    fs::copy(&log, beside(&later.path, "-wal")).unwrap();
    match SqliteStore::open(&later.path).await {
        Err(_) => assert!(acknowledged.is_empty()),
        Ok(store) => {
            for id in acknowledged {
                assert!(
                    store.get(id).await.unwrap().is_some(),
                    "{id} was acknowledged and is lost"
                );
            }
        }
    }
}

/// It is a new store, and the old one stays unusable.
#[cfg(unix)]
#[tokio::test]
async fn replaced_file_opens_anew_and_one_without_its_log_does_not() {
    let file = File::new();
    let old = file.open().await;
    let acme = organization(&old).await;
    replace(&file.path);
    let new = file.open().await;
    assert_eq!(old.get(acme.id).await.unwrap_err().kind(), StoreErrorKind::Unusable);
    organization(&new).await;

    fs::remove_file(beside(&file.path, "-wal")).unwrap();
    let error = SqliteStore::open(&file.path).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(chain(&error).contains("-wal"), "{}", chain(&error));
}
