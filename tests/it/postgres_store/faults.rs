//! Outages: a key that is good is answered with 200 or with 503, in time, and with 200 again by itself.

use std::fs::{read_to_string, rename, write};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tower_api_key::IssueErrorKind;
use tower_api_key::store::{KeyStore, StoreErrorKind};

use super::{BOUND, Node, SCHEMA, as_user, builder, chain, connect, error, sleep, stored};
use crate::support::postgres::{Server, psql, schema_name, shared};
use crate::support::text;

/// How soon a service is well after its database is.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn server_that_is_down_cannot_be_opened() {
    let server = Server::start();
    let url = server.url().replacen("postgres@", "postgres:hunter2-secret@", 1);
    server.stop_fast();
    let begun = Instant::now();
    let error = error(builder().open(&url).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // It may be there later.
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let said = chain(&error);
    assert!(said.contains("refused") && !said.contains("hunter2"), "{said}");
}

/// What is down, and how it comes back.
#[rstest::rstest]
#[case::stopped(Server::stop_fast, Server::restart)]
#[case::killed(Server::kill9, Server::restart)]
#[case::paused(Server::pause, Server::resume)]
#[tokio::test]
async fn outage_is_a_503_until_it_is_over(#[case] down: fn(&Server), #[case] up: fn(&Server)) {
    let server = Server::start();
    let node = Node::open(&server.url()).await;
    let (cached, cold, revoked) = (node.issue().await, node.issue().await, node.issue().await);
    node.revoke(revoked.record.id).await.unwrap();
    assert_eq!((node.asks(&cached).await, node.asks(&revoked).await), (200, 401));
    down(&server);
    // It goes on for as long as a revoke by another process may go unseen, and no longer.
    let begun = Instant::now();
    let (mut last_admitted, mut unavailable) = (Duration::ZERO, 0);
    while begun.elapsed() < BOUND + Duration::from_secs(2) {
        let asked_at = begun.elapsed();
        match node.asks(&cached).await {
            200 => last_admitted = asked_at,
            503 => unavailable += 1,
            other => panic!("{other}"),
        }
        assert_eq!(node.asks(&cold).await, 503);
        assert!(matches!(node.asks(&revoked).await, 401 | 503));
    }
    assert!(last_admitted < BOUND + Duration::from_millis(200), "{last_admitted:?}");
    assert!(unavailable > 0);
    let error = node.revoke(cached.record.id);
    // A commit that was sent to a server that stands still is made when that goes on.
    if let Ok(revoked) = tokio::time::timeout(Duration::from_millis(100), error).await {
        assert_eq!(revoked.unwrap_err().kind(), IssueErrorKind::StoreUnavailable);
    }
    up(&server);
    node.until(&cold, 200, &[503], SOON).await;
    node.until(&cached, 200, &[503], SOON).await;
    assert_eq!(node.asks(&revoked).await, 401);
    node.revoke(cold.record.id).await.unwrap();
    assert_eq!(node.asks(&cold).await, 401);
}

