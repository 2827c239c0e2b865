//! The example servers as a person runs them: started as processes, asked over sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(all(feature = "axum", feature = "sqlite"))]

mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use wire::{Answer, raw, request};

/// A running example. It is killed when the test ends, however it ends.
struct Example {
    _process: Child,
    stdin: ChildStdin,
    address: SocketAddr,
    keys: HashMap<String, String>,
    line: String,
    _folder: tempfile::TempDir,
}

impl Example {
    async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("keys.sqlite");
        let mut process = Command::new(built(name))
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", format!("sqlite://{}", database.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = timeout(Duration::from_secs(60), lines.next_line()).await;
            line.expect("the example prints nothing")
                .unwrap()
                .expect("the example ended")
        };
        let first = next().await;
        let address = first
            .strip_prefix("listening on http://")
            .expect(&first)
            .parse()
            .unwrap();
        let mut keys = HashMap::new();
        for name in ["reader", "writer", "limited"] {
            let line = next().await;
            let key = line.strip_prefix(&format!("key {name} ")).expect(&line).to_owned();
            keys.insert(name.to_owned(), key);
        }
        Self {
            stdin: process.stdin.take().unwrap(),
            _process: process,
            address,
            keys,
            line: next().await,
            _folder: folder,
        }
    }

    async fn ask(&self, method: &str, path: &str, key: &str) -> Answer {
        let bearer = format!("Bearer {}", self.keys[key]);
        request(self.address, method, path, &[("authorization", bearer.as_bytes())]).await
    }
}

fn built(example: &str) -> PathBuf {
    // Tests run from `target/<profile>/deps`; cargo builds the examples beside it whenever it builds all tests.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(example);
    assert!(
        path.exists(),
        "build the examples first: cargo build --examples --all-features"
    );
    path
}

