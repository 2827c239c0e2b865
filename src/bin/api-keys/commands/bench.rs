//! What hashes and checks cost on this machine.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::ApiKey;
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeys, PresentedKey};

use crate::failure::Failure;
use crate::global::Global;
use crate::output::{cell, table};
use crate::text::number;
use crate::work::output;

/// Measures how many hashes and checks this machine does in a second, so that a hash is chosen by measurement.
///
/// A hash is computed for a key that is not in the cache; it costs an attacker who has the database as much for each guess. Keys of 128 random
/// bits and more cannot be guessed whatever the hash.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// How long each is measured
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A further Argon2id: its memory in KiB
    #[arg(long, value_name = "KIB", default_value_t = 65_536)]
    memory: u32,
    /// Its passes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    passes: u32,
    /// Its lanes
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    lanes: u32,
}

impl Bench {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let span = Duration::from_secs(self.seconds);
        let asked = Argon2Params::new(self.memory, self.passes, self.lanes)?;
        let mut hashes = vec![("sha256".to_owned(), HashPolicy::sha256())];
        for params in [Argon2Params::DEFAULT, Argon2Params::OWASP, asked] {
            let name = format!(
                "argon2id, {} KiB, {} passes, {} lanes",
                params.memory_kib(),
                params.passes(),
                params.lanes()
            );
            if !hashes.iter().any(|(other, _)| *other == name) {
                hashes.push((name, HashPolicy::argon2id(params)));
            }
        }
        let mut measured = Vec::new();
        for (name, policy) in hashes {
            measured.push(hashes_of(&name, policy, span).await?);
        }
        let checks = warm_checks(span).await?;
        let answer = json!({"hashes": measured, "warm_checks_per_second": checks});
        output(global).show(&answer, |_| {
            let rows = measured.iter().map(|hash| {
                vec![
                    cell(&hash["hash"]),
                    format!("{:.2}", hash["milliseconds"].as_f64().unwrap_or_default()),
                    number(hash["per_second"].as_u64().unwrap_or_default()),
                ]
            });
            format!(
                "{}\n\nChecks of a cached key, on one core: {} a second.",
                table(&["hash", "milliseconds for one", "a second, on all cores"], rows),
                number(checks)
            )
        })
    }
}

async fn hashes_of(name: &str, policy: HashPolicy, span: Duration) -> Result<Value, Failure> {
    let pool = HashPool::builder().build();
    let key = ApiKey::from("key_live_this_is_no_key_of_anybody_0123456789".to_owned());
    let hash = async || {
        let hashed = pool.hash(&policy, &key).await;
        hashed.map_err(|error| Failure::Unavailable(error.to_string()))
    };
    // The first allocates.
    hash().await?;
    let (started, mut alone) = (Instant::now(), 0_u32);
    while started.elapsed() < span / 2 {
        hash().await?;
        alone += 1;
    }
    let one = started.elapsed().as_secs_f64() / f64::from(alone.max(1));
    let keys = vec![key.expose_secret().to_owned(); 2 * cores()];
    let keys: Vec<ApiKey> = keys.into_iter().map(ApiKey::from).collect();
    let (started, mut together) = (Instant::now(), 0_usize);
    while started.elapsed() < span / 2 {
        let hashed = pool.hash_many(&policy, &keys).await;
        together += hashed.map_err(|error| Failure::Unavailable(error.to_string()))?.len();
    }
    let rate = together as f64 / started.elapsed().as_secs_f64();
    Ok(json!({"hash": name, "milliseconds": one * 1_000.0, "per_second": rate as u64}))
}

async fn warm_checks(span: Duration) -> Result<u64, Failure> {
    let keys = ApiKeys::builder(MemoryStore::new())
        .hash_policy(HashPolicy::sha256())
        .open()
        .await?;
    let made = keys.ensure("bench", "bench").await?;
    let key = made
        .key
        .ok_or_else(|| Failure::Unavailable("no key was made".to_owned()))?;
    let presented = || PresentedKey::new(key.expose_secret().as_bytes());
    let refused = |rejection| Failure::Unavailable(format!("the key was refused: {rejection}"));
    keys.authenticator().check(presented()).await.map_err(refused)?;
    let (started, mut checks) = (Instant::now(), 0_u64);
    while started.elapsed() < span {
        for _ in 0..1_000 {
            keys.authenticator().check(presented()).await.map_err(refused)?;
        }
        checks += 1_000;
    }
    Ok((checks as f64 / started.elapsed().as_secs_f64()) as u64)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
