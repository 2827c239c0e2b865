//! Servers that answer and must not decide: standbys, other databases, and machines whose clocks differ.

use std::sync::Arc;
use std::time::Duration;

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Organization, Timestamp};
use tower_api_key::store::{Commit, ManagedStore, StoreErrorKind, Write};
use tower_api_key::testing::{FaultStore, ManualClock};
use tower_api_key::{ApiKeys, IssueRequest};
use tracing::Level;

use super::proxy::{Loss, Proxy, When};
use super::{BOUND, Node, as_user, builder, chain, error, sleep};
use crate::house::process::is_alone;
use crate::support::audit::Audit;
use crate::support::book::Book;
use crate::support::postgres::{Bouncer, Server, schema_name, shared};
use crate::support::{ask, bearer, text};

/// Until when a service has surely asked the right server again, whatever else the machine does.
const SOON: Duration = Duration::from_secs(60);

/// A primary with a standby that shows what was committed until now, and nothing after it.
fn with_lagging_standby(primary: &Server) -> Server {
    let standby = primary.standby();
    standby.catch_up(primary);
    standby.pause_replay();
    standby
}

#[tokio::test]
async fn standby_alone_is_not_opened() {
    let primary = Server::start();
    Node::open(&primary.url()).await;
    let standby = with_lagging_standby(&primary);
    for builder in [builder(), builder().without_migrations()] {
        let error = error(builder.open(&standby.url()).await);
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(chain(&error).contains("standby"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn standby_first_in_the_url_is_passed_over() {
    let primary = Server::start();
    let node = Node::open(&primary.url()).await;
    let key = node.issue().await;
    let standby = with_lagging_standby(&primary);
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    for attributes in ["", "?target_session_attrs=any"] {
        let url = format!("postgres://postgres@{hosts}/postgres{attributes}");
        let other = Node::open(&url).await;
        assert_eq!(other.asks(&key).await, 200);
    }
    let other = Node::open(&format!("postgres://postgres@{hosts}/postgres")).await;
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(other.asks(&key).await, 401);
}

/// What such a user may do does not tell a primary from a standby.
#[tokio::test]
async fn user_who_only_reads_by_default_finds_the_primary() {
    let primary = Server::start();
    let node = Node::open(&primary.url()).await;
    let key = node.issue().await;
    primary.psql(
        "CREATE ROLE app LOGIN; GRANT api_keys_service TO app; ALTER ROLE app SET default_transaction_read_only = on",
    );
    let standby = with_lagging_standby(&primary);
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    for url in [
        format!("postgres://app@{hosts}/postgres"),
        format!(
            "postgres://app@127.0.0.1:{}/postgres?target_session_attrs=read-write",
            primary.port()
        ),
    ] {
        let opened = builder().without_migrations().open(&url).await;
        let other = Node::over(opened.unwrap_or_else(|error| panic!("{url}: {}", chain(&error)))).await;
        assert_eq!(other.asks(&key).await, 200);
        let own = other.issue().await;
        other.revoke(own.record.id).await.unwrap();
        assert_eq!(other.asks(&own).await, 401);
    }
}

#[tokio::test]
async fn address_that_leads_to_a_standby_admits_nothing_revoked() {
    let primary = Server::start();
    let bouncer = Bouncer::start(&primary);
    let (node, direct) = (Node::open(&bouncer.url()).await, Node::open(&primary.url()).await);
    let (cached, cold, good) = (direct.issue().await, direct.issue().await, direct.issue().await);
    let unknown = {
        let deleted = direct.issue().await;
        direct.delete(deleted.record.id).await;
        deleted
    };
    assert_eq!((node.asks(&cached).await, node.asks(&good).await), (200, 200));
    let standby = with_lagging_standby(&primary);
    // Between two connections.
    bouncer.switch_to(&standby);
    for key in [&cached, &cold] {
        direct.revoke(key.record.id).await.unwrap();
    }
    let new = direct.issue().await;
    for _ in 0..20 {
        assert_eq!(
            (node.asks(&cold).await, node.asks(&new).await, node.asks(&unknown).await),
            (503, 503, 503)
        );
    }
    node.until(&cached, 503, &[200], BOUND + Duration::from_millis(500))
        .await;
    sleep(BOUND).await;
    for _ in 0..20 {
        assert_eq!(
            (node.asks(&cached).await, node.asks(&cold).await, node.asks(&good).await),
            (503, 503, 503)
        );
    }
    let error = node.revoke(good.record.id).await.unwrap_err();
    assert!(chain(&error).contains("standby"), "{}", chain(&error));
    bouncer.switch_to(&primary);
    node.until(&good, 200, &[503], SOON).await;
    node.until(&cached, 401, &[503], SOON).await;
    assert_eq!(
        (node.asks(&cold).await, node.asks(&new).await, node.asks(&unknown).await),
        (401, 200, 401)
    );
    node.revoke(good.record.id).await.unwrap();
}

/// A name or a balancer that led to the wrong server for a moment: connections to it last, and are not used.
#[tokio::test]
async fn connections_to_a_standby_are_given_up() {
    let primary = Server::start();
    let proxy = Proxy::start(primary.port()).await;
    let node = Node::open(&proxy.url()).await;
    let (good, revoked) = (node.issue().await, node.issue().await);
    let standby = with_lagging_standby(&primary);
    node.revoke(revoked.record.id).await.unwrap();
    for is_borrowed in [false, true] {
        let pool = super::pools::pool(&proxy.url(), 4);
        let store = match is_borrowed {
            true => builder().with_pool(pool).await.unwrap(),
            false => builder().max_connections(4).open(&proxy.url()).await.unwrap(),
        };
        let node = Node::over(store).await;
        proxy.lead_to(standby.port());
        proxy.cut_all();
        for _ in 0..12 {
            assert_eq!((node.asks(&good).await, node.asks(&revoked).await), (503, 503));
        }
        assert!(node.revoke(good.record.id).await.is_err());
        assert!(node.issuer().organization_by_slug("acme").await.is_err());
        proxy.lead_to(primary.port());
        node.until(&good, 200, &[503], SOON).await;
        for _ in 0..12 {
            assert_eq!(node.asks(&revoked).await, 401);
            node.issuer().organization_by_slug("acme").await.unwrap();
        }
    }
}

/// What it confirms would hold for keys that nobody else asks the right server about.
#[tokio::test]
async fn follower_gives_up_a_wrong_server() {
    let (primary, another) = (Server::start(), Server::start());
    Node::open(&another.url()).await;
    let proxy = Proxy::start(primary.port()).await;
    let (node, direct) = (Node::open(&proxy.url()).await, Node::open(&primary.url()).await);
    let limit = Duration::from_secs(60);
    let standby = with_lagging_standby(&primary);
    for wrong in [&another, &standby] {
        let (key, last) = (direct.issue().await, direct.issue().await);
        assert_eq!(node.asks(&key).await, 200);
        proxy.lead_to(wrong.port());
        proxy.cut_all();
        node.until(&key, 503, &[200], limit).await;
        proxy.lead_to(primary.port());
        // Connections to the wrong one last, unless they are given up.
        node.until(&key, 200, &[503], limit).await;
        direct.revoke(key.record.id).await.unwrap();
        node.until(&key, 401, &[200, 503], limit).await;
        node.until(&last, 200, &[503], limit).await;
    }
}

#[tokio::test]
async fn other_database_behind_the_address_is_a_503() {
    let (server, empty, another) = (Server::start(), Server::start(), Server::start());
    let bouncer = Bouncer::start(&server);
    let node = Node::open(&bouncer.url()).await;
    let other = Node::open(&another.url()).await;
    let cached = node.issue().await;
    let foreign = other.issue().await;
    assert_eq!(node.asks(&cached).await, 200);
    for wrong in [&empty, &another] {
        // Nobody has asked for it, so no answer is cached.
        let cold = node.issue().await;
        bouncer.switch_to(wrong);
        for _ in 0..20 {
            assert_eq!((node.asks(&cold).await, node.asks(&foreign).await == 200), (503, false));
        }
        let error = node.revoke(cold.record.id).await.unwrap_err();
        assert_eq!(error.kind(), tower_api_key::IssueErrorKind::StoreUnavailable);
        node.until(&cached, 503, &[200], BOUND + Duration::from_millis(500))
            .await;
        bouncer.switch_to(&server);
        node.until(&cold, 200, &[503], SOON).await;
        node.until(&cached, 200, &[503], SOON).await;
    }
}

/// There the transaction was never begun, as far as that server knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_is_asked_of_the_right_server_alone() {
    let (primary, another) = (Server::start(), Server::start());
    Node::open(&another.url()).await;
    let proxy = Arc::new(Proxy::start(primary.port()).await);
    let (node, direct) = (Node::open(&proxy.url()).await, Node::open(&primary.url()).await);
    let standby = with_lagging_standby(&primary);
    // In the last one a transaction with the same number has ended otherwise.
    let ended = Server::start();
    Node::open(&ended.url()).await;
    ended.psql(
        "CREATE TABLE t (a int); DO $$ BEGIN FOR i IN 1..2000 LOOP BEGIN INSERT INTO t VALUES (1); RAISE EXCEPTION 'no'; \
         EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
    );
    for wrong in [&standby, &another, &ended] {
        let key = direct.issue().await;
        let (leading, wrong_port, right_port) = (proxy.clone(), wrong.port(), primary.port());
        proxy.lose(Loss::Answer(When::Commit));
        proxy.before_commit(move || leading.lead_to(wrong_port));
        let answer = {
            let leading = async {
                while !proxy.is_asked_elsewhere() {
                    sleep(Duration::from_millis(10)).await;
                }
                sleep(Duration::from_millis(500)).await;
                proxy.lead_to(right_port);
            };
            tokio::join!(node.revoke(key.record.id), leading).0
        };
        answer.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(node.asks(&key).await, 401);
    }
}

/// A commit that reads nothing first, also of a user whose transactions have to say that they write.
#[rstest::rstest]
#[case::writing("")]
#[case::reading_by_default("; ALTER ROLE app SET default_transaction_read_only = on")]
#[tokio::test]
async fn commit_is_made_in_no_other_database(#[case] settings: &str) {
    let (server, another) = (Server::start(), Server::start());
    Node::open(&another.url()).await;
    for server in [&server, &another] {
        server.psql(&format!("CREATE ROLE app SUPERUSER LOGIN{settings}"));
    }
    let proxy = Proxy::start(server.port()).await;
    let url = as_user(&proxy.url(), "app");
    let store = builder().max_connections(2).open(&url).await.unwrap();
    let standby = with_lagging_standby(&server);
    let insert = |name: &str| Commit::new().write(Write::InsertOrganization(Organization::new(name)));
    for (wrong, reason) in [
        (&another, "its realm has another id"),
        (&standby, "the server is a standby"),
    ] {
        proxy.lead_to(wrong.port());
        proxy.cut_all();
        for attempt in 0..6 {
            let error = store.commit(insert("nowhere")).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            // Each of two connections may be found to be cut.
            assert!(attempt < 2 || chain(&error).contains(reason), "{}", chain(&error));
        }
        proxy.lead_to(server.port());
        // The connection to the wrong one was given up.
        let made = store.commit(insert(reason)).await;
        made.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    assert_eq!(another.psql("SELECT count(*) FROM api_keys.organizations"), "0");
}

#[tokio::test]
async fn promoted_standby_is_followed() {
    let primary = Server::start();
    let standby = primary.standby();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let node = Node::open(&format!("postgres://postgres@{hosts}/postgres")).await;
    let (good, revoked) = (node.issue().await, node.issue().await);
    node.revoke(revoked.record.id).await.unwrap();
    assert_eq!((node.asks(&good).await, node.asks(&revoked).await), (200, 401));
    standby.catch_up(&primary);
    primary.kill9();
    standby.promote();
    node.until(&good, 200, &[503], SOON + BOUND).await;
    assert_eq!(node.asks(&revoked).await, 401);
    node.revoke(good.record.id).await.unwrap();
    assert_eq!(node.asks(&good).await, 401);
}

#[tokio::test]
async fn clock_that_differs_is_logged_and_by_much_not_confirmed() {
    if !is_alone("postgres_store::standby::clock_that_differs_is_logged_and_by_much_not_confirmed") {
        return;
    }
    let (audit, book) = (Audit::for_all_threads(), Book::default());
    metrics::set_global_recorder(book.clone()).unwrap();
    for (seconds, is_logged, is_confirmed) in [
        (0, false, true),
        (5, true, true),
        (-5, true, true),
        (60, true, false),
        (-60, true, false),
    ] {
        let (schema, hand) = (schema_name(), ManualClock::new());
        let shown = hand.clock().wall().as_millis();
        hand.step_wall(Timestamp::now().as_millis() + seconds * 1000 - shown);
        let running = {
            let hand = hand.clone();
            tokio::spawn(async move {
                let (begun, mut passed) = (std::time::Instant::now(), 0);
                loop {
                    sleep(Duration::from_millis(5)).await;
                    let now = u64::try_from(begun.elapsed().as_millis()).unwrap();
                    hand.advance(Duration::from_millis(now - passed));
                    passed = now;
                }
            })
        };
        let warned = audit.all_of_level(Level::WARN).len();
        let store = FaultStore::new(builder().schema(&schema).open(&shared()).await.unwrap());
        let settings = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
        let keys = settings.clock(hand.clock()).open().await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::operator("test"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let key = issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
        let ask = async || ask(&keys.layer(), bearer(&text(&key))).await.status();
        // The first secrets of a realm are a change, which the follower is still to see.
        sleep(BOUND).await;
        assert_eq!(ask().await, 200);
        sleep(BOUND + Duration::from_millis(500)).await;
        // Only what was confirmed since it was read is still fresh.
        let finds = store.faults().finds();
        assert_eq!(ask().await, 200);
        assert_eq!(store.faults().finds() == finds, is_confirmed, "{seconds} s");
        let warnings: Vec<_> = audit.all_of_level(Level::WARN).split_off(warned);
        let is_said = warnings.iter().any(|event| event.fields.contains("clocks"));
        assert_eq!(is_said, is_logged, "{seconds} s: {warnings:?}");
        let gauged = book.value("api_key_database_clock_skew_seconds{}");
        let off = (gauged - f64::from(i32::try_from(seconds.abs()).unwrap())).abs();
        assert!(off < 1.0, "{gauged}");
        running.abort();
    }
}
