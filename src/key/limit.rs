//! How often a key may be used.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;

/// A named rate: `limit` requests `per` window, with at most `burst` at once.
///
/// It is enforced as a cell rate (GCRA): in any span `T`, at most `burst + limit × T / per` requests pass, which is what
/// people mean by a sliding window. Each request costs [`cost`](Self::cost) units.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use tower_api_key::key::RateLimit;
///
/// let two = NonZeroU32::new(2).unwrap();
/// let limit = RateLimit::new("requests", two, Duration::from_secs(1))?.with_burst(NonZeroU32::new(5).unwrap());
/// assert_eq!(limit.interval(), Duration::from_millis(500));
/// assert_eq!(limit.burst().get(), 5);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RateLimit {
    /// Shared by clones: a limiter that keeps one sees without looking at the text that it is still of this limit.
    name: Arc<str>,
    limit: NonZeroU32,
    per_seconds: NonZeroU32,
    burst: NonZeroU32,
    cost: NonZeroU32,
}

impl RateLimit {
    /// `limit` requests per window of whole seconds; burst equals `limit`, cost is 1.
    ///
    /// The name is `[a-z0-9_-]{1,64}` and unique across a key and its organization.
    ///
    /// # Errors
    /// When the name does not fit, or the window is not a whole number of seconds from 1 to 31 days.
    pub fn new(name: &str, limit: NonZeroU32, per: Duration) -> Result<Self, ConfigError> {
        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            return Err(ConfigError::new(
                "rate limit name",
                format!("{name:?} is not `[a-z0-9_-]{{1,64}}`"),
            ));
        }
        let per_seconds = u32::try_from(per.as_secs())
            .ok()
            .filter(|seconds| per.subsec_nanos() == 0 && *seconds <= 31 * 86_400)
            .and_then(NonZeroU32::new)
            .ok_or_else(|| ConfigError::new("rate limit window", "must be whole seconds, from 1 second to 31 days"))?;
        Ok(Self {
            name: name.into(),
            limit,
            per_seconds,
            burst: limit,
            cost: NonZeroU32::MIN,
        })
    }

    /// Allows at most `burst` units at once.
    #[must_use]
    pub fn with_burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = burst;
        self
    }

    /// Makes each request cost `cost` units. A cost above the burst can never be met: every request is refused then.
    #[must_use]
    pub fn with_cost(mut self, cost: NonZeroU32) -> Self {
        self.cost = cost;
        self
    }

    /// The name under which it is reported.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Units per window.
    pub fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// The window.
    pub fn per(&self) -> Duration {
        Duration::from_secs(u64::from(self.per_seconds.get()))
    }

    /// Units that may be taken at once.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// Units that one request takes.
    pub fn cost(&self) -> NonZeroU32 {
        self.cost
    }

    /// The time in which one unit comes back, in whole nanoseconds. It is rounded up: rounded down it would let through
    /// more than [`limit`](Self::limit), a tenth more at 300 million per second.
    pub fn interval(&self) -> Duration {
        let per = u64::from(self.per_seconds.get()) * 1_000_000_000;
        Duration::from_nanos(per.div_ceil(u64::from(self.limit.get())))
    }

    /// The time in which a whole burst comes back.
    pub fn burst_window(&self) -> Duration {
        self.interval().saturating_mul(self.burst.get())
    }
}

impl RateLimit {
    fn numbers(&self) -> [NonZeroU32; 4] {
        [self.limit, self.per_seconds, self.burst, self.cost]
    }
}

impl PartialEq for RateLimit {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers() && (Arc::ptr_eq(&self.name, &other.name) || self.name == other.name)
    }
}

impl Eq for RateLimit {}

impl Hash for RateLimit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.numbers().hash(state);
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RateLimit({}: {} per {}s, burst {}, cost {})",
            self.name, self.limit, self.per_seconds, self.burst, self.cost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_windows_are_checked() {
        let one = NonZeroU32::MIN;
        for bad in ["", "A", "a b", "a\"", &"x".repeat(65)] {
            assert!(RateLimit::new(bad, one, Duration::from_secs(1)).is_err(), "{bad:?}");
        }
        for bad in [
            Duration::ZERO,
            Duration::from_millis(1500),
            Duration::from_secs(32 * 86_400),
        ] {
            assert!(RateLimit::new("a", one, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_interval_is_never_zero() {
        let limit = RateLimit::new("a", NonZeroU32::MAX, Duration::from_secs(1)).unwrap();
        assert_eq!(limit.interval(), Duration::from_nanos(1));
    }

    #[test]
    fn an_interval_is_rounded_up() {
        let limit = RateLimit::new("a", NonZeroU32::new(3).unwrap(), Duration::from_secs(1)).unwrap();
        assert_eq!(limit.interval(), Duration::from_nanos(333_333_334));
    }
}