/// What is asked of a server that stands still is answered by it later, before anything new.
#[tokio::test]
async fn reads_of_a_paused_server_do_not_pile_up() {
    let server = Server::start();
    let node = Arc::new(Node::open(&server.url()).await);
    let mut keys = Vec::new();
    for _ in 0..40 {
        keys.push(node.issue().await);
    }
    // On every connection the statement is prepared.
    for _ in 0..2 {
        let finding = keys.iter().map(|key| (node.store.clone(), key.lookup.clone()));
        let finding = finding.map(|(store, lookup)| tokio::spawn(async move { store.find(&lookup).await.is_ok() }));
        for found in finding.collect::<Vec<_>>() {
            assert!(found.await.unwrap());
        }
    }
    let ended = || {
        let sum = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres'";
        server.psql(sum).parse::<u64>().unwrap()
    };
    server.pause();
    let is_over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = keys
        .iter()
        .map(|key| {
            let (node, key, is_over) = (node.clone(), text(key), is_over.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(node.status(&key).await, 503);
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    sleep(Duration::from_secs(4)).await;
    is_over.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for task in asking {
        asked += task.await.unwrap();
    }
    assert!(asked > 300, "{asked}");
    server.resume();
    let before = ended();
    node.until(&keys[0], 200, &[503], SOON).await;
    // It counts at most once a second.
    sleep(Duration::from_secs(2)).await;
    let answered = ended() - before;
    assert!(
        answered < 150,
        "{answered} of {asked} were answered although nobody waited"
    );
}

#[tokio::test]
async fn server_without_free_connections_is_a_503() {
    let server = Server::start_with(&["-c", "max_connections=20"]);
    let node = Node::open(&server.url()).await;
    let (cached, cold) = (node.issue().await, node.issue().await);
    assert_eq!(node.asks(&cached).await, 200);
    let mut others = vec![connect(&server.url()).await];
    let take_all = async |others: &mut Vec<tokio_postgres::Client>| {
        while let Ok((client, connection)) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            others.push(client);
        }
    };
    take_all(&mut others).await;
    // With the connections that it has, the service goes on.
    assert_eq!(node.asks(&cached).await, 200);
    // The follower connects anew as soon as it can.
    while !others[0].query(TERMINATE_OURS, &[]).await.unwrap().is_empty() {
        take_all(&mut others).await;
    }
    assert_eq!(node.asks(&cold).await, 503);
    let error = node.revoke(cold.record.id).await.unwrap_err();
    assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable);
    sleep(BOUND + Duration::from_millis(300)).await;
    assert_eq!(node.asks(&cached).await, 503);
    drop(others);
    node.until(&cold, 200, &[503], SOON).await;
    assert_eq!(node.asks(&cached).await, 200);
    node.revoke(cold.record.id).await.unwrap();
}

const TERMINATE_OURS: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
     WHERE application_name = 'tower-api-key' AND pid <> pg_backend_pid()";

/// A write beyond the end of this file is one to a full disk.
#[tokio::test]
async fn full_disk_refuses_changes_and_no_keys() {
    let server = Server::start();
    let node = Node::open(&server.url()).await;
    let key = node.issue().await;
    // A table without rows, which the change writes.
    let path = server.psql(&format!("SELECT pg_relation_filepath('{SCHEMA}.key_changes')"));
    server.psql(&format!("TRUNCATE {SCHEMA}.key_changes"));
    let new_path = server.psql(&format!("SELECT pg_relation_filepath('{SCHEMA}.key_changes')"));
    assert_ne!(path, new_path);
    server.stop_fast();
    let (file, kept) = (server.data().join(&new_path), server.data().join("kept"));
    rename(&file, &kept).unwrap();
    symlink("/dev/full", &file).unwrap();
    server.restart();
    node.until(&key, 200, &[503], SOON).await;
    for _ in 0..20 {
        let error = node.revoke(key.record.id).await.unwrap_err();
        assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable, "{}", chain(&error));
        assert!(chain(&error).contains("No space left on device"), "{}", chain(&error));
    }
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), "active|0");
    assert_eq!(node.asks(&key).await, 200);
    server.stop_fast();
    std::fs::remove_file(&file).unwrap();
    rename(&kept, &file).unwrap();
    server.restart();
    // This thread has waited for the server, and could not see that connections ended.
    sleep(Duration::from_millis(100)).await;
    node.until(&key, 200, &[503], SOON).await;
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), "revoked|1");
    assert_eq!(node.asks(&key).await, 401);
}

