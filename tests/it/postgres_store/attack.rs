//! What others with a role of their own in the database do to a schema of this crate, and mistakes of those who mean well.

use std::sync::Arc;
use std::time::Duration;

use tower_api_key::key::Organization;
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

use super::pools::{pool, pool_with};
use super::{Node, as_user, builder, chain, connect, error, sleep};
use crate::support::postgres::{psql, schema_name, shared, try_psql};

/// A login without any right.
fn stranger() -> String {
    let user = schema_name();
    psql(&shared(), &format!("CREATE ROLE {user} LOGIN"));
    user
}

/// Anyone who may connect can hold the lock of migrations.
#[tokio::test]
async fn service_starts_while_others_hold_the_lock_of_migrations() {
    let schema = schema_name();
    builder().schema(&schema).open(&shared()).await.unwrap();
    let other = connect(&as_user(&shared(), &stranger())).await;
    let lock =
        format!("SELECT pg_advisory_lock(pg_catalog.hashtextextended('tower-api-key migrations of {schema}', 0))");
    other.batch_execute(&lock).await.unwrap();
    builder().schema(&schema).open(&shared()).await.unwrap();
}

/// A user who may make objects in the schema could have made keys before us, or makes a function `log_change(integer, …)`.
#[rstest::rstest]
#[case::owner("CREATE SCHEMA {s} AUTHORIZATION {u}", true)]
#[case::maker("CREATE SCHEMA {s}; GRANT CREATE ON SCHEMA {s} TO {u}", true)]
#[case::everyone("CREATE SCHEMA {s}; GRANT CREATE ON SCHEMA {s} TO PUBLIC", false)]
#[tokio::test]
async fn schema_in_which_others_make_objects_is_refused(#[case] made: &str, #[case] is_named: bool) {
    let (schema, user) = (schema_name(), stranger());
    let made = made.replace("{s}", &schema).replace("{u}", &user);
    psql(&shared(), &made);
    let open = async || builder().schema(&schema).open(&shared()).await;
    let refused = error(open().await);
    assert_eq!(refused.kind(), StoreErrorKind::Unusable, "{}", chain(&refused));
    let (said, name) = (chain(&refused), if is_named { &user } else { "PUBLIC" });
    assert!(said.contains("belongs to others") && said.contains(name), "{said}");
    let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
    assert_eq!(psql(&shared(), &tables), "0");

    let amend =
        format!("ALTER SCHEMA {schema} OWNER TO postgres; REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {user}");
    psql(&shared(), &amend);
    open().await.unwrap();
    // Nor afterwards.
    psql(&shared(), &format!("GRANT CREATE ON SCHEMA {schema} TO {user}"));
    assert_eq!(error(open().await).kind(), StoreErrorKind::Unusable);
    // Unless they have the role that owns it all.
    psql(&shared(), &format!("GRANT {schema}_owner TO {user}"));
    open().await.unwrap();
}

/// A schema is made for its user by somebody else, or belongs to a group of which the user is one.
#[rstest::rstest]
#[case::given("CREATE SCHEMA {s}; GRANT USAGE, CREATE ON SCHEMA {s} TO {u}")]
#[case::own("CREATE SCHEMA {s} AUTHORIZATION {u}")]
#[case::of_group("CREATE ROLE {s}_group; GRANT {s}_group TO {u}; CREATE SCHEMA {s} AUTHORIZATION {s}_group")]
#[tokio::test]
async fn schema_of_the_user_is_taken(#[case] made: &str) {
    let (schema, user) = (schema_name(), stranger());
    psql(&shared(), &made.replace("{s}", &schema).replace("{u}", &user));
    for _ in 0..2 {
        let url = as_user(&shared(), &user);
        builder().schema(&schema).open(&url).await.unwrap();
    }
}

/// Functions have the old name in them: they would log nothing, or into the schema that has that name now.
#[tokio::test]
async fn renamed_schema_is_refused_until_it_has_its_name() {
    let (old, new) = (schema_name(), schema_name());
    let node = Node::over(builder().schema(&old).open(&shared()).await.unwrap()).await;
    let key = node.issue().await;
    drop(node);
    psql(&shared(), &format!("ALTER SCHEMA {old} RENAME TO {new}"));
    for builder in [builder(), builder().without_migrations()] {
        let error = error(builder.schema(&new).open(&shared()).await);
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(chain(&error).contains("another name"), "{}", chain(&error));
    }
    psql(&shared(), &format!("ALTER SCHEMA {new} RENAME TO {old}"));
    let node = Node::over(builder().schema(&old).open(&shared()).await.unwrap()).await;
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(node.asks(&key).await, 401);
}

