//! The likeliest mistakes: one clear sentence each. `API_KEYS_BLESS=1` rewrites the file of the sentences.

use std::fmt::Write;
use std::path::Path;

use crate::support::{Cli, said};

/// What is run, and what the variable DATABASE_URL is.
const MISTAKES: &[(&str, Option<&str>)] = &[
    ("list --database keys.db", None),
    ("list --database mysql://localhost/keys", None),
    ("list --database sqlite:", None),
    ("list --database sqlite:missing.db", None),
    ("list --database postgres://alice:pa55word@localhost/keys", None),
    ("list --database postgres://alice@127.0.0.1:1/keys", None),
    ("list", Some("postgres://alice:pa55word@127.0.0.1:1/keys")),
    ("list --database sqlite:others.db", None),
    ("list --database sqlite:newer.db", None),
    ("list --database sqlite:text", None),
    ("create nightly --out a.key", None),
    ("create nightly --org missing --out a.key", None),
    ("create nightly --org default --scope orders read --out a.key", None),
    ("create nightly --org default --scope Orders:Read --out a.key", None),
    ("create nightly --org default --expires-in 90 --out a.key", None),
    ("create nightly --org default --network 10.0.0.1/33 --out a.key", None),
    ("create nightly --org default --limit 100/m --out a.key", None),
    ("create nightly --org default", None),
    ("create nightly --org default --out operator.key", None),
    ("show nothing", None),
    ("update nothing", None),
    ("list --status alive", None),
    ("serve --listen 0.0.0.0:0", None),
    ("serve --listen 8081", None),
    ("serve --listen 127.0.0.1:0 --database sqlite:missing.db", None),
    ("serve --listen 127.0.0.1:0 --database sqlite:others.db", None),
    ("serve --listen 127.0.0.1:0 --database sqlite:newer.db", None),
    (
        "serve --listen 127.0.0.1:0 --database postgres://alice@127.0.0.1:1/keys",
        None,
    ),
    ("serve --listen 127.0.0.1:0 --root-key-file text", None),
    ("serve --otlp 127.0.0.1:4318", None),
    ("serve --otlp http://alice:pa55word@127.0.0.1:4318", None),
    ("serve --otlp http://127.0.0.1:4318?token=pa55word", None),
    ("list --server http://keys.example.com/api", None),
    ("list --server keys.example.com", None),
    ("list --server http://127.0.0.1:1/api", None),
    ("copy sqlite:api-keys.db sqlite:api-keys.db", None),
    ("copy postgres://alice:pa55word@localhost/keys sqlite:new.db", None),
    ("audit verify --anchor missing", None),
    ("restore missing.db --yes", None),
    ("migrate down --to 99 --yes", None),
    ("list --root-key-file text", None),
];

#[test]
fn mistakes_are_answered_with_one_sentence() {
    let cli = Cli::new();
    std::fs::write(cli.path("text"), "no database, and no key\n").unwrap();
    let others = rusqlite::Connection::open(cli.path("others.db")).unwrap();
    others.execute_batch("CREATE TABLE others (a INTEGER)").unwrap();
    std::fs::copy(cli.path("api-keys.db"), cli.path("newer.db")).unwrap();
    std::fs::copy(cli.path("api-keys.db-wal"), cli.path("newer.db-wal")).ok();
    let newer = rusqlite::Connection::open(cli.path("newer.db")).unwrap();
    newer
        .execute_batch("UPDATE api_keys_schema_migrations SET min_program = 1000")
        .unwrap();
    drop((others, newer));

    let mut text = String::new();
    for (arguments, url) in MISTAKES {
        let mut command = cli.command(arguments.split(' '));
        if let Some(url) = url {
            command
                .env("DATABASE_URL", url)
                .env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        }
        command.env("API_KEYS_TOKEN_FILE", cli.path("operator.key"));
        let said = said(command, "");
        assert!(!said.err.contains("pa55word"), "{said:?}");
        assert!(
            !cli.path("a.key").exists(),
            "a file is left of a key that was not made: {said:?}"
        );
        let err = said
            .err
            .replace(&*cli.path("").to_string_lossy(), "$FOLDER/")
            .replace("$FOLDER//", "$FOLDER/");
        let variable = url.map_or_else(String::new, |url| format!("DATABASE_URL={url} "));
        writeln!(
            text,
            "$ {variable}api-keys {arguments}\n{}{}(exit {})\n",
            said.out, err, said.code
        )
        .unwrap();
    }
    let key = cli.read("operator.key");
    cli.ok(["init", "--database", "sqlite:another.db", "--out", "another.key"]);
    for (what, input) in [
        ("a key in quotes", format!("\"{key}\"")),
        ("a key with a space in it", format!("{} {}", &key[..20], &key[20..])),
        ("a key with a scheme", format!("Bearer {key}")),
        ("half a key", key[..20].to_owned()),
        (
            "a key of another program",
            "sk_live_51FwqftsmMDHHbJAMEXXHCgG".to_owned(),
        ),
        ("a key of another database", cli.read("another.key")),
        ("nothing", "\n".to_owned()),
    ] {
        let said = cli.with_input(["verify"], &input);
        assert!(
            !said.err.contains(&key[20..]) && !said.out.contains(&key[20..]),
            "{said:?}"
        );
        writeln!(
            text,
            "$ api-keys verify # with {what}\n{}{}(exit {})\n",
            said.out, said.err, said.code
        )
        .unwrap();
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/mistakes.txt");
    if std::env::var_os("API_KEYS_BLESS").is_some() {
        std::fs::write(&page, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&page).unwrap_or_default();
    for (expected, found) in expected.split("\n\n").zip(text.split("\n\n")) {
        assert_eq!(found, expected);
    }
    assert_eq!(text, expected);
}

/// Nobody can call them from a shell.
#[test]
fn messages_name_no_function_of_the_library() {
    let cli = Cli::new();
    cli.ok(["backup", "copied.db"]);
    std::fs::write(cli.path("copied.db-wal"), "not in the copy").unwrap();
    std::fs::write(cli.path("other.root-key"), "5a".repeat(32)).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(
        cli.path("other.root-key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    rusqlite::Connection::open(cli.path("others.db"))
        .unwrap()
        .execute_batch("CREATE TABLE others (a INTEGER)")
        .unwrap();
    for (arguments, advice) in [
        ("restore copied.db --yes", "`api-keys backup`"),
        ("list --root-key-file other.root-key", "`api-keys adopt`"),
        (
            "list --root-key-file other.root-key",
            "the file that --root-key-file or API_KEYS_ROOT_KEY_FILE names",
        ),
        (
            "list --database sqlite:others.db",
            "`beside_other_tables = true` in the configuration file",
        ),
        ("scan . --prefix acme --prefix acme", "(prefix `acme`)"),
    ] {
        let said = cli.run(arguments.split(' '));
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(advice), "{said:?}");
        assert!(!said.err.contains("::") && !said.err.contains(" { "), "{said:?}");
    }
}
