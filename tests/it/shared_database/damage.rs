//! Rows that cannot be read are errors: never a panic, never "no such key", never a key with fewer restrictions.

use crate::support::rows::Rows as _;
use rstest::rstest;
use tower_api_key::key::Organization;
use tower_api_key::store::query::{Keys, Organizations};
use tower_api_key::store::{KeyStore, StoreErrorKind, StoreExt};
use tower_api_key::{IssueErrorKind, Issuer};

use super::{Database, chain, insert, new_key, organization};

/// Must not appear in an error.
const CANARY: &str = "canary7hZ";

/// Damages every row, and looks for the key by its lookup. `None` if PostgreSQL refuses the damage.
async fn damaged(database: &Database, sql: &str) -> Option<(StoreErrorKind, String)> {
    let store = database.open().await;
    let key = new_key(&organization(&store).await);
    insert(&store, &key).await.unwrap();
    let sql = sql.replace("CANARY", CANARY);
    let hand = database.hand().await.breaks_rules().await;
    if let Err(refused) = hand.try_run(&sql, &[]).await {
        assert!(
            database.is_postgres() && (refused.contains("invalid input syntax") || refused.contains("is of type")),
            "{sql}: {refused}"
        );
        return None;
    }
    let error = store.find(&key.secrets[0].lookup).await.expect_err(&sql);
    Some((error.kind(), chain(&error)))
}

/// What changes nothing for the worse in PostgreSQL: a text of bits, another number, the next revision.
const HARMLESS: [&str; 4] = ["x'ff'", "x'00'", "1.5", "revision = -1"];

