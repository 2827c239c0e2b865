//! A rolling upgrade: programs of two versions on one database, under load, while the schema goes up and down.
//!
//! The old program is another process of this test program. It knows neither the last step of the schema nor the restriction that
//! keys have since. It is asked over its standard input, and answers in lines that begin with [`ANSWER`].

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::{JoinHandle, block_in_place};
use tower_api_key::key::KeyRecord;
use tower_api_key::store::KeyStore;
use tower_api_key::testing::{know_features, next_version};
use tower_api_key::{PresentedKey, RejectionKind};

use super::*;
use crate::shared_database::processes::{play, role};
use crate::support::postgres::{Server, schema_name, shared};

const OLD: &str = "postgres_store::upgrade::program_of_the_version_before";
const ANSWER: &str = "= ";
/// Stands for a restriction of the next version: what a key with it refuses is that of its networks.
const RESTRICTION: &str = "networks-of-the-next-version";
const INSIDE: &str = "192.0.2.7";
const OUTSIDE: &str = "198.51.100.1";

/// Expands the tables that each check reads and each commit writes, and makes a trigger anew.
const UP: &str = "\
ALTER TABLE {s}keys ADD COLUMN regions pg_catalog.jsonb NOT NULL DEFAULT '[]';
ALTER TABLE {s}key_secrets ADD COLUMN seen_in pg_catalog.text;
ALTER TABLE {s}organizations ADD COLUMN regions pg_catalog.jsonb NOT NULL DEFAULT '[]';
CREATE INDEX keys_by_region ON {s}keys (id) WHERE regions <> '[]';
DROP TRIGGER keys_by_hand ON {s}keys;
CREATE TRIGGER keys_by_hand BEFORE UPDATE ON {s}keys FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION {s}raise_revision();
ALTER TABLE {s}keys ENABLE ALWAYS TRIGGER keys_by_hand;
";
const DOWN: &str = "\
DROP TRIGGER keys_by_hand ON {s}keys;
DROP INDEX {s}keys_by_region;
ALTER TABLE {s}keys DROP COLUMN regions;
ALTER TABLE {s}key_secrets DROP COLUMN seen_in;
ALTER TABLE {s}organizations DROP COLUMN regions;
CREATE TRIGGER keys_by_hand BEFORE UPDATE ON {s}keys FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION {s}raise_revision();
ALTER TABLE {s}keys ENABLE ALWAYS TRIGGER keys_by_hand;
";

/// What a check answers: `None` is an admission.
async fn check<S: KeyStore>(keys: &ApiKeys<S>, key: &str, from: &str) -> Option<RejectionKind> {
    let address: IpAddr = from.parse().unwrap();
    let presented = PresentedKey::new(key.as_bytes()).client_address(Some(address));
    let checked = keys.authenticator().check(presented).await;
    checked.err().map(|rejection| rejection.kind())
}

