//! Servers that take what they are sent and do not answer: every call ends in time, and says nothing that is not so.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool, Runtime};
use tokio_postgres::NoTls;
use tower_api_key::audit::{AuditAction, AuditEvent};
use tower_api_key::key::{Actor, KeyStatus, Organization, Timestamp};
use tower_api_key::store::{
    Commit, Committed, KeyStore, ManagedStore, PostgresStoreBuilder, StoreError, StoreErrorKind, StoreExt, Write,
};
use tower_api_key::{IssuedKey, store::query::Keys};
use tracing::Level;

use super::proxy::{Loss, Proxy, When};
use super::{BOUND, Node, SCHEMA, builder, chain, sleep, stored};
use crate::support::audit::Audit;
use crate::support::postgres::Server;

/// What never ends ends here. Whatever else the machine does, everything below takes a fraction of it.
const LIMIT: Duration = Duration::from_secs(90);

/// An answer is waited for as long as both together.
fn impatient() -> PostgresStoreBuilder {
    builder()
        .statement_timeout(Duration::from_millis(500))
        .connect_timeout(Duration::from_millis(1500))
        .max_connections(4)
}

/// What must end.
#[track_caller]
fn ends<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let ended = tokio::time::timeout(LIMIT, future).await;
        ended.unwrap_or_else(|_| panic!("it has not ended: {caller}"))
    }
}

/// Asks until it is so.
#[track_caller]
fn in_time(what: &str, mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let asking = async move {
        while !is_so() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let (caller, what) = (std::panic::Location::caller(), what.to_owned());
    async move {
        let ended = tokio::time::timeout(LIMIT, asking).await;
        ended.unwrap_or_else(|_| panic!("never {what}: {caller}"));
    }
}

async fn revoke(node: &Node, key: &IssuedKey) -> Result<Committed, StoreError> {
    let mut record = ends(node.store.get(key.record.id)).await?.unwrap().record;
    record.status = KeyStatus::Revoked;
    let event = AuditEvent::new(
        record.organization_id,
        Timestamp::now(),
        Actor::service(),
        AuditAction::KEY_REVOKED,
    );
    let event = event.key(record.id);
    let commit = Commit::new().write(Write::UpdateKey(record)).audit(event);
    ends(node.store.commit(commit)).await
}

/// A pool that waits without an end, as the default is.
fn patient_pool(url: &str) -> Pool {
    let pool = Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).max_size(4);
    pool.runtime(Runtime::Tokio1).build().unwrap()
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test]
async fn reads_of_a_paused_server_end(#[case] is_borrowed: bool) {
    let server = Server::start();
    let store = match is_borrowed {
        true => impatient().with_pool(patient_pool(&server.url())).await.unwrap(),
        false => impatient().open(&server.url()).await.unwrap(),
    };
    let node = Node::over(store).await;
    let key = node.issue().await;
    // There are connections to it.
    assert!(node.store.find(&key.lookup).await.unwrap().is_some());
    server.pause();
    for _ in 0..3 {
        let (found, got, listed) = tokio::join!(
            ends(node.store.find(&key.lookup)),
            ends(node.store.get(key.record.id)),
            ends(node.store.get(Keys::of(key.record.organization_id))),
        );
        for error in [found.unwrap_err(), got.unwrap_err(), listed.map(drop).unwrap_err()] {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
        }
    }
    // Nor does a change end otherwise, with a read before it or without one.
    let insert = Commit::new().write(Write::InsertOrganization(Organization::new("never")));
    let inserted = ends(node.store.commit(insert)).await;
    for error in [revoke(&node, &key).await.unwrap_err(), inserted.unwrap_err()] {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
    }
    server.resume();
    // No connection is lent again that owes an answer.
    for _ in 0..8 {
        let found = ends(node.store.find(&key.lookup)).await;
        assert!(found.unwrap_or_else(|error| panic!("{}", chain(&error))).is_some());
    }
    revoke(&node, &key).await.unwrap();
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), "revoked|1");
    let made = format!("SELECT count(*) FROM {SCHEMA}.organizations WHERE name = 'never'");
    assert_eq!(server.psql(&made), "0");
}

