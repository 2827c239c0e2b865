//! A server beside the command line.

use std::time::{Duration, Instant};

use crate::server::Server;
use crate::support::Cli;

#[test]
fn revoke_beside_a_server_holds_within_a_second() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let keys = "/api/v1/auth/keys";
    let (id, key) = cli.key("reader", &["--scope", "api-keys.keys:read"]);
    assert_eq!(server.ask(keys, &key), 200);
    cli.ok(["revoke", &id, "--yes"]);
    let revoked = Instant::now();
    while server.ask(keys, &key) != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(1), "it still passes");
    }
    assert_eq!(server.ask("/healthz", ""), 200);
    assert_eq!(server.ask("/readyz", ""), 200);
    assert_eq!(server.ask("/metrics", ""), 200);
}

/// The server's layer knows it a moment later than the database, by which each request is judged.
#[test]
fn key_that_ends_beside_a_server_is_401_and_never_403() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let keys = "/api/v1/auth/keys";
    for stop in ["revoke", "disable"] {
        let (id, key) = cli.key(stop, &["--scope", "api-keys.keys:read"]);
        assert_eq!(server.ask(keys, &key), 200);
        let mut stopping = cli.command([stop, &id, "--yes"]).spawn().unwrap();
        let began = Instant::now();
        let refused = loop {
            let answer = server.get(keys, &key);
            if answer.status != 200 {
                break answer;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it still passes");
        };
        assert!(stopping.wait().unwrap().success());
        // As the layer's own.
        assert_eq!(refused.status, 401, "{refused:?}");
        assert!(refused.head.contains("www-authenticate: bearer"), "{refused:?}");
        assert!(refused.body.contains("The API key is not valid."), "{refused:?}");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            assert_eq!(server.ask(keys, &key), 401);
        }
    }
    let log = server.log();
    assert!(
        log.contains("revoked_key_used") && log.contains("disabled_key_used"),
        "{log}"
    );
}

#[test]
fn commands_work_over_the_server_as_on_the_database() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let url = server.url();
    let run = |arguments: &[&str]| {
        let mut command = cli.command(arguments);
        command
            .args(["--server", &url])
            .env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        crate::support::said(command, "")
    };
    let said = run(&["create", "far", "--org", "default", "--out", "far.key", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(cli.passes(&cli.read("far.key")));
    let id = said.lines()[0]["record"]["id"].as_str().unwrap().to_owned();
    assert_eq!(run(&["revoke", &id, "--yes"]).code, 0);
    assert!(!cli.passes(&cli.read("far.key")));
    cli.key("reader", &["--scope", "api-keys.keys:read"]);
    let mut command = cli.command(["create", "more", "--out", "more.key", "--server", &url]);
    command.env("API_KEYS_TOKEN_FILE", cli.path("reader.key"));
    let said = crate::support::said(command, "");
    assert!(
        said.code == 1 && said.err.contains("It is api-keys.keys:write"),
        "{said:?}"
    );
    // Restoring beside a server would bring its file to an end.
    cli.ok(["backup", "backup.db"]);
    let said = cli.run(["restore", "backup.db", "--yes"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err
            .contains("another process has the file open, and this needs it alone"),
        "{said:?}"
    );
    assert_eq!(server.ask("/readyz", ""), 200);
}

#[test]
fn second_server_on_a_port_says_so() {
    let cli = Cli::new();
    let server = Server::start(&cli);
    let said = cli.run(["serve", "--listen", &server.address.to_string()]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains(&format!("{} cannot be listened on", server.address)),
        "{said:?}"
    );
}

/// It would accept connections, and answer none of them, for as long as the database takes.
#[test]
fn port_is_taken_once_the_database_is_open() {
    let cli = Cli::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // Of two mistakes, that of the database is found first.
    let said = cli.run(["serve", "--listen", &address, "--database", "sqlite:missing.db"]);
    assert!(said.code == 2 && said.err.contains("there is no database"), "{said:?}");
    let said = cli.run(["serve", "--listen", &address]);
    assert!(said.code == 2 && said.err.contains("cannot be listened on"), "{said:?}");
}
