//! Backups and lost secrets, as `docs/secrets.md` says.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tower_api_key::key::Actor;
use tower_api_key::{ApiKeys, PresentedKey};

use super::File;

async fn open(file: &File) -> ApiKeys {
    let url = format!("sqlite:{}", file.path.display());
    ApiKeys::open(&url).await.unwrap()
}

async fn passes(keys: &ApiKeys, key: &str) -> bool {
    keys.authenticator()
        .check(PresentedKey::new(key.as_bytes()))
        .await
        .is_ok()
}

/// A restore takes back neither a revoke nor the end of an old secret, but the new one and a new key: the page warns of each.
#[tokio::test]
async fn restored_backup_is_of_its_time() {
    let file = File::new();
    let keys = open(&file).await;
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let revoked = keys.ensure("acme", "revoked later").await.unwrap();
    let rotated = keys.ensure("acme", "rotated later").await.unwrap();

    let backup = file.path.with_extension("backup");
    // While the service has the file open, with its newest changes in `-wal`.
    file.by_hand()
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    issuer.revoke(revoked.record.id, "laptop lost").await.unwrap();
    let second = issuer.rotate(rotated.record.id, Duration::ZERO).await.unwrap();
    let new = keys.ensure("acme", "made later").await.unwrap();
    drop((keys, issuer));

    for log in ["sqlite-wal", "sqlite-shm"] {
        let _ = fs::remove_file(file.path.with_extension(log));
    }
    fs::rename(&backup, &file.path).unwrap();
    let keys = open(&file).await;
    assert!(!passes(&keys, revoked.key.unwrap().expose_secret()).await);
    assert!(!passes(&keys, rotated.key.unwrap().expose_secret()).await);
    assert!(!passes(&keys, second.key.expose_secret()).await);
    assert!(!passes(&keys, new.key.unwrap().expose_secret()).await);
}

/// An operator types them when something is lost.
#[tokio::test]
async fn secrets_page_names_tables_that_exist() {
    let file = File::new();
    drop(open(&file).await);
    let connection = file.by_hand();
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .unwrap();
    let tables: BTreeSet<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let page = include_str!("../../../docs/secrets.md");
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut named = 0;
    for word in page.split(|c| !is_part(c)) {
        if word.starts_with("api_keys_") || word == "server_secrets" {
            // Without what it begins with in SQLite, it is PostgreSQL's.
            let is_there = tables.contains(word) || tables.contains(&format!("api_keys_{word}"));
            assert!(is_there, "docs/secrets.md names {word}");
            named += 1;
        }
    }
    assert!(named >= 3, "{named}");
    let (_, query) = page.split_once("\"SELECT").unwrap();
    let query = format!("SELECT{}", query.split('"').next().unwrap());
    assert!(connection.prepare(&query).is_ok(), "{query}");
}
