//! What a request leaves in a cached key.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use foldhash::fast::FixedState;

use super::rows::SecretUse;
use crate::clock::Monotonic;
use crate::key::Scope;

/// The requests of a cached key since they were stored, and when the last one was. A warm check adds one and stores the time.
#[derive(Default)]
pub(crate) struct UseCounter {
    requests: AtomicU32,
    /// In units of 2^20 nanoseconds, so that it takes 32 bits. It begins anew every 52 days; the
    /// difference to now counts, up to half of that.
    used_at: AtomicU32,
    /// Which scopes were noted last, and when.
    scopes: AtomicU32,
}

/// Something with a counter, from which what was counted is stored.
pub(crate) trait Counted: Send + Sync {
    /// What was counted, which starts anew.
    fn take(&self) -> Option<SecretUse>;

    /// What was counted so far.
    fn peek(&self) -> Option<SecretUse>;
}

impl UseCounter {
    /// Counts a request. Whether it is the first since the counter was taken: then it has to be registered.
    pub(crate) fn add(&self, now: Monotonic) -> bool {
        self.used_at.store(units(now), Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// The number of requests, which starts anew, and the last one's time.
    pub(crate) fn take(&self) -> (u32, LastUsed) {
        (self.requests.swap(0, Ordering::Relaxed), self.last_used())
    }

    /// The same without a new start.
    pub(crate) fn peek(&self) -> (u32, LastUsed) {
        (self.requests.load(Ordering::Relaxed), self.last_used())
    }

    /// Whether these scopes may have to be noted: others were noted last, or it was another round.
    pub(super) fn is_new(&self, scopes: &[Scope], round: u32) -> bool {
        let mark = FixedState::default().hash_one((scopes, round)) as u32 | 1;
        if self.scopes.load(Ordering::Relaxed) == mark {
            return false;
        }
        self.scopes.store(mark, Ordering::Relaxed);
        true
    }

    fn last_used(&self) -> LastUsed {
        LastUsed(self.used_at.load(Ordering::Relaxed))
    }
}

/// When a counter was last used.
pub(crate) struct LastUsed(u32);

impl LastUsed {
    /// How long ago that was. `now` must have been read after it.
    pub(crate) fn ago(&self, now: Monotonic) -> Duration {
        let units = units(now).wrapping_sub(self.0);
        // A clock that a test turned back.
        let units = if units > u32::MAX / 2 { 0 } else { units };
        Duration::from_nanos(u64::from(units) << UNIT)
    }
}

const UNIT: u32 = 20;

fn units(time: Monotonic) -> u32 {
    (time.as_nanos() >> UNIT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_use_is_as_long_ago_as_it_was_on_either_side_of_a_wrap() {
        let start = u64::from(u32::MAX - 5) << UNIT;
        let at = |seconds: u64| Monotonic::from_nanos(start + seconds * 1_000_000_000);
        let counter = UseCounter::default();
        assert!(counter.add(at(0)));
        assert!(!counter.add(at(0)));
        let (requests, last) = counter.take();
        assert_eq!(requests, 2);
        let ago = last.ago(at(60));
        assert!(
            ago.abs_diff(Duration::from_secs(60)) < Duration::from_millis(2),
            "{ago:?}"
        );
        assert!(counter.add(at(1)));
    }

    #[test]
    fn scopes_are_new_once_in_a_round() {
        let counter = UseCounter::default();
        let [one, two]: [Scope; 2] = ["orders:read", "orders:write"].map(|scope| scope.parse().unwrap());
        let is_new = |scope: &Scope, round| counter.is_new(std::slice::from_ref(scope), round);
        assert!(is_new(&one, 1) && !is_new(&one, 1));
        assert!(is_new(&two, 1) && is_new(&two, 2));
    }
}
