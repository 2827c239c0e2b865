//! How much of the process's work is its own, while wrong keys come in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Monotonic;

/// Counts admitted and refused requests while wrong keys are hashed: a flood's own refusals must not look like a busy service.
///
/// Otherwise it counts nothing, so that a check of a cached key costs a compare.
#[derive(Default)]
pub(crate) struct OwnWork {
    /// In monotonic nanoseconds.
    counts_until: AtomicU64,
    admitted: AtomicU64,
    refused: AtomicU64,
}

/// Requests in a period of time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
}

/// How long to count after a wrong key.
const COUNTED: Duration = Duration::from_secs(2);
/// The most processor time, in seconds, that a refused request is taken to cost: with a new connection, and far from idle.
/// What else the process does beyond the requests that are seen here is its own work.
const MOST_OF_A_REFUSAL: f64 = 200e-6;

impl OwnWork {
    /// A request was admitted.
    pub(crate) fn admitted(&self, now: Monotonic) {
        if self.is_counting(now) {
            self.admitted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was refused.
    pub(crate) fn refused(&self, now: Monotonic) {
        if self.is_counting(now) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A key was wrong.
    pub(crate) fn count_from(&self, now: Monotonic) {
        let until = now.after(COUNTED).as_nanos();
        self.counts_until.fetch_max(until, Ordering::Relaxed);
    }

    /// What was counted since the last time.
    pub(crate) fn take(&self) -> Served {
        Served {
            admitted: self.admitted.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
        }
    }

    fn is_counting(&self, now: Monotonic) -> bool {
        now.as_nanos() < self.counts_until.load(Ordering::Relaxed)
    }
}

impl Served {
    /// How much of this processor time, in seconds, was not spent on refused requests.
    pub(super) fn own(self, seconds: f64) -> f64 {
        if self.refused == 0 {
            return seconds;
        }
        let refused = self.refused as f64;
        let share = refused / (refused + self.admitted as f64);
        seconds - (seconds.max(0.0) * share).min(refused * MOST_OF_A_REFUSAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_for_two_seconds_after_a_wrong_key() {
        let work = OwnWork::default();
        let now = Monotonic::from_nanos(1_000_000_000);
        let count = |now| {
            work.admitted(now);
            work.refused(now);
            let Served { admitted, refused } = work.take();
            (admitted, refused)
        };
        assert_eq!(count(now), (0, 0));
        work.count_from(now);
        assert_eq!(count(now), (1, 1));
        assert_eq!(count(now.after(COUNTED)), (0, 0));
    }

    #[test]
    fn refused_requests_are_no_work_of_the_process() {
        let own = |admitted, refused, seconds| Served { admitted, refused }.own(seconds);
        assert_eq!(own(0, 10_000, 1.0), 0.0);
        assert_eq!(own(30_000, 10_000, 1.0), 0.75);
        assert_eq!(own(1_000, 0, 1.0), 1.0);
        // A few refusals do not explain a processor that is busy with something else.
        assert!(own(0, 5, 1.0) > 0.99);
        assert_eq!(own(0, 5, 0.0), 0.0);
    }
}
