//! Two threads on one hot key. Shared cache lines must not use up the gain of the second thread.
//!
//! Their cost depends on how long the processor takes to move a cache line from one core to the other. On a virtual machine
//! that time changes, because its processors move. So all sides take turns in every round, and the time of a handover is
//! printed too.

use std::hint::{black_box, spin_loop};
use std::num::NonZeroUsize;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tower_api_key::PresentedKey;

use super::Warm;
use crate::support::{Bounds, Side, median, median_ratio, not_measured, rounds};

const ROUNDS: usize = 31;
const CHECKS: usize = 200_000;
const HANDOVERS: u32 = 100_000;

pub fn measure(limited: &Warm, plain: &Warm, bounds: &mut Bounds) {
    if thread::available_parallelism().map_or(1, NonZeroUsize::get) < 2 {
        return not_measured("two threads / one", "there is one processor");
    }
    let by_layer = |warm: &Warm| {
        let presented = PresentedKey::new(warm.keys[0].as_bytes());
        assert!(matches!(warm.authenticator.try_check(presented), Some(Ok(_))));
    };
    let by_baseline = |warm: &Warm| assert!(black_box(warm.baseline.check(warm.keys[0].as_bytes())).is_some());
    let times = rounds(
        ROUNDS,
        &mut [
            &mut || on_threads(1, &|| by_layer(plain)),
            &mut || on_threads(2, &|| by_layer(plain)),
            &mut || on_threads(1, &|| by_baseline(plain)),
            &mut || on_threads(2, &|| by_baseline(plain)),
            &mut || on_threads(1, &|| by_layer(limited)),
            &mut || on_threads(2, &|| by_layer(limited)),
            &mut || on_threads(1, &|| by_baseline(limited)),
            &mut || on_threads(2, &|| by_baseline(limited)),
            &mut handovers as Side<'_>,
        ],
    );
    let [kinds @ .., handover] = times.as_slice() else {
        return;
    };
    for (warm, sides) in [plain, limited].into_iter().zip(kinds.chunks(4)) {
        let [one, two, baseline_one, baseline_two] = sides else {
            return;
        };
        let name = warm.name();
        bounds.check(&format!("two threads / one, {name}"), speed_up(one, two), 1.25..);
        println!("  the baseline: {:.3}", speed_up(baseline_one, baseline_two));
    }
    let nanoseconds = |time: f64| time / f64::from(HANDOVERS);
    println!(
        "  a cache line moves between cores in {:.0} ns, in the slowest round in {:.0} ns",
        nanoseconds(median(handover.clone())),
        nanoseconds(handover.iter().copied().fold(0.0, f64::max)),
    );
}

/// The checks per second of two threads ÷ those of one.
fn speed_up(one: &[f64], two: &[f64]) -> f64 {
    2.0 * median_ratio(one, two)
}

/// The time until all threads have made their checks.
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

/// Two threads take turns to write one word, so that its cache line moves each time.
fn handovers() -> Duration {
    let word = AtomicU32::new(0);
    let answer = |own: u32| {
        for turn in (own..HANDOVERS).step_by(2) {
            while word.load(Ordering::Acquire) != turn {
                spin_loop();
            }
            word.store(turn + 1, Ordering::Release);
        }
    };
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| answer(0));
        answer(1);
    });
    began.elapsed()
}
