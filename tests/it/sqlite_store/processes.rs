//! Other processes: one that is killed, and many that open a new file at once.
//!
//! Each runs this test program with one ignored test; an environment variable holds the path of the file.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::rows::Rows as _;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId};
use tower_api_key::store::SqliteStore;
use tower_api_key::{ApiKeys, IssueErrorKind, Issuer, PresentedKey, RejectionKind};

use super::{File, insert, new_key, organization};

pub(super) const ROLE: &str = "SQLITE_STORE_TEST_FILE";

pub(super) fn play(role: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", role, "--nocapture"])
        .env(ROLE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn writer_until_killed() {
    let Ok(path) = env::var(ROLE) else { return };
    let store = SqliteStore::open(path).await.unwrap();
    let organization = organization(&store).await;
    loop {
        let key = new_key(&organization);
        insert(&store, &key).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "inserted {}", key.record.id).unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn killed_process_loses_no_returned_commit() {
    let file = File::new();
    let mut writer = play("sqlite_store::processes::writer_until_killed", &file.path);
    let mut inserted: Vec<KeyId> = Vec::new();
    let mut killed = false;
    for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
        // The last line may be cut in the middle.
        let Some(id) = line.unwrap().strip_prefix("inserted ").and_then(|id| id.parse().ok()) else {
            continue;
        };
        inserted.push(id);
        if inserted.len() >= 100 && !killed {
            writer.kill().unwrap();
            killed = true;
        }
    }
    writer.wait().unwrap();
    assert!(inserted.len() >= 100);
    let store = file.open().await;
    for id in inserted {
        assert!(store.key(id).await.unwrap().is_some(), "{id} is gone");
    }
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn opener() {
    let Ok(path) = env::var(ROLE) else { return };
    let store = SqliteStore::open(path).await.unwrap();
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();
}

#[test]
fn processes_that_open_a_new_file_do_not_race() {
    for _ in 0..5 {
        let file = File::new();
        let openers: Vec<Child> = (0..8)
            .map(|_| play("sqlite_store::processes::opener", &file.path))
            .collect();
        for opener in openers {
            let output = opener.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        let count = file
            .by_hand()
            .query_row("SELECT count(*) FROM api_keys_keys", [], |row| row.get(0));
        assert_eq!(count, Ok(8));
        let steps = file.by_hand().query_row(
            "SELECT count(*), max(version) FROM api_keys_schema_migrations",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        );
        assert!(steps.is_ok_and(|(count, last)| count == last));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_that_open_a_new_file_do_not_race() {
    let file = File::new();
    let openers: Vec<_> = (0..16)
        .map(|_| tokio::spawn(SqliteStore::open(file.path.clone())))
        .collect();
    for opener in openers {
        let store = opener.await.unwrap().unwrap();
        insert(&store, &new_key(&organization(&store).await)).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn maker_of_a_first_key() {
    let Ok(path) = env::var(ROLE) else { return };
    let store = SqliteStore::open(path).await.unwrap();
    let keys = ApiKeys::builder(store)
        .hash_policy(HashPolicy::sha256())
        .open()
        .await
        .unwrap();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let ensured = keys.ensure("Acme Inc.", "first").await.unwrap();
    println!("found {}", ensured.record.id);
    if let Some(key) = ensured.key {
        println!("made {}", key.expose_secret());
    }
}

#[tokio::test]
async fn processes_that_ensure_at_once_make_one_key() {
    for round in 0..4 {
        let file = File::new();
        if round % 2 == 0 {
            let issuer = Issuer::new(file.open().await).unwrap();
            issuer.create_organization("Acme Inc.").await.unwrap();
        }
        let mut makers: Vec<Child> = (0..6)
            .map(|_| play("sqlite_store::processes::maker_of_a_first_key", &file.path))
            .collect();
        let mut outputs: Vec<_> = makers
            .iter_mut()
            .map(|maker| BufReader::new(maker.stdout.take().unwrap()).lines())
            .collect();
        for output in &mut outputs {
            assert!(output.any(|line| line.unwrap().ends_with("ready")));
        }
        for maker in &mut makers {
            writeln!(maker.stdin.take().unwrap()).unwrap();
        }
        let (mut found, mut made) = (Vec::new(), Vec::new());
        for line in outputs.into_iter().flatten() {
            match line.unwrap().split_once(' ') {
                Some(("found", id)) => found.push(id.parse::<KeyId>().unwrap()),
                Some(("made", key)) => made.push(key.to_owned()),
                _ => {}
            }
        }
        for maker in &mut makers {
            assert!(maker.wait().unwrap().success());
        }
        found.dedup();
        assert_eq!((found.len(), made.len()), (1, 1));
        listed_and_revoked(&file, found[0], &made[0]).await;
    }
}

/// In a process that was told no id.
async fn listed_and_revoked(file: &File, id: KeyId, key: &str) {
    let keys = ApiKeys::builder(file.open().await).open().await.unwrap();
    let authenticator = keys.authenticator();
    let presented = || PresentedKey::new(key.as_bytes());
    authenticator.check(presented()).await.unwrap();
    let issuer = keys.issuer().acting_as(Actor::operator("root"));
    let acme = issuer.organization_by_slug("acme-inc").await.unwrap().unwrap();
    let listed = issuer.keys(acme.id).await.unwrap().items;
    assert_eq!(listed.iter().map(|key| key.record.id).collect::<Vec<_>>(), [id]);
    issuer.revoke(id, "the end").await.unwrap();
    let refused = authenticator.check(presented()).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::KeyRevoked);
    assert_eq!(
        issuer.ensure("Acme Inc.", "first").await.unwrap_err().kind(),
        IssueErrorKind::Revoked
    );
}
