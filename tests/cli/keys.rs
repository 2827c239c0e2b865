//! The life of keys.

use std::io::Read;

use crate::support::Cli;

#[test]
fn key_lives_from_create_to_revoke() {
    let cli = Cli::new();
    let (id, key) = cli.key(
        "nightly export",
        &["--scope", "orders:read", "--label", "batch", "--expires-in", "90d"],
    );
    assert!(cli.passes(&key));
    let shown = &cli.json(["show", &id])[0];
    assert_eq!(shown["scopes"][0], "orders:read");
    assert_eq!(shown["created_by"], "operator:alice");
    let list = cli.ok(["list", "--label", "batch"]);
    assert!(list.contains("nightly export") && !list.contains("operator"), "{list}");

    cli.ok(["disable", &id]);
    assert!(!cli.passes(&key));
    cli.ok(["enable", &id]);
    cli.ok(["update", &id, "--name", "weekly export", "--no-expiry"]);
    let shown = &cli.json(["show", &id])[0];
    assert_eq!(
        (shown["name"].as_str(), shown["expires_at"].as_str()),
        (Some("weekly export"), None)
    );

    cli.ok(["rotate", &id, "--out", "new.key"]);
    let new = cli.read("new.key");
    assert!(new != key && cli.passes(&key) && cli.passes(&new));
    cli.ok(["revoke", &id, "--yes", "--reason", "laptop lost"]);
    assert!(!cli.passes(&key) && !cli.passes(&new));
}

#[test]
fn misspelt_scope_of_managing_keys_is_refused_with_the_known_ones() {
    let cli = Cli::new();
    for scope in ["api-keys.unknown", "api-keys.keys:raed"] {
        let said = cli.run([
            "create", "reader", "--org", "default", "--scope", scope, "--out", "a.key",
        ]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains(scope) && said.err.contains("api-keys.keys:read-own"),
            "{said:?}"
        );
        assert!(!cli.path("a.key").exists());
    }
    cli.key("reader", &["--scope", "api-keys.keys:read"]);
}

#[test]
fn several_keys_are_revoked_or_none() {
    let cli = Cli::new();
    let ((one, a), (two, b)) = (cli.key("one", &[]), cli.key("two", &[]));
    let said = cli.run(["revoke", &one, &two, "nothing", "--yes"]);
    assert_eq!((said.code, cli.passes(&a), cli.passes(&b)), (1, true, true), "{said:?}");
    cli.ok(["revoke", &one, &two, "--yes"]);
    assert!(!cli.passes(&a) && !cli.passes(&b));
}

/// As of a variable in a script that is not set, or was cut.
#[test]
fn part_of_a_lookup_names_no_key() {
    let cli = Cli::new();
    let (id, key) = cli.key("one", &[]);
    let lookup = cli.json(["show", &id])[0]["secrets"][0]["lookup"]
        .as_str()
        .unwrap()
        .to_owned();
    let part = &lookup[..11];
    for command in [
        &["show", part][..],
        &["revoke", part, "--yes"],
        &["rotate", part, "--out", "a.key"],
        &["update", part, "--name", "two"],
        &["disable", part],
    ] {
        let said = cli.run(command);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{command:?} {said:?}");
        assert!(said.err.contains("begin so"), "{said:?}");
    }
    let said = cli.run(["revoke", "", "--yes"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(cli.passes(&key));
    cli.ok(["revoke", &lookup, "--yes"]);
    assert!(!cli.passes(&key));
}

#[test]
fn other_names_do_the_same() {
    let cli = Cli::new();
    cli.ok(["auth", "create-key", "nightly", "--org", "default", "--out", "a.key"]);
    let listed = cli.json(["auth", "list-keys", "--name", "nightly"]);
    let id = listed[0]["id"].as_str().unwrap();
    cli.ok(["auth", "rotate-key", id, "--out", "b.key"]);
    assert!(cli.passes(&cli.read("b.key")));
    cli.ok(["auth", "revoke-key", id, "--yes"]);
    assert!(!cli.passes(&cli.read("b.key")));
}

#[test]
fn destruction_needs_yes_without_a_terminal() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &[]);
    for arguments in [
        vec!["revoke", &id],
        vec!["adopt"],
        vec!["migrate", "down", "--to", "0"],
        vec!["incident", &id, "--revoke"],
    ] {
        let said = cli.run(&arguments);
        assert_eq!(said.code, 2, "{arguments:?} {said:?}");
        assert!(said.err.contains("--yes"), "{said:?}");
    }
    let said = cli.run(["org", "delete", "default"]);
    assert!(
        said.code == 2 && said.err.contains("\nkeys"),
        "a line for each: {said:?}"
    );
    assert!(cli.passes(&key));
}

