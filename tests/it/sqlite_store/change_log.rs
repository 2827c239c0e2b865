//! The change log, of changes that are made in ways of SQLite.

use tower_api_key::key::Organization;
use tower_api_key::store::query::{ChangesAfter, Plans};
use tower_api_key::store::{Commit, ManagedStore, StoreExt, Write};

use super::File;

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
    assert!(store.get(ChangesAfter(0)).await.unwrap().is_empty());
}
