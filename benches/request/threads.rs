//! Two threads on one hot key: what they share must not cost what the second one brings.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tower_api_key::Attempt;

use super::Warm;
use super::support::{Gates, median_ratio, rounds};

const ROUNDS: usize = 15;
const CHECKS: usize = 200_000;

pub fn measure(limited: &Warm, plain: &Warm, gates: &mut Gates) {
    for warm in [plain, limited] {
        let key = warm.keys[0].as_bytes();
        let by_layer = || assert!(matches!(warm.authenticator.try_check(&Attempt::new(key)), Some(Ok(_))));
        let by_floor = || assert!(black_box(warm.floor.check(key)).is_some());
        let name = warm.name();
        gates.at_least(&format!("two threads / one, {name}"), speed_up(by_layer), 1.25);
        println!("  the floor: {:.3}", speed_up(by_floor));
    }
}

/// The checks per second of two threads ÷ those of one.
fn speed_up(check: impl Fn() + Sync) -> f64 {
    let times = rounds(
        ROUNDS,
        &mut [&mut || on_threads(1, &check), &mut || on_threads(2, &check)],
    );
    2.0 * median_ratio(&times[0], &times[1])
}

/// How long the threads need, each for as many checks.
fn on_threads(count: usize, check: &(impl Fn() + Sync)) -> Duration {
    let start = Barrier::new(count + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let began = Instant::now();
                    for _ in 0..CHECKS {
                        check();
                    }
                    began.elapsed()
                })
            })
            .collect();
        start.wait();
        let elapsed = threads.into_iter().map(|thread| thread.join().expect("a thread"));
        elapsed.max().unwrap_or_default()
    })
}