#[test]
fn looking_at_a_key_is_no_use_of_it() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &[]);
    let said = cli.with_input(["verify", "--ip", "198.51.100.9"], &key);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(cli.json(["show", &id])[0]["secrets"][0]["requests"], 0);
    let report = cli.ok(["incident", &id, "--json"]);
    assert!(!report.contains("198.51.100"), "{report}");
}

#[test]
fn hints_of_verify_are_of_the_text_alone() {
    let cli = Cli::new();
    cli.ok(["backup", "backup.db"]);
    let (_, unknown) = cli.key("later", &[]);
    let stored = cli.read("operator.key");
    cli.ok(["restore", "backup.db", "--yes"]);
    let hint = |text: &str| {
        let said = cli.with_input(["verify", "--json"], text);
        let hint = said.lines()[0]["about"]["hint"].as_str().map(str::to_owned);
        assert!(
            hint.as_deref().is_none_or(|hint| !hint.contains(&text[20..])),
            "{hint:?}"
        );
        hint
    };
    for key in [&stored, &unknown] {
        let length = key.len();
        let (cut, more) = (&key[..length - 1], format!("{key}x"));
        let is_so = |text: &str, said: &str| {
            let hint = hint(text).unwrap_or_default();
            assert!(hint.contains(said), "{said} {hint}");
        };
        is_so(&format!("'{key}'"), "quotes or signs");
        is_so(&format!("Authorization: Bearer \"{key}\""), "a scheme or another word");
        is_so(&format!("{}\n{}", &key[..30], &key[30..]), "spaces or line ends");
        is_so(&format!("{}\u{200b}{}", &key[..30], &key[30..]), "not seen");
        is_so(
            cut,
            &format!(
                "it has {} characters, and keys that begin so have {length}: it was cut",
                length - 1
            ),
        );
        is_so(&more, "something is behind it");
        is_so(
            &key.replacen("live", "prod", 1),
            "keys begin with one of key_live_, key_test_, and this does not",
        );
        is_so(&format!("{}-{}", &key[..30], &key[31..]), "a character that no key has");
        let other = if key.ends_with('a') { "b" } else { "a" };
        is_so(
            &format!("{}{other}", &key[..length - 1]),
            "its checksum is not of this database",
        );
    }
    assert_eq!(hint(&unknown), None, "it has the form of a key");
}

#[test]
fn seed_can_be_added_later() {
    let cli = Cli::empty();
    cli.ok(["init", "--out", "operator.key"]);
    let said = cli.run(["init", "--seed", "--out", "seed.key"]);
    assert!(said.code == 0 && said.out.contains("the seed was added"), "{said:?}");
    assert!(cli.passes(&cli.read("seed.key.test")));
}

