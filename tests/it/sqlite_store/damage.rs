//! Rows that cannot be understood are errors: never a panic, never "no such key", never something milder.

use rstest::rstest;
use tower_api_key::store::{KeyStore, ManageKeys, StoreErrorKind};

use super::{File, chain, insert, new_key, organization};

/// What must not be seen in an error.
const CANARY: &str = "canary7hZ";

/// Damages every row, and looks for the key by its lookup.
async fn damaged(sql: &str) -> (StoreErrorKind, String) {
    let file = File::new();
    let store = file.open().await;
    let key = new_key(&organization(&store).await);
    insert(&store, &key).await.unwrap();
    let sql = sql.replace("CANARY", CANARY);
    file.by_hand()
        .execute_batch(&sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let error = store.find(&key.secrets[0].lookup).await.expect_err(&sql);
    (error.kind(), chain(&error))
}

#[rstest]
#[case("UPDATE keys SET status = 'CANARY'", "`keys.status`")]
#[case("UPDATE keys SET status = 'Active'", "`keys.status`")]
#[case("UPDATE keys SET status = ''", "`keys.status`")]
#[case("UPDATE keys SET scopes = 'CANARY'", "`keys.scopes`")]
#[case("UPDATE keys SET scopes = '[\"CANARY\"]'", "`keys.scopes`")]
#[case("UPDATE keys SET scopes = '[\"orders:read\"'", "`keys.scopes`")]
#[case("UPDATE keys SET networks = ''", "`keys.networks`")]
#[case("UPDATE keys SET networks = 'null'", "`keys.networks`")]
#[case("UPDATE keys SET networks = '[\"CANARY\"]'", "`keys.networks`")]
#[case("UPDATE keys SET limits = '{}'", "`keys.limits`")]
#[case("UPDATE keys SET limits = '[{\"name\":\"a\"}]'", "`keys.limits`")]
#[case("UPDATE keys SET metadata = '[]'", "`keys.metadata`")]
#[case("UPDATE keys SET metadata = '{\"CANARY\":1}'", "`keys.metadata`")]
#[case("UPDATE keys SET user_id = ''", "`keys.user_id`")]
#[case("UPDATE keys SET user_id = 'CANARY' || char(10)", "`keys.user_id`")]
#[case("UPDATE keys SET name = x'ff'", "`keys.name`")]
#[case("UPDATE keys SET name = CAST(x'ff' AS TEXT)", "`keys.name`")]
#[case("UPDATE keys SET prefix = x'00'", "`keys.prefix`")]
#[case("UPDATE keys SET environment = x'00'", "`keys.environment`")]
#[case("UPDATE keys SET revoked_at = 1", "`keys.revoked_at`")]
#[case("UPDATE keys SET revocation_reason = 'CANARY'", "`keys.revoked_at`")]
#[case("UPDATE keys SET revoked_at = 'CANARY'", "`keys.revoked_at`")]
#[case("UPDATE keys SET created_at = 'CANARY'", "`keys.created_at`")]
#[case("UPDATE keys SET created_at = 1.5", "`keys.created_at`")]
#[case("UPDATE keys SET expires_at = 'never'", "`keys.expires_at`")]
#[case("UPDATE keys SET revision = -1", "`keys.revision`")]
#[case("UPDATE keys SET revision = 'CANARY'", "`keys.revision`")]
#[case("UPDATE keys SET organization_id = x'00'", "`keys.organization_id`")]
#[case("UPDATE keys SET id = x'00'; UPDATE key_secrets SET key_id = x'00'", "`keys.id`")]
#[case("UPDATE key_secrets SET hash = ''", "`key_secrets.hash`")]
#[case("UPDATE key_secrets SET hash = x'ff'", "`key_secrets.hash`")]
#[case("UPDATE key_secrets SET created_at = ''", "`key_secrets.created_at`")]
#[case("UPDATE key_secrets SET expires_at = 'CANARY'", "`key_secrets.expires_at`")]
#[case("UPDATE organizations SET status = 'CANARY'", "`organizations.status`")]
#[case("UPDATE organizations SET limits = 'CANARY'", "`organizations.limits`")]
#[case("UPDATE organizations SET name = x'ff'", "`organizations.name`")]
#[case("UPDATE organizations SET revision = -1", "`organizations.revision`")]
#[case("DELETE FROM organizations", "`organizations.id`")]
#[case("DELETE FROM keys", "`keys.id`")]
#[tokio::test]
async fn a_row_that_cannot_be_understood_is_an_invalid_record(#[case] sql: &str, #[case] column: &str) {
    let (kind, text) = damaged(sql).await;
    assert_eq!(kind, StoreErrorKind::InvalidRecord, "{text}");
    assert!(text.contains(column), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn a_missing_table_is_unavailable_and_not_an_unknown_key() {
    let (kind, _) = damaged("DROP TABLE key_secrets").await;
    assert_eq!(kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn management_does_not_read_over_damage_either() {
    let file = File::new();
    let store = file.open().await;
    let organization = organization(&store).await;
    let key = new_key(&organization);
    insert(&store, &key).await.unwrap();
    let damage = "UPDATE keys SET status = 'CANARY'; UPDATE organizations SET limits = 'CANARY'";
    file.by_hand().execute_batch(damage).unwrap();
    let error = store.key(key.record.id).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
    let error = store.organization(organization.id).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
    file.by_hand()
        .execute_batch("UPDATE keys SET status = 'active'; UPDATE key_secrets SET hash = ''")
        .unwrap();
    let error = store.key(key.record.id).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
}

/// One bad row is one key's trouble.
#[tokio::test]
async fn other_keys_go_on_working() {
    let file = File::new();
    let store = file.open().await;
    let organization = organization(&store).await;
    let (bad, good) = (new_key(&organization), new_key(&organization));
    insert(&store, &bad).await.unwrap();
    insert(&store, &good).await.unwrap();
    let damage = "UPDATE keys SET status = '' WHERE id = ?1";
    file.by_hand().execute(damage, [bad.record.id.as_uuid()]).unwrap();
    assert!(store.find(&bad.secrets[0].lookup).await.is_err());
    assert!(store.find(&good.secrets[0].lookup).await.unwrap().is_some());
}
