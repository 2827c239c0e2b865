//! The life of a server: under load, with a database that goes, at its end.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use crate::postgres_server;
use crate::server::{Server, read, wait_until};
use crate::support::Cli;

const KEYS: &str = "/api/v1/auth/keys";

/// A folder with a database and a key of the operator's that reads keys: its id, and itself.
fn with_reader(cli: &Cli) -> (String, String) {
    let scope = [
        "--scope",
        "api-keys.keys:read",
        "--scope",
        "api-keys.organizations:read",
    ];
    let arguments = ["create", "reader", "--org", "operator", "--out", "reader.key"];
    let made = cli.json(arguments.iter().chain(&scope));
    (
        made[0]["record"]["id"].as_str().unwrap().to_owned(),
        cli.read("reader.key"),
    )
}

fn configured(cli: &Cli, text: &str) -> Server {
    std::fs::write(cli.path("config.toml"), text).unwrap();
    Server::with(cli, &["--config", "config.toml"], &[])
}

#[test]
fn end_stores_uses_and_audit_events() {
    let cli = Cli::new();
    let (id, key) = with_reader(&cli);
    let server = Server::start(&cli);
    assert_eq!(server.ask(KEYS, &key), 200);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.log.contains("stopped"), "{ended:?}");
    let shown = &cli.json(["show", &id])[0];
    let used = shown["secrets"][0]["last_used_at"].as_str();
    assert!(used.is_some(), "{shown}");
    assert_eq!(shown["secrets"][0]["requests"], 1, "{shown}");
    let events = cli.json(["audit", "list", "--action", "key.used"]);
    assert!(events.iter().any(|event| event.to_string().contains(&id)), "{events:?}");
}

/// A client that still has it is locked out.
#[test]
fn old_secret_that_was_used_within_a_day_ends_after_a_question() {
    let cli = Cli::new();
    let ((used, old), (unused, other)) = (
        cli.key("used", &["--scope", "api-keys.keys:read"]),
        cli.key("unused", &[]),
    );
    let server = Server::start(&cli);
    assert_eq!(server.ask(KEYS, &old), 200);
    assert_eq!(server.stop().code, Some(0));
    for (id, new) in [(&used, "used-new.key"), (&unused, "unused-new.key")] {
        cli.ok(["rotate", id, "--out", new]);
    }
    let said = cli.run(["rotate", &unused, "--finish"]);
    assert_eq!((said.code, &*said.err, cli.passes(&other)), (0, "", false), "{said:?}");

    let said = cli.run(["rotate", &used, "--finish"]);
    assert_eq!((said.code, cli.passes(&old)), (2, true), "{said:?}");
    let shown = &cli.json(["show", &used])[0];
    let mut secrets = shown["secrets"].as_array().unwrap().iter();
    let used_at = secrets.find_map(|secret| secret["last_used_at"].as_str()).unwrap();
    let warning = format!("the old secret was used at {used_at}");
    assert!(said.err.contains(&warning) && said.err.contains("--yes"), "{said:?}");
    let said = cli.run(["rotate", &used, "--finish", "--yes"]);
    assert_eq!((said.code, cli.passes(&old)), (0, false), "{said:?}");
    assert!(said.err.contains(&warning), "{said:?}");
    assert!(cli.passes(&cli.read("used-new.key")));
}

#[test]
fn request_that_is_under_way_is_answered_at_the_end() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let key = cli.read("operator.key");
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let mut stream = server.begin("POST", "/api/v1/auth/organizations", &headers, 16);
    // It waits for the rest: a request behind it has been answered.
    assert_eq!(server.ask("/healthz", ""), 200);
    server.signal();
    wait_until("it takes no more connections", || {
        std::net::TcpStream::connect(server.address).is_err()
    });
    stream.write_all(br#"{"name": "Acme"}"#).unwrap();
    let answer = read(stream);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.stop().code, Some(0));
}

/// With a file of another database in its place.
#[test]
fn readiness_ends_with_the_file_and_health_does_not() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    assert_eq!((server.ask("/readyz", ""), server.ask("/healthz", "")), (200, 200));
    cli.ok(["init", "--database", "sqlite:other.db", "--out", "other.key"]);
    std::fs::rename(cli.path("other.db"), cli.path("api-keys.db")).unwrap();
    wait_until("it is not ready", || server.ask("/readyz", "") == 503);
    assert_eq!(server.ask("/healthz", ""), 200);
    assert!(server.log().contains("not ready"), "{}", server.log());
}

