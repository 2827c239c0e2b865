//! What one charge costs: `cargo bench -- limit`. Prints nanoseconds per charge, best of several rounds.

use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use tower_api_key::Monotonic;
use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
use tower_api_key::limit::{Cells, Charge, Decision, LocalLimiter, RateLimiter, Take};

const ROUNDS: usize = 15;
const CHARGES: u64 = 200_000;

pub fn main() -> ExitCode {
    let limiter = LocalLimiter::new();
    for count in [0, 1, 2, 3, 4] {
        let client = Client::new(count);
        report(&format!("warm, {count} limits"), || client.charge(&limiter));
    }
    let mut now = 0;
    report("new key, 1 limit", || {
        // Time goes on, so that there is room: one unit comes back each nanosecond.
        now += 1_000;
        Client::new(1).charge_at(&limiter, now);
    });
    report("making that key alone", || drop(black_box(Client::new(1))));
    let client = Client::new(1);
    report("known key without cells", || {
        let (cells, now) = (Cells::new(), Monotonic::from_nanos(1));
        let charge = Charge::new(client.key, client.organization, &client.limits, &[], now, &cells);
        assert!(admitted(&limiter, &charge));
    });
    for (threads, limits) in [(1, 1), (2, 1), (1, 3), (2, 3)] {
        let rate = storm(&limiter, threads, limits);
        println!("{threads} thread(s) on one key, {limits} limit(s)    {rate:8.1} million/s");
    }
    ExitCode::SUCCESS
}

struct Client {
    key: KeyId,
    organization: OrganizationId,
    limits: Vec<RateLimit>,
    cells: Cells,
}

impl Client {
    fn new(limits: usize) -> Self {
        let limit = |i| RateLimit::per_second(&format!("requests-{i}"), 4_000_000_000).expect("a valid limit");
        Self {
            key: KeyId::new(),
            organization: OrganizationId::new(),
            limits: (0..limits).map(limit).collect(),
            cells: Cells::new(),
        }
    }

    fn charge(&self, limiter: &LocalLimiter) {
        self.charge_at(limiter, 1_000_000_000);
    }

    fn charge_at(&self, limiter: &LocalLimiter, now: u64) {
        let now = Monotonic::from_nanos(now);
        let (own, shared) = self.limits.split_at(self.limits.len().min(2));
        let charge = Charge::new(self.key, self.organization, own, shared, now, &self.cells);
        assert!(admitted(limiter, &charge));
    }
}

fn admitted(limiter: &LocalLimiter, charge: &Charge<'_>) -> bool {
    match limiter.take(black_box(charge)) {
        Take::Now(Decision::Allowed(allowance)) => {
            black_box(allowance.states());
            true
        }
        _ => false,
    }
}

/// Measures unless an argument was given that is no part of the name.
fn report(what: &str, mut charge: impl FnMut()) {
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

fn storm(limiter: &LocalLimiter, threads: usize, limits: usize) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let client = Client::new(limits);
            client.charge(limiter);
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..CHARGES).for_each(|_| client.charge(limiter)));
                }
            });
            (CHARGES * threads as u64) as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .fold(0.0, f64::max)
}
