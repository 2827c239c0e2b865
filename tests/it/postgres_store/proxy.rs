//! A proxy between a store and its server that loses what it is told to.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is lost next; once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loss {
    /// The connection ends before the server gets this message.
    Message(When),
    /// The server gets it, and the connection ends before its answer.
    Answer(When),
    /// The same, and what comes instead is the error of a pooler that has lost its server: not as severe as one that ends the
    /// connection.
    AnswerForError(When),
    /// From this message on the server gets nothing more. No connection ends before the client's does.
    Rest(When),
    /// The server gets it, and from then on nobody gets its answers. The same.
    RestOfAnswers(When),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    Commit,
    /// After so many messages of any connection.
    After(usize),
}

pub(super) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// New connections go to this port.
    target: AtomicU16,
    is_asked: AtomicBool,
    loss: Mutex<Option<Loss>>,
    /// What is done before a COMMIT is passed on; once.
    before_commit: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Changes when all connections are to end.
    cut: watch::Sender<u64>,
}

impl Proxy {
    pub(super) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target: AtomicU16::new(target),
            is_asked: AtomicBool::new(false),
            loss: Mutex::default(),
            before_commit: Mutex::default(),
            cut: watch::channel(0).0,
        });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, serving.clone()));
            }
        });
        Self { port, state }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(super) fn lose(&self, loss: Loss) {
        *self.state.loss.lock().unwrap() = Some(loss);
    }

    /// Whether nothing is to be lost any more.
    pub(super) fn has_lost(&self) -> bool {
        self.state.loss.lock().unwrap().take().is_none()
    }

    pub(super) fn before_commit(&self, then: impl FnOnce() + Send + 'static) {
        *self.state.before_commit.lock().unwrap() = Some(Box::new(then));
    }

    /// New connections go there. Those that are open stay where they are.
    pub(super) fn lead_to(&self, target: u16) {
        self.state.is_asked.store(false, Ordering::SeqCst);
        self.state.target.store(target, Ordering::SeqCst);
    }

    /// Whether there was a new connection since then.
    pub(super) fn is_asked_elsewhere(&self) -> bool {
        self.state.is_asked.load(Ordering::SeqCst)
    }

    pub(super) fn cut_all(&self) {
        self.state.cut.send_modify(|number| *number += 1);
    }
}

/// Both connections end when one of them does.
async fn serve(client: TcpStream, state: Arc<State>) {
    let mut cut = state.cut.subscribe();
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target.load(Ordering::SeqCst))).await else {
        return;
    };
    state.is_asked.store(true, Ordering::SeqCst);
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (is_mute, is_silent) = (AtomicBool::new(false), AtomicBool::new(false));
    tokio::select! {
        _ = to_the_server(from_client, to_server, &state, &is_mute, &is_silent) => {}
        _ = to_the_client(from_server, to_client, &is_mute, &is_silent, &state) => {}
        _ = cut.changed() => {}
    }
}

async fn to_the_server(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    is_mute: &AtomicBool,
    is_silent: &AtomicBool,
) -> std::io::Result<()> {
    // The first message has no kind.
    let mut kind = None;
    loop {
        let mut message: Vec<u8> = kind.into_iter().collect();
        let length = from.read_u32().await?;
        message.extend(length.to_be_bytes());
        let start = message.len();
        message.resize(start + length as usize - 4, 0);
        from.read_exact(&mut message[start..]).await?;
        if is_commit(&message)
            && let Some(then) = state.before_commit.lock().unwrap().take()
        {
            then();
        }
        match state.loss_at(&message) {
            Some(Loss::Message(_)) => return Ok(()),
            Some(Loss::Answer(_)) => is_mute.store(true, Ordering::SeqCst),
            Some(Loss::Rest(_)) => return tokio::io::copy(&mut from, &mut tokio::io::sink()).await.map(drop),
            Some(Loss::RestOfAnswers(_)) => is_silent.store(true, Ordering::SeqCst),
            Some(Loss::AnswerForError(_)) => {
                is_mute.store(true, Ordering::SeqCst);
                *state.loss.lock().unwrap() = Some(Loss::AnswerForError(When::After(usize::MAX)));
            }
            None => {}
        }
        to.write_all(&message).await?;
        kind = Some(from.read_u8().await?);
    }
}

async fn to_the_client(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_mute: &AtomicBool,
    is_silent: &AtomicBool,
    state: &State,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if is_mute.load(Ordering::SeqCst) {
            let said = state.loss.lock().unwrap().take();
            if said.is_some() {
                to.write_all(&POOLER_ERROR.concat()).await?;
                // The client closes.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return Ok(());
        }
        if read == 0 {
            return Ok(());
        }
        if !is_silent.load(Ordering::SeqCst) {
            to.write_all(&buffer[..read]).await?;
        }
    }
}

/// An error and the state after it, as of a connection that goes on.
const POOLER_ERROR: [&[u8]; 3] = [
    b"E\0\0\0\x3a",
    b"SERROR\0C08P01\0Mserver closed the connection just now\0\0",
    b"Z\0\0\0\x05I",
];

impl State {
    /// The loss that happens with this message.
    fn loss_at(&self, message: &[u8]) -> Option<Loss> {
        let mut next = self.loss.lock().unwrap();
        let loss = next.as_mut()?;
        let (Loss::Message(when)
        | Loss::Answer(when)
        | Loss::AnswerForError(when)
        | Loss::Rest(when)
        | Loss::RestOfAnswers(when)) = loss;
        let is_now = match when {
            When::Commit => is_commit(message),
            When::After(0) => true,
            When::After(left) => {
                *left -= 1;
                false
            }
        };
        is_now.then(|| next.take()).flatten()
    }
}

fn is_commit(message: &[u8]) -> bool {
    message.starts_with(b"Q") && message[5..].starts_with(b"COMMIT")
}
