//! Servers that take over, that only read, and processes that wait for each other.

use tower_api_key::store::query::KeyUses;

use super::{BOUND, Shop, builder, connect, until_so};
use crate::support::postgres::{Server, psql, schema_name, shared};

/// A primary that was set to read only, since another server takes over, still answers. It is no standby, and does not end
/// connections: who stays with it never hears of a revoke.
#[tokio::test]
async fn server_that_only_reads_is_left_for_the_one_that_took_over() {
    let old = Server::start();
    let new = old.standby();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", old.port(), new.port());
    let shop = Shop::open(&format!("postgres://postgres@{hosts}/postgres")).await;
    let (cached, cold, own) = (shop.issue().await, shop.issue().await, shop.issue().await);
    assert_eq!((shop.asks(&cached).await, shop.asks(&own).await), (200, 200));
    old.psql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()");
    until_so(&old.url(), "SELECT current_setting('transaction_read_only') = 'on'").await;
    new.catch_up(&old);
    new.promote();
    let direct = Shop::open(&new.url()).await;
    direct.revoke(&cached).await;
    direct.revoke(&cold).await;
    shop.until(&cached, 401, &[200, 503]).await;
    shop.until(&cold, 401, &[200, 503]).await;
    for _ in 0..20 {
        assert_eq!((shop.asks(&cached).await, shop.asks(&cold).await), (401, 401));
    }
    shop.revoke(&own).await;
    direct.until(&own, 401, &[200, 503]).await;
    shop.works().await;
}

/// Of processes that start at once, all wait for the one that is at the schema, and for each other.
#[tokio::test]
async fn processes_wait_for_the_migrations_of_another() {
    let schema = schema_name();
    let mut hand = connect(&shared()).await;
    let slow = hand.transaction().await.unwrap();
    slow.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    // They have little patience with statements.
    let opening = [(); 3].map(|()| {
        let builder = builder().schema(&schema).statement_timeout(2 * BOUND);
        tokio::spawn(async move { builder.open(&shared()).await })
    });
    tokio::time::sleep(4 * BOUND).await;
    assert!(opening.iter().all(|opening| !opening.is_finished()));
    slow.rollback().await.unwrap();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    Shop::of_schema(&shared(), &schema).await.works().await;
}

/// A check needs no last use: a lock on its rows holds up no request, and no use is lost.
#[tokio::test]
async fn rows_of_uses_that_are_locked_hold_up_no_key() {
    let schema = schema_name();
    let settings = builder().schema(&schema).statement_timeout(BOUND);
    let shop = Shop::over(settings.open(&shared()).await.unwrap()).await;
    let (hot, cold) = (shop.issue().await, shop.issue().await);
    let mut hand = connect(&shared()).await;
    let locked = hand.transaction().await.unwrap();
    locked
        .batch_execute(&format!("SELECT 1 FROM {schema}.key_use FOR UPDATE"))
        .await
        .unwrap();
    for _ in 0..100 {
        assert_eq!(shop.asks(&hot).await, 200);
    }
    assert!(shop.keys.flush().await.is_err());
    assert_eq!((shop.asks(&cold).await, shop.asks(&hot).await), (200, 200));
    locked.rollback().await.unwrap();
    shop.keys.flush().await.unwrap();
    for (key, expected) in [(&hot, 101), (&cold, 1)] {
        let uses = shop.keys.read(KeyUses::of(key.record.id)).await.unwrap().pop().unwrap();
        assert_eq!(uses.secret(&key.lookup).unwrap().requests, expected);
    }
    assert_eq!(
        psql(&shared(), &format!("SELECT sum(requests) FROM {schema}.key_use")),
        "102"
    );
}
