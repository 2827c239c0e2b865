//! Connections that are lost while a commit is made, and callers that go away.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use rand::RngExt;
use tower_api_key::audit::{AuditAction, AuditEvent};
use tower_api_key::key::{Actor, KeyStatus, Timestamp};
use tower_api_key::store::{Commit, KeyStore, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

use super::proxy::{Loss, Proxy, When};
use super::{BOUND, Node, SCHEMA, builder, chain, connect, sleep, stored};
use crate::support::postgres::{Server, psql, schema_name, shared};
use crate::support::text;

/// The commit that revokes this key as it was read.
fn revoking(key: &StoredKey) -> Commit {
    let mut record = key.record.clone();
    record.status = KeyStatus::Revoked;
    let now = Timestamp::now();
    let event = AuditEvent::new(record.organization_id, now, Actor::service(), AuditAction::KEY_REVOKED);
    let event = event.key(record.id);
    Commit::new().write(Write::UpdateKey(record)).audit(event)
}

async fn loaded(node: &Node) -> StoredKey {
    let issued = node.issue().await;
    node.store.get(issued.record.id).await.unwrap().unwrap()
}

#[rstest::rstest]
#[case::commit_is_lost(Loss::Message(When::Commit), false)]
#[case::answer_is_lost(Loss::Answer(When::Commit), true)]
#[case::pooler_has_lost_it(Loss::AnswerForError(When::Commit), true)]
#[tokio::test]
async fn outcome_is_known_after_a_lost_connection(#[case] loss: Loss, #[case] is_made: bool) {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let (node, direct) = (Node::open(&proxy.url()).await, Node::open(&server.url()).await);
    for _ in 0..3 {
        let key = loaded(&direct).await;
        proxy.lose(loss);
        let answer = node.store.commit(revoking(&key)).await;
        assert!(proxy.has_lost());
        let stored = stored(&server.url(), SCHEMA, key.record.id);
        match answer {
            Ok(committed) => {
                assert_eq!(committed.revision_of(key.record.id), Some(key.record.revision + 1));
                assert_eq!((stored.as_str(), is_made), ("revoked|1", true));
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
                assert_eq!((stored.as_str(), is_made), ("active|0", false), "{}", chain(&error));
            }
        }
    }
}

/// A commit whose server is away for longer than the connection: it is asked when it is back.
#[tokio::test]
async fn outcome_is_asked_until_the_server_is_back() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let (node, direct) = (Node::open(&proxy.url()).await, Node::open(&server.url()).await);
    for loss in [Loss::Message(When::Commit), Loss::Answer(When::Commit)] {
        let key = loaded(&direct).await;
        // Its answer is lost, and nothing can be asked.
        proxy.lose(loss);
        let answer = {
            let commit = node.store.commit(revoking(&key));
            let outage = async {
                sleep(Duration::from_millis(20)).await;
                proxy.lead_to(1);
                proxy.cut_all();
                server.kill9();
                sleep(Duration::from_millis(500)).await;
                server.restart();
                proxy.lead_to(server.port());
            };
            tokio::join!(commit, outage).0
        };
        let expected = match answer {
            Ok(_) => "revoked|1",
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
                "active|0"
            }
        };
        assert_eq!(stored(&server.url(), SCHEMA, key.record.id), expected, "{loss:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_cut_at_any_moment_was_made_or_not() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let (node, direct) = (Node::open(&proxy.url()).await, Node::open(&server.url()).await);
    let (mut made, mut not_made) = (0, 0);
    for round in 0..100 {
        let key = loaded(&direct).await;
        let when = match rand::rng().random_range(0..2) {
            0 => When::Commit,
            _ => When::After(rand::rng().random_range(0..35)),
        };
        let loss = match round % 3 {
            0 => Loss::Message(when),
            1 => Loss::Answer(when),
            _ => Loss::AnswerForError(when),
        };
        proxy.lose(loss);
        let answer = node.store.commit(revoking(&key)).await;
        // A later message, of the follower, could still be lost.
        proxy.has_lost();
        let stored = stored(&server.url(), SCHEMA, key.record.id);
        match answer {
            Ok(_) => {
                made += 1;
                assert_eq!(stored, "revoked|1", "{loss:?}");
            }
            Err(error) => {
                not_made += 1;
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{loss:?} {}", chain(&error));
                assert_eq!(stored, "active|0", "{loss:?} {}", chain(&error));
            }
        }
    }
    assert!(made > 10 && not_made > 3, "{made} {not_made}");
    println!("{made} made, {not_made} not");
}

/// Polls so many times, and lets go.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        sleep(Duration::from_micros(300)).await;
    }
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_that_goes_away_leaves_no_transaction(#[case] is_borrowed: bool) {
    let (schema, name) = (schema_name(), schema_name());
    let url = format!("{}?application_name={name}", shared());
    let builder = || builder().schema(&schema).max_connections(6);
    let other = Node::over(builder().open(&shared()).await.unwrap()).await;
    let pool = super::pools::pool(&url, 6);
    let store = match is_borrowed {
        true => builder().with_pool(pool.clone()).await.unwrap(),
        false => builder().open(&url).await.unwrap(),
    };
    let node = Node::over(store).await;
    let mut keys = Vec::new();
    for _ in 0..60 {
        let key = node.issue().await;
        assert_eq!(other.asks(&key).await, 200);
        assert_eq!(node.asks(&key).await, 200);
        keys.push(key);
    }
    for (polls, key) in keys.iter().enumerate() {
        drop_after(polls, node.store.find(&key.lookup)).await;
        drop_after(polls, node.store.get(key.record.id)).await;
        drop_after(polls, node.revoke(key.record.id)).await;
        let stored = node.store.get(key.record.id).await.unwrap().unwrap();
        drop_after(polls, node.store.commit(revoking(&stored))).await;
    }
    sleep(Duration::from_secs(1)).await;
    let left = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND state LIKE 'idle in transaction%'"
    );
    assert_eq!(psql(&shared(), &left), "0");
    if is_borrowed {
        let status = pool.status();
        assert_eq!(status.available, status.size, "{status:?}");
        // No setting of ours has stayed.
        for _ in 0..status.size {
            let client = pool.get().await.unwrap();
            let shown = client.query_one("SHOW search_path", &[]).await.unwrap();
            assert_eq!(shown.get::<_, String>(0), "\"$user\", public");
            std::mem::forget(client);
        }
    }
    sleep(BOUND).await;
    let mut revoked = 0;
    for key in &keys {
        let is_revoked = psql(
            &shared(),
            &format!("SELECT status FROM {schema}.keys WHERE id = '{}'", key.record.id),
        ) == "revoked";
        revoked += u32::from(is_revoked);
        let expected = if is_revoked { 401 } else { 200 };
        assert_eq!((node.asks(key).await, other.asks(key).await), (expected, expected));
    }
    assert!(revoked > 40, "{revoked}");
}

/// A client that hangs up does not make a service slower, or its database busy.
#[tokio::test]
async fn request_that_is_dropped_ends_with_its_connection_kept() {
    let schema = schema_name();
    let node = Node::over(
        builder()
            .schema(&schema)
            .max_connections(2)
            .open(&shared())
            .await
            .unwrap(),
    )
    .await;
    let key = node.issue().await;
    let mut other = connect(&shared()).await;
    let held = other.transaction().await.unwrap();
    held.batch_execute(&format!("LOCK TABLE {schema}.keys IN ACCESS EXCLUSIVE MODE"))
        .await
        .unwrap();
    for _ in 0..6 {
        assert_eq!(node.status(&text(&key)).await, 503);
    }
    held.rollback().await.unwrap();
    node.until(&key, 200, &[503], Duration::from_secs(1)).await;
}
