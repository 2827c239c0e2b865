//! The change log, also of changes that are made by hand.

use tower_api_key::key::{KeyStatus, Organization, Subject};
use tower_api_key::store::query::{ChangesAfter, LoggedChange, Plans};
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

/// `INSERT OR REPLACE` and `UPDATE OR REPLACE` run no trigger for the rows that they delete.
#[tokio::test]
async fn row_that_another_replaces_by_hand_is_logged() {
    let file = File::new();
    let store = file.open().await;
    let mut acme = Organization::new("acme");
    acme.email = Some("Billing@Acme.example".to_owned());
    acme.is_operator = true;
    let insert = Commit::new().write(Write::InsertOrganization(acme.clone()));
    store.commit(insert).await.unwrap();
    let insert = Commit::new().write(Write::InsertOrganization(Organization::new("other")));
    store.commit(insert).await.unwrap();
    let pro = store.get(Plans::named("pro")).await.unwrap().items.remove(0).id;
    let copy = |table: &str, change: &str| {
        format!(
            "PRAGMA foreign_keys = OFF; BEGIN; CREATE TEMP TABLE copy AS SELECT * FROM {table} WHERE name IN ('acme', 'pro'); \
             UPDATE copy SET {change}; INSERT OR REPLACE INTO {table} SELECT * FROM copy; ROLLBACK"
        )
    };
    let update = |table: &str, change: &str| {
        format!(
            "PRAGMA foreign_keys = OFF; BEGIN; UPDATE OR REPLACE {table} SET {change} WHERE name IN ('other', 'free'); ROLLBACK"
        )
    };
    let organizations = "api_keys_organizations";
    // The change is looked at inside of its transaction, and undone.
    let seen = |sql: String| {
        let hand = file.by_hand();
        let (made, undo) = sql.rsplit_once("; ").unwrap();
        hand.execute_batch(made).unwrap();
        let kinds =
            "SELECT group_concat(kind || ' ' || hex(id) || ' ' || revision) FROM api_keys_key_changes WHERE kind > 0";
        let kinds = hand.query_row(kinds, [], |row| row.get::<_, Option<String>>(0));
        hand.execute_batch(undo).unwrap();
        kinds.unwrap().unwrap_or_default()
    };
    let hex = |id: uuid::Uuid| id.simple().to_string().to_uppercase();
    for (change, row) in [
        ("id = x'01', slug = 'x', is_operator = 0", acme.id.as_uuid()),
        ("id = x'01', slug = 'x', email_folded = NULL", acme.id.as_uuid()),
        ("id = x'01', email_folded = NULL, is_operator = 0", acme.id.as_uuid()),
    ] {
        assert_eq!(
            seen(copy(organizations, change)),
            format!("2 {} 0", hex(row)),
            "{change}"
        );
    }
    for change in ["id = x'01'", "name = 'x'"] {
        let expected = format!("3 {} 0", hex(pro.as_uuid()));
        assert_eq!(seen(copy("api_keys_plans", change)), expected, "{change}");
    }
    for change in [
        format!("slug = '{}'", acme.slug),
        "email_folded = 'billing@acme.example'".to_owned(),
        "is_operator = 1".to_owned(),
    ] {
        let rows = seen(update(organizations, &change));
        assert!(
            rows.starts_with(&format!("2 {} 0", hex(acme.id.as_uuid()))),
            "{change}: {rows}"
        );
    }
    let rows = seen(update("api_keys_plans", "name = 'pro'"));
    assert!(rows.starts_with(&format!("3 {} 0", hex(pro.as_uuid()))), "{rows}");
    assert!(logged(&store, 0).await.is_empty());
}

/// As one of a newer program: it may concern every key, and must not hide what comes after it.
#[tokio::test]
async fn row_that_is_not_understood_is_a_change_of_the_realm() {
    let file = File::new();
    let store = file.open().await;
    let acme = organization(&store).await;
    let by_hand = file.by_hand();
    by_hand
        .execute_batch(
            "INSERT INTO api_keys_key_changes (tag, kind, id, revision, at) VALUES ('x', 9, 'y', 'z', 'never');
             UPDATE api_keys_organizations SET name = 'renamed'",
        )
        .unwrap();
    let changes = store.get(ChangesAfter(0)).await.unwrap();
    let subjects: Vec<_> = changes.iter().map(|row| row.change.subject()).collect();
    assert!(
        subjects.ends_with(&[Subject::Realm, Subject::Organization(acme.id)]),
        "{subjects:?}"
    );
}
