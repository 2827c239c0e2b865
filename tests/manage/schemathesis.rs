//! Requests that Schemathesis makes from the document: what it allows and what it does not, with a key of each kind.
//!
//! `scripts/test clients` installs it and runs these tests.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use tower_api_key::IssuedKey;
use tower_api_key::key::Role;

use crate::support::{ALL, READ, Served, Store};

/// What it should know: a status that is right for data that only looks right, and checks that do not fit.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manage/schemathesis.toml");

async fn run(api: &Served, key: &IssuedKey, phases: &str) {
    let folder =
        std::env::var_os("API_KEYS_CLIENTS").expect("API_KEYS_CLIENTS is not set; run `./scripts/test clients`");
    let examples = match std::env::var("API_KEYS_TESTS").as_deref() {
        Ok("full") => "200",
        _ => "15",
    };
    api.shield(key);
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(Path::new(&folder).join("manage/bin/st"));
    command
        .args(["--config-file", SETTINGS, "run"])
        .arg(api.url("/openapi.json"))
        .args(["--url", &api.url("")])
        .args([
            "--phases",
            phases,
            "--max-examples",
            examples,
            "--seed",
            "1",
            "--generation-deterministic",
        ])
        .args(["--exclude-operation-id", "revoke_self", "--no-color"])
        .current_dir(home.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        // A key is no argument, which every user of the machine sees.
        .env("MANAGE_KEY", key.key.expose_secret())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(1200), command.output()).await;
    let output = output.expect("no end within 20 minutes").expect("cannot run it");
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        api.ask(key, Method::GET, "/keys?limit=1", Value::Null).await.status,
        200,
        "the key was stopped"
    );
    assert!(
        output.status.success() && report.contains("Operations:"),
        "{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python packages: run ./scripts/test clients"]
async fn document_holds_for_the_operator() {
    let api = Served::start(Store::Sqlite).await;
    let operator = api.operator().await;
    api.host()
        .create_role(Role::new("clerk", "orders:read".parse().unwrap()))
        .await
        .unwrap();
    let root = api.key(&operator, &format!("orders:* {ALL}")).await;
    run(&api, &root, "examples,coverage,fuzzing,stateful").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python packages: run ./scripts/test clients"]
async fn document_holds_for_an_administrator() {
    let api = Served::start(Store::Sqlite).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, &format!("orders:* {ALL}")).await;
    run(&api, &admin, "examples,coverage,fuzzing").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python packages: run ./scripts/test clients"]
async fn document_holds_for_a_reader() {
    let api = Served::start(Store::Sqlite).await;
    let acme = api.organization("acme").await;
    let reader = api.key(&acme, READ).await;
    run(&api, &reader, "examples,coverage,fuzzing").await;
}
