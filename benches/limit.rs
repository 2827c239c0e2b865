//! The cost of a charge: `cargo bench -- limit`. Prints nanoseconds per charge, the best of several rounds.
//!
//! Each charge looks up its buckets, like the first request of a cached key. Later requests keep them: `warm check` in
//! `benches/request.rs` measures those.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use tower_api_key::Monotonic;
use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
use tower_api_key::limit::{Charge, Decision, LocalLimiter, RateLimiter, Take};

const ROUNDS: usize = 15;
const CHARGES: u64 = 200_000;

pub fn main() -> ExitCode {
    let limiter = LocalLimiter::new();
    for count in [0, 1, 2, 3, 4] {
        let client = Client::new(count);
        report(&format!("known key, {count} limits"), || client.charge(&limiter, 1));
    }
    let now = AtomicU64::new(0);
    // Time passes, so that old buckets can be evicted: one unit comes back each nanosecond.
    let new_key = || Client::new(1).charge(&limiter, now.fetch_add(1_000, Ordering::Relaxed));
    report("new key, 1 limit", new_key);
    report("making that key alone", || drop(black_box(Client::new(1))));
    for threads in [1, 2] {
        println!(
            "{threads} thread(s), new keys      {:8.2} million/s",
            rate(threads, &new_key)
        );
    }
    for (threads, limits) in [(1, 1), (2, 1), (1, 3), (2, 3)] {
        let client = Client::new(limits);
        let rate = rate(threads, &|| client.charge(&limiter, 1));
        println!("{threads} thread(s), one key, {limits} limit(s) {rate:8.2} million/s");
    }
    ExitCode::SUCCESS
}

struct Client {
    key: KeyId,
    organization: OrganizationId,
    limits: Vec<RateLimit>,
}

impl Client {
    fn new(limits: usize) -> Self {
        let limit = |i| RateLimit::per_second(&format!("requests-{i}"), 4_000_000_000).expect("a valid limit");
        Self {
            key: KeyId::new(),
            organization: OrganizationId::new(),
            limits: (0..limits).map(limit).collect(),
        }
    }

    fn charge(&self, limiter: &LocalLimiter, now: u64) {
        let now = Monotonic::from_nanos(now);
        let (own, shared) = self.limits.split_at(self.limits.len().min(2));
        let charge = Charge::new(self.key, self.organization, own, shared, now);
        match limiter.take(black_box(&charge)) {
            Take::Now(Decision::Allowed(allowance)) => drop(black_box(allowance)),
            other => panic!("not allowed: {other:?}"),
        }
    }
}

/// Measures, unless an argument is given that is not a part of the name.
fn report(what: &str, charge: impl Fn()) {
    if std::env::args()
        .skip(1)
        .any(|wanted| !wanted.starts_with('-') && !what.contains(&wanted))
    {
        return;
    }
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CHARGES).for_each(|_| charge());
            start.elapsed().as_nanos() as f64 / CHARGES as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("{what:40} {best:8.1} ns");
}

/// Millions of charges per second, of all threads together.
fn rate(threads: usize, charge: &(impl Fn() + Sync)) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..CHARGES).for_each(|_| charge()));
                }
            });
            (CHARGES * threads as u64) as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .fold(0.0, f64::max)
}
