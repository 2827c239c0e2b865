//! Commands on PostgreSQL.

mod copies;
mod doctor;
mod mistakes;
mod outages;

use std::time::{Duration, Instant};

use crate::postgres_server::{psql, schema_name, shared};
use crate::server::Server;
use crate::support::{Cli, said};

/// An empty database and its owner, who may make roles: the URL.
fn database() -> String {
    let name = schema_name();
    psql(&shared(), &format!("CREATE ROLE {name} LOGIN CREATEROLE"));
    psql(&shared(), &format!("CREATE DATABASE {name} OWNER {name}"));
    of_user(&of_database(&shared(), &name), &name)
}

/// The URL of another database of the server.
fn of_database(url: &str, name: &str) -> String {
    format!("{}/{name}", url.rsplit_once('/').unwrap().0)
}

fn of_user(url: &str, user: &str) -> String {
    let (_, host) = url.split_once('@').unwrap();
    format!("postgres://{user}@{host}")
}

/// A folder for an empty database, with an operator and an organization `default` with a key in it.
fn begun() -> Cli {
    let cli = Cli::of(&database());
    cli.ok(["init", "--seed", "--out", "operator.key"]);
    cli
}

#[test]
fn keys_live_from_init_to_revoke() {
    let cli = begun();
    assert!(cli.path("api-keys.root-key").exists());
    let again = cli.run(["init", "--seed"]);
    assert!(
        again.code == 0 && again.out.contains("nothing of it was changed"),
        "{again:?}"
    );
    let (id, key) = cli.key("nightly", &["--scope", "orders:read", "--label", "batch"]);
    assert!(cli.passes(&key) && cli.passes(&cli.read("operator.key")));
    assert!(cli.ok(["list", "--label", "batch"]).contains("nightly"));
    cli.ok(["update", &id, "--name", "weekly", "--network", "192.0.2.0/24"]);
    assert!(!cli.passes(&key));
    assert_eq!(cli.with_input(["verify", "--ip", "192.0.2.7"], &key).code, 0);
    cli.ok(["disable", &id]);
    cli.ok(["enable", &id]);
    cli.ok(["rotate", &id, "--out", "new.key"]);
    assert_eq!(
        cli.with_input(["verify", "--ip", "192.0.2.7"], &cli.read("new.key"))
            .code,
        0
    );
    cli.ok(["rotate", &id, "--finish"]);
    cli.ok(["revoke", &id, "--reason", "laptop lost", "--yes"]);
    assert_eq!(cli.json(["show", &id])[0]["status"], "revoked");
    let report = &cli.json(["incident", &id])[0];
    assert_eq!(report["key"]["revocation"]["reason"], "laptop lost");
    assert_eq!(report["uses"]["requests"], 0, "verify is no use: {report:#}");
    let used = cli.key("used", &["--scope", "api-keys.keys:read-own"]);
    let server = Server::start(&cli);
    assert_eq!(server.ask("/api/v1/auth/keys", &used.1), 200);
    assert_eq!(server.stop().code, Some(0));
    let report = &cli.json(["incident", &used.0])[0];
    assert_eq!(report["uses"]["requests"], 1, "{report:#}");
    let said = cli.run(["hygiene", "--org", "default", "--json"]);
    assert_eq!((said.code, &said.lines()[0]["name"]), (1, &"test".into()), "{said:?}");
}

#[test]
fn rows_trail_and_maintenance() {
    let cli = begun();
    cli.ok(["org", "create", "Acme", "--email", "it@acme.example", "--max-keys", "5"]);
    cli.ok(["plan", "create", "basic", "--key-limit", "requests=10/1m"]);
    cli.ok(["org", "plan", "acme", "basic"]);
    cli.ok(["org", "policy", "acme", "--longest-life", "30d"]);
    cli.ok(["user", "create", "42", "--org", "acme", "--name", "Alice"]);
    cli.ok(["scope", "create", "orders:read"]);
    cli.ok(["role", "create", "reader", "--scope", "orders:read"]);
    let arguments = [
        "create",
        "hers",
        "--org",
        "acme",
        "--user",
        "42",
        "--role",
        "reader",
        "--expires-in",
        "9d",
        "--out",
        "hers.key",
    ];
    cli.ok(arguments);
    let key = cli.read("hers.key");
    assert_eq!(cli.with_input(["verify", "--scope", "orders:read"], &key).code, 0);
    for (list, text) in [
        (vec!["org", "list"], "acme"),
        (vec!["plan", "list"], "basic"),
        (vec!["user", "list", "--org", "acme"], "Alice"),
        (vec!["role", "list"], "reader"),
        (vec!["scope", "list"], "orders:read"),
    ] {
        assert!(cli.ok(&list).contains(text), "{list:?}");
    }
    cli.ok(["bulk", "disable", "--user", "42", "--org", "acme", "--yes"]);
    assert!(!cli.passes(&key));
    assert_eq!(cli.json(["stats", "--org", "acme"])[0]["disabled"], 1);
    cli.ok(["audit", "anchor", "anchors"]);
    assert_eq!(cli.json(["audit", "verify", "--anchor", "anchors"])[0]["whole"], true);
    assert!(
        cli.ok(["audit", "export", "--org", "acme"])
            .contains("organization.created")
    );
    assert!(
        cli.ok(["audit", "list", "--action", "plan.created"])
            .contains("plan.created")
    );
    let tasks = cli.json(["maintain", "--once"])[0]["tasks"].clone();
    assert!(
        tasks.as_array().unwrap().iter().all(|task| task["outcome"] == "done"),
        "{tasks}"
    );
    cli.ok(["org", "delete", "acme", "--yes"]);
    cli.ok(["adopt", "--forget-persons", "--yes"]);
    assert!(!cli.passes(&cli.read("operator.key")));
    cli.ok(["init", "--out", "second.key"]);
    assert!(cli.passes(&cli.read("second.key")));
    for (command, program) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let said = cli.run([command, "backup.db"]);
        assert!(said.code == 2 && said.err.contains(program), "{said:?}");
    }
}

