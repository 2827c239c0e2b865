//! Dates, as milliseconds since 1970.

use std::fmt;
use std::time::Duration;

/// A date in milliseconds since 1970-01-01T00:00:00Z; `Display` writes RFC 3339 with whole seconds.
///
/// ```
/// use tower_api_key::key::Timestamp;
///
/// let time = Timestamp::from_millis(1_767_225_600_000);
/// assert_eq!(time.to_string(), "2026-01-01T00:00:00Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The date `millis` milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The date `duration` later, or the end of time.
    pub fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff's range ends at year 9999; a date beyond it (a key that never expires, by someone's convention) is
        // shown as that end rather than refused.
        let seconds = self.0.div_euclid(1000);
        let shown = jiff::Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{shown:.0}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_beyond_the_calendar_are_shown_not_panicked_over() {
        assert!(Timestamp::from_millis(i64::MAX).to_string().starts_with("9999-12-3"));
        assert!(!Timestamp::from_millis(i64::MIN).to_string().is_empty());
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59Z");
    }
}
