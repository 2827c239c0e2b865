//! The change log, also of changes that are made by hand.

use tower_api_key::key::{KeyStatus, Subject};
use tower_api_key::store::query::{ChangesAfter, LoggedChange};
use tower_api_key::store::{Commit, KeyStore, ManagedStore, SqliteStore, StoreErrorKind, StoreExt, StoredKey, Write};

use super::{File, insert, new_key, organization};

async fn file_with_a_key() -> (File, SqliteStore, StoredKey) {
    let file = File::new();
    let store = file.open().await;
    let key = new_key(&organization(&store).await);
    insert(&store, &key).await.unwrap();
    (file, store, key)
}

async fn logged(store: &SqliteStore, after: u64) -> Vec<LoggedChange> {
    store.get(ChangesAfter(after)).await.unwrap()
}

fn revisions(rows: &[LoggedChange]) -> Vec<(Subject, u64)> {
    rows.iter()
        .map(|row| (row.change.subject(), row.change.revision()))
        .collect()
}

#[tokio::test]
async fn change_by_hand_raises_the_revision_and_is_logged() {
    let (file, store, key) = file_with_a_key().await;
    let (id, organization) = (key.record.id, key.record.organization_id);
    file.by_hand()
        .execute("UPDATE api_keys_keys SET status = 'revoked'", [])
        .unwrap();
    file.by_hand()
        .execute("UPDATE api_keys_organizations SET status = 'inactive'", [])
        .unwrap();
    let rows = logged(&store, 0).await;
    assert_eq!(revisions(&rows), [(id.into(), 2), (organization.into(), 2)]);
    assert_ne!(rows[0].tag, rows[1].tag);
    let stored = store.get(id).await.unwrap().unwrap().record;
    assert_eq!((stored.status, stored.revision), (KeyStatus::Revoked, 2));

    // A record that was read before cannot be written back.
    let update = Commit::new().write(Write::UpdateKey(key.record.clone()));
    let error = store.commit(update).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict);
    let stored = store.get(id).await.unwrap().unwrap().record;
    assert_eq!(stored.status, KeyStatus::Revoked);
}

#[tokio::test]
async fn secret_changed_by_hand_is_logged_as_its_key() {
    let (file, store, key) = file_with_a_key().await;
    let id = Subject::from(key.record.id);
    for (sql, rows) in [
        ("UPDATE api_keys_key_secrets SET hash = 'sha256:11'", vec![]),
        ("UPDATE api_keys_key_secrets SET position = 7", vec![]),
        ("UPDATE api_keys_key_secrets SET expires_at = 1", vec![(id, 1)]),
        ("UPDATE api_keys_key_secrets SET grace_ends_at = 1", vec![(id, 1)]),
        ("UPDATE api_keys_key_secrets SET lookup = 'other'", vec![(id, 1)]),
        ("DELETE FROM api_keys_key_secrets", vec![(id, 1)]),
    ] {
        let before = logged(&store, 0).await.last().map_or(0, |row| row.seq);
        file.by_hand().execute(sql, []).unwrap();
        assert_eq!(revisions(&logged(&store, before).await), rows, "{sql}");
    }
    assert_eq!(store.find(&key.secrets[0].lookup).await.unwrap(), None);
}

#[tokio::test]
async fn deletion_by_hand_is_logged_with_the_next_revision() {
    let (file, store, key) = file_with_a_key().await;
    let delete = "DELETE FROM api_keys_key_secrets; DELETE FROM api_keys_keys; DELETE FROM api_keys_organizations";
    file.by_hand().execute_batch(delete).unwrap();
    let rows = logged(&store, 0).await;
    let (id, organization) = (key.record.id, key.record.organization_id);
    assert_eq!(
        revisions(&rows),
        [(id.into(), 1), (id.into(), 2), (organization.into(), 2)]
    );
}