#[tokio::test]
async fn connection_that_owes_an_answer_is_not_lent_again() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let node = Node::over(impatient().max_connections(2).open(&proxy.url()).await.unwrap()).await;
    let key = node.issue().await;
    // What the follower sends may be what is lost.
    loop {
        proxy.lose(Loss::Rest(When::After(0)));
        if ends(node.store.find(&key.lookup)).await.is_err() {
            break;
        }
    }
    for _ in 0..6 {
        let found = ends(node.store.find(&key.lookup)).await;
        assert!(found.unwrap_or_else(|error| panic!("{}", chain(&error))).is_some());
    }
}

#[tokio::test]
async fn opening_over_a_paused_server_ends() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    Node::open(&server.url()).await;
    for messages in 0..12 {
        proxy.lose(Loss::Rest(When::After(messages)));
        let opened = ends(impatient().without_migrations().open(&proxy.url())).await;
        match opened.map(drop) {
            Ok(()) => assert!(messages > 6, "after {messages}"),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error)),
        }
    }
}

/// Each message of a commit is the last one that gets through.
#[tokio::test]
async fn commit_that_gets_no_answer_was_made_or_not() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let builder = impatient().statement_timeout(Duration::from_millis(200));
    let builder = builder.connect_timeout(Duration::from_millis(600));
    let node = Node::over(builder.open(&proxy.url()).await.unwrap()).await;
    let direct = Node::open(&server.url()).await;
    let (mut made, mut not_made) = (0, 0);
    for messages in (0..100).step_by(5) {
        let key = direct.issue().await;
        let loss = match messages % 2 {
            0 => Loss::Rest(When::After(messages)),
            _ => Loss::RestOfAnswers(When::After(messages)),
        };
        proxy.lose(loss);
        let answer = revoke(&node, &key).await;
        proxy.has_lost();
        let id = key.record.id;
        match answer {
            Ok(committed) => {
                made += 1;
                assert_eq!(committed.revision_of(id), Some(2));
                assert_eq!(stored(&server.url(), SCHEMA, id), "revoked|1", "{loss:?}");
            }
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                not_made += 1;
                // Neither now nor later.
                sleep(Duration::from_millis(100)).await;
                assert_eq!(
                    stored(&server.url(), SCHEMA, id),
                    "active|0",
                    "{loss:?} {}",
                    chain(&error)
                );
            }
            // It was at the COMMIT, and a machine that is busy.
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown, "{}", chain(&error)),
        }
    }
    println!("{made} made, {not_made} not");
    assert!(not_made > 0);
}

/// The server is well and the connection is not: it is asked on another one.
#[rstest::rstest]
#[case::commit_is_lost(Loss::Rest(When::Commit), "active|0")]
#[case::answer_is_lost(Loss::RestOfAnswers(When::Commit), "revoked|1")]
#[tokio::test]
async fn outcome_is_asked_for_when_commit_gets_no_answer(#[case] loss: Loss, #[case] expected: &str) {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    // The server ends the transaction of a COMMIT that is lost long before that is given up.
    let builder = impatient().connect_timeout(Duration::from_secs(8));
    let node = Node::over(builder.open(&proxy.url()).await.unwrap()).await;
    let direct = Node::open(&server.url()).await;
    let key = direct.issue().await;
    proxy.lose(loss);
    let answer = revoke(&node, &key).await;
    assert!(proxy.has_lost());
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), expected);
    match answer {
        Ok(committed) => {
            assert_eq!((committed.revision_of(key.record.id), expected), (Some(2), "revoked|1"));
            assert_eq!(node.asks(&key).await, 401);
        }
        Err(error) => {
            assert_eq!(
                (error.kind(), expected),
                (StoreErrorKind::Unavailable, "active|0"),
                "{}",
                chain(&error)
            );
        }
    }
}