/// Requests of one program without a pause.
struct Load {
    answers: Arc<Answers>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Answers {
    right: AtomicU64,
    unavailable: AtomicU64,
    wrong: AtomicU64,
    is_over: AtomicBool,
}

impl Answers {
    fn count(&self, answer: Option<RejectionKind>, right: Option<RejectionKind>) {
        let count = match answer {
            answer if answer == right => &self.right,
            Some(kind @ (RejectionKind::StoreUnavailable | RejectionKind::NotConfirmed | RejectionKind::Busy)) => {
                eprintln!("could not answer: {kind:?}");
                &self.unavailable
            }
            answer => {
                eprintln!("answered {answer:?} instead of {right:?}");
                &self.wrong
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Load {
    /// With a good key, one with the restriction, and one that is revoked.
    fn start(node: &Arc<Node>, good: &str, restricted: &str, revoked: &str, is_old: bool) -> Self {
        let answers = Arc::new(Answers::default());
        let of_restricted = is_old.then_some(RejectionKind::UnknownFeature);
        let asked = [
            (good, INSIDE, None),
            (good, OUTSIDE, None),
            (restricted, INSIDE, of_restricted),
            (
                restricted,
                OUTSIDE,
                of_restricted.or(Some(RejectionKind::NetworkNotAllowed)),
            ),
            (revoked, INSIDE, Some(RejectionKind::KeyRevoked)),
        ];
        let mut tasks: Vec<_> = asked
            .map(|(key, from, right)| {
                let (node, answers, key) = (node.clone(), answers.clone(), key.to_owned());
                tokio::spawn(async move {
                    while !answers.is_over.load(Ordering::Relaxed) {
                        answers.count(check(&node.keys, &key, from).await, right);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                })
            })
            .into();
        // New keys, which no cache knows, and commits.
        let (node, counted) = (node.clone(), answers.clone());
        tasks.push(tokio::spawn(async move {
            while !counted.is_over.load(Ordering::Relaxed) {
                let issued = node.issue().await;
                counted.count(check(&node.keys, &text(&issued), INSIDE).await, None);
                node.revoke(issued.record.id).await.unwrap();
                let answer = check(&node.keys, &text(&issued), INSIDE).await;
                counted.count(answer, Some(RejectionKind::KeyRevoked));
            }
        }));
        Self { answers, tasks }
    }

    /// How many answers were right, could not be given, and were wrong.
    async fn end(self) -> [u64; 3] {
        self.answers.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let Answers {
            right,
            unavailable,
            wrong,
            ..
        } = &*self.answers;
        [right, unavailable, wrong].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Answers until its input ends: `load <good> <restricted> <revoked>`, `end`, `check <key> <address>`, `issue`, `revoke <id>`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run in another process by other tests"]
async fn program_of_the_version_before() {
    let Some(address) = role() else { return };
    let (url, schema) = address.split_once(' ').unwrap();
    // Says why an answer could not be given.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let node = Arc::new(Node::over(builder().schema(schema).open(url).await.unwrap()).await);
    let mut load = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match *words {
            ["load", good, restricted, revoked] => {
                load = Some(Load::start(&node, good, restricted, revoked, true));
                "started".to_owned()
            }
            ["end"] => format!("{:?}", load.take().unwrap().end().await),
            ["check", key, from] => format!("{:?}", check(&node.keys, key, from).await),
            ["issue"] => {
                let issued = node.issue().await;
                format!("{} {}", issued.record.id, text(&issued))
            }
            ["revoke", id] => format!("{:?}", node.revoke(id.parse().unwrap()).await.is_ok()),
            _ => panic!("{line}"),
        };
        println!("\n{ANSWER}{answer}");
    }
}

struct Old {
    process: Child,
    asked: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Old {
    fn start(url: &str, schema: &str) -> Self {
        let mut process = play(OLD, &format!("{url} {schema}"));
        let (asked, answers) = (process.stdin.take(), process.stdout.take().unwrap());
        Self {
            process,
            asked,
            answers: BufReader::new(answers),
        }
    }

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.asked.as_ref().unwrap(), "{what}").unwrap();
        let mut line = String::new();
        block_in_place(|| {
            loop {
                line.clear();
                assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the old program ended");
                if let Some(answer) = line.strip_prefix(ANSWER) {
                    return answer.trim_end().to_owned();
                }
            }
        })
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        self.asked.take();
        let _ = self.process.wait();
    }
}

struct Upgrade {
    url: String,
    schema: String,
    old: Old,
    new: Arc<Node>,
    restricted: String,
    revoked: String,
    good: String,
    /// Of its own: that which tests share has the tables of hundreds of others in its catalogues, and vacuums them now and then. Every
    /// change of a schema takes longer there, and holds its locks.
    _server: Server,
}

impl Upgrade {
    async fn begin() -> Self {
        know_features(&RESTRICTION.parse().unwrap());
        let server = Server::start();
        let (url, schema) = (server.url(), schema_name());
        let first = Node::over(builder().schema(&schema).open(&url).await.unwrap()).await;
        let (good, revoked) = (first.issue().await, first.issue().await);
        first.revoke(revoked.record.id).await.unwrap();
        let old = Old::start(&url, &schema);
        let new = Self::new_program(&url, &schema).await;
        let acme = new.acme().await;
        let request = IssueRequest::new(acme, "orders").networks("192.0.2.0/24".parse().unwrap());
        let restricted = new.issuer().issue(request).await.unwrap();
        let require = |record: &mut KeyRecord| record.requires = RESTRICTION.parse().unwrap();
        new.issuer().update(restricted.record.id, require).await.unwrap();
        let [good, restricted, revoked] = [&good, &restricted, &revoked].map(text);
        Self {
            url,
            schema,
            old,
            new,
            restricted,
            revoked,
            good,
            _server: server,
        }
    }

    /// Brings the schema up.
    async fn new_program(url: &str, schema: &str) -> Arc<Node> {
        let builder = next_version(builder().schema(schema), UP, DOWN);
        Arc::new(Node::over(builder.open(url).await.unwrap()).await)
    }

    fn has_new_columns(&self) -> bool {
        let query = format!(
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = '{}' AND column_name = 'regions'",
            self.schema
        );
        psql(&self.url, &query).trim() == "2"
    }

    /// What each program does holds in the other.
    async fn work_together(&mut self) {
        for _ in 0..3 {
            let issued = self.new.issue().await;
            let asked = format!("check {} {INSIDE}", text(&issued));
            assert_eq!(self.old.ask(&asked), "None");
            self.new.revoke(issued.record.id).await.unwrap();
            let revoked_at = Instant::now();
            while self.old.ask(&asked) != "Some(KeyRevoked)" {
                assert!(revoked_at.elapsed() < BOUND + Duration::from_secs(1));
                sleep(Duration::from_millis(20)).await;
            }

            let issued = self.old.ask("issue");
            let (id, key) = issued.split_once(' ').unwrap();
            assert_eq!(check(&self.new.keys, key, INSIDE).await, None);
            assert_eq!(self.old.ask(&format!("revoke {id}")), "true");
            let revoked_at = Instant::now();
            while check(&self.new.keys, key, INSIDE).await != Some(RejectionKind::KeyRevoked) {
                assert!(revoked_at.elapsed() < BOUND + Duration::from_secs(1));
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn no_answer_is_wrong(program: &str, [right, unavailable, wrong]: [u64; 3]) {
    assert_eq!(wrong, 0, "{program}");
    assert!(right > 100, "{program}: {right}");
    // A migration waits for locks only as long as a check waits for the database.
    assert_eq!(unavailable, 0, "{program}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_two_versions_serve_while_the_schema_goes_up_and_down() {
    let mut upgrade = Upgrade::begin().await;
    let (good, restricted, revoked) = (
        upgrade.good.clone(),
        upgrade.restricted.clone(),
        upgrade.revoked.clone(),
    );
    let load = format!("load {good} {restricted} {revoked}");
    assert_eq!(upgrade.old.ask(&load), "started");
    let new = Load::start(&upgrade.new, &good, &restricted, &revoked, false);
    for _ in 0..2 {
        upgrade.work_together().await;
        assert!(upgrade.has_new_columns());

        let builder = next_version(builder().schema(&upgrade.schema), UP, DOWN);
        builder.downgrade_and_lose_data(&upgrade.url, 2).await.unwrap();
        assert!(!upgrade.has_new_columns());
        upgrade.work_together().await;

        // Another node of the next version starts.
        drop(Upgrade::new_program(&upgrade.url, &upgrade.schema).await);
    }
    // An old one may start anew meanwhile.
    let mut again = Old::start(&upgrade.url, &upgrade.schema);
    assert_eq!(again.ask(&format!("check {good} {INSIDE}")), "None");
    assert_eq!(
        again.ask(&format!("check {restricted} {INSIDE}")),
        "Some(UnknownFeature)"
    );
    no_answer_is_wrong("new", new.end().await);
    let old = upgrade.old.ask("end");
    let counts: Vec<u64> = old
        .trim_matches(['[', ']'])
        .split(", ")
        .map(|count| count.parse().unwrap())
        .collect();
    no_answer_is_wrong("old", counts.try_into().unwrap());
}

#[tokio::test]
async fn migration_lets_others_read_while_it_waits_for_a_long_transaction() {
    let (url, schema) = (shared(), schema_name());
    let node = Node::over(builder().schema(&schema).open(&url).await.unwrap()).await;
    let key = node.issue().await;
    let mut report = connect(&url).await;
    let reading = report.transaction().await.unwrap();
    reading
        .batch_execute(&format!("SELECT count(*) FROM {schema}.keys"))
        .await
        .unwrap();
    let migrating = tokio::spawn({
        let (url, schema) = (url.clone(), schema.clone());
        async move { Upgrade::new_program(&url, &schema).await }
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        // Not from the cache.
        let lookup = &key.lookup;
        assert!(node.store.find(lookup).await.unwrap().is_some());
        assert_eq!(node.asks(&key).await, 200);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(!migrating.is_finished());
    reading.commit().await.unwrap();
    migrating.await.unwrap();
}
