//! How often something is written to the log that anyone outside can make happen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Monotonic;

/// Lines of one kind written per second; the rest are counted and told with the next one that is written.
const PER_SECOND: u64 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Bounds the lines of one kind.
#[derive(Default)]
pub(super) struct Sampler {
    window_began: AtomicU64,
    written: AtomicU64,
    left_out: AtomicU64,
}

impl Sampler {
    /// Whether this line is written, and how many were not since the last one that was. Approximate at the edge of a second,
    /// where two threads may both open the window: a sample needs no lock.
    pub(super) fn may_write(&self, now: Monotonic) -> Option<u64> {
        let began = Monotonic::from_nanos(self.window_began.load(Ordering::Relaxed));
        if now.since(began) >= SECOND {
            self.window_began.store(now.as_nanos(), Ordering::Relaxed);
            self.written.store(0, Ordering::Relaxed);
        }
        if self.written.fetch_add(1, Ordering::Relaxed) < PER_SECOND {
            Some(self.left_out.swap(0, Ordering::Relaxed))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_sampled_and_what_was_left_out_is_told() {
        let sampler = Sampler::default();
        let now = Monotonic::from_nanos(5_000_000_000);
        let written = (0..1000).filter(|_| sampler.may_write(now).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(sampler.may_write(now.after(SECOND)), Some(900));
        assert_eq!(sampler.may_write(now.after(SECOND)), Some(0));
    }
}
