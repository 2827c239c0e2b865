//! Rate limits as keys and organizations carry them.

mod text;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ConfigError, unlike};

/// Limits of one key or organization. Every request checks all of them, and its response lists them.
pub(crate) const MOST_LIMITS: usize = 16;

/// A named rate limit: a number of requests per window, and at most [`burst`](Self::burst) of them at once.
///
/// It is enforced as a cell rate (GCRA): in any span `T` at most `burst + limit × T / per` requests pass. The burst is
/// the limit unless set otherwise. A request takes one unit unless [`cost`](Self::cost) says otherwise.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::key::RateLimit;
///
/// let limit = RateLimit::per_minute("requests", 100)?; // the 101st at once is refused
/// assert_eq!((limit.limit().get(), limit.per()), (100, Duration::from_secs(60)));
/// assert_eq!(limit.interval(), Duration::from_millis(600)); // then one more every 600 ms
///
/// let smooth = RateLimit::per_second("writes", 2)?.burst(5)?;
/// assert_eq!(smooth.burst_size().get(), 5);
///
/// // As text, for configuration and command lines: a window is in seconds, minutes, hours or days.
/// assert_eq!("requests=100/60s".parse(), Ok(limit));
/// assert_eq!("writes=2/1s,burst=5".parse(), Ok(smooth.clone()));
/// assert_eq!(smooth.to_string(), "writes=2/1s,burst=5");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RateLimit {
    /// Clones share it, so that equal limits are mostly found equal by their pointers.
    name: Arc<str>,
    limit: NonZeroU32,
    per_seconds: NonZeroU32,
    burst: NonZeroU32,
    cost: NonZeroU32,
}

impl RateLimit {
    /// At most `limit` requests per second.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn per_second(name: &str, limit: u32) -> Result<Self, ConfigError> {
        Self::new(name, limit, Duration::from_secs(1))
    }

    /// At most `limit` requests per minute.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn per_minute(name: &str, limit: u32) -> Result<Self, ConfigError> {
        Self::new(name, limit, Duration::from_secs(60))
    }

    /// At most `limit` requests per hour.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn per_hour(name: &str, limit: u32) -> Result<Self, ConfigError> {
        Self::new(name, limit, Duration::from_secs(3_600))
    }

    /// At most `limit` requests per 24 hours, not per calendar day.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn per_day(name: &str, limit: u32) -> Result<Self, ConfigError> {
        Self::new(name, limit, Duration::from_secs(86_400))
    }

    /// At most `limit` requests per window of whole seconds.
    ///
    /// Responses report the limit under its name, which has to be unique across a key and its organization.
    ///
    /// # Errors
    /// When the name is not `[a-z0-9_-]{1,64}`, the limit is 0, or the window is not a whole number of seconds from 1
    /// second to 31 days.
    pub fn new(name: &str, limit: u32, per: Duration) -> Result<Self, ConfigError> {
        let fits = |_, c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
        let wrong = match unlike(name, fits) {
            None if name.is_empty() || name.len() > LONGEST_NAME => Some(format!("{} bytes", name.len())),
            wrong => wrong,
        };
        if let Some(wrong) = wrong {
            // The name is not shown: it may be a key that was pasted into the wrong place.
            let problem = format!("must match `[a-z0-9_-]{{1,{LONGEST_NAME}}}`, got {wrong}");
            return Err(ConfigError::new("rate limit name", problem));
        }
        let limit = at_least_one("rate limit", limit, "per window")?;
        let per_seconds = u32::try_from(per.as_secs())
            .ok()
            .filter(|seconds| per.subsec_nanos() == 0 && *seconds <= LONGEST_WINDOW)
            .and_then(NonZeroU32::new);
        let Some(per_seconds) = per_seconds else {
            let problem = format!("must be whole seconds between 1 second and 31 days, got {per:?}");
            return Err(ConfigError::new("rate limit window", problem));
        };
        Ok(Self {
            name: name.into(),
            limit,
            per_seconds,
            burst: limit,
            cost: NonZeroU32::MIN,
        })
    }

    /// Sets how many units may be taken at once. Default: the limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::key::RateLimit;
    ///
    /// let month = Duration::from_secs(31 * 86_400);
    /// let error = RateLimit::new("exports", 1, month)?.burst(7_000).unwrap_err();
    /// assert!(error.to_string().contains("at most 860"));
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// When it is 0, or so many that they would take more than 73 years to come back: no limiter could keep what it announces.
    pub fn burst(mut self, units: u32) -> Result<Self, ConfigError> {
        self.burst = at_least_one("rate limit burst", units, "unit")?;
        let most = LONGEST_BURST_WINDOW.as_nanos() / self.interval().as_nanos().max(1);
        if u128::from(units) > most {
            let problem = format!("must be at most {most}, which come back within 73 years at this rate, got {units}");
            return Err(ConfigError::new("rate limit burst", problem));
        }
        Ok(self)
    }

    /// Sets how many units a request takes. Default: 1.
    ///
    /// A cost above the burst never fits: every request is refused.
    ///
    /// # Errors
    /// When it is 0.
    pub fn cost(mut self, units: u32) -> Result<Self, ConfigError> {
        self.cost = at_least_one("rate limit cost", units, "unit")?;
        Ok(self)
    }

    /// Whether it admits no more than another one.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let rate = |limit: &Self, per: &Self| u64::from(limit.limit.get()) * u64::from(per.per_seconds.get());
        rate(self, other) <= rate(other, self) && self.burst <= other.burst && self.cost >= other.cost
    }

    /// The name under which responses report it.
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
    pub fn burst_size(&self) -> NonZeroU32 {
        self.burst
    }

    /// Units that one request takes.
    pub fn cost_per_request(&self) -> NonZeroU32 {
        self.cost
    }

    /// The time after which one unit comes back, rounded up to whole nanoseconds: rounded down, a large limit would let
    /// more through than [`limit`](Self::limit).
    pub fn interval(&self) -> Duration {
        let per = u64::from(self.per_seconds.get()) * 1_000_000_000;
        Duration::from_nanos(per.div_ceil(u64::from(self.limit.get())))
    }

    /// The time after which a whole burst has come back: at most 73 years.
    pub fn burst_window(&self) -> Duration {
        self.interval().saturating_mul(self.burst.get())
    }

    fn numbers(&self) -> [NonZeroU32; 4] {
        [self.limit, self.per_seconds, self.burst, self.cost]
    }
}

