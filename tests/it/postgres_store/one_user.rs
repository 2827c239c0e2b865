//! A schema that one user made, who may make no roles, and that gets them later.

use tower_api_key::store::StoreErrorKind;

use super::{Node, as_user, builder, error};
use crate::support::postgres::{psql, schema_name, shared, try_psql};

/// What `docs/postgresql.md` says under *Set up*. Roles are of the whole server: another database may have them already.
#[rstest::rstest]
#[case::roles_there_already(true)]
#[case::roles_made_by_the_migration(false)]
#[tokio::test]
async fn schema_of_one_user_is_handed_over_later(#[case] has_roles: bool) {
    let (schema, app, migrations) = (schema_name(), schema_name(), schema_name());
    psql(
        &shared(),
        &format!(
            "CREATE ROLE {app} LOGIN; GRANT CREATE ON DATABASE postgres TO {app}; CREATE ROLE {migrations} LOGIN CREATEROLE"
        ),
    );
    if has_roles {
        psql(
            &shared(),
            &format!(
                "CREATE ROLE {schema}_owner; CREATE ROLE {schema}_service; CREATE ROLE {schema}_reader; \
                 GRANT {schema}_owner TO {migrations}"
            ),
        );
    }
    let (app_url, migrations_url) = (as_user(&shared(), &app), as_user(&shared(), &migrations));
    let migrate = async |url| Node::over(builder().schema(&schema).open(url).await.unwrap()).await;
    let key = migrate(&app_url).await.issue().await;
    let owner = format!("SELECT tableowner FROM pg_tables WHERE schemaname = '{schema}' AND tablename = 'keys'");
    assert_eq!(psql(&shared(), &owner), app);

    psql(&shared(), &format!("GRANT {app} TO {migrations}"));
    migrate(&migrations_url).await;
    assert_eq!(psql(&shared(), &owner), format!("{schema}_owner"));
    psql(
        &shared(),
        &format!(
            "ALTER SCHEMA {schema} OWNER TO {migrations}; REVOKE {app} FROM {migrations}; \
             REVOKE CREATE ON DATABASE postgres FROM {app}"
        ),
    );
    let serve = async || builder().schema(&schema).without_migrations().open(&app_url).await;
    let refused = error(serve().await);
    assert_eq!(refused.kind(), StoreErrorKind::Unusable);
    let said = format!("{refused:?}");
    assert!(
        said.contains(&format!("grant it the role `{schema}_service`")),
        "{said}"
    );

    psql(&shared(), &format!("GRANT {schema}_service TO {app}"));
    let node = Node::over(serve().await.unwrap()).await;
    assert_eq!(node.asks(&key).await, 200);
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(node.asks(&key).await, 401);
    for not_allowed in [
        "DELETE FROM {s}.audit_events",
        "DROP TABLE {s}.leases",
        "DROP SCHEMA {s} CASCADE",
    ] {
        try_psql(&app_url, &not_allowed.replace("{s}", &schema)).unwrap_err();
    }
}

/// What an administrator took from a role stays taken.
#[tokio::test]
async fn what_was_taken_from_a_role_is_not_granted_again() {
    let schema = schema_name();
    let open = async || builder().schema(&schema).open(&shared()).await.unwrap();
    drop(open().await);
    psql(
        &shared(),
        &format!(
            "REVOKE ALL ON {schema}.users FROM {schema}_reader; REVOKE ALL ON SCHEMA {schema} FROM {schema}_reader"
        ),
    );
    drop(open().await);
    let usage = format!("SELECT has_schema_privilege('{schema}_reader', '{schema}', 'USAGE')");
    assert_eq!(psql(&shared(), &usage), "f");
}
