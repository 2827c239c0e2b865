//! The arithmetic of one limit: governor decides, on a state that is kept elsewhere.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::clock::Monotonic;
use crate::key::RateLimit;
use crate::limit::LimitState;

/// The time of a request in nanoseconds, at most [`LATEST`].
pub(super) fn nanoseconds(now: Monotonic) -> u64 {
    now.as_nanos().min(LATEST)
}

/// A limit in the terms of the generic cell rate algorithm (GCRA, ITU-T I.371), in nanoseconds.
///
/// Its state is one *arrival time*, the theoretical arrival time of the algorithm: the time at which everything that was
/// taken will have come back. A bucket is full when its arrival time is not after `now`.
#[derive(Clone, Copy)]
pub(super) struct CellRate {
    interval: u64,
    window: u64,
    burst: NonZeroU32,
    cost: NonZeroU32,
}

impl CellRate {
    pub(super) fn new(limit: &RateLimit) -> Self {
        let interval = u64::try_from(limit.interval().as_nanos()).unwrap_or(u64::MAX);
        let interval = interval.clamp(1, LONGEST_WINDOW);
        // No limit has a larger burst than this. If one had, `interval x burst` would overflow inside governor: a panic in a
        // debug build, a wrong limit in a release build.
        let longest_burst = u32::try_from(LONGEST_WINDOW / interval).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(longest_burst).map_or(NonZeroU32::MIN, |longest| longest.min(limit.burst_size()));
        Self {
            interval,
            window: interval * u64::from(burst.get()),
            burst,
            cost: limit.cost_per_request(),
        }
    }

    /// The time after which a whole burst has come back. No arrival time is later than `now` plus this.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// What distinguishes this rate from others, apart from the cost of a request.
    pub(super) fn parameters(&self) -> (u64, u64) {
        (self.interval, self.window)
    }

    /// The arrival time after a request was taken; `None` when it does not fit.
    pub(super) fn take(&self, arrival: u64, now: u64) -> Option<u64> {
        let limiter = self.limiter(arrival, now)?;
        match limiter.check_n(self.cost) {
            Ok(Ok(())) => Some(limiter.into_state_store().0.get()),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// The time until a request fits; `None` when it fits now.
    pub(super) fn wait(&self, arrival: u64, now: u64) -> Option<Duration> {
        let Some(limiter) = self.limiter(arrival, now) else {
            return Some(NEVER_FITS);
        };
        match limiter.check_n(self.cost) {
            Ok(Ok(())) => None,
            Ok(Err(until)) => Some(until.wait_time_from(Nanos::new(now))),
            Err(_) => Some(NEVER_FITS),
        }
    }

    /// A limiter over this state for one decision; `None` when a request costs more than the burst. governor checks that
    /// too, but after a multiplication that overflows for very large costs.
    fn limiter(&self, arrival: u64, now: u64) -> Option<OneDecision> {
        if self.cost > self.burst {
            return None;
        }
        let quota = Quota::with_period(Duration::from_nanos(self.interval))?.allow_burst(self.burst);
        let clock = GivenClock {
            reading: Cell::new(0),
            now,
        };
        Some(RateLimiter::new(quota, Scratch(Cell::new(arrival)), clock))
    }

    /// What is left when the state is `arrival`.
    pub(super) fn state(&self, arrival: u64, now: u64) -> LimitState {
        let taken = arrival.saturating_sub(now);
        if taken == 0 {
            return LimitState::new(self.burst.get(), Duration::ZERO);
        }
        let (left, next_unit) = match self.window.checked_sub(taken) {
            Some(left) => (left / self.interval, self.interval - left % self.interval),
            // This request is older than one that was taken before.
            None => (0, taken - self.window + self.interval),
        };
        let remaining = u32::try_from(left).unwrap_or(u32::MAX).min(self.burst.get());
        LimitState::new(remaining, Duration::from_nanos(next_unit))
    }
}

type OneDecision = RateLimiter<NotKeyed, Scratch, GivenClock, NoOpMiddleware<Nanos>>;

/// A state that governor gets for one decision.
struct Scratch(Cell<u64>);

impl StateStore for Scratch {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, arrival) = f(Some(Nanos::new(self.0.get())))?;
        self.0.set(arrival.as_u64());
        Ok(outcome)
    }
}

/// A clock that reads zero once and `now` from then on.
///
/// governor counts time from the reading in its constructor. Because that one is zero, arrival times are absolute, and
/// the next limiter that is built over them understands them.
struct GivenClock {
    reading: Cell<u64>,
    now: u64,
}

impl clock::Clock for GivenClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.reading.replace(self.now))
    }
}

/// The latest time that can be calculated with, in nanoseconds: 146 years after the clock's start. Later times count as
/// this one, so that no sum overflows and the highest bit of an arrival time stays free.
const LATEST: u64 = 1 << 62;

/// The longest time in which a whole burst may come back, in nanoseconds: 73 years, as `RateLimit::burst` has it.
const LONGEST_WINDOW: u64 = 1 << 61;

/// The wait for a request that costs more than the burst: it never fits, which no header can say.
const NEVER_FITS: Duration = Duration::from_secs(31 * 86_400);

#[cfg(test)]
mod tests {
    use governor::clock::Clock;

    use super::*;

    struct CountingClock(Cell<u32>);

    impl Clock for CountingClock {
        type Instant = Nanos;

        fn now(&self) -> Nanos {
            self.0.set(self.0.get() + 1);
            Nanos::new(0)
        }
    }

    #[test]
    fn governor_reads_its_clock_once_to_start_and_once_a_check() {
        type Limiter = RateLimiter<NotKeyed, Scratch, CountingClock, NoOpMiddleware<Nanos>>;
        let quota = Quota::per_second(NonZeroU32::MIN);
        let limiter = Limiter::new(quota, Scratch(Cell::new(0)), CountingClock(Cell::new(0)));
        assert_eq!(
            limiter.clock().0.get(),
            1,
            "GivenClock is at zero for the constructor alone"
        );
        assert!(limiter.check_n(NonZeroU32::MIN).is_ok());
        assert_eq!(limiter.clock().0.get(), 2);
    }
}
