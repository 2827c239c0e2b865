//! Two threads on one hot key: what they share must not cost what the second one brings.
//!
//! What it does cost is a matter of how long the processor takes to hand a cache line from one core to the other, and on
//! a virtual machine that changes under way, with where its processors run. So all sides take turns in every round,
//! and the time of a handover is printed beside.

use std::hint::{black_box, spin_loop};
use std::num::NonZeroUsize;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tower_api_key::PresentedKey;

use super::Warm;
use crate::support::{Gates, Side, median, median_ratio, not_measured, rounds};

const ROUNDS: usize = 31;
const CHECKS: usize = 200_000;
const HANDOVERS: u32 = 100_000;

pub fn measure(limited: &Warm, plain: &Warm, gates: &mut Gates) {
    if thread::available_parallelism().map_or(1, NonZeroUsize::get) < 2 {
        return not_measured("two threads / one", "there is one processor");
    }
    let by_layer = |warm: &Warm| {
        let presented = PresentedKey::new(warm.keys[0].as_bytes());
        assert!(matches!(warm.authenticator.try_check(presented), Some(Ok(_))));
    };
    let by_floor = |warm: &Warm| assert!(black_box(warm.floor.check(warm.keys[0].as_bytes())).is_some());
    let times = rounds(
        ROUNDS,
        &mut [
            &mut || on_threads(1, &|| by_layer(plain)),
            &mut || on_threads(2, &|| by_layer(plain)),
            &mut || on_threads(1, &|| by_floor(plain)),
            &mut || on_threads(2, &|| by_floor(plain)),
            &mut || on_threads(1, &|| by_layer(limited)),
            &mut || on_threads(2, &|| by_layer(limited)),
            &mut || on_threads(1, &|| by_floor(limited)),
            &mut || on_threads(2, &|| by_floor(limited)),
            &mut handovers as Side<'_>,
        ],
    );
    let [kinds @ .., handover] = times.as_slice() else {
        return;
    };
    for (warm, sides) in [plain, limited].into_iter().zip(kinds.chunks(4)) {
        let [one, two, floor_one, floor_two] = sides else {
            return;
        };
        let name = warm.name();
        gates.check(&format!("two threads / one, {name}"), speed_up(one, two), 1.25..);
        println!("  the floor: {:.3}", speed_up(floor_one, floor_two));
    }
    let nanoseconds = |time: f64| time / f64::from(HANDOVERS);
    println!(
        "  from core to core, a cache line takes {:.0} ns, in the slowest round {:.0} ns",
        nanoseconds(median(handover.clone())),
        nanoseconds(handover.iter().copied().fold(0.0, f64::max)),
    );
}

/// The checks per second of two threads ÷ those of one.
fn speed_up(one: &[f64], two: &[f64]) -> f64 {
    2.0 * median_ratio(one, two)
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

/// Two threads that answer each other by one word, as often as they hand its line over.
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
