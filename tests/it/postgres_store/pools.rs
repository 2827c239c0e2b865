//! Pools that an application has, and users with settings of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, Pool, Runtime};
use tokio_postgres::NoTls;
use tower_api_key::store::{KeyStore, PostgresStore, StoreErrorKind, StoreExt};
use tower_api_key::testing::store_conformance;

use super::{BOUND, Node, SCHEMA, as_user, builder, chain, connect, stored};
use crate::support::postgres::{Server, psql, schema_name, shared};

/// A pool of the application's own.
pub(super) fn pool(url: &str, size: usize) -> Pool {
    pool_with(url, size, "")
}

/// The same, with statements that the application runs on each new connection.
pub(super) fn pool_with(url: &str, size: usize, statements: &'static str) -> Pool {
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    let set = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move { client.batch_execute(statements).await.map_err(HookError::Backend) })
    });
    let pool = Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .post_create(set);
    let wait = Some(Duration::from_secs(2));
    pool.wait_timeout(wait)
        .create_timeout(wait)
        .recycle_timeout(wait)
        .build()
        .unwrap()
}

/// All settings of a session, and what it has prepared. A language that was used has settings of its own from then on.
async fn state(client: &deadpool_postgres::Client) -> BTreeMap<String, String> {
    let rows = client
        .query(
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name <> 'application_name' AND name NOT LIKE 'plpgsql.%'",
            &[],
        )
        .await
        .unwrap();
    let mut state: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let prepared = client
        .query_one(
            "SELECT pg_catalog.string_agg(name, ',' ORDER BY name) FROM pg_catalog.pg_prepared_statements WHERE from_sql",
            &[],
        )
        .await
        .unwrap();
    state.insert(
        "prepared".into(),
        prepared.get::<_, Option<String>>(0).unwrap_or_default(),
    );
    state
}

async fn states(pool: &Pool, size: usize) -> Vec<BTreeMap<String, String>> {
    let mut clients = Vec::new();
    for _ in 0..size {
        clients.push(pool.get().await.unwrap());
    }
    let mut states = Vec::new();
    for client in &clients {
        states.push(state(client).await);
    }
    states
}

/// Issues, checks, changes and lists.
pub(super) async fn work(node: &Node) {
    for _ in 0..8 {
        let key = node.issue().await;
        assert_eq!(node.asks(&key).await, 200);
        node.revoke(key.record.id).await.unwrap();
        assert_eq!(node.asks(&key).await, 401);
        let error = node.revoke(tower_api_key::key::KeyId::new()).await.unwrap_err();
        assert_eq!(error.kind(), tower_api_key::IssueErrorKind::NotFound);
        let listed = tower_api_key::store::query::Keys::of(node.acme().await);
        assert!(!node.store.get(listed).await.unwrap().items.is_empty());
    }
}

const SETTINGS: &str = "SET search_path = app, public; SET statement_timeout = '7s'; SET lock_timeout = '6s'; \
     SET idle_in_transaction_session_timeout = '11s'; SET jit = on; SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; \
     SET enable_seqscan = on; SET synchronous_commit = off; PREPARE of_application AS SELECT 1; \
     SET default_transaction_isolation = 'repeatable read'; SET default_transaction_deferrable = on";

#[tokio::test]
async fn borrowed_pool_keeps_its_settings() {
    let size = 4;
    let pool = pool_with(&shared(), size, SETTINGS);
    let before = states(&pool, size).await;
    assert_eq!(
        (&*before[0]["statement_timeout"], &*before[0]["prepared"]),
        ("7000", "of_application")
    );
    let store = builder().schema(schema_name()).with_pool(pool.clone()).await.unwrap();
    let node = Node::over(store).await;
    work(&node).await;
    // Also after statements that fail, and callers that go away.
    for polls in 0..30 {
        let key = node.issue().await;
        let mut finding = Box::pin(node.store.find(&key.lookup));
        for _ in 0..polls {
            let waker = std::task::Waker::noop();
            if finding
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker))
                .is_ready()
            {
                break;
            }
            super::sleep(Duration::from_micros(200)).await;
        }
    }
    super::sleep(Duration::from_millis(200)).await;
    for after in states(&pool, size).await {
        let differing: Vec<_> = after
            .iter()
            .filter(|(name, value)| before[0].get(*name) != Some(value))
            .collect();
        assert!(differing.is_empty() && after.len() == before[0].len(), "{differing:?}");
    }
}