#[test]
fn second_init_changes_nothing() {
    let cli = Cli::new();
    let before = cli.ok(["list", "--json"]);
    let said = cli.run(["init", "--seed"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("nothing of it was changed"), "{said:?}");
    assert_eq!(cli.ok(["list", "--json"]), before);
}

#[test]
fn new_keys_do_not_go_to_pipes() {
    let cli = Cli::empty();
    let said = cli.run(["init", "--seed"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert!(!cli.path("api-keys.db").exists() && !cli.path("api-keys.db.root-key").exists());

    let cli = Cli::new();
    assert_eq!(cli.run(["create", "a", "--org", "default"]).code, 2);
    assert_eq!(cli.run(["create", "a", "--org", "default", "--json"]).code, 2);
    assert_eq!(cli.json(["list", "--name", "a"]).len(), 0);
    let said = cli.run(["create", "a", "--org", "default", "--json", "--print-secret"]);
    assert!(cli.passes(said.lines()[0]["key"].as_str().unwrap()));
    // Neither file is shown where it was written.
    let said = cli.run(["list"]);
    for file in ["operator.key", "operator.key.test"] {
        assert!(!said.out.contains(&cli.read(file)));
    }
}

#[test]
fn reader_that_ends_early_is_no_failure() {
    let cli = Cli::new();
    for number in 0..3 {
        cli.key(&format!("key {number}"), &[]);
    }
    for arguments in [vec!["list", "--json"], vec!["audit", "export"], vec!["man"]] {
        let mut child = cli.command(&arguments).spawn().unwrap();
        let mut first = [0];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let mut closed = cli.command(["list", "--json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    closed.stdout(writer);
    assert_eq!(closed.status().unwrap().code(), Some(0));
}

#[test]
fn names_cannot_command_a_terminal() {
    let cli = Cli::new();
    let name = "red\u{1b}[31m\u{202e}dlo\u{9b}";
    // The issuer may refuse such names, but rows are written by others too.
    let (id, _) = cli.key("red", &[]);
    let database = rusqlite::Connection::open(cli.path("api-keys.db")).unwrap();
    let changed = database
        .execute("UPDATE api_keys_keys SET name = ?1 WHERE name = 'red'", [name])
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    for arguments in [
        vec!["list"],
        vec!["list", "--json"],
        vec!["show", &id],
        vec!["hygiene"],
        vec!["incident", &id],
    ] {
        let out = cli.run(&arguments).out;
        assert!(out.contains("red"), "{arguments:?} {out}");
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!out.contains(obeyed), "{arguments:?} {out:?}");
    }
    let listed = cli.json(["show", &id]);
    assert_eq!(listed[0]["name"], name, "JSON says what is there");
}

#[test]
fn route_of_the_management_api_is_explained() {
    let cli = Cli::new();
    let operator = cli.read("operator.key");
    let (_, reader) = cli.key("reader", &["--scope", "api-keys.keys:read"]);
    let (_, own) = cli.key("own", &["--scope", "api-keys.keys:read-own"]);
    let (_, all) = cli.key("all", &["--scope", "*"]);
    let ask = |key: &str, method: &str, path: &str| {
        let said = cli.with_input(["verify", "--json", "--method", method, "--path", path], key);
        let answer = said.lines()[0].clone();
        assert_eq!(said.code == 0, answer["valid"] == true, "{said:?}");
        answer
    };
    let answer = ask(&reader, "GET", "/api/v1/auth/keys/0190?x=1");
    assert_eq!(
        (
            &answer["valid"],
            &answer["route"]["path"],
            &answer["route"]["scopes"][0]
        ),
        (&true.into(), &"/keys/{id}".into(), &"api-keys.keys:read".into())
    );
    assert_eq!(ask(&own, "get", "/keys")["valid"], true);
    let refused = ask(&reader, "POST", "/keys/bulk");
    let step = refused["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&refused["valid"], &step["passed"]), (&false.into(), &false.into()));
    assert!(
        step["step"].as_str().unwrap().contains("asks for api-keys.keys:write"),
        "{step}"
    );
    // No wildcard covers the management API, and some routes are the operator's.
    assert_eq!(ask(&all, "GET", "/keys")["valid"], false);
    let (_, plans) = cli.key("plans", &["--scope", "api-keys.plans:write"]);
    assert_eq!(ask(&plans, "POST", "/plans")["valid"], false);
    assert_eq!(ask(&operator, "POST", "/plans")["valid"], true);
    assert_eq!(ask(&all, "POST", "/self/revoke")["valid"], true);
    let said = cli.with_input(["verify", "--method", "GET", "--path", "/orders"], &reader);
    assert!(said.code == 2 && said.err.contains("--scope"), "{said:?}");
}
