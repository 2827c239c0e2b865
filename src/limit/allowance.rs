//! What is left of the limits of a request.

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

use crate::key::RateLimit;

/// What is left of each limit of an allowed request: those of the key first, then those of its organization.
///
/// Up to four limits are held without an allocation.
#[derive(Clone, Debug, Default)]
pub struct Allowance(SmallVec<[LimitState; INLINE]>);

/// What is left of one limit.
///
/// Every allowed request carries four of them, so the time is kept in two words: as a [`Duration`] it would take twice
/// the room.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitState {
    remaining: u32,
    seconds: u32,
    nanoseconds: u32,
}

/// The state of all limits of a request that does not fit, and which of them are exhausted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limited {
    /// Each limit of the request with its state, those of the key first.
    pub limits: Vec<(RateLimit, LimitState)>,
    /// The positions in [`limits`](Self::limits) of the exhausted ones, ascending. [`LocalLimiter`](super::LocalLimiter)
    /// names at least one; another limiter may name none.
    pub violated: Vec<usize>,
    /// The time until the same request fits if nothing else is taken: the longest wait of the exhausted limits. It is 31
    /// days, the longest window there is, when a request costs more than a limit's burst and so never fits.
    pub retry_after: Duration,
}

impl Limited {
    /// The answer of a limiter to a request that does not fit.
    ///
    /// `limits` are all limits of the request in the order of [`Charge::limits`](super::Charge::limits), with their states.
    /// `violated` are the positions of the exhausted ones. `retry_after` is the time until the same request fits;
    /// responses round it up to whole seconds.
    ///
    /// Positions without a limit and repeated ones are left out. The request is refused even if none remains.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::limit::{Charge, Decision, LimitState, Limited, RateLimiter, Take};
    ///
    /// /// Refuses all keys that have limits.
    /// struct Closed;
    ///
    /// impl RateLimiter for Closed {
    ///     fn take(&self, charge: &Charge<'_>) -> Take {
    ///         let wait = Duration::from_secs(60);
    ///         let limits: Vec<_> = charge.limits().map(|limit| (limit.clone(), LimitState::new(0, wait))).collect();
    ///         let all = 0..limits.len();
    ///         Take::Now(Decision::Limited(Box::new(Limited::new(limits, all, wait))))
    ///     }
    /// }
    /// ```
    pub fn new(
        limits: Vec<(RateLimit, LimitState)>,
        violated: impl IntoIterator<Item = usize>,
        retry_after: Duration,
    ) -> Self {
        let mut violated: Vec<usize> = violated.into_iter().filter(|place| *place < limits.len()).collect();
        violated.sort_unstable();
        violated.dedup();
        Self {
            limits,
            violated,
            retry_after,
        }
    }
}

impl Allowance {
    /// The states, in the order of the limits.
    pub fn states(&self) -> &[LimitState] {
        &self.0
    }

    /// `count` states, all at zero.
    pub(super) fn zeroed(count: usize) -> Self {
        Self(SmallVec::from_elem(LimitState::default(), count))
    }

    /// Sets the state of the limit at `position`.
    pub(super) fn set(&mut self, position: usize, state: LimitState) {
        if let Some(place) = self.0.get_mut(position) {
            *place = state;
        }
    }
}

impl FromIterator<LimitState> for Allowance {
    fn from_iter<I: IntoIterator<Item = LimitState>>(states: I) -> Self {
        Self(states.into_iter().collect())
    }
}

impl LimitState {
    /// A state with so many units left and this time until the next one, which is cut to 136 years.
    pub fn new(remaining: u32, next_unit: Duration) -> Self {
        Self {
            remaining,
            seconds: u32::try_from(next_unit.as_secs()).unwrap_or(u32::MAX),
            nanoseconds: next_unit.subsec_nanos(),
        }
    }

    /// Units that could be taken at once now, at most the burst.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// The time until the next unit comes back; zero when none is missing.
    pub fn next_unit(&self) -> Duration {
        Duration::new(u64::from(self.seconds), self.nanoseconds)
    }
}

impl fmt::Debug for LimitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitState")
            .field("remaining", &self.remaining)
            .field("next_unit", &self.next_unit())
            .finish()
    }
}

/// Up to this many limits are held without an allocation.
const INLINE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_nanosecond() {
        for time in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_millis(1_999),
            Duration::new(u64::from(u32::MAX), 999_999_999),
        ] {
            assert_eq!(LimitState::new(7, time).next_unit(), time);
        }
        let longest = LimitState::new(7, Duration::MAX);
        assert_eq!(longest.next_unit(), Duration::new(u64::from(u32::MAX), 999_999_999));
    }
}
