//! A clock that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, ManualTime};

/// A clock that a test moves by hand.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::testing::ManualClock;
///
/// let hand = ManualClock::new();
/// let clock = hand.clock();
/// let before = clock.now();
/// hand.advance(Duration::from_secs(3));
/// assert_eq!(clock.now().since(before), Duration::from_secs(3));
/// ```
#[derive(Clone)]
pub struct ManualClock {
    time: Arc<ManualTime>,
    clock: Clock,
}

impl ManualClock {
    /// A clock that starts at 2026-01-01T00:00:00Z and stands still.
    #[allow(clippy::new_without_default, reason = "a test says `new`")]
    pub fn new() -> Self {
        let time = Arc::new(ManualTime {
            monotonic: AtomicU64::new(1_000_000_000_000),
            wall: AtomicI64::new(1_767_225_600_000),
        });
        let clock = Clock::manual(time.clone());
        Self { time, clock }
    }

    /// The clock to give to the code under test.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Moves both the monotonic and the wall time forward.
    pub fn advance(&self, by: Duration) {
        let nanoseconds = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.time.monotonic.fetch_add(nanoseconds, Ordering::SeqCst);
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.time.wall.fetch_add(millis, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as an administrator or a time server would; negative steps go back.
    pub fn step_wall(&self, millis: i64) {
        self.time.wall.fetch_add(millis, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_never_goes_back() {
        let hand = ManualClock::new();
        let clock = hand.clock();
        let before = clock.wall();
        hand.step_wall(-3_600_000);
        hand.advance(Duration::from_millis(250));
        assert_eq!(clock.wall(), before.after(Duration::from_millis(250)));
    }

    #[test]
    fn wall_time_follows_a_step_forward() {
        let hand = ManualClock::new();
        let clock = hand.clock();
        let before = clock.wall();
        hand.step_wall(60_000);
        assert_eq!(clock.wall(), before.after(Duration::from_secs(60)));
    }
}
