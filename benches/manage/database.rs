//! A database with many keys in a folder of its own, the program over it, and a client of its server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tower_api_key::key::Organization;
use tower_api_key::store::query::Organizations;
use tower_api_key::store::{ManagedStore, SqliteStore, StoreExt};

use crate::store::rows::{insert, key};

pub const FEW: usize = 1_000;
pub const MANY: usize = 100_000;
/// Keys of one commit.
const PIECE: usize = 1_000;

pub struct Database {
    folder: tempfile::TempDir,
    /// Of the operator's key.
    operator: String,
}

/// A server of the program. It is killed at the end.
pub struct Server {
    pub process: Child,
    pub base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    key: String,
}

impl Database {
    /// A new one, with so many keys of one organization.
    pub async fn with(keys: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut database = Self {
            folder,
            operator: String::new(),
        };
        let done = database.command(&["init", "--seed", "--out", "operator.key"]).status();
        assert!(done.expect("the program starts").success(), "the database is made");
        let operator = std::fs::read_to_string(database.folder.path().join("operator.key"));
        database.operator = operator.expect("the operator's key").trim_end().to_owned();
        let store = SqliteStore::open(database.folder.path().join("api-keys.db")).await;
        fill(&store.expect("a store"), keys).await;
        database
    }

    /// The program with these arguments, its output thrown away.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_api-keys"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for name in ["DATABASE_URL", "API_KEYS_CONFIG", "API_KEYS_SERVER", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// A server, and how long it took until it was ready.
    pub async fn serve(&self) -> (Server, Duration) {
        let began = Instant::now();
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its log")).lines();
        let address = loop {
            let line = lines.next().expect("the server ended").expect("a line");
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split_whitespace().next().expect("an address").to_owned();
            }
        };
        // What it logs is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Server {
            process,
            base: format!("http://{address}"),
            client: Client::builder(TokioExecutor::new()).build_http(),
            key: self.operator.clone(),
        };
        while !server.is_ready().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (server, began.elapsed())
    }
}

impl Server {
    async fn is_ready(&self) -> bool {
        let request = Request::get(format!("{}/readyz", self.base)).body(Full::default());
        let response = self.client.request(request.expect("a request")).await;
        response.is_ok_and(|response| response.status().is_success())
    }

    /// The answer to a path of the API.
    pub async fn get(&self, path: &str) -> Value {
        let request = Request::get(format!("{}/api/v1/auth{path}", self.base)).header("x-api-key", &self.key);
        let response = self.client.request(request.body(Full::default()).expect("a request"));
        let response = response.await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn fill(store: &SqliteStore, keys: usize) {
    let found = store.get(Organizations::all().page(10)).await.expect("organizations");
    let of: Organization = found.items.into_iter().next_back().expect("an organization");
    let mut number = 0;
    while number < keys {
        let piece: Vec<_> = (number..keys.min(number + PIECE))
            .map(|number| key(&of, number))
            .collect();
        number += piece.len();
        store.commit(insert(&piece, false)).await.expect("keys are inserted");
    }
}

/// The largest resident memory of a process so far, in KiB; `None` when it has ended.
pub fn peak_kib(process: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
