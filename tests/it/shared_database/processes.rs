//! Other processes: one that is killed, and many that open a new database at once.
//!
//! Each runs this test program with one ignored test; an environment variable says where the database is.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId};
use tower_api_key::{ApiKeys, IssueErrorKind, Issuer, PresentedKey, RejectionKind};

use super::{Database, insert, new_key, organization};
use crate::support::rows::Rows as _;

const ROLE: &str = "SHARED_DATABASE_TEST";

/// A process that runs this ignored test, and finds this in [`role`].
pub(crate) fn play(test: &str, address: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env(ROLE, address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the process was started with, if it is another one's.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

pub(super) fn database() -> Option<Database> {
    role().map(|address| Database::at(&address))
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn writer_until_killed() {
    let Some(database) = database() else { return };
    let store = database.open().await;
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
    for database in Database::shared() {
        let mut writer = play("shared_database::processes::writer_until_killed", &database.address());
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
        let store = database.open().await;
        for id in inserted {
            assert!(store.key(id).await.unwrap().is_some(), "{id} is gone");
        }
    }
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn opener() {
    let Some(database) = database() else { return };
    let store = database.open().await;
    insert(&store, &new_key(&organization(&store).await)).await.unwrap();
}

#[tokio::test]
async fn processes_that_open_a_new_database_do_not_race() {
    for database in (0..5).flat_map(|_| Database::shared()) {
        let openers: Vec<Child> = (0..8)
            .map(|_| play("shared_database::processes::opener", &database.address()))
            .collect();
        for opener in openers {
            let output = opener.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        let hand = database.hand().await;
        assert_eq!(hand.number("SELECT count(*) FROM api_keys_keys").await, 8);
        let steps = hand
            .rows("SELECT count(*), max(version) FROM api_keys_schema_migrations", &[])
            .await;
        assert_eq!(steps[0][0], steps[0][1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_that_open_a_new_database_do_not_race() {
    for database in Database::shared() {
        let openers: Vec<_> = (0..16)
            .map(|_| {
                let database = Database::at(&database.address());
                tokio::spawn(async move { database.open().await })
            })
            .collect();
        for opener in openers {
            let store = opener.await.unwrap();
            insert(&store, &new_key(&organization(&store).await)).await.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn maker_of_a_first_key() {
    let Some(database) = database() else { return };
    let store = database.open().await;
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
    for (round, database) in (0..4).flat_map(|round| Database::shared().map(move |database| (round, database))) {
        if round % 2 == 0 {
            let issuer = Issuer::new(database.open().await).unwrap();
            issuer.create_organization("Acme Inc.").await.unwrap();
        }
        let mut makers: Vec<Child> = (0..6)
            .map(|_| play("shared_database::processes::maker_of_a_first_key", &database.address()))
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
        listed_and_revoked(&database, found[0], &made[0]).await;
    }
}

/// In a process that was told no id.
async fn listed_and_revoked(database: &Database, id: KeyId, key: &str) {
    let keys = ApiKeys::builder(database.open().await).open().await.unwrap();
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
