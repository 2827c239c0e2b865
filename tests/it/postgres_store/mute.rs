//! Something between service and server that takes all that is sent and answers nothing: no connection is lost, and none is of use.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tower_api_key::IssueErrorKind;
use tower_api_key::store::StoreExt;

use super::{Node, SCHEMA, builder, stored};
use crate::support::postgres::Server;

/// Without mending, nothing ends.
const LONGEST: Duration = Duration::from_secs(90);

#[derive(Default)]
struct State {
    /// Connections with lower numbers are mute.
    mute_below: AtomicUsize,
    count: AtomicUsize,
    /// A connection on which the first of these is sent is mute from then on.
    mute_at: Mutex<Vec<&'static str>>,
}

struct Mute {
    port: u16,
    state: Arc<State>,
}

impl Mute {
    async fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::<State>::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                    continue;
                };
                let number = shared.count.fetch_add(1, Ordering::SeqCst);
                let is_mute = Arc::new(AtomicUsize::new(0));
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(sent(from_client, to_server, shared.clone(), is_mute.clone()));
                tokio::spawn(answered(from_server, to_client, shared.clone(), (number, is_mute)));
            }
        });
        Self { port, state }
    }

    fn mute_open(&self) {
        let count = self.state.count.load(Ordering::SeqCst);
        self.state.mute_below.store(count, Ordering::SeqCst);
    }

    async fn node(&self) -> Node {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        let brief = Duration::from_millis(1500);
        let builder = builder()
            .max_connections(4)
            .statement_timeout(brief)
            .connect_timeout(brief);
        Node::over(builder.open(&url).await.unwrap()).await
    }
}

async fn sent(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Arc<State>, is_mute: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let has = |text: &str| buffer[..read].windows(text.len()).any(|part| part == text.as_bytes());
        {
            let mut mute_at = state.mute_at.lock().unwrap();
            if mute_at.first().is_some_and(|text| has(text)) {
                mute_at.remove(0);
                is_mute.store(1, Ordering::SeqCst);
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answered(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<State>,
    (number, is_mute): (usize, Arc<AtomicUsize>),
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let is_heard = is_mute.load(Ordering::SeqCst) == 0 && number >= state.mute_below.load(Ordering::SeqCst);
        if is_heard && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    // The connection to the client stays open.
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn reads_and_changes_go_on_without_connections_that_are_mute() {
    let server = Server::start();
    let proxy = Mute::start(server.port()).await;
    let node = proxy.node().await;
    let (cold, key) = (node.issue().await, node.issue().await);
    proxy.mute_open();
    let reading = async { while node.store.get(key.record.id).await.is_err() {} };
    tokio::time::timeout(LONGEST, reading).await.expect("it still reads");
    proxy.mute_open();
    let revoking = async { while node.revoke(key.record.id).await.is_err() {} };
    tokio::time::timeout(LONGEST, revoking).await.expect("it still revokes");
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), "revoked|1");
    node.until(&key, 401, &[503], LONGEST).await;
    proxy.mute_open();
    node.until(&cold, 200, &[503], LONGEST).await;
}

/// The outcome is asked on a new connection.
#[rstest::rstest]
#[case::of_commit(&["COMMIT\0"])]
#[case::of_the_question_too(&["COMMIT\0", "pg_xact_status"])]
#[tokio::test]
async fn commit_without_an_answer_is_settled(#[case] mute_at: &[&'static str]) {
    let server = Server::start();
    let proxy = Mute::start(server.port()).await;
    let node = proxy.node().await;
    let key = node.issue().await;
    assert_eq!(node.asks(&key).await, 200);
    *proxy.state.mute_at.lock().unwrap() = mute_at.to_vec();
    let revoked = tokio::time::timeout(LONGEST, node.revoke(key.record.id)).await;
    match revoked.expect("it still waits") {
        // It goes on asking.
        Err(error) if mute_at.len() > 1 => assert_eq!(error.kind(), IssueErrorKind::OutcomeUnknown),
        revoked => revoked.unwrap(),
    }
    assert!(proxy.state.mute_at.lock().unwrap().is_empty());
    assert_eq!(stored(&server.url(), SCHEMA, key.record.id), "revoked|1");
    node.until(&key, 401, &[503], LONGEST).await;
}
