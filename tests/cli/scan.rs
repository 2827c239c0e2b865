//! Finding keys in files.

use std::os::unix::fs::symlink;

use crate::support::Cli;

#[test]
fn keys_are_found_in_trees_and_never_shown() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &[]);
    std::fs::create_dir_all(cli.path("tree/.hidden")).unwrap();
    std::fs::create_dir_all(cli.path("tree/.git/objects/aa")).unwrap();
    std::fs::write(cli.path("tree/.hidden/env"), format!("A=1\nKEY='{key}'\n")).unwrap();
    std::fs::write(cli.path("tree/.git/objects/aa/bb"), &key).unwrap();
    let mut dump = vec![0_u8; 1_000_000];
    dump.extend_from_slice(key.as_bytes());
    dump.push(0);
    std::fs::write(cli.path("tree/core"), dump).unwrap();
    symlink(cli.path("tree/core"), cli.path("tree/link")).unwrap();
    symlink(cli.path("tree"), cli.path("tree/circle")).unwrap();

    let said = cli.run(["scan", "tree"]);
    assert_eq!((said.code, said.out.lines().count()), (1, 2), "{said:?}");
    assert!(
        said.out.contains("tree/.hidden/env:2: key ") && said.out.contains("tree/core:1: key "),
        "{said:?}"
    );
    assert!(
        said.err.contains("objects of Git") && said.err.contains("2 symbolic links"),
        "{said:?}"
    );
    assert!(!said.out.contains(&key[30..]) && !said.err.contains(&key[30..]));

    cli.ok(["revoke", &id, "--yes"]);
    let found = cli.run(["scan", "tree/core", "--known", "--json"]).lines();
    assert_eq!(found[0]["key_id"], id.as_str());
    assert_eq!(
        (&found[0]["proof"], &found[0]["status"]),
        (&"known".into(), &"revoked".into())
    );
}

#[test]
fn nothing_found_is_success() {
    let cli = Cli::empty();
    std::fs::write(cli.path("text"), "key_live_ is no key").unwrap();
    assert_eq!(cli.ok(["scan", "text"]), "No keys in 1 file.\n");
    assert_eq!(cli.with_input(["scan", "-"], "nor is this").code, 0);
    let said = cli.run(["scan", "text", "missing"]);
    assert_eq!(said.code, 3, "{said:?}");
}

#[test]
fn formats_of_others_are_found_when_they_are_named() {
    let cli = Cli::empty();
    let text = "cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV";
    assert_eq!(cli.with_input(["scan", "-"], text).code, 0);
    let said = cli.with_input(["scan", "-", "--format", "cmpz"], text);
    assert_eq!((said.code, said.out.as_str()), (1, "-:1: cmpz 01234567 possible\n"));
}

/// Gigabytes go through in the memory of a moment.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_input() {
    use std::io::Write;
    let cli = Cli::empty();
    let mut command = cli.command(["scan", "-"]);
    command.stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let piece = vec![b'k'; 1 << 20];
    let resident = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap()
            .to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    for _ in 0..8 {
        stdin.write_all(&piece).unwrap();
    }
    let before = resident(child.id());
    for _ in 0..64 {
        stdin.write_all(&piece).unwrap();
    }
    let after = resident(child.id());
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(after < before + 8_192, "{before} KiB, then {after} KiB");
}

#[test]
fn rules_for_scanners_have_the_pattern_of_the_keys() {
    let cli = Cli::new();
    let key = cli.read("operator.key");
    let rules = &cli.json(["scanner-rules", "gitleaks"])[0]["rules"];
    let pattern = rules[0]["regex"].as_str().unwrap();
    assert!(regex::Regex::new(pattern).unwrap().is_match(&key));
    let gitleaks: toml::Table = cli
        .ok(["scanner-rules", "gitleaks", "--prefix", "acme"])
        .parse()
        .unwrap();
    let rule = &gitleaks["rules"][0];
    assert_eq!(rule["keywords"][0].as_str(), Some("acme_"));
    let pattern = regex::Regex::new(rule["regex"].as_str().unwrap()).unwrap();
    assert!(pattern.is_match(&key.replacen("key_", "acme_", 1)));
    for scanner in ["trufflehog", "github"] {
        assert!(cli.ok(["scanner-rules", scanner]).contains("key_(?:live|test)_"));
    }
}

#[test]
fn formats_of_the_configuration_are_found() {
    let cli = Cli::empty();
    let parts = "[database]\nurl = \"sqlite:api-keys.db\"\n[[formats]]\nprefix = \"acme\"\nenvironments = [\"prod\"]\nseparator = \".\"\n\
                 [[formats]]\npreset = \"hk\"\n[[formats]]\npreset = \"seam\"\nprefix = \"shop\"\n[[formats]]\npreset = \"raw\"\n";
    std::fs::write(cli.path("config.toml"), parts).unwrap();
    cli.ok(["init", "--config", "config.toml", "--out", "operator.key"]);
    let key = cli.read("operator.key");
    assert!(key.starts_with("acme_prod_"), "{}", &key[..12]);
    let said = cli.run(["scan", "operator.key"]);
    assert_eq!(said.code, 0, "without the configuration it is no key: {said:?}");
    let found = cli.run(["scan", "operator.key", "--config", "config.toml", "--json"]);
    assert_eq!(
        (found.code, &found.lines()[0]["proof"]),
        (1, &"possible".into()),
        "{found:?}"
    );
    assert!(found.err.contains("format `raw` were not looked for"), "{found:?}");
    let rules = &cli.json(["scanner-rules", "gitleaks", "--config", "config.toml"])[0]["rules"];
    let rules = rules.as_array().unwrap();
    assert_eq!(rules.len(), 3, "{rules:?}");
    let pattern = regex::Regex::new(rules[0]["regex"].as_str().unwrap()).unwrap();
    assert!(pattern.is_match(&key));
    // Prefixes that are named come instead.
    let named = &cli.json([
        "scanner-rules",
        "gitleaks",
        "--config",
        "config.toml",
        "--prefix",
        "other",
    ])[0]["rules"];
    assert_eq!(named.as_array().unwrap().len(), 1);
}

/// A key that is deleted has no row, and a text that looks like a key has no secret behind it.
#[test]
fn keyed_checksum_proves_a_find() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &[]);
    let (text, last) = key.split_at(key.len() - 1);
    let another = format!("{text}{}", if last == "a" { "b" } else { "a" });
    std::fs::write(cli.path("text"), format!("{key}\n{another}\n")).unwrap();
    let offline = cli.run(["scan", "text", "--json"]).lines();
    assert_eq!(offline.len(), 2, "both have the form");
    let known = cli.run(["scan", "text", "--known", "--json"]).lines();
    assert_eq!((known.len(), &known[0]["proof"]), (1, &"known".into()));
    cli.ok(["revoke", &id, "--yes"]);
    let database = rusqlite::Connection::open(cli.path("api-keys.db")).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    database
        .execute("DELETE FROM api_keys_key_secrets WHERE lookup = ?1", [&key[9..21]])
        .unwrap();
    drop(database);
    let known = cli.run(["scan", "text", "--known", "--json"]).lines();
    assert_eq!((known.len(), &known[0]["proof"]), (1, &"checksum".into()));
}