#[rstest]
#[case("UPDATE api_keys_keys SET status = 'CANARY'", "`keys.status`")]
#[case("UPDATE api_keys_keys SET status = 'Active'", "`keys.status`")]
#[case("UPDATE api_keys_keys SET status = ''", "`keys.status`")]
#[case("UPDATE api_keys_keys SET scopes = 'CANARY'", "`keys.scopes`")]
#[case("UPDATE api_keys_keys SET scopes = '[\"CANARY\"]'", "`keys.scopes`")]
#[case("UPDATE api_keys_keys SET scopes = '[\"orders:read\"'", "`keys.scopes`")]
#[case("UPDATE api_keys_keys SET networks = ''", "`keys.networks`")]
#[case("UPDATE api_keys_keys SET networks = 'null'", "`keys.networks`")]
#[case("UPDATE api_keys_keys SET networks = '[\"CANARY\"]'", "`keys.networks`")]
#[case("UPDATE api_keys_keys SET limits = '{}'", "`keys.limits`")]
#[case("UPDATE api_keys_keys SET limits = '[{\"name\":\"a\"}]'", "`keys.limits`")]
#[case("UPDATE api_keys_keys SET metadata = '[]'", "`keys.metadata`")]
#[case("UPDATE api_keys_keys SET metadata = '{\"CANARY\":1}'", "`keys.metadata`")]
#[case("UPDATE api_keys_keys SET user_id = ''", "`keys.user_id`")]
#[case("UPDATE api_keys_keys SET user_id = 'CANARY\n'", "`keys.user_id`")]
#[case("UPDATE api_keys_keys SET name = x'ff'", "`keys.name`")]
#[case("UPDATE api_keys_keys SET name = CAST(x'ff' AS TEXT)", "`keys.name`")]
#[case("UPDATE api_keys_keys SET prefix = x'00'", "`keys.prefix`")]
#[case("UPDATE api_keys_keys SET environment = x'00'", "`keys.environment`")]
#[case("UPDATE api_keys_keys SET status_at = 1", "`keys.status_at`")]
#[case("UPDATE api_keys_keys SET status_reason = 'CANARY'", "`keys.status_at`")]
#[case("UPDATE api_keys_keys SET status_at = 'CANARY'", "`keys.status_at`")]
#[case(
    "UPDATE api_keys_keys SET status_at = 1, status_reason = '', status_actor = 'CANARY'",
    "`keys.status_actor`"
)]
#[case("UPDATE api_keys_keys SET created_by = 'CANARY'", "`keys.created_by`")]
#[case("UPDATE api_keys_keys SET created_at = 'CANARY'", "`keys.created_at`")]
#[case("UPDATE api_keys_keys SET created_at = 1.5", "`keys.created_at`")]
#[case("UPDATE api_keys_keys SET expires_at = 'never'", "`keys.expires_at`")]
#[case("UPDATE api_keys_keys SET revision = -1", "`keys.revision`")]
#[case("UPDATE api_keys_keys SET revision = 'CANARY'", "`keys.revision`")]
#[case("UPDATE api_keys_keys SET organization_id = x'00'", "`keys.organization_id`")]
#[case(
    "UPDATE api_keys_keys SET id = x'00'; UPDATE api_keys_key_secrets SET key_id = x'00'",
    "`keys.id`"
)]
#[case("UPDATE api_keys_key_secrets SET hash = ''", "`key_secrets.hash`")]
#[case("UPDATE api_keys_key_secrets SET hash = x'ff'", "`key_secrets.hash`")]
#[case("UPDATE api_keys_key_secrets SET created_at = ''", "`key_secrets.created_at`")]
#[case("UPDATE api_keys_key_secrets SET expires_at = 'CANARY'", "`key_secrets.expires_at`")]
#[case(
    "UPDATE api_keys_key_secrets SET grace_ends_at = 'CANARY'",
    "`key_secrets.grace_ends_at`"
)]
#[case("UPDATE api_keys_organizations SET status = 'CANARY'", "`organizations.status`")]
#[case("UPDATE api_keys_organizations SET limits = 'CANARY'", "`organizations.limits`")]
#[case("UPDATE api_keys_organizations SET name = x'ff'", "`organizations.name`")]
#[case("UPDATE api_keys_organizations SET slug = x'ff'", "`organizations.slug`")]
#[case("UPDATE api_keys_organizations SET revision = -1", "`organizations.revision`")]
#[case("DELETE FROM api_keys_organizations", "`organizations.id`")]
#[case("DELETE FROM api_keys_keys", "`keys.id`")]
#[tokio::test]
async fn damaged_row_is_an_invalid_record(#[case] sql: &str, #[case] column: &str) {
    for database in Database::shared() {
        if database.is_postgres() && HARMLESS.iter().any(|harmless| sql.contains(harmless)) {
            continue;
        }
        let Some((kind, text)) = damaged(&database, sql).await else {
            continue;
        };
        assert_eq!(kind, StoreErrorKind::InvalidRecord, "{text}");
        assert!(text.contains(column), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[tokio::test]
async fn missing_table_is_unavailable() {
    for database in Database::shared() {
        let (kind, _) = damaged(&database, "DROP TABLE api_keys_key_secrets").await.unwrap();
        assert_eq!(kind, StoreErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn damaged_row_fails_management_queries_too() {
    for database in Database::shared() {
        let store = database.open().await;
        let organization = organization(&store).await;
        let key = new_key(&organization);
        insert(&store, &key).await.unwrap();
        let hand = database.hand().await.breaks_rules().await;
        let damage =
            "UPDATE api_keys_keys SET status = 'CANARY'; UPDATE api_keys_organizations SET limits = '\"CANARY\"'";
        hand.run(&damage.replace("CANARY", CANARY), &[]).await;
        let error = store.key(key.record.id).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
        let error = store.get(organization.id).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
        let error = store.get(Keys::of(organization.id)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
        assert!(!chain(&error).contains(CANARY), "{}", chain(&error));
        let damage = "UPDATE api_keys_keys SET status = 'active'; UPDATE api_keys_key_secrets SET hash = ''";
        hand.run(damage, &[]).await;
        let error = store.key(key.record.id).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidRecord);
    }
}

/// A chain whose recorded end is behind its events, as after a restore of one table, is damaged. With `AlreadyExists`,
/// an issuer would try again and then report a conflict with other changes.
#[tokio::test]
async fn lost_end_of_audit_chain_is_an_invalid_record() {
    for database in Database::shared() {
        let store = database.open().await;
        let issuer = Issuer::new(store.clone()).unwrap();
        let acme = issuer.create_organization("acme").await.unwrap();
        database.by_hand("DELETE FROM api_keys_organization_state", &[]).await;
        let rename = |row: &mut Organization| row.name = "renamed".to_owned();
        let error = issuer.update_organization(acme.id, rename).await.unwrap_err();
        assert_eq!(error.kind(), IssueErrorKind::InvalidRecord);
        assert_eq!(store.get(acme.id).await.unwrap(), Some(acme));
    }
}

/// A trigger that someone added can skip an insert without an error.
#[rstest]
#[case("api_keys_audit_events")]
#[case("api_keys_organizations")]
#[tokio::test]
async fn skipped_insert_is_no_commit(#[case] table: &str) {
    for database in Database::shared() {
        let store = database.open().await;
        let skip = match database.is_postgres() {
            true => format!(
                "CREATE FUNCTION api_keys_skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
                 CREATE TRIGGER skip BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION api_keys_skip()"
            ),
            false => format!("CREATE TRIGGER skip BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END"),
        };
        database.by_hand(&skip, &[]).await;
        let changes = store.fence().unwrap().changes();
        let issuer = Issuer::new(store.clone()).unwrap();
        let error = issuer.create_organization("acme").await.unwrap_err();
        assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable);
        assert_eq!(store.get(Organizations::all()).await.unwrap().items, []);
        assert_eq!(store.fence().unwrap().changes(), changes);
    }
}

#[tokio::test]
async fn damaged_row_leaves_other_keys_working() {
    for database in Database::shared() {
        let store = database.open().await;
        let organization = organization(&store).await;
        let (bad, good) = (new_key(&organization), new_key(&organization));
        insert(&store, &bad).await.unwrap();
        insert(&store, &good).await.unwrap();
        let damage = "UPDATE api_keys_keys SET status = '' WHERE id = ?1";
        let hand = database.hand().await.breaks_rules().await;
        hand.run(damage, &[bad.record.id.as_uuid()]).await;
        assert!(store.find(&bad.secrets[0].lookup).await.is_err());
        assert!(store.find(&good.secrets[0].lookup).await.unwrap().is_some());
    }
}
