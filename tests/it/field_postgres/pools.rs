//! Connections of a pool that others use too, and poolers between.

use std::time::Duration;

use deadpool_postgres::{Manager, Pool, Runtime};
use tokio_postgres::NoTls;
use tower_api_key::store::StoreErrorKind;

use super::{LONG, Shop, builder, chain, until_so};
use crate::support::postgres::{Bouncer, Server, psql, schema_name, shared};

/// With one connection, so that it is the one that somebody has left behind.
fn pool(url: &str) -> Pool {
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    let pool = Pool::builder(manager).max_size(1).runtime(Runtime::Tokio1);
    let pool = pool.wait_timeout(Some(LONG)).create_timeout(Some(LONG));
    pool.recycle_timeout(Some(LONG)).build().unwrap()
}

/// What somebody has left open on a connection of the pool: a future that was dropped, an early return.
async fn leave_open(pool: &Pool, statements: &str) {
    let client = pool.get().await.unwrap();
    // The last of them may fail.
    let _ = client.batch_execute(statements).await;
}

/// Whichever it is, nothing of it is committed, no answer is one of its time, and the connection is good again.
#[rstest::rstest]
#[case::empty("BEGIN")]
#[case::failed("BEGIN; SELECT 1 / 0")]
#[case::half_done("BEGIN; INSERT INTO {t} VALUES (1)")]
#[case::of_its_time("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM {t}")]
#[case::read_only("BEGIN READ ONLY; SELECT 1")]
#[tokio::test]
async fn transaction_left_open_on_a_connection_changes_nothing(#[case] left: &str) {
    let (schema, table) = (schema_name(), schema_name());
    psql(&shared(), &format!("CREATE TABLE {table} (a int)"));
    let left = left.replace("{t}", &table);
    let pool = pool(&shared());
    let direct = Shop::of_schema(&shared(), &schema).await;
    // Also on the connection that the store takes for itself, to follow the change log.
    leave_open(&pool, &left).await;
    let store = builder().schema(&schema).with_pool(pool.clone()).await.unwrap();
    leave_open(&pool, &left).await;
    let shop = Shop::over(store).await;
    let (cached, cold, own) = (direct.issue().await, direct.issue().await, direct.issue().await);
    leave_open(&pool, &left).await;
    assert_eq!(shop.asks(&cached).await, 200);
    leave_open(&pool, &left).await;
    direct.revoke(&cold).await;
    assert_eq!(shop.asks(&cold).await, 401);
    direct.revoke(&cached).await;
    shop.until(&cached, 401, &[200, 503]).await;
    leave_open(&pool, &left).await;
    shop.revoke(&own).await;
    direct.until(&own, 401, &[200, 503]).await;
    shop.works().await;
    drop(shop);
    assert_eq!(psql(&shared(), &format!("SELECT count(*) FROM {table}")), "0");
}

/// Poolers refuse connections that name settings which they do not know. That does not pass by itself.
#[tokio::test]
async fn setting_that_a_pooler_does_not_take_is_named() {
    let server = Server::start();
    let bouncer = Bouncer::start(&server);
    let url = format!("{}?options=-c%20statement_timeout%3D9s", bouncer.url());
    let error = builder().open(&url).await.unwrap_err();
    let said = chain(&error);
    assert_eq!(error.kind(), StoreErrorKind::Unusable, "{said}");
    assert!(said.contains("unsupported startup parameter"), "{said}");
    assert!(said.contains("remove `options` from the URL"), "{said}");
    Shop::open(&bouncer.url()).await.works().await;
}

/// Of a caller that gives up while the schema is made, nothing is left that the next one would wait for.
#[tokio::test]
async fn opening_that_is_given_up_leaves_no_lock() {
    let server = Server::start();
    let bouncer = Bouncer::start(&server);
    for url in [server.url(), bouncer.url()] {
        for millis in [0, 2, 5, 10, 20, 40, 80] {
            let schema = schema_name();
            let opening = builder().schema(&schema).open(&url);
            let _ = tokio::time::timeout(Duration::from_millis(millis), opening).await;
            Shop::of_schema(&url, &schema).await.works().await;
        }
    }
    let advisory = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'";
    until_so(&server.url(), advisory).await;
    until_so(
        &server.url(),
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
    )
    .await;
}
