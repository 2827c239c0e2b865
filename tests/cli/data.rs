//! The database: its trail, copies, backups, schema, and what is wrong with it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::Cli;

fn by_hand(cli: &Cli, sql: &str) -> usize {
    let database = rusqlite::Connection::open(cli.path("api-keys.db")).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    database.execute(sql, []).unwrap()
}

#[test]
fn trail_is_verified_anchored_and_exported() {
    let cli = Cli::new();
    let anchored = &cli.json(["audit", "anchor", "anchors"])[0];
    assert_eq!(anchored["moved"], anchored["chains"]);
    let verified = &cli.json(["audit", "verify", "--anchor", "anchors"])[0];
    assert_eq!(
        (&verified["whole"], &verified["anchors"]),
        (&true.into(), &anchored["chains"])
    );
    let lines = cli.ok(["audit", "export", "--org", "default"]);
    let actions: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["action"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(actions.contains(&"key.issued".to_owned()), "{actions:?}");
    assert!(
        cli.ok(["audit", "export", "--format", "csv"])
            .lines()
            .next()
            .unwrap()
            .contains("action")
    );

    assert_eq!(
        by_hand(
            &cli,
            "UPDATE api_keys_audit_events SET action = 'key.updated' WHERE action = 'key.issued'"
        ),
        2
    );
    let said = cli.run(["audit", "verify", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.lines()[0]["problems"].as_array().unwrap().len(), 2, "{said:?}");
    by_hand(
        &cli,
        "UPDATE api_keys_audit_events SET action = 'key.issued' WHERE action = 'key.updated'",
    );
    cli.ok(["audit", "verify", "--anchor", "anchors"]);
    // Of a chain that is gone only anchors know.
    let of = "WHERE organization_id = (SELECT id FROM api_keys_organizations WHERE slug = 'default')";
    by_hand(&cli, &format!("DELETE FROM api_keys_audit_events {of}"));
    by_hand(&cli, &format!("DELETE FROM api_keys_organization_state {of}"));
    cli.ok(["audit", "verify"]);
    assert_eq!(cli.run(["audit", "verify", "--anchor", "anchors"]).code, 1);
}

#[test]
fn restored_backup_does_not_bring_revoked_keys_back() {
    let cli = Cli::new();
    let ((revoked, key), (_, kept)) = (cli.key("revoked later", &[]), cli.key("kept", &[]));
    cli.ok(["backup", "backup.db"]);
    cli.ok(["revoke", &revoked, "--yes"]);
    let (_, newer) = cli.key("issued later", &[]);
    let restored = &cli.json(["restore", "backup.db", "--yes"])[0];
    assert_eq!((&restored["keys"], &restored["revoked"]), (&4.into(), &1.into()));
    assert!(!cli.passes(&key) && cli.passes(&kept) && !cli.passes(&newer));
    cli.ok(["audit", "verify"]);
}

#[test]
fn only_a_whole_backup_is_put_in_place() {
    let cli = Cli::new();
    cli.ok(["backup", "backup.db"]);
    let before = cli.ok(["list"]);
    std::fs::write(cli.path("text"), "no database").unwrap();
    let mut bytes = std::fs::read(cli.path("backup.db")).unwrap();
    // The pages behind the first.
    bytes[4_096..40_000].fill(7);
    std::fs::write(cli.path("damaged.db"), bytes).unwrap();
    rusqlite::Connection::open(cli.path("others.db"))
        .unwrap()
        .execute_batch("CREATE TABLE others (a INTEGER)")
        .unwrap();
    for wrong in ["text", "damaged.db", "others.db", "missing.db"] {
        let said = cli.run(["restore", wrong, "--yes"]);
        assert_eq!(said.code, 2, "{wrong} {said:?}");
        assert!(said.err.contains(wrong), "{said:?}");
        assert_eq!(cli.ok(["list"]), before);
    }
    let left = cli.path("").read_dir().unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("restoring")
    });
    assert_eq!(left.count(), 0);
}

/// Opening one waits for a writer, and none comes.
#[test]
#[cfg(unix)]
fn pipe_is_no_backup_and_no_database() {
    let cli = Cli::new();
    cli.ok(["backup", "backup.db"]);
    let made = Command::new("mkfifo").arg(cli.path("pipe")).status();
    assert!(made.unwrap().success());
    for arguments in [
        &["restore", "pipe", "--yes"][..],
        &["restore", ".", "--yes"],
        &["restore", "backup.db", "--yes", "--database", "sqlite:pipe"],
        &["list", "--database", "sqlite:pipe"],
    ] {
        let mut child = cli.command(arguments).spawn().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(30) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {said}");
        assert!(
            said.contains("must be a file, and is a folder, a pipe or a device"),
            "{arguments:?} {said}"
        );
    }
    let pipe = std::fs::symlink_metadata(cli.path("pipe")).unwrap();
    assert!(!pipe.is_file(), "it was replaced");
}

/// What `cp` copies is the whole database then.
#[test]
fn program_that_ends_leaves_one_file() {
    let cli = Cli::empty();
    let only = |after: &str| {
        for ending in ["-wal", "-shm"] {
            let name = format!("api-keys.db{ending}");
            assert!(!cli.path(&name).exists(), "{name} after {after}");
        }
    };
    cli.ok(["init", "--seed", "--out", "operator.key"]);
    only("init");
    let (id, key) = cli.key("nightly", &[]);
    only("create");
    assert!(cli.passes(&key));
    only("verify");
    assert_eq!(cli.run(["show", "nothing"]).code, 1);
    only("a command that was refused");
    cli.ok(["audit", "export"]);
    cli.ok(["backup", "backup.db"]);
    cli.ok(["copy", "sqlite:api-keys.db", "sqlite:copy.db"]);
    cli.ok(["revoke", &id, "--yes"]);
    cli.run(["doctor"]);
    only("others");
    assert!(!cli.path("copy.db-wal").exists());
    std::fs::copy(cli.path("api-keys.db"), cli.path("copied.db")).unwrap();
    let there = [
        "--database",
        "sqlite:copied.db",
        "--root-key-file",
        "api-keys.db.root-key",
    ];
    let shown = cli.json(["show", &id].iter().chain(&there));
    assert_eq!(shown[0]["status"], "revoked");
}

