//! Copies between SQLite and PostgreSQL.

use super::{begun, database};
use crate::support::{Cli, said};

#[test]
fn copy_goes_to_postgres_and_back() {
    let cli = Cli::new();
    let (id, key) = cli.key("nightly", &["--scope", "orders:read"]);
    let (revoked, ended) = cli.key("revoked", &[]);
    cli.ok(["revoke", &revoked, "--yes"]);
    cli.ok(["audit", "anchor", "anchors"]);
    let url = database();
    let mut copy = cli.command(["copy", "sqlite:api-keys.db", "env:TO", "--json"]);
    copy.env("TO", &url);
    let copied = said(copy, "");
    assert_eq!(copied.code, 0, "{copied:?}");
    assert_eq!(copied.lines()[0]["rows"]["keys"], 4);

    let there = |arguments: &[&str], input: &str| {
        let mut command = cli.command(arguments);
        command
            .env("DATABASE_URL", &url)
            .env("API_KEYS_ROOT_KEY_FILE", cli.path("api-keys.db.root-key"));
        said(command, input)
    };
    assert_eq!(there(&["verify", "--scope", "orders:read"], &key).code, 0);
    assert_eq!(there(&["verify"], &ended).code, 1);
    assert_eq!(there(&["audit", "verify", "--anchor", "anchors"], "").code, 0);
    assert_eq!(there(&["update", &id, "--name", "weekly"], "").code, 0);

    std::fs::write(cli.path("from"), format!("{url}\n")).unwrap();
    cli.ok(["copy", "file:from", "sqlite:back.db"]);
    let back = [
        "--database",
        "sqlite:back.db",
        "--root-key-file",
        "api-keys.db.root-key",
    ];
    let shown = cli.json(["show", &id].iter().chain(&back));
    assert_eq!(shown[0]["name"], "weekly");
    assert_eq!(cli.with_input(["verify"].iter().chain(&back), &key).code, 0);
    assert_eq!(cli.with_input(["verify"].iter().chain(&back), &ended).code, 1);
    cli.ok(["audit", "verify"].iter().chain(&back));
}

#[test]
fn copy_over_a_database_with_keys_is_refused() {
    let (cli, full) = (Cli::new(), begun());
    let before = full.ok(["list", "--json"]);
    let mut copy = cli.command(["copy", "sqlite:api-keys.db", "env:TO"]);
    copy.env("TO", full.url());
    let refused = said(copy, "");
    assert!(refused.code == 1 || refused.code == 2, "{refused:?}");
    assert_eq!(refused.err.lines().count(), 1, "{refused:?}");
    assert_eq!(full.ok(["list", "--json"]), before);
}