/// It has the COMMIT and may make it when it goes on, or find that the transaction was idle for too long. Nobody is told before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_of_a_paused_server_is_unknown_until_it_goes_on() {
    let server = Arc::new(Server::start());
    let proxy = Proxy::start(server.port()).await;
    let node = Node::over(impatient().open(&proxy.url()).await.unwrap()).await;
    let (key, another) = (node.issue().await, node.issue().await);
    assert_eq!((node.asks(&key).await, node.asks(&another).await), (200, 200));
    let pausing = server.clone();
    proxy.before_commit(move || pausing.pause());
    let error = revoke(&node, &key).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown, "{}", chain(&error));
    server.resume();
    // It waits for the row that the first one has locked. All places are free again.
    for _ in 0..4 {
        ends(async { while revoke(&node, &another).await.is_err() {} }).await;
    }
    let expected = match &*stored(&server.url(), SCHEMA, key.record.id) {
        "active|0" => 200,
        "revoked|1" => 401,
        other => panic!("{other}"),
    };
    node.until(&key, expected, &[200, 503], LIMIT).await;
    sleep(2 * BOUND).await;
    assert_eq!((node.asks(&key).await, node.asks(&another).await), (expected, 401));
}

/// Its change is on the primary's disk and cannot be seen; a crash would make it, a fail-over lose it.
#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test]
async fn commit_without_synchronous_standby_is_unknown(#[case] is_borrowed: bool) {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("revocations");
    let builder = impatient().journal(&journal);
    let store = match is_borrowed {
        true => builder.with_pool(patient_pool(&server.url())).await.unwrap(),
        false => builder.open(&server.url()).await.unwrap(),
    };
    let (node, (audit, _guard)) = (Node::over(store).await, Audit::start());
    let mut keys = Vec::new();
    for _ in 0..40 {
        keys.push(node.issue().await);
    }
    let cold = node.issue().await;
    server.psql("ALTER SYSTEM SET synchronous_standby_names = 'gone'; SELECT pg_reload_conf()");
    // The server takes notice of it in its own time.
    let mut keys = keys.into_iter();
    let (key, error) = loop {
        let key = keys.next().expect("a commit that waits for the standby");
        if let Err(error) = revoke(&node, &key).await {
            break (key, error);
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown, "{}", chain(&error));
    assert!(chain(&error).contains("did not say in time"), "{}", chain(&error));
    // Readers see it as it was, and nobody is kept from reading.
    node.until(&key, 200, &[503], LIMIT).await;
    node.until(&cold, 200, &[503], LIMIT).await;
    // As many commits wait in the server as may be made at once. They wait for each other, or for the standby.
    let issuer = node.issuer();
    let waiting: Vec<_> = (0..10)
        .map(|number| {
            let issuer = issuer.clone();
            tokio::spawn(async move { issuer.create_organization(format!("another-{number}")).await.is_err() })
        })
        .collect();
    for made in waiting {
        assert!(ends(made).await.unwrap());
    }
    assert!(revoke(&node, &cold).await.is_err());
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waiting: u32 = server.psql(waits).parse().unwrap();
    assert!((1..=2).contains(&waiting), "{waiting}");
    node.until(&cold, 200, &[503], LIMIT).await;

    server.psql("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()");
    in_time("revoked", || {
        stored(&server.url(), SCHEMA, key.record.id) == "revoked|1"
    })
    .await;
    node.until(&key, 401, &[200, 503], LIMIT).await;
    let id = key.record.id.to_string();
    in_time("in the journal", || {
        std::fs::read_to_string(&journal).unwrap().contains(&id)
    })
    .await;
    let events = || {
        let all = audit.all_of_level(Level::INFO).into_iter();
        all.filter(|event| {
            event.target == "tower_api_key::audit::change"
                && event.fields.contains(&id)
                && event.fields.contains("key.revoked")
        })
        .count()
    };
    in_time("logged", || events() == 1).await;
    let good = ends(async {
        loop {
            if revoke(&node, &cold).await.is_ok() {
                break;
            }
        }
        node.issue().await
    });
    let good = Box::pin(good).await;
    assert_eq!((node.asks(&cold).await, node.asks(&good).await), (401, 200));
    sleep(BOUND).await;
    assert_eq!((node.asks(&good).await, events()), (200, 1));
}