#[tokio::test]
async fn service_without_its_role_is_told_which() {
    let schema = schema_name();
    builder().schema(&schema).open(&shared()).await.unwrap();
    let user = stranger();
    let url = as_user(&shared(), &user);
    let open = async || builder().schema(&schema).without_migrations().open(&url).await;
    let error = error(open().await);
    assert_eq!(error.kind(), StoreErrorKind::Unusable, "{}", chain(&error));
    assert!(
        chain(&error).contains(&format!("{schema}_service")),
        "{}",
        chain(&error)
    );
    psql(&shared(), &format!("GRANT {schema}_service TO {user}"));
    open().await.unwrap();
}

/// An application that writes texts of another age through the same pool.
#[tokio::test]
async fn texts_are_stored_whatever_encoding_the_application_sets() {
    let schema = schema_name();
    let pool = pool_with(&shared(), 2, "SET client_encoding = 'LATIN1'");
    let store = builder().schema(&schema).with_pool(pool.clone()).await.unwrap();
    let acme = Organization::new("Größe ✓");
    let insert = Commit::new().write(Write::InsertOrganization(acme.clone()));
    store.commit(insert).await.unwrap();
    let stored = format!("SELECT char_length(name) FROM {schema}.organizations");
    assert_eq!(psql(&shared(), &stored), "7");
    assert_eq!(store.get(acme.id).await.unwrap(), Some(acme));
    let client = pool.get().await.unwrap();
    let shown = client.query_one("SHOW client_encoding", &[]).await.unwrap();
    assert_eq!(shown.get::<_, String>(0), "LATIN1");
}

/// An application that forgets a transaction, on the only connection there is.
#[rstest::rstest]
#[case::of_another_isolation("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")]
#[case::failed("BEGIN; SELECT 1; SELECT 1 / 0")]
#[case::open("BEGIN; SELECT 1")]
#[tokio::test]
async fn transaction_left_open_in_the_pool_is_over_soon(#[case] left: &str) {
    let pool = pool(&shared(), 1);
    let store = builder().schema(schema_name()).with_pool(pool.clone()).await.unwrap();
    let node = Node::over(store).await;
    let keys = [node.issue().await, node.issue().await];
    let leave = async || {
        let client = pool.get().await.unwrap();
        let _ = client.batch_execute(left).await;
    };
    leave().await;
    node.until(&keys[0], 200, &[503], Duration::from_secs(10)).await;
    leave().await;
    let _ = node.revoke(keys[0].record.id).await;
    node.revoke(keys[0].record.id).await.unwrap();
    assert_eq!((node.asks(&keys[0]).await, node.asks(&keys[1]).await), (401, 200));
}

/// The least number of connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_finds_one_of_two_connections_while_a_list_and_a_commit_wait() {
    let schema = schema_name();
    let builder = builder()
        .schema(&schema)
        .max_connections(2)
        .statement_timeout(Duration::from_secs(20));
    let node = Arc::new(Node::over(builder.open(&shared()).await.unwrap()).await);
    let (key, cold) = (node.issue().await, node.issue().await);
    let mut other = connect(&shared()).await;
    let held = other.transaction().await.unwrap();
    let lock = "LOCK TABLE {s}.audit_events IN ACCESS EXCLUSIVE MODE; SELECT 1 FROM {s}.keys FOR UPDATE";
    held.batch_execute(&lock.replace("{s}", &schema)).await.unwrap();
    let listing = {
        let node = node.clone();
        tokio::spawn(async move { node.store.get(AuditEvents::all()).await.map(drop) })
    };
    let revoking = {
        let (node, id) = (node.clone(), key.record.id);
        tokio::spawn(async move { node.revoke(id).await.map(drop) })
    };
    sleep(Duration::from_millis(500)).await;
    node.until(&cold, 200, &[503], Duration::from_secs(5)).await;
    assert!(!listing.is_finished() && !revoking.is_finished());
    held.rollback().await.unwrap();
    listing.await.unwrap().unwrap();
    revoking.await.unwrap().unwrap();
    assert!(try_psql(&shared(), &format!("DROP SCHEMA {schema} CASCADE")).is_ok());
}