#[test]
fn schema_goes_up_and_down() {
    let cli = Cli::of(&database());
    let said = cli.run(["migrate", "status", "--json"]);
    let newest = said.lines()[0]["newest"].as_u64().unwrap();
    assert_eq!((said.code, &said.lines()[0]["version"]), (1, &0.into()), "{said:?}");
    let up = cli.json(["migrate", "up"])[0].clone();
    assert_eq!((&up["before"], up["version"].as_u64()), (&0.into(), Some(newest)));
    cli.ok(["init", "--out", "operator.key"]);
    cli.ok(["migrate", "down", "--to", "1", "--yes"]);
    assert_eq!(cli.run(["migrate", "status"]).code, 1);
    cli.ok(["migrate", "up"]);
    assert!(cli.passes(&cli.read("operator.key")));
    assert_eq!(cli.run(["migrate", "down", "--to", "0"]).code, 2, "nobody to ask");
    cli.ok(["migrate", "down", "--to", "0", "--yes"]);
    assert_eq!(cli.run(["migrate", "status", "--json"]).lines()[0]["version"], 0);
}

/// The schema of the configuration, for each command that does not only open the database.
#[test]
fn schema_of_the_configuration_is_the_one() {
    let (url, schema) = (database(), schema_name());
    let cli = Cli::empty();
    let text = format!("[database]\nurl = \"{url}\"\nschema = \"{schema}\"\n");
    std::fs::write(cli.path("config.toml"), text).unwrap();
    std::fs::set_permissions(
        cli.path("config.toml"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let with = |arguments: &[&str]| cli.run(arguments.iter().chain(&["--config", "config.toml"]));
    assert_eq!(with(&["init", "--out", "operator.key"]).code, 0);
    assert_eq!(with(&["migrate", "status"]).code, 0);
    assert_eq!(with(&["doctor"]).code, 0);
    assert_eq!(with(&["migrate", "down", "--to", "0", "--yes"]).code, 0);
    assert_eq!(with(&["migrate", "status"]).code, 1);
    let schemas = format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'api_keys' OR nspname = '{schema}'");
    assert_eq!(psql(&url, &schemas), "1");
}

/// Another folder has no root key, and another one would seal what processes read without it.
#[test]
fn second_init_makes_no_root_key() {
    let url = database();
    let (first, second) = (Cli::of(&url), Cli::of(&url));
    first.ok(["init", "--out", "operator.key"]);
    let said = second.run(["init"]);
    assert_ne!(said.code, 0, "its secrets do not open: {said:?}");
    assert!(!second.path("api-keys.root-key").exists());
    assert!(first.passes(&first.read("operator.key")));
}

#[test]
fn revoke_beside_a_server_is_seen_in_time() {
    let cli = begun();
    let server = Server::start(&cli);
    let path = "/api/v1/auth/keys";
    let scope = "api-keys.keys:read";
    cli.ok([
        "create",
        "reader",
        "--org",
        "operator",
        "--scope",
        scope,
        "--out",
        "reader.key",
    ]);
    let key = cli.read("reader.key");
    assert_eq!(server.ask(path, &key), 200);
    let id = cli.json(["list", "--name", "reader"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let url = format!("http://{}/api/v1/auth", server.address);
    let mut there = cli.command(["show", &id, "--server", &url]);
    there.env("API_KEYS_TOKEN_FILE", cli.path("reader.key"));
    assert_eq!(said(there, "").code, 0);
    cli.ok(["revoke", &id, "--yes"]);
    let revoked = Instant::now();
    while server.ask(path, &key) != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(6), "it still passes");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.ask("/readyz", ""), 200);
}