#[tokio::test]
async fn axum_serves_the_table_of_answers() {
    let server = Example::start("axum").await;
    assert!(
        server
            .line
            .starts_with(&format!("curl -i http://{}/whoami -H ", server.address))
    );

    let open = request(server.address, "GET", "/public", &[]).await;
    assert_eq!((open.status, open.text()), (200, "open to everyone\n"));

    let who = server.ask("GET", "/whoami", "writer").await;
    assert_eq!(who.status, 200);
    assert_eq!(who.header("cache-control"), ["private"]);
    assert_eq!(who.header("vary"), ["authorization, x-api-key"]);
    let json: serde_json::Value = serde_json::from_slice(&who.body).unwrap();
    assert_eq!(json["organization"], "acme");
    assert_eq!(json["user"], "alice");
    assert_eq!(json["environment"], "live");
    assert_eq!(json["scopes"], serde_json::json!(["orders:read", "orders:write"]));
    assert_eq!(json["key_id"].as_str().unwrap().len(), 36);

    assert_eq!(server.ask("GET", "/orders", "reader").await.status, 200);
    assert_eq!(server.ask("POST", "/orders", "writer").await.status, 201);
    let refused = server.ask("POST", "/orders", "reader").await;
    assert_eq!(refused.status, 403);
    let challenge = r#"Bearer realm="api", error="insufficient_scope", scope="orders:write""#;
    assert_eq!(refused.header("www-authenticate"), [challenge]);

    let none = request(server.address, "GET", "/whoami", &[]).await;
    assert_eq!(none.status, 401);
    assert_eq!(none.header("www-authenticate"), [r#"Bearer realm="api""#]);
    assert_eq!(none.header("content-type"), ["application/problem+json"]);
    assert_eq!(none.header("cache-control"), ["no-store"]);

    let reader = server.keys["reader"].as_bytes();
    let both = [("authorization", b"Bearer x".as_slice()), ("x-api-key", reader)];
    let two = request(server.address, "GET", "/whoami", &both).await;
    assert_eq!(two.status, 400);
}

#[tokio::test]
async fn axum_limits_one_key_and_tells_it_when_to_come_again() {
    let server = Example::start("axum").await;
    // The answers take a part of the second in which two units come back: count the refusals, not the requests.
    let mut refused = None;
    for _ in 0..50 {
        let answer = server.ask("GET", "/whoami", "limited").await;
        assert_eq!(answer.header("ratelimit-policy"), [r#""requests";q=5;w=3"#]);
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200);
    }
    let refused = refused.expect("50 requests in a row were never too many");
    assert_eq!(refused.header("retry-after"), ["1"]);
    assert_eq!(refused.header("ratelimit"), [r#""requests";r=0;t=1"#]);
    let json: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(json["violated-policies"], serde_json::json!(["requests"]));
    assert_eq!(server.ask("GET", "/whoami", "reader").await.status, 200);
}

#[tokio::test]
async fn axum_revokes_for_good() {
    let server = Example::start("axum").await;
    assert_eq!(server.ask("GET", "/whoami", "reader").await.status, 200);
    assert_eq!(server.ask("POST", "/keys/reader/revoke", "reader").await.status, 403);
    assert_eq!(server.ask("POST", "/keys/writer/revoke", "writer").await.status, 404);
    assert_eq!(server.ask("POST", "/keys/reader/revoke", "writer").await.status, 204);
    let revoked = server.ask("GET", "/whoami", "reader").await;
    assert_eq!(revoked.status, 401);
    assert_eq!(server.ask("GET", "/whoami", "writer").await.status, 200);

    // Whatever is wrong with a key, the answer is the same to the byte (but for the date).
    let mut unknown = server.keys["writer"].clone().into_bytes();
    unknown[10] = if unknown[10] == b'a' { b'b' } else { b'a' };
    for wrong in [unknown.as_slice(), b"x", b"\xff\xfe", b"a b", b"a,b", &[b'k'; 257]] {
        let answer = request(server.address, "GET", "/whoami", &[("x-api-key", wrong)]).await;
        assert_eq!(undated(&answer), undated(&revoked), "{wrong:?}");
    }
}

#[tokio::test]
async fn axum_stands_hostile_bytes() {
    let server = Example::start("axum").await;
    let hostile: [&[u8]; 8] = [
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization:\r\n\r\n",
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer\r\n\r\n",
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer a b\r\n\r\n",
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: bearer\tx\r\n\r\n",
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: \x80\xff\r\n\r\n",
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: a\r\nx-api-key: a\r\n\r\n",
        b"GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ];
    for bytes in hostile {
        if let Some(answer) = raw(server.address, bytes).await {
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
    }
    let long = vec![b'k'; 100_000];
    let answer = request(server.address, "GET", "/whoami", &[("x-api-key", &long)]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(server.ask("GET", "/whoami", "reader").await.status, 200);
}

#[tokio::test]
async fn hyper_serves() {
    let server = Example::start("hyper").await;
    let who = server.ask("GET", "/whoami", "reader").await;
    assert_eq!(who.status, 200);
    let json: serde_json::Value = serde_json::from_slice(&who.body).unwrap();
    assert_eq!(json["scopes"], serde_json::json!(["orders:read"]));
    assert_eq!(request(server.address, "GET", "/whoami", &[]).await.status, 401);
    assert_eq!(server.ask("GET", "/elsewhere", "reader").await.status, 404);
    let basic = [("authorization", b"Basic eDp5".as_slice())];
    assert_eq!(request(server.address, "GET", "/whoami", &basic).await.status, 401);
}

#[tokio::test]
async fn tonic_serves_and_ends_the_stream_of_a_revoked_key() {
    let mut server = Example::start("tonic").await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let with = |key: &str| {
        let mut request = Request::new(HealthCheckRequest::default());
        let bearer = MetadataValue::try_from(format!("Bearer {key}")).unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    };

    let well = client.check(with(&server.keys["reader"])).await.unwrap();
    assert_eq!(well.into_inner().status, tonic_health::ServingStatus::Serving as i32);
    let none = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated);
    let wrong = client.check(with("key_live_wrong")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated);
    let mut codes = Vec::new();
    for _ in 0..50 {
        match client.check(with(&server.keys["limited"])).await {
            Ok(_) => {}
            Err(status) => {
                codes.push(status.code());
                break;
            }
        }
    }
    assert_eq!(codes, [Code::ResourceExhausted]);

    let mut beats = client.watch(with(&server.keys["reader"])).await.unwrap().into_inner();
    assert!(beats.message().await.unwrap().is_some());
    server.stdin.write_all(b"revoke reader\n").await.unwrap();
    let ended = timeout(Duration::from_secs(30), async {
        loop {
            match beats.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let ended = ended.await.expect("the stream went on for 30 s").unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
    let revoked = client.check(with(&server.keys["reader"])).await.unwrap_err();
    assert_eq!((revoked.code(), revoked.message()), (wrong.code(), wrong.message()));
}

#[test]
fn the_custom_store_example_checks_its_keys() {
    let output = std::process::Command::new(built("custom_store")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "from the old system of acme\nrequest refused: wrong_secret\n");
}

fn undated(answer: &Answer) -> (String, Vec<u8>) {
    let lines = answer.head.lines().filter(|line| !line.starts_with("date:"));
    (lines.collect::<Vec<_>>().join("\n"), answer.body.clone())
}
