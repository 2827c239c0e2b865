//! Backups that the store itself makes, and puts in place.

use std::fs;
use std::path::PathBuf;

use tower_api_key::key::Actor;
use tower_api_key::store::{SqliteStore, StoreErrorKind};
use tower_api_key::{ApiKeys, PresentedKey};

use super::File;

impl File {
    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    async fn keys(&self) -> (SqliteStore, ApiKeys<SqliteStore>) {
        let store = self.open().await;
        let keys = ApiKeys::builder(store.clone()).open().await.unwrap();
        (store, keys)
    }
}

async fn passes(keys: &ApiKeys<SqliteStore>, key: &str) -> bool {
    let presented = PresentedKey::new(key.as_bytes());
    keys.authenticator().check(presented).await.is_ok()
}

#[tokio::test]
async fn backup_of_open_store_has_what_was_committed() {
    let file = File::new();
    let (store, keys) = file.keys().await;
    let made = keys.ensure("acme", "orders").await.unwrap();
    let key = made.key.unwrap().expose_secret().to_owned();
    // What is in the log alone is in the backup.
    assert!(fs::metadata(file.beside("keys.sqlite-wal")).unwrap().len() > 0);
    store.backup(file.beside("backup.sqlite")).await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(file.beside("backup.sqlite")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    keys.issuer()
        .acting_as(Actor::user("alice"))
        .revoke(made.record.id, "")
        .await
        .unwrap();
    let restored = SqliteStore::builder()
        .restore(file.beside("backup.sqlite"), &file.path)
        .await;
    assert_eq!(
        restored.unwrap_err().kind(),
        StoreErrorKind::Unusable,
        "the store is open"
    );
    assert!(!passes(&keys, &key).await);
    drop((store, keys));

    SqliteStore::builder()
        .restore(file.beside("backup.sqlite"), file.beside("elsewhere.sqlite"))
        .await
        .unwrap();
    let elsewhere = SqliteStore::open(file.beside("elsewhere.sqlite")).await.unwrap();
    let elsewhere = ApiKeys::builder(elsewhere).open().await.unwrap();
    assert!(passes(&elsewhere, &key).await, "without the journal it is of its time");

    SqliteStore::builder()
        .restore(file.beside("backup.sqlite"), &file.path)
        .await
        .unwrap();
    let (_, keys) = file.keys().await;
    assert!(!passes(&keys, &key).await, "the journal knows the revoke");
}

#[tokio::test]
async fn backup_does_not_write_over_what_is_there() {
    let file = File::new();
    let store = file.open().await;
    fs::write(file.beside("there"), "precious").unwrap();
    let error = store.backup(file.beside("there")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert_eq!(fs::read_to_string(file.beside("there")).unwrap(), "precious");
    let error = store.backup(file.beside("no folder/backup")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
}

/// The old log would be applied to the new file.
#[tokio::test]
async fn restored_file_has_no_log_of_the_old_one() {
    let file = File::new();
    let (store, keys) = file.keys().await;
    let _ = keys.ensure("acme", "orders").await.unwrap();
    store.backup(file.beside("backup.sqlite")).await.unwrap();
    let _ = keys.ensure("acme", "later").await.unwrap();
    // As a process that was killed leaves them.
    for ending in ["", "-wal"] {
        let name = format!("keys.sqlite{ending}");
        fs::copy(file.beside(&name), file.beside(&format!("killed.sqlite{ending}"))).unwrap();
    }
    let error = SqliteStore::builder()
        .restore(file.beside("killed.sqlite"), file.beside("other.sqlite"))
        .await
        .unwrap_err();
    assert!(
        crate::shared_database::chain(&error).contains("copied while it was in use"),
        "{error:?}"
    );
    SqliteStore::builder()
        .restore(file.beside("backup.sqlite"), file.beside("killed.sqlite"))
        .await
        .unwrap();
    let restored = SqliteStore::open(file.beside("killed.sqlite")).await.unwrap();
    let restored = ApiKeys::builder(restored).open().await.unwrap();
    assert_eq!(restored.statistics(None).await.unwrap().total, 1);
}

#[tokio::test]
async fn schema_version_is_read_without_a_change() {
    let file = File::new();
    drop(file.open().await);
    let newest = SqliteStore::SCHEMA_VERSION;
    let version = async || SqliteStore::builder().schema_version(&file.path).await.unwrap();
    assert_eq!(version().await, newest);
    SqliteStore::builder()
        .downgrade_and_lose_data(&file.path, newest - 1)
        .await
        .unwrap();
    assert_eq!((version().await, version().await), (newest - 1, newest - 1));
    let missing = SqliteStore::builder().schema_version(file.beside("missing")).await;
    assert_eq!(missing.unwrap_err().kind(), StoreErrorKind::Unusable);
    assert!(!file.beside("missing").exists());
}
