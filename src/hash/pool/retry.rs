//! When to come again.

use std::time::Duration;

/// Assumed until a hash has been measured.
const GUESS: Duration = Duration::from_millis(100);
const SHORTEST: u64 = 1;
const LONGEST: u64 = 60;

/// When to come back: whole seconds, from 1 to 60, after the queue is worked off, and spread over half as long again.
pub(super) fn after(queued: usize, mean: Option<Duration>, workers: usize) -> Duration {
    let (earliest, latest) = bounds(queued, mean, workers);
    Duration::from_secs(rand::random_range(earliest..=latest))
}

fn bounds(queued: usize, mean: Option<Duration>, workers: usize) -> (u64, u64) {
    let mean = mean.unwrap_or(GUESS).as_secs_f64();
    let worked_off = (queued as f64 * mean / workers as f64).ceil() as u64;
    let earliest = worked_off.clamp(SHORTEST, LONGEST);
    let spread = (earliest / 2).max(1);
    // At the upper end the spread goes the other way: all at 60 s would be a herd again.
    (earliest.min(LONGEST - spread), (earliest + spread).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_queue_and_stays_within_a_minute() {
        let mean = |millis| Some(Duration::from_millis(millis));
        assert_eq!(bounds(0, None, 1), (1, 2));
        assert_eq!(bounds(16, mean(30), 1), (1, 2));
        assert_eq!(bounds(16, mean(1000), 1), (16, 24));
        assert_eq!(bounds(16, mean(1000), 4), (4, 6));
        assert_eq!(bounds(1000, mean(1000), 1), (30, 60));
        assert_eq!(bounds(usize::MAX, Some(Duration::MAX), 1), (30, 60));
    }
}