/// What the application made for itself on a connection stands in no way.
#[tokio::test]
async fn temporary_tables_named_like_ours_are_not_used() {
    let temporary = "CREATE TEMP TABLE uuid (a int); CREATE TEMP TABLE text (a int); CREATE TEMP TABLE bytea (a int); \
         CREATE TEMP TABLE jsonb (a int); CREATE TEMP TABLE realm (realm_id text, one boolean); CREATE TEMP TABLE xid8 (a int); \
         CREATE TEMP TABLE keys AS SELECT 'active' AS status; CREATE TEMP TABLE pg_trigger (a int); CREATE TEMP TABLE pg_class (a int)";
    let pool = pool_with(&shared(), 4, temporary);
    let store = builder().schema(schema_name()).with_pool(pool).await.unwrap();
    work(&Node::over(store).await).await;
}

/// A connection that is cleaned in this way forgets what others have prepared on it.
#[rstest::rstest]
#[case("DEALLOCATE ALL")]
#[case("DISCARD ALL")]
#[tokio::test]
async fn statements_that_the_application_forgets_are_prepared_anew(#[case] forget: &str) {
    let size = 3;
    let pool = pool(&shared(), size);
    let store = builder().schema(schema_name()).with_pool(pool.clone()).await.unwrap();
    let node = Node::over(store).await;
    let keys = [
        node.issue().await,
        node.issue().await,
        node.issue().await,
        node.issue().await,
    ];
    assert_eq!(node.asks(&keys[0]).await, 200);
    for key in &keys[1..] {
        let mut clients = Vec::new();
        for _ in 0..size {
            clients.push(pool.get().await.unwrap());
        }
        for client in &clients {
            client.batch_execute(forget).await.unwrap();
        }
        drop(clients);
        node.until(key, 200, &[503], Duration::from_millis(500)).await;
        // Each of the rest is forgotten once.
        for _ in 0..size {
            let _ = node.store.get(key.record.id).await;
        }
        node.revoke(key.record.id).await.unwrap();
        assert_eq!(node.asks(key).await, 401);
    }
}

/// As a shop's own user may have them; among them one for which reads wait until others have ended.
const DEFAULTS: &[&str] = &[
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "default_transaction_read_only = on",
    "synchronous_commit = off",
    "lc_messages = 'C'",
    "timezone = 'Asia/Tokyo'",
    "datestyle = 'German'",
    "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "transform_null_equals = on",
    "extra_float_digits = -5",
    "xmloption = 'document'",
    "standard_conforming_strings = off",
    "backslash_quote = off",
];

