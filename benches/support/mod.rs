//! Shared by the benches: medians of paired rounds, bounds, and keys to send.

pub mod arguments;
pub mod baseline;
pub mod bounds;
pub mod http;
pub mod keys;
pub mod process;
pub mod text;

use std::time::{Duration, Instant};

pub use self::bounds::Bounds;

/// Whether to run this part: it was named on the command line, or no part was.
pub fn is_wanted(part: &str) -> bool {
    arguments::words().nth(1).is_none() || is_named(part)
}

/// Whether this part was named on the command line.
pub fn is_named(part: &str) -> bool {
    arguments::words().skip(1).any(|word| word == part)
}

/// The arguments after this flag.
pub fn arguments_after(flag: &str) -> Option<Vec<String>> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == flag)?;
    Some(arguments.collect())
}

/// Prints that a bound was not checked, so that it is not mistaken for one that held.
pub fn not_measured(what: &str, why: &str) {
    println!("bound {what}: NOT MEASURED, {why}");
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One side of a comparison: does its work a number of times, and returns the time without the set-up.
pub type Side<'a> = &'a mut dyn FnMut() -> Duration;

/// Runs all sides in turns, in reverse order in odd rounds, so that a machine that slows down slows all of them. Returns the
/// nanoseconds of each side in each round.
pub fn rounds(count: usize, sides: &mut [Side<'_>]) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(count); sides.len()];
    for side in sides.iter_mut() {
        side();
    }
    for round in 0..count {
        for turn in 0..sides.len() {
            let index = if round % 2 == 0 { turn } else { sides.len() - 1 - turn };
            times[index].push(sides[index]().as_nanos() as f64);
        }
    }
    times
}

/// The median of the ratios of all rounds. Noise that both sides of a round share cancels out.
pub fn median_ratio(above: &[f64], below: &[f64]) -> f64 {
    median(above.iter().zip(below).map(|(above, below)| above / below).collect())
}

/// Nanoseconds of one call: the median over `count` rounds of `calls` calls.
pub fn nanoseconds(count: usize, calls: u32, mut call: impl FnMut()) -> f64 {
    let times = (0..count).map(|_| {
        let began = Instant::now();
        for _ in 0..calls {
            call();
        }
        began.elapsed().as_nanos() as f64 / f64::from(calls)
    });
    median(times.collect())
}

/// Subscribes at INFO, as services in production do. The output is discarded.
pub fn subscribe() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::sink)
        .init();
}
