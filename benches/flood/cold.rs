//! A service whose clients all come back at once after a restart, and do as they are told.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_api_key::ApiKeys;
use tower_api_key::IssueRequest;
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::{Actor, Lookup};
use tower_api_key::store::{KeyStore, MemoryStore};

use super::client::{Client, HOME, request};
use crate::support::Bounds;
use crate::support::process::Server;

/// A cheaper hash than the default, of which so many take half a minute.
const MANY: usize = 2_000;
const SOME: usize = 200;
const FEW: usize = 50;

pub fn run(bounds: &mut Bounds) {
    let keys = keys();
    for (count, most_tries) in [(FEW, 1), (SOME, 1), (MANY, 3)] {
        let Outcome { took, tries, hash } = all_at_once(&keys[..count]);
        let ratio = took.as_secs_f64() / (count as f64 * hash.as_secs_f64());
        println!(
            "  {count} keys at once after a start: all admitted after {took:.2?} in at most {tries} tries; a hash takes {hash:.2?}"
        );
        bounds.check(
            &format!("most tries of {count} keys at once"),
            f64::from(tries),
            ..=f64::from(most_tries),
        );
        bounds.check(&format!("{count} keys at once / ({count} x a hash)"), ratio, ..=1.3);
    }
}

struct Outcome {
    took: Duration,
    tries: u32,
    hash: Duration,
}

/// A key, and its line for the server.
struct Row {
    key: String,
    line: String,
}

fn policy() -> HashPolicy {
    HashPolicy::argon2id(Argon2Params::new(32 * 1024, 1, 4).expect("parameters within bounds"))
}

fn keys() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let pool = HashPool::builder()
            .workers(2)
            .expect("two workers")
            .niceness(0)
            .expect("no niceness")
            .build();
        let store = MemoryStore::new();
        let settings = ApiKeys::builder(store.clone()).hash_policy(policy()).pool(pool);
        let issuer = settings.checking().issuer().acting_as(Actor::service());
        let organization = issuer.create_organization("acme").await.expect("an organization");
        let mut rows = Vec::new();
        for _ in 0..MANY {
            let issued = issuer
                .issue(IssueRequest::new(organization.id, "good"))
                .await
                .expect("a key");
            let key = issued.key.expose_secret().to_owned();
            let lookup = Lookup::new(issued.lookup.as_str()).expect("a lookup");
            let found = store.find(&lookup).await.expect("the store answers").expect("the key");
            let line = format!("{} {} crc32", lookup.as_str(), found.secret.hash.as_str());
            rows.push(Row { key, line });
        }
        rows
    })
}

fn all_at_once(rows: &[Row]) -> Outcome {
    let mut server = Server::start(&["budget"]);
    for row in rows {
        server.tell(&row.line);
    }
    server.tell("");
    let port = server.hear().parse().expect("a port");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let began = Instant::now();
    let tries = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for row in rows {
            clients.spawn(tries(port, row.key.clone()));
        }
        clients.join_all().await.into_iter().max()
    });
    let took = began.elapsed();
    let [hash] = server.ask("cheap hash");
    Outcome {
        took,
        tries: tries.unwrap_or(u32::MAX),
        hash: Duration::from_nanos(hash),
    }
}

/// How often this key was sent until it was admitted.
async fn tries(port: u16, key: String) -> u32 {
    let request = request(&key);
    let mut client = Client::connect(HOME, port).await.expect("a connection");
    for tries in 1.. {
        let (status, wait) = client.ask_when(&request).await.expect("an answer");
        if status == 200 {
            return tries;
        }
        assert!(status == 503, "a good key was answered {status}");
        sleep(wait).await;
    }
    u32::MAX
}