fn user_with_defaults(defaults: &[&str]) -> String {
    let user = schema_name();
    psql(&shared(), &format!("CREATE ROLE {user} LOGIN SUPERUSER"));
    for setting in defaults {
        psql(&shared(), &format!("ALTER ROLE {user} SET {setting}"));
    }
    user
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn defaults_of_a_user_change_no_answer(#[case] is_borrowed: bool) {
    let url = as_user(&shared(), &user_with_defaults(DEFAULTS));
    let store = || {
        let url = url.clone();
        async move {
            let builder = PostgresStore::builder().schema(schema_name());
            match is_borrowed {
                true => builder.with_pool(pool(&url, 16)).await,
                false => builder.open(&url).await,
            }
        }
    };
    let store = store().await.unwrap();
    store_conformance(async || store.clone()).await;
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test]
async fn reads_wait_for_no_serializable_transaction(#[case] is_borrowed: bool) {
    let user = user_with_defaults(&DEFAULTS[..3]);
    let url = as_user(&shared(), &user);
    let builder = builder().schema(schema_name());
    let node = match is_borrowed {
        true => Node::over(builder.with_pool(pool(&url, 4)).await.unwrap()).await,
        false => Node::over(builder.open(&url).await.unwrap()).await,
    };
    let key = node.issue().await;
    let other = connect(&shared()).await;
    other
        .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SELECT 1")
        .await
        .unwrap();
    assert_eq!(node.asks(&key).await, 200);
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(node.asks(&key).await, 401);
    other.batch_execute("ROLLBACK").await.unwrap();
}

/// Rule: what was acknowledged is on the disk, whatever the user's default is.
#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test]
async fn revoke_with_synchronous_commit_off_survives_a_crash(#[case] is_borrowed: bool) {
    let server = Server::start_with(&["-c", "synchronous_commit=off", "-c", "wal_writer_delay=10s"]);
    let url = server.url();
    let node = match is_borrowed {
        true => Node::over(builder().with_pool(pool(&url, 4)).await.unwrap()).await,
        false => Node::open(&url).await,
    };
    let key = node.issue().await;
    assert_eq!(node.asks(&key).await, 200);
    server.psql("CREATE TABLE lost (a int); CHECKPOINT");
    server.psql("INSERT INTO lost VALUES (1)");
    node.revoke(key.record.id).await.unwrap();
    server.psql("INSERT INTO lost VALUES (2)");
    server.kill9();
    server.restart();
    assert_eq!(stored(&url, SCHEMA, key.record.id), "revoked|1");
    // The crash loses what was not made so.
    assert_eq!(server.psql("SELECT max(a) FROM lost"), "1");
    node.until(&key, 401, &[503], Duration::from_secs(3)).await;
}

/// A stricter default stays.
#[tokio::test]
async fn commits_are_as_synchronous_as_the_user_wants() {
    for (default, expected) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let (schema, user) = (schema_name(), user_with_defaults(&[]));
        psql(
            &shared(),
            &format!("ALTER ROLE {user} SET synchronous_commit = {default}"),
        );
        let node = Node::over(
            builder()
                .schema(&schema)
                .open(&as_user(&shared(), &user))
                .await
                .unwrap(),
        )
        .await;
        let key = node.issue().await;
        let seen = format!(
            "CREATE TABLE {schema}.seen (a text); CREATE FUNCTION {schema}.see() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO {schema}.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON {schema}.keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             EXECUTE FUNCTION {schema}.see()"
        );
        psql(&shared(), &seen);
        node.revoke(key.record.id).await.unwrap();
        assert_eq!(psql(&shared(), &format!("SELECT a FROM {schema}.seen")), expected);
    }
}

#[tokio::test]
async fn pool_that_the_application_uses_up_is_a_503_in_time() {
    let pool = pool(&shared(), 3);
    let store = builder().schema(schema_name()).with_pool(pool.clone()).await.unwrap();
    let node = Node::over(store).await;
    let (cached, cold) = (node.issue().await, node.issue().await);
    // The first secrets of a realm are a change, which the follower is still to see.
    super::sleep(BOUND).await;
    assert_eq!(node.asks(&cached).await, 200);
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(pool.get().await.unwrap());
    }
    for _ in 0..3 {
        assert_eq!((node.asks(&cached).await, node.asks(&cold).await), (200, 503));
    }
    // The follower has a connection of its own.
    super::sleep(2 * BOUND).await;
    assert_eq!(node.asks(&cached).await, 200);
    let error = node.store.get(cold.record.id).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Overloaded, "{}", chain(&error));
    drop(taken);
    assert_eq!(node.asks(&cold).await, 200);
}
