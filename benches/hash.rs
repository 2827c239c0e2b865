//! The gain from keeping Argon2's memory, and the time of a first check: `cargo bench -- hash`.
//!
//! Both sides of a ratio take turns, so that a machine that slows down slows both.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::ApiKey;

use crate::support::Bounds;

const KEY: &str = "acme_live_0123456789ABabcdefghijklmnopqrstuvwxyzABCDEF0mLq17";
const PAIRS: usize = 41;
const COLD_CHECKS: usize = 200;

pub fn main() -> ExitCode {
    let mut bounds = Bounds::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for (name, params) in [("default", Argon2Params::DEFAULT), ("owasp", Argon2Params::OWASP)] {
            let speed_up = reused_against_fresh(name, params).await;
            if params == Argon2Params::DEFAULT {
                bounds.check("argon2 reused/fresh", speed_up, 1.8..);
            }
        }
        let p99 = cold_verify().await.as_secs_f64() * 1e3;
        bounds.check("cold verify p99 ms", p99, ..=50.0);
    });
    bounds.exit_code()
}

/// The median of fresh ÷ reused over all pairs: a hash in new memory, and one through the pool with its hand-over.
///
/// With glibc, blocks of up to 32 MiB show no difference in a loop, because its allocator keeps them for the next round.
async fn reused_against_fresh(name: &str, params: Argon2Params) -> f64 {
    // The same priority as the fresh side.
    let pool = HashPool::builder()
        .niceness(0)
        .expect("a niceness")
        .keep_memory_for(params)
        .build();
    let key = ApiKey::from(String::from(KEY));
    let stored = pool.hash(&HashPolicy::argon2id(params), &key).await.expect("a hash");
    let function = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(params.memory_kib(), params.passes(), params.lanes(), Some(32)).expect("parameters"),
    );
    let mut ratios = Vec::new();
    let (mut fresh_times, mut reused_times) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let began = Instant::now();
        let mut output = [0; 32];
        function
            .hash_password_into(KEY.as_bytes(), b"0123456789abcdef", &mut output)
            .expect("a hash");
        black_box(output);
        let fresh = began.elapsed();

        let began = Instant::now();
        let verified = pool.verify(&stored, &key).await;
        let reused = began.elapsed();
        assert!(verified.expect("an answer"));

        ratios.push(fresh.as_secs_f64() / reused.as_secs_f64());
        fresh_times.push(fresh);
        reused_times.push(reused);
    }
    ratios.sort_by(f64::total_cmp);
    fresh_times.sort();
    reused_times.sort();
    let speed_up = ratios[PAIRS / 2];
    println!(
        "argon2 {name}: fresh {:?}, reused {:?}, speed-up {speed_up:.2} (medians of {PAIRS} pairs)",
        fresh_times[PAIRS / 2],
        reused_times[PAIRS / 2],
    );
    speed_up
}

/// One check after another on an otherwise idle pool with default settings.
async fn cold_verify() -> Duration {
    let pool = HashPool::builder().build();
    let key = ApiKey::from(String::from(KEY));
    let stored = pool.hash(&HashPolicy::default(), &key).await.expect("a hash");
    let mut times = Vec::new();
    for _ in 0..COLD_CHECKS {
        let began = Instant::now();
        let verified = pool.verify(&stored, &key).await;
        times.push(began.elapsed());
        assert!(verified.expect("an answer"));
    }
    times.sort();
    let p99 = times[COLD_CHECKS * 99 / 100 - 1];
    println!("cold verify: median {:?}, p99 {p99:?}", times[COLD_CHECKS / 2]);
    p99
}
