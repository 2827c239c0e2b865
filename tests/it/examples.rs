//! The example servers, started as processes and used over sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::wire::{Answer, raw, request};

#[cfg(feature = "postgres")]
mod postgres;

/// A running example. It is killed at the end of the test, even if the test fails.
struct Example {
    _process: Child,
    stdin: ChildStdin,
    address: SocketAddr,
    keys: HashMap<String, String>,
    line: String,
    /// Kept open: the example may print more, and would fail.
    _stdout: Lines<BufReader<ChildStdout>>,
    _folder: Option<tempfile::TempDir>,
}

impl Example {
    async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("keys.sqlite");
        let url = format!("sqlite://{}?mode=rwc", database.display());
        let example = Self::start_over(name, &url, &["reader", "writer", "limited"]).await;
        assert!(database.exists(), "it keeps its keys elsewhere");
        Self {
            _folder: Some(folder),
            ..example
        }
    }

    /// Over this database, for an example that prints keys of these names.
    async fn start_over(name: &str, url: &str, names: &[&str]) -> Self {
        let mut process = Command::new(built(name))
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = timeout(Duration::from_secs(60), lines.next_line()).await;
            line.expect("the example printed nothing")
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
        for &name in names {
            let line = next().await;
            let key = line.strip_prefix(&format!("key {name} ")).expect(&line).to_owned();
            keys.insert(name.to_owned(), key);
        }
        let mut line = next().await;
        while let Some((name, token)) = line.strip_prefix("token ").and_then(|token| token.split_once(' ')) {
            keys.insert(name.to_owned(), token.to_owned());
            line = next().await;
        }
        Self {
            stdin: process.stdin.take().unwrap(),
            _process: process,
            address,
            keys,
            line,
            _stdout: lines,
            _folder: None,
        }
    }

    async fn ask(&self, method: &str, path: &str, key: &str) -> Answer {
        let bearer = format!("Bearer {}", self.keys[key]);
        request(self.address, method, path, &[("authorization", bearer.as_bytes())]).await
    }
}