fn at_least_one(setting: &'static str, number: u32, of_what: &str) -> Result<NonZeroU32, ConfigError> {
    NonZeroU32::new(number).ok_or_else(|| ConfigError::new(setting, format!("must be at least 1 {of_what}, got 0")))
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

const LONGEST_NAME: usize = 64;
const LONGEST_WINDOW: u32 = 31 * 86_400;
/// 73 years: limiters calculate in nanoseconds of 64 bits, and times beyond this would overflow there.
const LONGEST_BURST_WINDOW: Duration = Duration::from_nanos(1 << 61);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_windows_are_checked() {
        for bad in ["", "A", "a b", "a\"", &"x".repeat(65)] {
            assert!(RateLimit::per_second(bad, 1).is_err(), "{bad:?}");
        }
        for (bad, wrong) in [
            ("", "0 bytes"),
            ("per minute", "a space at byte 4"),
            (&"x".repeat(65), "65 bytes"),
        ] {
            let error = RateLimit::per_second(bad, 1).unwrap_err();
            let said = format!("invalid rate limit name: must match `[a-z0-9_-]{{1,64}}`, got {wrong}");
            assert_eq!(error.to_string(), said);
        }
        for bad in [
            Duration::ZERO,
            Duration::from_millis(1500),
            Duration::from_secs(32 * 86_400),
            Duration::MAX,
        ] {
            assert!(RateLimit::new("a", 1, bad).is_err(), "{bad:?}");
        }
        let limit = || RateLimit::per_second("a", 1).unwrap();
        for (zero, setting) in [
            (RateLimit::per_day("a", 0), "rate limit"),
            (limit().burst(0), "rate limit burst"),
            (limit().cost(0), "rate limit cost"),
        ] {
            assert_eq!(zero.unwrap_err().setting(), setting);
        }
    }

    #[test]
    fn burst_is_what_comes_back_in_time() {
        let month = Duration::from_secs(31 * 86_400);
        let slow = || RateLimit::new("a", 1, month).unwrap();
        assert_eq!(slow().burst(860).unwrap().burst_size().get(), 860);
        for burst in [861, 7_000, u32::MAX] {
            let error = slow().burst(burst).unwrap_err();
            assert_eq!(error.setting(), "rate limit burst");
            assert!(error.to_string().contains("at most 860"), "{error}");
        }
        let fast = RateLimit::per_second("a", 1_000).unwrap();
        assert!(fast.burst(u32::MAX).is_ok());
    }

    #[test]
    fn constructors_name_their_window() {
        type Constructor = fn(&str, u32) -> Result<RateLimit, ConfigError>;
        let constructors: [(Constructor, u64); 4] = [
            (RateLimit::per_second, 1),
            (RateLimit::per_minute, 60),
            (RateLimit::per_hour, 3_600),
            (RateLimit::per_day, 86_400),
        ];
        for (constructor, seconds) in constructors {
            let expected = RateLimit::new("a", 7, Duration::from_secs(seconds));
            assert_eq!(constructor("a", 7), expected);
        }
    }

    #[test]
    fn intervals_make_the_limit_and_no_more() {
        let constructors = [
            RateLimit::per_second,
            RateLimit::per_minute,
            RateLimit::per_hour,
            RateLimit::per_day,
        ];
        for constructor in constructors {
            for count in [1, 2, 7, 700, 60_000, 60_001, 120_000, 1_000_000_001, u32::MAX] {
                let limit = constructor("a", count).unwrap();
                assert_eq!((limit.limit().get(), limit.burst_size().get()), (count, count));
                let (all, per) = (limit.interval().as_nanos() * u128::from(count), limit.per().as_nanos());
                // Never faster, and slower by less than a nanosecond for each unit.
                assert!(all >= per && all - per < u128::from(count), "{limit:?}");
            }
        }
        let two = RateLimit::per_second("a", 2).unwrap();
        assert_eq!(two.interval(), Duration::from_millis(500));
        assert_ne!(RateLimit::per_second("a", 1), RateLimit::per_minute("a", 60));
    }

    #[test]
    fn interval_is_never_zero() {
        let limit = RateLimit::per_second("a", u32::MAX).unwrap();
        assert_eq!(limit.interval(), Duration::from_nanos(1));
    }

    #[test]
    fn interval_is_rounded_up() {
        let limit = RateLimit::per_second("a", 3).unwrap();
        assert_eq!(limit.interval(), Duration::from_nanos(333_333_334));
    }
}
