//! The change log, also of changes that are made by hand.

use tower_api_key::key::{KeyStatus, Subject};
use tower_api_key::store::query::{ChangesAfter, LoggedChange};
use tower_api_key::store::{Commit, DynStore, KeyStore, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

use super::{Database, insert, new_key, organization};

async fn databases_with_a_key() -> Vec<(Database, DynStore, StoredKey)> {
    let mut all = Vec::new();
    for database in Database::shared() {
        let store = database.open().await;
        let key = new_key(&organization(&store).await);
        insert(&store, &key).await.unwrap();
        all.push((database, store, key));
    }
    all
}

async fn logged(store: &DynStore, after: u64) -> Vec<LoggedChange> {
    store.get(ChangesAfter(after)).await.unwrap()
}

fn revisions(rows: &[LoggedChange]) -> Vec<(Subject, u64)> {
    rows.iter()
        .map(|row| (row.change.subject(), row.change.revision()))
        .collect()
}

#[tokio::test]
async fn change_by_hand_raises_the_revision_and_is_logged() {
    for (database, store, key) in databases_with_a_key().await {
        let (id, organization) = (key.record.id, key.record.organization_id);
        let hand = database.hand().await;
        hand.run("UPDATE api_keys_keys SET status = 'revoked'", &[]).await;
        let inactive = "UPDATE api_keys_organizations SET status = 'inactive'";
        hand.run(inactive, &[]).await;
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
}

#[tokio::test]
async fn secret_changed_by_hand_is_logged_as_its_key() {
    for (database, store, key) in databases_with_a_key().await {
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
            database.by_hand(sql, &[]).await;
            assert_eq!(revisions(&logged(&store, before).await), rows, "{sql}");
        }
        assert_eq!(store.find(&key.secrets[0].lookup).await.unwrap(), None);
    }
}

#[tokio::test]
async fn deletion_by_hand_is_logged_with_the_next_revision() {
    for (database, store, key) in databases_with_a_key().await {
        let hand = database.hand().await;
        for table in ["key_secrets", "keys", "organizations"] {
            hand.run(&format!("DELETE FROM api_keys_{table}"), &[]).await;
        }
        let rows = logged(&store, 0).await;
        let (id, organization) = (key.record.id, key.record.organization_id);
        assert_eq!(
            revisions(&rows),
            [(id.into(), 1), (id.into(), 2), (organization.into(), 2)]
        );
    }
}

/// As one of a newer program: it may concern every key, and must not hide what comes after it.
#[tokio::test]
async fn row_that_is_not_understood_is_a_change_of_the_realm() {
    for (database, store, key) in databases_with_a_key().await {
        let row = match database.is_postgres() {
            true => "(seq, tag, kind, id, revision, at) VALUES (1, gen_random_uuid(), 9, gen_random_uuid(), -1, -1)",
            false => "(tag, kind, id, revision, at) VALUES ('x', 9, 'y', 'z', 'never')",
        };
        let hand = database.hand().await;
        hand.run(&format!("INSERT INTO api_keys_key_changes {row}"), &[]).await;
        hand.run("UPDATE api_keys_organizations SET name = 'renamed'", &[])
            .await;
        let changes = logged(&store, 0).await;
        let subjects: Vec<_> = changes.iter().map(|row| row.change.subject()).collect();
        let acme = key.record.organization_id;
        assert!(
            subjects.ends_with(&[Subject::Realm, Subject::Organization(acme)]),
            "{subjects:?}"
        );
    }
}
