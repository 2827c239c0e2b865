//! What is said of a database without changing it.

use tower_api_key::store::{PostgresInspection, PostgresStore, StoreErrorKind};

use super::as_user;
use crate::support::postgres::{dump_schema, psql, schema_name, shared};

async fn inspect(url: &str, schema: &str) -> PostgresInspection {
    PostgresStore::builder().schema(schema).inspect(url).await.unwrap()
}

#[tokio::test]
async fn database_is_looked_at_and_stays_as_it_is() {
    let schema = schema_name();
    let before = inspect(&shared(), &schema).await;
    assert_eq!((before.schema_version, before.user.is_superuser), (0, true));
    assert_eq!(
        psql(
            &shared(),
            &format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'")
        ),
        "0"
    );

    PostgresStore::builder().schema(&schema).open(&shared()).await.unwrap();
    let before = dump_schema(&shared(), &schema);
    let found = inspect(&shared(), &schema).await;
    assert_eq!(found.schema_version, PostgresStore::SCHEMA_VERSION);
    assert_eq!(found.owners, [format!("{schema}_owner")]);
    assert!(
        found.stopped_triggers.is_empty() && found.changed_functions.is_empty(),
        "{found:?}"
    );
    assert!(found.missing_roles.is_empty(), "{found:?}");
    assert!(
        found.missing_grants.is_empty() && found.further_grants.is_empty(),
        "{found:?}"
    );
    assert!(found.clock_ahead.abs() < 60_000, "{found:?}");
    let lines = |dump: String| {
        dump.lines()
            .filter(|line| !line.contains("restrict"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(dump_schema(&shared(), &schema)), lines(before));
}

#[tokio::test]
async fn each_difference_is_named() {
    let (schema, user) = (schema_name(), schema_name());
    PostgresStore::builder().schema(&schema).open(&shared()).await.unwrap();
    let by_hand = |sql: &str| psql(&shared(), &sql.replace("{s}", &schema).replace("{u}", &user));
    by_hand("CREATE ROLE {u} LOGIN; GRANT {s}_service TO {u}; GRANT DELETE ON {s}.audit_events TO {u}");
    by_hand("ALTER TABLE {s}.keys ENABLE REPLICA TRIGGER keys_log_delete; DROP TRIGGER plans_log_update ON {s}.plans");
    by_hand("CREATE OR REPLACE FUNCTION {s}.log_secret() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'");
    by_hand("REVOKE INSERT ON {s}.users FROM {s}_service; GRANT SELECT ON {s}.server_secrets TO {s}_reader");
    let found = inspect(&as_user(&shared(), &user), &schema).await;
    assert_eq!(found.stopped_triggers, ["keys_log_delete", "plans_log_update"]);
    assert_eq!(found.changed_functions, ["log_secret"]);
    let texts = |grants: &[tower_api_key::store::PostgresGrant]| -> Vec<String> {
        grants.iter().map(|grant| format!("{} {grant}", grant.role)).collect()
    };
    assert_eq!(
        texts(&found.missing_grants),
        [format!("{schema}_service INSERT ON users")]
    );
    assert_eq!(
        texts(&found.further_grants),
        [format!("{schema}_reader SELECT ON server_secrets")]
    );
    assert_eq!(
        texts(&found.user.further_grants),
        [format!("{user} DELETE ON audit_events")]
    );
    assert!(!found.user.is_superuser && !found.user.owns_tables);

    by_hand("REVOKE {s}_service FROM {u}; REVOKE ALL ON {s}.audit_events FROM {u}");
    let refused = PostgresStore::builder()
        .schema(&schema)
        .inspect(&as_user(&shared(), &user))
        .await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unusable);
}
