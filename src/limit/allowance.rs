//! What is left of the limits after a request was charged.

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

use crate::key::RateLimit;

/// As many limits are held without an allocation.
const INLINE: usize = 4;

/// What is left of every limit of a request: those of the key first, then those of its organization, in their order.
///
/// Up to four limits are held without an allocation.
#[derive(Clone, Debug, Default)]
pub struct Allowance(SmallVec<[LimitState; INLINE]>);

/// What is left of one limit.
///
/// Twelve bytes, since every admitted request carries four of them and is moved a dozen times: a [`Duration`] as it is
/// would double that.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitState {
    remaining: u32,
    seconds: u32,
    nanoseconds: u32,
}

/// Why a request does not fit: the limits as they stand, and which of them are exhausted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limited {
    /// Every limit of the request with its state, those of the key first.
    pub limits: Vec<(RateLimit, LimitState)>,
    /// Positions in [`limits`](Self::limits) of those that are exhausted, ascending. Of [`LocalLimiter`](super::LocalLimiter)
    /// at least one; none when another limiter does not tell which.
    pub violated: Vec<usize>,
    /// Until the same request could fit, if nobody else takes anything before: the longest wait of the violated limits.
    /// 31 days, the longest window there is, when a limit can never be met because one request costs more than its burst.
    pub retry_after: Duration,
}

impl Limited {
    /// The answer of a limiter that refuses.
    ///
    /// `limits` are all limits of the request with their states, those of the key first, as the charge has them. `violated`
    /// are the positions therein of those that are exhausted. `retry_after` is the time until the same request could fit;
    /// a client is told whole seconds, rounded up.
    ///
    /// A position that no limit has is left out, and so is one that was given before: a limiter's slip does not make an
    /// admission out of a refusal, nor a failure. The request is refused also when no position is left.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::limit::{Charge, Decision, LimitState, Limited, RateLimiter, Take};
    ///
    /// /// Admits nobody who has limits.
    /// struct Closed;
    ///
    /// impl RateLimiter for Closed {
    ///     fn take(&self, charge: &Charge<'_>) -> Take {
    ///         let wait = Duration::from_secs(60);
    ///         let limits = charge.key_limits.iter().chain(charge.organization_limits);
    ///         let limits: Vec<_> = limits.map(|limit| (limit.clone(), LimitState::new(0, wait))).collect();
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

    /// The state of the only limit.
    #[inline]
    pub(super) fn of_one(state: LimitState) -> Self {
        let mut states = [LimitState::default(); INLINE];
        states[0] = state;
        Self(SmallVec::from_buf_and_len(states, 1))
    }

    /// `count` states, all at zero.
    #[inline]
    pub(super) fn zeroed(count: usize) -> Self {
        if count <= INLINE {
            // An array written in place: half the cost of filling a vector.
            return Self(SmallVec::from_buf_and_len([LimitState::default(); INLINE], count));
        }
        Self(SmallVec::from_elem(LimitState::default(), count))
    }

    /// Sets the state of the limit at `position`.
    #[inline]
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
    /// A state. More than 136 years until the next unit count as so many.
    pub fn new(remaining: u32, next_unit: Duration) -> Self {
        Self {
            remaining,
            seconds: u32::try_from(next_unit.as_secs()).unwrap_or(u32::MAX),
            nanoseconds: next_unit.subsec_nanos(),
        }
    }

    /// Units that could be taken at once now; never above the burst.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Until the next unit comes back; zero when all are there.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_out_as_they_went_in() {
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
