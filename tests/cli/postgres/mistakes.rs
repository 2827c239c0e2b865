//! What goes wrong with a PostgreSQL, in one sentence and with the right exit code.

use super::{begun, database, of_database, of_user, shared};
use crate::postgres_server::{Server, psql, schema_name};
use crate::support::{Cli, Said};

/// One sentence, without a password.
#[track_caller]
fn says(said: &Said, code: i32, text: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.err.contains(text), "{text}: {said:?}");
    assert!(
        said.err.starts_with("api-keys: ") && said.err.lines().count() == 1,
        "{said:?}"
    );
    assert!(
        !said.err.contains("pa55word") && !said.out.contains("pa55word"),
        "{said:?}"
    );
}

#[test]
fn user_who_may_not_connect_or_make_a_schema() {
    let server = Server::start();
    server.psql("CREATE ROLE alice LOGIN PASSWORD 'right'");
    let rules = server.data().join("pg_hba.conf");
    std::fs::write(
        rules,
        "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    server.restart();
    let url = |user: &str| {
        server
            .url()
            .replace("postgres://postgres", &format!("postgres://{user}"))
    };
    let of = |user: &str, arguments: &[&str]| Cli::of(&url(user)).run(arguments);
    says(&of("alice:pa55word", &["list"]), 2, "password authentication failed");
    says(&of("nobody:pa55word", &["list"]), 2, "password authentication failed");
    let cli = Cli::of(&url("alice:right"));
    let said = cli.run(["init", "--out", "operator.key"]);
    says(&said, 2, "takes CREATE on the database");
    assert!(!cli.path("operator.key").exists());
    let missing = format!("{}/missing", url("alice:right").rsplit_once('/').unwrap().0);
    says(
        &Cli::of(&missing).run(["list"]),
        2,
        "database \"missing\" does not exist",
    );
}

#[test]
fn schema_that_cannot_be_used() {
    let foreign = database();
    psql(
        &foreign,
        "CREATE SCHEMA api_keys; CREATE TABLE api_keys.orders (id bigint)",
    );
    let cli = Cli::of(&foreign);
    for arguments in [
        &["init", "--out", "operator.key"][..],
        &["list"],
        &["migrate", "status"],
    ] {
        says(&cli.run(arguments), 2, "objects of another program");
    }
    assert!(!cli.path("api-keys.root-key").exists() && !cli.path("operator.key").exists());
    assert_eq!(
        psql(&foreign, "SELECT count(*) FROM pg_tables WHERE schemaname = 'api_keys'"),
        "1"
    );

    let cli = begun();
    psql(cli.url(), "UPDATE api_keys.schema_migrations SET min_program = 1000");
    for arguments in [
        &["list"][..],
        &["migrate", "up"],
        &["migrate", "down", "--to", "0", "--yes"],
    ] {
        says(&cli.run(arguments), 2, "needs a newer version");
    }
    psql(cli.url(), "UPDATE api_keys.schema_migrations SET min_program = 1");
    let stranger = schema_name();
    psql(&shared(), &format!("CREATE ROLE {stranger} LOGIN"));
    let of_stranger = Cli::of(&of_user(cli.url(), &stranger));
    for arguments in [&["list"][..], &["migrate", "status"]] {
        let said = of_stranger.run(arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("api_keys"), "{said:?}");
    }
}

#[test]
fn service_without_migrations_says_what_is_missing() {
    let url = database();
    let cli = Cli::empty();
    std::fs::write(
        cli.path("config.toml"),
        format!("[database]\nurl = \"{url}\"\nmigrations = false\n"),
    )
    .unwrap();
    let said = cli.run(["list", "--config", "config.toml"]);
    says(&said, 2, "`api-keys init` makes them");
    let init = cli.run(["init", "--config", "config.toml", "--out", "operator.key"]);
    says(&init, 2, "open it once with migrations");
}

#[test]
fn urls_that_lead_nowhere() {
    let cases = [
        (
            of_database("postgres://alice:pa55word@127.0.0.1:1/postgres", "keys"),
            3,
            "Connection refused",
        ),
        (
            "postgres://alice:pa55word@127.0.0.1:1/keys?sslmod=require".to_owned(),
            2,
            "sslmod",
        ),
        ("postgres://alice:pa55word@/keys".to_owned(), 2, ""),
        ("postgresql://alice:pa55word@127.0.0.1:99999/keys".to_owned(), 2, "port"),
    ];
    for (url, code, text) in cases {
        says(&Cli::of(&url).run(["list"]), code, text);
    }
}
