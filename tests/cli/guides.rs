//! The guides of `docs/`: their examples run as they stand, and what they say of the program is what it does.

use std::path::Path;

use serde_json::Value;

use crate::examples::run;
use crate::support::{Cli, said};

const GUIDES: [&str; 4] = [
    "authentication.md",
    "best-practice.md",
    "troubleshooting.md",
    "migration.md",
];

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// curl, Python and JavaScript: a key is made, used, refused, changed, rotated and revoked.
#[test]
fn clients_of_the_guide_run() {
    let page = page("authentication.md");
    for language in [
        "```console\n$ curl",
        "```python\n# client.py",
        "```javascript\n// client.mjs",
    ] {
        assert!(page.contains(language), "{language}");
    }
    let (_, said) = run(&page, include_str!("authentication.sh"));
    assert!(said.out.contains("\"name\":\"app\""), "{said:?}");
    for language in ["Python", "JavaScript"] {
        assert!(
            said.out.contains(&format!("{language}: all answers are handled\n")),
            "{said:?}"
        );
    }
}

#[test]
fn best_practice_runs() {
    let (cli, _) = run(&page("best-practice.md"), "");
    let report = cli.read("report.key");
    assert!(cli.passes(&report), "the pipe made no key: {report:?}");
    assert!(!cli.passes(&cli.read("export-2.key")), "a leaked key passes");
}

#[test]
fn symptoms_are_as_shown() {
    run(&page("troubleshooting.md"), include_str!("troubleshooting.sh"));
}

#[test]
fn settings_of_a_move_run() {
    run(&page("migration.md"), "");
}

/// Each step of `verify` has a row, and those that can be made here end with the reason that the row has.
#[test]
fn every_step_of_verify_is_explained() {
    let cli = Cli::new();
    let (revoked, disabled) = (cli.key("revoked", &[]).0, cli.key("disabled", &[]).0);
    cli.ok(["revoke", &revoked, "--yes"]);
    cli.ok(["disable", &disabled]);
    let rotated = cli.key("rotated", &[]).0;
    cli.ok(["rotate", &rotated, "--grace", "0s", "--out", "second.key"]);
    let forged = cli.key("forged", &[]).1;
    let database = rusqlite::Connection::open(cli.path("api-keys.db")).unwrap();
    let sql = "UPDATE api_keys_key_secrets SET hash = (SELECT hash FROM api_keys_key_secrets WHERE lookup <> ?1 LIMIT 1) WHERE lookup = ?1";
    let lookup = &forged.rsplit('_').next().unwrap()[..12];
    assert_eq!(database.execute(sql, [lookup]).unwrap(), 1);
    drop(database);
    cli.key("canary", &["--canary"]);
    cli.key("expired", &["--expires-in", "1s"]);
    while cli.passes(&cli.read("expired.key")) {}
    cli.key("bound", &["--network", "192.0.2.0/24"]);
    cli.ok(["org", "create", "Late"]);
    cli.ok(["create", "unpaid", "--org", "late", "--out", "unpaid.key"]);
    cli.ok(["org", "deactivate", "late", "--reason", "unpaid"]);
    cli.ok(["user", "create", "42", "--org", "default"]);
    cli.key("left", &["--user", "42"]);
    cli.ok(["user", "disable", "42", "--org", "default"]);
    std::fs::write(cli.path("cut.key"), &forged[..20]).unwrap();

    let page = page("troubleshooting.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let row_of = |step: &str| {
        rows.iter()
            .find(|row| row[0] == step)
            .unwrap_or_else(|| panic!("no row: {step}"))
    };
    for (key, options) in [
        ("cut", ""),
        ("rotated", ""),
        ("forged", ""),
        ("canary", ""),
        ("revoked", ""),
        ("disabled", ""),
        ("expired", ""),
        ("unpaid", ""),
        ("left", ""),
        ("bound", "--environment test"),
        ("bound", "--ip 203.0.113.1"),
        ("bound", "--ip 192.0.2.7 --scope orders:read"),
    ] {
        let command = cli.command(["verify", "--json"].into_iter().chain(options.split_whitespace()));
        let answer: Value = said(command, &cli.read(&format!("{key}.key"))).lines().remove(0);
        let steps = answer["steps"].as_array().unwrap();
        let failed = steps
            .iter()
            .find(|step| step["passed"] == false)
            .unwrap_or_else(|| panic!("{answer}"));
        let row = row_of(failed["step"].as_str().unwrap());
        assert_eq!(
            row[1],
            format!("`{}`", answer["about"]["reason"].as_str().unwrap()),
            "{answer}"
        );
        for step in steps {
            row_of(step["step"].as_str().unwrap());
        }
    }
}

#[test]
fn list_of_operations_leads_to_each_guide() {
    let operations = page("operations.md");
    for guide in GUIDES {
        assert!(operations.contains(&format!("]: {guide}\n")), "{guide}");
    }
}