#[test]
fn readiness_ends_and_begins_with_postgres() {
    let postgres = postgres_server::Server::start();
    let cli = Cli::empty();
    let url = postgres.url();
    let mut init = cli.command(["init", "--out", "operator.key"]);
    init.env("DATABASE_URL", &url);
    let made = crate::support::said(init, "");
    assert_eq!(made.code, 0, "{made:?}");
    let server = Server::with(&cli, &[], &[("DATABASE_URL", &url)]);
    wait_until("it is ready", || server.ask("/readyz", "") == 200);
    postgres.stop_fast();
    wait_until("it is not ready", || server.ask("/readyz", "") == 503);
    assert_eq!(server.ask("/healthz", ""), 200);
    postgres.restart();
    wait_until("it is ready again", || server.ask("/readyz", "") == 200);
    // It answers late, if at all: a probe gets its answer all the same.
    postgres.pause();
    let answer = server.get("/readyz", "");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(server.ask("/healthz", ""), 200);
    postgres.resume();
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn json_log_has_an_object_on_each_line() {
    let cli = Cli::new();
    let server = Server::with(&cli, &["--log-format", "json"], &[("RUST_LOG", "debug")]);
    assert_eq!(server.ask(KEYS, &cli.read("operator.key")), 200);
    assert_eq!(server.ask(KEYS, "no \"key\""), 401);
    assert_eq!(server.ask("/readyz", ""), 200);
    let ended = server.stop();
    let lines: Vec<Value> = ended
        .log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for message in ["serving", "stopped"] {
        assert!(
            lines.iter().any(|line| line["fields"]["message"] == message),
            "{message}: {}",
            ended.log
        );
    }
    let outcomes = |outcome: &str| lines.iter().filter(|line| line["fields"]["outcome"] == outcome).count();
    assert!(outcomes("admitted") >= 1 && outcomes("refused") >= 1, "{}", ended.log);
}

/// Clients that send no bodies take all places, over all routes together. What operators ask is answered all the same.
#[test]
fn requests_over_the_limit_are_503_and_operators_are_answered() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    let server = configured(&cli, "[server]\nconcurrency = 2\nrequest_timeout = \"10m\"\n");
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    assert_eq!(server.ask(KEYS, &key), 200);
    // An answer may be read before its place is free, so one more may be needed than there are places.
    let mut held = Vec::new();
    wait_until("all places are taken", || {
        let path = [KEYS, "/api/v1/auth/organizations"][held.len() % 2];
        held.push(server.begin("POST", path, &headers, 10));
        held.len() >= 2 && server.ask("/api/v1/auth/plans", &key) == 503
    });
    let refused = server.get(KEYS, &key);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.head.contains("content-type: application/problem+json"),
        "{refused:?}"
    );
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(problem["type"], "urn:problem-type:tower-api-key:unavailable");
    assert_eq!(problem["status"], 503);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.ask(path, ""), 200, "{path}");
    }
    drop(held);
    wait_until("places are free again", || server.ask(KEYS, &key) == 200);
}

#[test]
fn request_that_takes_too_long_is_503_and_frees_its_place() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    let server = configured(&cli, "[server]\nconcurrency = 1\nrequest_timeout = \"300ms\"\n");
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let answer = read(server.begin("POST", KEYS, &headers, 10));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.head.contains("content-type: application/problem+json"),
        "{answer:?}"
    );
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["type"], "urn:problem-type:tower-api-key:timed-out");
    // On a slow machine a whole request may take longer, too.
    wait_until("the place is free", || server.ask(KEYS, &key) == 200);
}

#[test]
fn largest_body_is_that_of_the_configuration() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let body = |length: usize| format!(r#"{{"name": "{}"}}"#, "a".repeat(length));
    for (limit, length, status) in [("1KiB", 2_000, 413), ("1MiB", 100_000, 422)] {
        let server = configured(&cli, &format!("[server]\nbody_limit = \"{limit}\"\n"));
        let answer = server.request("POST", "/api/v1/auth/organizations", &headers, &body(length));
        assert_eq!(answer.status, status, "{limit}: {answer:?}");
        if status == 413 {
            assert!(answer.body.contains("at most 1024 bytes"), "{answer:?}");
        }
    }
}

/// Who never ends a request does not keep the program for good.
#[test]
fn end_waits_for_open_requests_for_a_time() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    let server = configured(&cli, "[server]\nrequest_timeout = \"10m\"\n");
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let held = server.begin("POST", KEYS, &headers, 10);
    assert_eq!(server.ask("/healthz", ""), 200);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.log.contains("requests are still open"), "{ended:?}");
    assert!(ended.after > Duration::from_secs(20), "{ended:?}");
    drop(held);
}
