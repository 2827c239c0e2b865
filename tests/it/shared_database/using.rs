//! Processes that share a database: uses add up, and each task of maintenance is done by one of them.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId};
use tower_api_key::last_use::UseOfKey;
use tower_api_key::store::query::KeyUses;
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, PresentedKey};

use super::Database;
use super::processes::{database, play};

async fn handle(database: &Database) -> ApiKeys {
    let store = database.open().await;
    let builder = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    builder.open().await.unwrap()
}

async fn issue(keys: &ApiKeys) -> IssuedKey {
    let issuer = keys.issuer().acting_as(Actor::operator("test"));
    let acme = issuer.create_organization("acme").await.unwrap();
    issuer.issue(IssueRequest::new(acme.id, "orders")).await.unwrap()
}

async fn use_it(keys: &ApiKeys, key: &str, times: u64) {
    for _ in 0..times {
        let checked = keys.authenticator().check(PresentedKey::new(key.as_bytes())).await;
        assert!(checked.is_ok());
    }
}

async fn uses(keys: &ApiKeys, id: KeyId) -> UseOfKey {
    keys.read(KeyUses::of(id)).await.unwrap().remove(0)
}

/// Another process that does what it is told.
struct Other {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

#[tokio::test]
#[ignore = "run in another process by other tests"]
async fn other() {
    let Some(database) = database() else { return };
    let keys = handle(&database).await;
    println!("said ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let said = match line.split_once(' ').unwrap_or((&line, "")) {
            ("flush", _) => format!("{}", keys.flush().await.is_ok()),
            ("maintain", _) => {
                let report = keys.maintenance().run_once().await;
                report.done().map(|task| task.as_str()).collect::<Vec<_>>().join(" ")
            }
            ("use", key) => {
                use_it(&keys, key, 3).await;
                String::from("used")
            }
            _ => return,
        };
        println!("said {said}");
    }
}

impl Other {
    fn start(database: &Database) -> Self {
        let mut process = play("shared_database::using::other", &database.address());
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut other = Self { process, input, output };
        assert_eq!(other.says(), "ready");
        other
    }

    fn does(&mut self, what: &str) -> String {
        writeln!(self.input, "{what}").unwrap();
        self.says()
    }

    fn says(&mut self) -> String {
        for line in &mut self.output {
            if let Some((_, said)) = line.unwrap().split_once("said ") {
                return said.to_owned();
            }
        }
        panic!("the other process ended: {:?}", self.process.wait());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn uses_of_several_processes_add_up() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let issued = issue(&keys).await;
        let (id, key) = (issued.record.id, issued.key.expose_secret());
        let mut other = Other::start(&database);
        for round in 1..=3 {
            assert_eq!(other.does(&format!("use {key}")), "used");
            use_it(&keys, key, 2).await;
            assert_eq!(uses(&keys, id).await.requests(), round * 5 - 3);
            assert_eq!(other.does("flush"), "true");
            keys.flush().await.unwrap();
            assert_eq!(uses(&keys, id).await.requests(), round * 5);
        }
        // Killed between two flushes: what was stored stays.
        assert_eq!(other.does(&format!("use {key}")), "used");
        drop(other);
        keys.flush().await.unwrap();
        let last = uses(&keys, id).await;
        assert_eq!(last.requests(), 15);
        drop(keys);
        assert_eq!(uses(&handle(&database).await, id).await, last);
    }
}

#[tokio::test]
async fn task_of_maintenance_is_done_by_one_process() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let mut other = Other::start(&database);
        let done = other.does("maintain");
        assert_eq!(
            done,
            "flush change_log audit_anchor origins refusals use_sources idempotency expired_keys"
        );
        let report = keys.maintenance().run_once().await;
        let here: Vec<&str> = report.done().map(|task| task.as_str()).collect();
        assert_eq!(here, ["flush"]);
        assert_eq!(other.does("maintain"), "flush");
    }
}

#[tokio::test]
async fn old_database_has_a_row_for_each_secret() {
    for database in Database::shared() {
        let keys = handle(&database).await;
        let issued = issue(&keys).await;
        drop(keys);
        // As a program would leave it that inserted a secret by hand, and replaced it.
        let (replace, otherwise) = match database.is_postgres() {
            true => ("", "ON CONFLICT (lookup) DO UPDATE SET hash = excluded.hash"),
            false => ("OR REPLACE", ""),
        };
        let insert = format!(
            "INSERT {replace} INTO api_keys_key_secrets (lookup, key_id, position, hash, form, created_at) \
             SELECT DISTINCT 'byHand', key_id, 1, 'sha256:00', 'none', 0 FROM api_keys_key_secrets {otherwise}"
        );
        for _ in 0..2 {
            database.by_hand(&insert, &[]).await;
        }
        let keys = handle(&database).await;
        let uses = uses(&keys, issued.record.id).await;
        assert_eq!(uses.secrets.len(), 2);
        assert_eq!(uses.last_used_at(), None);
    }
}

/// One commit, however many keys were used in the minute; a revoke meanwhile does not wait for more than that.
#[tokio::test]
async fn many_keys_are_stored_in_one_batch() {
    use std::sync::Arc;
    use std::time::Instant;
    use tower_api_key::key::{KeyRecord, KeySecret, Lookup, SecretHash, Timestamp};
    use tower_api_key::last_use::{SecretUse, UseBatch, UseSource};
    use tower_api_key::store::{Commit, ManagedStore, Write};

    let many = if env::var("API_KEYS_TESTS").is_ok_and(|size| size == "full") {
        100_000
    } else {
        5_000
    };
    for database in Database::shared() {
        let store = database.open().await;
        let acme = super::organization(&store).await;
        let now = Timestamp::now();
        let mut batch = UseBatch::new(UseSource::new(), 1);
        let mut commit = Commit::new();
        for number in 0..many {
            let record = KeyRecord::new(acme.id, "orders", now);
            let lookup = Lookup::new(&format!("{number:012}")).unwrap();
            let mut used = SecretUse::new(lookup.clone(), record.id, acme.id);
            (used.last_used_at, used.requests) = (Some(now), 7);
            used.last_address = "192.0.2.1".parse().ok();
            batch.secrets.push(used);
            let secret = KeySecret::new(lookup, SecretHash::new("sha256:00").unwrap(), now);
            let id = record.id;
            commit = commit
                .write(Write::InsertKey(record))
                .write(Write::InsertSecret(id, secret));
            if number % 1_000 == 999 {
                store
                    .commit(std::mem::replace(&mut commit, Commit::new()))
                    .await
                    .unwrap();
            }
        }
        let last = batch.secrets.last().unwrap().key_id;
        let started = Instant::now();
        store
            .commit(Commit::new().write(Write::AddUses(Arc::new(batch))))
            .await
            .unwrap();
        println!("{database}, {many} keys in {:?}", started.elapsed());
        let uses = tower_api_key::store::StoreExt::get(&store, KeyUses::of(last))
            .await
            .unwrap();
        assert_eq!(uses[0].requests(), 7);
    }
}