#[test]
fn copy_is_what_the_original_was() {
    let cli = Cli::new();
    let (_, key) = cli.key("nightly", &[]);
    let copied = &cli.json(["copy", "sqlite:api-keys.db", "sqlite:copy.db"])[0];
    assert_eq!(copied["rows"]["keys"], 3);
    let there = [
        "--database",
        "sqlite:copy.db",
        "--root-key-file",
        "api-keys.db.root-key",
    ];
    assert_eq!(cli.with_input(["verify"].iter().chain(&there), &key).code, 0);
    let mut command = cli.command(["copy", "env:FROM", "file:to"]);
    command.env("FROM", "sqlite:api-keys.db");
    std::fs::write(cli.path("to"), "sqlite:second.db\n").unwrap();
    assert_eq!(crate::support::said(command, "").code, 0);
    assert!(cli.path("second.db").exists());
}

#[test]
fn adopted_copy_has_no_operator_of_the_original() {
    let cli = Cli::new();
    let (_, key) = cli.key("nightly", &[]);
    let operator = cli.read("operator.key");
    cli.ok(["adopt", "--yes"]);
    assert!(!cli.passes(&operator) && cli.passes(&key));
    cli.ok([
        "adopt",
        "--revoke-all-keys",
        "--forget-persons",
        "--forget-origins",
        "--yes",
    ]);
    assert!(!cli.passes(&key));
    cli.ok(["audit", "verify"]);
    cli.ok(["init", "--out", "second.key"]);
    assert!(cli.passes(&cli.read("second.key")));
}

#[test]
fn schema_goes_down_and_up() {
    let cli = Cli::new();
    let newest = cli.json(["migrate", "status"])[0]["newest"].as_u64().unwrap();
    cli.ok(["migrate", "down", "--to", &(newest - 1).to_string(), "--yes"]);
    let said = cli.run(["migrate", "status", "--json"]);
    assert_eq!(
        (said.code, &said.lines()[0]["version"]),
        (1, &(newest - 1).into()),
        "{said:?}"
    );
    let said = cli.run(["doctor"]);
    assert!(said.code == 1 && said.out.contains("api-keys migrate up"), "{said:?}");
    let up = &cli.json(["migrate", "up"])[0];
    assert_eq!(
        (up["before"].as_u64(), up["version"].as_u64()),
        (Some(newest - 1), Some(newest))
    );
}

#[test]
fn hygiene_and_maintenance_report() {
    let cli = Cli::new();
    cli.key("with an end", &["--expires-in", "30d"]);
    let said = cli.run(["hygiene", "--org", "default", "--json"]);
    let found = said.lines();
    assert_eq!((said.code, found.len()), (1, 1), "{said:?}");
    assert_eq!(
        (&found[0]["name"], &found[0]["findings"][0]["kind"]),
        (&"test".into(), &"no-end".into())
    );
    let tasks = &cli.json(["maintain", "--once", "--anchor-file", "anchors"])[0]["tasks"];
    assert!(
        tasks.as_array().unwrap().iter().all(|task| task["outcome"] == "done"),
        "{tasks}"
    );
    assert!(cli.path("anchors").exists());
    let again = &cli.json(["maintain", "--once"])[0]["tasks"];
    assert!(
        again
            .as_array()
            .unwrap()
            .iter()
            .any(|task| task["outcome"] == "not due"),
        "{again}"
    );
}

#[test]
fn incident_names_what_a_key_made_and_revokes_it() {
    let cli = Cli::new();
    let operator = cli.json(["list", "--name", "operator"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (child, key) = cli.key("child", &[]);
    let parent = uuid_bytes(&operator);
    let database = rusqlite::Connection::open(cli.path("api-keys.db")).unwrap();
    let changed = database
        .execute(
            "UPDATE api_keys_keys SET created_by_key = ?1 WHERE name = 'child'",
            [parent],
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let report = &cli.json(["incident", &operator])[0];
    assert_eq!(report["made_with_it"][0]["id"], child.as_str());
    assert_eq!(report["events_of_it"][0]["action"], "key.issued");
    assert_eq!(
        (&report["key"]["status"], &report["is_whole"]),
        (&"active".into(), &true.into())
    );
    let report = &cli.json(["incident", &operator, "--revoke", "--yes"])[0];
    assert_eq!(report["key"]["status"], "revoked");
    assert_eq!(report["made_with_it"][0]["status"], "revoked");
    assert!(!cli.passes(&key) && !cli.passes(&cli.read("operator.key")));
}

fn uuid_bytes(id: &str) -> Vec<u8> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    (0..16)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

#[test]
fn bench_measures_and_pages_are_printed() {
    let cli = Cli::empty();
    let measured = &cli.json(["bench", "--seconds", "1"])[0];
    assert!(measured["warm_checks_per_second"].as_u64().unwrap() > 0);
    assert!(measured["hashes"].as_array().unwrap().len() > 2);
    assert!(!cli.path("api-keys.db").exists(), "it uses no database");
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli.ok(["completions", shell]).contains("api-keys"));
    }
    assert!(cli.ok(["man"]).contains(".TH"));
    assert!(cli.ok(["man", "audit", "verify"]).contains("anchor"));
}