fn built(example: &str) -> PathBuf {
    // Tests run from `target/<profile>/deps`. Cargo builds the examples beside it when it builds all tests, and `scripts/test`
    // builds them for this target alone. After `cargo test --test it` they may be out of date.
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

/// The headers in a printed curl line, by name.
fn headers_in(line: &str) -> HashMap<String, String> {
    let headers = line.split("-H '").skip(1).map(|rest| rest.split_once('\'').unwrap().0);
    let parts = headers.map(|header| header.split_once(": ").unwrap());
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The request of the printed curl line is answered with 200.
async fn the_printed_line_works(server: &Example) {
    let whoami = format!("curl -i http://{}/whoami -H ", server.address);
    assert!(server.line.starts_with(&whoami), "{}", server.line);
    let headers = headers_in(&server.line);
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(headers.len(), 1);
    assert_eq!(request(server.address, "GET", "/whoami", &headers).await.status, 200);
}

/// The answers 200, 201, 400, 401 and 403, which are the same for axum and hyper.
async fn the_table_of_answers(server: &Example) {
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

    let added = server.ask("POST", "/orders", "writer").await;
    assert_eq!((added.status, added.text()), (201, r#"{"added_by":"writer"}"#));
    let refused = server.ask("POST", "/orders", "reader").await;
    let challenge = r#"Bearer realm="api", error="insufficient_scope", scope="orders:write""#;
    is_refused(&refused, 403, &[challenge]);

    let reader = server.keys["reader"].as_bytes();
    let wrong = server.keys["reader"].replace("key_live_", "key_test_");
    let none = request(server.address, "GET", "/whoami", &[]).await;
    is_refused(&none, 401, &[r#"Bearer realm="api""#]);
    for (name, value) in [
        ("x-api-key", wrong.as_bytes()),
        ("authorization", b"Bearer x"),
        ("x-api-key", b"\xff"),
    ] {
        let answer = request(server.address, "GET", "/whoami", &[(name, value)]).await;
        is_refused(&answer, 401, &[r#"Bearer realm="api", error="invalid_token""#]);
    }
    let both = [("authorization", b"Bearer x".as_slice()), ("x-api-key", reader)];
    let two = request(server.address, "POST", "/orders", &both).await;
    is_refused(&two, 400, &[r#"Bearer realm="api", error="invalid_request""#]);
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, challenges: &[&str]) {
    assert_eq!(answer.status, status);
    assert_eq!(answer.header("www-authenticate"), challenges);
    assert_eq!(answer.header("content-type"), ["application/problem+json"]);
    assert_eq!(answer.header("cache-control"), ["no-store"]);
    assert_eq!(answer.header("vary"), ["authorization, x-api-key"]);
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["status"], status);
}

async fn the_limited_key_is_told_when_to_come_again(server: &Example) {
    // Two units per second come back while the answers arrive, so count the refusals, not the requests.
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
    is_refused(&refused, 429, &[]);
    assert_eq!(refused.header("retry-after"), ["1"]);
    assert_eq!(refused.header("ratelimit"), [r#""requests";r=0;t=1"#]);
    let json: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(json["violated-policies"], serde_json::json!(["requests"]));
    assert_eq!(server.ask("GET", "/whoami", "reader").await.status, 200);
}

#[tokio::test]
async fn axum_gives_expected_answers() {
    let server = Example::start("axum").await;
    the_printed_line_works(&server).await;
    let open = request(server.address, "GET", "/public", &[]).await;
    assert_eq!((open.status, open.text()), (200, "open to everyone\n"));
    assert_eq!(server.ask("GET", "/orders", "reader").await.status, 200);
    the_table_of_answers(&server).await;
    the_limited_key_is_told_when_to_come_again(&server).await;
}

#[tokio::test]
async fn axum_refuses_revoked_key_like_any_wrong_one() {
    let server = Example::start("axum").await;
    assert_eq!(server.ask("GET", "/whoami", "reader").await.status, 200);
    assert_eq!(server.ask("POST", "/keys/reader/revoke", "reader").await.status, 403);
    assert_eq!(server.ask("POST", "/keys/writer/revoke", "writer").await.status, 404);
    assert_eq!(server.ask("POST", "/keys/reader/revoke", "writer").await.status, 204);
    let revoked = server.ask("GET", "/whoami", "reader").await;
    assert_eq!(revoked.status, 401);
    assert_eq!(server.ask("GET", "/whoami", "writer").await.status, 200);

    // Whatever is wrong with a key, the answer is the same, byte for byte, except for the date.
    let mut unknown = server.keys["writer"].clone().into_bytes();
    unknown[10] = if unknown[10] == b'a' { b'b' } else { b'a' };
    for wrong in [unknown.as_slice(), b"x", b"\xff\xfe", b"a b", b"a,b", &[b'k'; 257]] {
        let answer = request(server.address, "GET", "/whoami", &[("x-api-key", wrong)]).await;
        assert_eq!(answer.undated(), revoked.undated(), "{wrong:?}");
    }
}

#[tokio::test]
async fn axum_survives_hostile_bytes() {
    let server = Example::start("axum").await;
    let head = "GET /whoami HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let hostile: [(u16, &[u8]); 7] = [
        (401, b"authorization:"),
        (401, b"authorization: Bearer"),
        (401, b"authorization: Bearer a b"),
        (401, b"authorization: bearer\tx"),
        (401, b"x-api-key: \x80\xff"),
        (400, b"x-api-key: a\r\nx-api-key: a"),
        (400, b"x-api-key: a\x00b"),
    ];
    for (status, lines) in hostile {
        let bytes = [head.as_bytes(), lines, b"\r\n\r\n"].concat();
        let answer = raw(server.address, &bytes).await.expect("closed without an answer");
        assert_eq!(answer.status, status, "{}", lines.escape_ascii());
    }
    // The start of a TLS handshake, to a server without TLS.
    let hello = raw(server.address, b"\x16\x03\x01\x02\x00\x01\x00").await;
    assert_eq!(hello.map(|answer| answer.status), Some(400));
    let long = vec![b'k'; 100_000];
    let answer = request(server.address, "GET", "/whoami", &[("x-api-key", &long)]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(server.ask("GET", "/whoami", "reader").await.status, 200);
}

#[tokio::test]
async fn hyper_gives_expected_answers() {
    let server = Example::start("hyper").await;
    the_printed_line_works(&server).await;
    the_table_of_answers(&server).await;
    assert_eq!(server.ask("GET", "/elsewhere", "reader").await.status, 404);
    let basic = [("authorization", b"Basic eDp5".as_slice())];
    let answer = request(server.address, "GET", "/whoami", &basic).await;
    is_refused(&answer, 401, &[r#"Bearer realm="api""#]);
    the_limited_key_is_told_when_to_come_again(&server).await;
}

#[tokio::test]
async fn beside_jwt_tells_keys_from_tokens() {
    let server = Example::start("beside_jwt").await;
    the_printed_line_works(&server).await;
    for (name, said) in [
        ("reader", "key reader of acme\n"),
        ("valid", "user alice\n"),
        ("writer", "key writer of acme\n"),
    ] {
        let answer = server.ask("GET", "/whoami", name).await;
        assert_eq!((answer.status, answer.text()), (200, said));
    }

    // Each side refuses its own.
    let expired = server.ask("GET", "/whoami", "expired").await;
    assert_eq!(expired.status, 401);
    assert_eq!(
        expired.header("www-authenticate"),
        [r#"Bearer realm="users", error="invalid_token""#]
    );
    assert_eq!(expired.text(), "log in again: ExpiredSignature\n");
    assert_eq!(server.ask("POST", "/keys/reader/revoke", "writer").await.status, 403);
    assert_eq!(server.ask("POST", "/keys/reader/revoke", "valid").await.status, 204);
    let revoked = server.ask("GET", "/whoami", "reader").await;
    is_refused(&revoked, 401, &[r#"Bearer realm="api", error="invalid_token""#]);
    let none = request(server.address, "GET", "/whoami", &[]).await;
    is_refused(&none, 401, &[r#"Bearer realm="api""#]);

    // A request with both is refused, since they could be of two people.
    let bearer = format!("Bearer {}", server.keys["valid"]);
    let both = [
        ("authorization", bearer.as_bytes()),
        ("x-api-key", server.keys["writer"].as_bytes()),
    ];
    let both = request(server.address, "GET", "/whoami", &both).await;
    is_refused(&both, 400, &[r#"Bearer realm="api", error="invalid_request""#]);
}

async fn client(server: &Example) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

fn asking(service: &str, authorization: &str) -> Request<HealthCheckRequest> {
    let service = service.to_owned();
    let mut request = Request::new(HealthCheckRequest { service });
    let value = MetadataValue::try_from(authorization).unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn with(key: &str) -> Request<HealthCheckRequest> {
    asking("", &format!("Bearer {key}"))
}

#[tokio::test]
async fn tonic_gives_expected_answers() {
    let server = Example::start("tonic").await;
    let mut client = client(&server).await;
    let bearer = |name: &str| format!("Bearer {}", server.keys[name]);

    let well = client.check(with(&server.keys["reader"])).await.unwrap();
    assert_eq!(well.metadata().get("cache-control").unwrap(), "private");
    assert_eq!(well.into_inner().status, tonic_health::ServingStatus::Serving as i32);
    client.check(asking("orders", &bearer("writer"))).await.unwrap();
    let scope = client.check(asking("orders", &bearer("reader"))).await.unwrap_err();
    assert_eq!(scope.code(), Code::PermissionDenied);
    assert!(scope.message().contains("orders:write"));

    let none = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated);
    let wrong = client.check(with("key_live_wrong")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated);
    let mut both = with(&server.keys["reader"]);
    let reader = server.keys["reader"].parse().unwrap();
    both.metadata_mut().insert("x-api-key", reader);
    let both = client.check(both).await.unwrap_err();
    assert_eq!(both.code(), Code::InvalidArgument);
    for refused in [&none, &wrong, &both] {
        assert_eq!(refused.metadata().get("cache-control").unwrap(), "no-store");
    }

    let mut limited = None;
    for _ in 0..50 {
        if let Err(status) = client.check(with(&server.keys["limited"])).await {
            limited = Some(status);
            break;
        }
    }
    let limited = limited.expect("50 requests in a row were never too many");
    assert_eq!(limited.code(), Code::ResourceExhausted);
    let pushback = limited.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert!((1..=1_000).contains(&pushback.to_str().unwrap().parse::<u32>().unwrap()));
}

#[tokio::test]
async fn tonic_ends_stream_of_revoked_key() {
    let mut server = Example::start("tonic").await;
    let mut client = client(&server).await;
    // As the printed line asks.
    let watch = format!("http://{}/grpc.health.v1.Health/Watch ", server.address);
    assert!(server.line.contains(&watch), "{}", server.line);
    let printed = headers_in(&server.line);
    assert_eq!(printed["content-type"], "application/grpc");
    let watched = client.watch(asking("", &printed["authorization"])).await;
    let mut beats = watched.unwrap().into_inner();
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
    let ended = ended.await.expect("the stream did not end within 30 s").unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
    let revoked = client.check(with(&server.keys["reader"])).await.unwrap_err();
    let wrong = client.check(with("key_live_wrong")).await.unwrap_err();
    assert_eq!((revoked.code(), revoked.message()), (wrong.code(), wrong.message()));
}

#[test]
fn custom_store_checks_its_keys() {
    let output = std::process::Command::new(built("custom_store")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "from the old system of acme\nrequest rejected: wrong_secret\n");
}

#[test]
fn unusable_database_is_refused_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let run = |url: &str| {
        std::process::Command::new(built("hyper"))
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", url)
            .current_dir(&folder)
            .output()
            .unwrap()
    };
    for (url, said) in [
        ("mysql://user:hunter2@localhost/keys", "unknown scheme `mysql`"),
        // No port is 99999.
        ("postgres://user:hunter2@localhost:99999/keys", "option `port`"),
        (
            "postgresql+asyncpg://user:hunter2@localhost/keys",
            "unknown scheme `postgresql+asyncpg`",
        ),
        ("mysql:user:hunter2@localhost", "unknown scheme (not shown)"),
        ("postgres:user:hunter2@localhost", "must begin with `postgres://`"),
        ("sqlite://?mode=rwc", "must be followed by the path of a file"),
    ] {
        let output = run(url);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(said), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "no file was made");
}
