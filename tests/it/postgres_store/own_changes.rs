//! What this process has changed and announced, when its follower comes to it.

use std::time::Duration;

use tower_api_key::store::KeyStore;
use tracing::Level;

use super::{BOUND, Node, builder};
use crate::house::process::is_alone;
use crate::support::audit::Audit;
use crate::support::postgres::{psql, schema_name, shared};

/// How long something that is seen may take to be.
const LIMIT: Duration = Duration::from_secs(60);

async fn node(schema: &str) -> Node {
    Node::over(builder().schema(schema).open(&shared()).await.unwrap()).await
}

fn changes(node: &Node) -> u64 {
    node.store.fence().unwrap().changes()
}

/// Otherwise each change would cost its own process a second read of every cached key of the stripe.
#[tokio::test]
async fn own_change_is_announced_once() {
    let schema = schema_name();
    let (node, other) = (node(&schema).await, node(&schema).await);
    let (key, another, last) = (node.issue().await, node.issue().await, node.issue().await);
    assert_eq!(node.asks(&last).await, 200);
    // What it took to open and to issue is seen.
    for _ in 0..3 {
        let first = other.issue().await;
        assert_eq!(node.asks(&first).await, 200);
        other.revoke(first.record.id).await.unwrap();
        node.until(&first, 401, &[200], LIMIT).await;
    }
    let before = changes(&node);
    node.revoke(key.record.id).await.unwrap();
    let update = |record: &mut tower_api_key::key::KeyRecord| record.name = "invoices".into();
    node.issuer().update(another.record.id, update).await.unwrap();
    assert_eq!(changes(&node), before + 2);
    // The follower reads this one behind the others.
    other.revoke(last.record.id).await.unwrap();
    node.until(&last, 401, &[200], LIMIT).await;
    assert_eq!(changes(&node), before + 3);
    assert_eq!((node.asks(&key).await, node.asks(&another).await), (401, 200));
    // The other one has seen all of it.
    assert_eq!(other.asks(&key).await, 401);
}

/// A trigger of the application's changes what the commit does not know of.
#[tokio::test]
async fn change_by_a_trigger_within_an_own_commit_is_seen() {
    let schema = schema_name();
    let node = node(&schema).await;
    let (key, dependent) = (node.issue().await, node.issue().await);
    let id = dependent.record.id;
    psql(
        &shared(),
        &format!(
            "CREATE FUNCTION {schema}.cascade() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             UPDATE {schema}.keys SET status = 'revoked' WHERE id = '{id}' AND status <> 'revoked'; RETURN NULL; END $$; \
             CREATE TRIGGER cascade AFTER UPDATE ON {schema}.keys FOR EACH ROW WHEN (OLD.id <> '{id}') \
             EXECUTE FUNCTION {schema}.cascade()"
        ),
    );
    assert_eq!(node.asks(&dependent).await, 200);
    node.revoke(key.record.id).await.unwrap();
    node.until(&dependent, 401, &[200], LIMIT).await;
}

/// A log that has grown by more than is read at once is the same log.
#[tokio::test]
async fn many_new_rows_are_no_other_history() {
    if !is_alone("postgres_store::own_changes::many_new_rows_are_no_other_history") {
        return;
    }
    let audit = Audit::for_all_threads();
    let schema = schema_name();
    let node = node(&schema).await;
    let (key, good) = (node.issue().await, node.issue().await);
    assert_eq!((node.asks(&key).await, node.asks(&good).await), (200, 200));
    let id = key.record.id;
    psql(
        &shared(),
        &format!(
            "BEGIN; DO $$ BEGIN FOR i IN 1..66000 LOOP \
             PERFORM {schema}.log_change(0, '00000000-0000-0000-0000-000000000000', 0, NULL); END LOOP; END $$; UPDATE {schema}.keys SET status = 'revoked' WHERE id = '{id}'; COMMIT"
        ),
    );
    node.until(&key, 401, &[200, 503], LIMIT).await;
    node.revoke(good.record.id).await.unwrap();
    super::sleep(2 * BOUND).await;
    assert_eq!((node.asks(&key).await, node.asks(&good).await), (401, 401));
    let warnings = audit.all_of_level(Level::WARN);
    let is_said = warnings.iter().any(|event| event.fields.contains("does not go on"));
    assert!(!is_said, "{warnings:?}");
}