/// As while a database is moved to another server: what is written now would be lost.
#[tokio::test]
async fn read_only_server_checks_keys_and_refuses_changes() {
    let server = Server::start();
    let node = Node::open(&server.url()).await;
    let key = node.issue().await;
    server.psql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(node.asks(&key).await, 200);
    let error = node.revoke(key.record.id).await.unwrap_err();
    assert!(chain(&error).contains("read-only transaction"), "{}", chain(&error));
    assert_eq!(node.asks(&key).await, 200);
    // A service that is started meanwhile checks keys too.
    let store = builder().without_migrations().open(&server.url()).await.unwrap();
    let other = Node::over(store).await;
    assert_eq!(other.asks(&key).await, 200);
    server.psql("ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), "active|0");
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(node.asks(&key).await, 401);
    other.until(&key, 401, &[200], BOUND + Duration::from_secs(1)).await;
}

/// What somebody locks in psql, and forgets.
#[rstest::rstest]
#[case::key("SELECT 1 FROM {s}.keys FOR UPDATE")]
#[case::organization("SELECT 1 FROM {s}.organizations FOR UPDATE")]
#[case::chain("SELECT 1 FROM {s}.organization_state FOR UPDATE")]
#[case::change_counter("SELECT 1 FROM {s}.change_counter FOR UPDATE")]
#[case::table("LOCK TABLE {s}.audit_events IN ACCESS EXCLUSIVE MODE")]
#[tokio::test]
async fn lock_held_by_another_fails_commits_in_time(#[case] lock: &str) {
    let (schema, half) = (schema_name(), Duration::from_millis(500));
    let builder = builder().schema(&schema).statement_timeout(half).max_connections(4);
    let node = Arc::new(Node::over(builder.open(&shared()).await.unwrap()).await);
    let (key, good) = (node.issue().await, node.issue().await);
    let mut other = connect(&shared()).await;
    let held = other.transaction().await.unwrap();
    held.batch_execute(&lock.replace("{s}", &schema)).await.unwrap();
    // More than may be made at once.
    let commits: Vec<_> = (0..12)
        .map(|_| {
            let (node, id) = (node.clone(), key.record.id);
            tokio::spawn(async move {
                let begun = Instant::now();
                let revoked = node.revoke(id).await;
                (revoked, begun.elapsed())
            })
        })
        .collect();
    sleep(half / 2).await;
    assert_eq!(node.asks(&good).await, 200, "checks have connections of their own");
    for commit in commits {
        let (revoked, took) = commit.await.unwrap();
        assert_eq!(revoked.unwrap_err().kind(), IssueErrorKind::StoreUnavailable);
        assert!(took < 5 * half, "{took:?}");
    }
    held.rollback().await.unwrap();
    assert_eq!(stored(&shared(), &schema, key.record.id), "active|0");
    // No connection was spoiled.
    for _ in 0..8 {
        assert_eq!(node.asks(&key).await, 200);
    }
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(stored(&shared(), &schema, key.record.id), "revoked|1");
    assert_eq!(node.asks(&key).await, 401);
}

#[tokio::test]
async fn changed_password_is_a_503_and_in_no_error() {
    let server = Server::start();
    Node::open(&server.url()).await;
    let hba = server.data().join("pg_hba.conf");
    let lines = read_to_string(&hba).unwrap();
    write(&hba, format!("host all app 127.0.0.1/32 scram-sha-256\n{lines}")).unwrap();
    server.psql(&format!(
        "CREATE ROLE app LOGIN PASSWORD 'first-hunter2'; GRANT {SCHEMA}_service TO app; SELECT pg_reload_conf()"
    ));
    sleep(Duration::from_millis(300)).await;
    let url = as_user(&server.url(), "app:first-hunter2");
    let node = Node::over(builder().without_migrations().open(&url).await.unwrap()).await;
    let (key, cold) = (node.issue().await, node.issue().await);
    assert_eq!(node.asks(&key).await, 200);

    server.psql(&format!("ALTER ROLE app PASSWORD 'second-hunter2'; {TERMINATE_OURS}"));
    node.until(&cold, 503, &[], Duration::ZERO).await;
    sleep(BOUND + Duration::from_millis(300)).await;
    assert_eq!((node.asks(&key).await, node.asks(&cold).await), (503, 503));
    let error = node.revoke(key.record.id).await.unwrap_err();
    assert!(!chain(&error).contains("hunter2"), "{}", chain(&error));
    let error = super::error(builder().without_migrations().open(&url).await);
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    let said = chain(&error);
    assert!(
        said.contains("password authentication failed") && !said.contains("hunter2"),
        "{said}"
    );
    assert!(!server.log().contains("hunter2-secret"));

    server.psql("ALTER ROLE app PASSWORD 'first-hunter2'");
    node.until(&cold, 200, &[503], SOON).await;
    assert_eq!(node.asks(&key).await, 200);
}

/// Connections end all the time: those that rest, by the server's settings, and all of them, by somebody's hand.
#[rstest::rstest]
#[case::idle(false)]
#[case::terminated(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_are_replaced(#[case] are_terminated: bool) {
    let arguments = [
        "-c",
        "idle_session_timeout=100ms",
        "-c",
        "idle_in_transaction_session_timeout=100ms",
    ];
    let server = Server::start_with(&arguments[..if are_terminated { 0 } else { 4 }]);
    let node = Arc::new(Node::open(&server.url()).await);
    let (key, mut others) = (node.issue().await, Vec::new());
    for _ in 0..20 {
        others.push(node.issue().await);
    }
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (node, key) = (node.clone(), text(&key));
            tokio::spawn(async move {
                let (begun, mut admitted) = (Instant::now(), 0);
                while begun.elapsed() < Duration::from_secs(4) {
                    match node.status(&key).await {
                        200 => admitted += 1,
                        503 => assert!(are_terminated),
                        other => panic!("{other}"),
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                assert!(admitted > 100, "{admitted}");
            })
        })
        .collect();
    let url = server.url();
    for other in &others {
        if are_terminated {
            psql(&url, TERMINATE_OURS);
        }
        let status = node.asks(other).await;
        assert!(status == 200 || are_terminated && status == 503, "{status}");
        let mut revoking = Box::pin(node.revoke(other.record.id));
        if are_terminated {
            let _ = tokio::time::timeout(Duration::from_millis(3), revoking.as_mut()).await;
            psql(&url, TERMINATE_OURS);
        }
        let expected = match revoking.await {
            Ok(()) => ("revoked|1", 401),
            Err(error) => {
                assert!(are_terminated, "{}", chain(&error));
                assert_eq!(error.kind(), IssueErrorKind::StoreUnavailable, "{}", chain(&error));
                assert!(!chain(&error).contains("OutcomeUnknown"), "{}", chain(&error));
                ("active|0", 200)
            }
        };
        assert_eq!(stored(&url, SCHEMA, other.record.id), expected.0);
        node.until(other, expected.1, &[503], SOON).await;
        sleep(Duration::from_millis(150)).await;
    }
    for task in asking {
        task.await.unwrap();
    }
    node.until(&key, 200, &[503], SOON).await;
}
