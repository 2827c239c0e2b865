//! Points in time, to the millisecond.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use jiff::civil::DateTime;

use crate::error::ParseError;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// Its text form is RFC 3339 in UTC, with milliseconds only where there are some. Reading accepts any RFC 3339 date and
/// time: every offset, and digits beyond the millisecond, which are dropped. A leap second, `23:59:60` in UTC, is the
/// second before it.
///
/// Text covers the years 0000 to 9999 in UTC, as RFC 3339 does. `Display` shows a time outside of that range as the nearest
/// end of it; serializing one (feature `serde`) is an error. Arithmetic saturates at the ends of [`i64`].
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_api_key::key::Timestamp;
///
/// let time: Timestamp = "2026-01-01T01:30:00.250+01:30".parse()?;
/// assert_eq!(time.as_millis(), 1_767_225_600_250);
/// assert_eq!(time.to_string(), "2026-01-01T00:00:00.250Z");
/// assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_767_225_600_250)), time);
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest time there is.
    pub const MAX: Self = Self(i64::MAX);

    /// The time on the system's clock, which can be set back.
    ///
    /// What decides about keys reads a [`Clock`](crate::Clock) instead.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The time `millis` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time `duration` later; the latest time there is when that is too late.
    pub fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time `duration` earlier; the earliest time there is when that is too early.
    pub(crate) fn before(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Whether the text form has this time.
    pub(crate) fn has_text(self) -> bool {
        TEXT.contains(&self.0)
    }

    /// The date and time in UTC, or the nearest that RFC 3339 can write.
    fn civil(self) -> DateTime {
        let nearest = if self.0 < 0 { FIRST } else { LAST };
        let date = EPOCH
            .checked_add(SignedDuration::from_millis(self.0))
            .unwrap_or(nearest);
        date.clamp(FIRST, LAST)
    }
}

/// Drops what is finer than a millisecond: the result is never later than the time.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(0).after(after),
            Err(before) => {
                let millis = before.duration().as_nanos().div_ceil(1_000_000);
                Self(i64::try_from(millis).map_or(i64::MIN, |millis| -millis))
            }
        }
    }
}

/// Fails for times that the system's clock cannot show; on Linux and macOS there are none.
impl TryFrom<Timestamp> for SystemTime {
    type Error = ParseError;

    fn try_from(time: Timestamp) -> Result<Self, ParseError> {
        let distance = Duration::from_millis(time.0.unsigned_abs());
        let time = if time.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        time.ok_or_else(|| ParseError::new("timestamp", "is outside of what the system's clock can show"))
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        read(text).ok_or_else(|| {
            ParseError::new(
                "timestamp",
                "must be an RFC 3339 date and time of the years 0000 to 9999, as in 2026-01-31T23:59:59Z",
            )
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.civil();
        if date.subsec_nanosecond() == 0 {
            write!(f, "{date:.0}Z")
        } else {
            write!(f, "{date:.3}Z")
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `2026-01-31T23:59:59[.123…](Z|+01:00)`. jiff reads more than RFC 3339 has, so the form is checked here.
fn read(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(19)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_form = date.bytes().enumerate().all(|(position, byte)| match position {
        4 | 7 => byte == b'-',
        10 => matches!(byte, b'T' | b't'),
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let offset_at = rest.find(['Z', 'z', '+', '-'])?;
    let (fraction, offset) = rest.split_at_checked(offset_at)?;
    if !has_form || !(fraction.is_empty() || digits(fraction.strip_prefix('.')?)) {
        return None;
    }
    let is_leap = date.ends_with("60");
    let date: DateTime = date.parse().ok()?;
    // Three digits are milliseconds; of what is not there, zeros.
    let millis: String = fraction.chars().skip(1).chain("000".chars()).take(3).collect();
    let millis: i64 = millis.parse().ok()?;
    let since = date
        .duration_since(EPOCH)
        .as_secs()
        .checked_sub(offset_seconds(offset)?)?;
    // jiff reads every second 60 as 59. Leap seconds are only at the end of a day in UTC.
    if is_leap && since.rem_euclid(86_400) != 86_399 {
        return None;
    }
    let time = Timestamp(since.checked_mul(1000)?.checked_add(millis)?);
    time.has_text().then_some(time)
}

/// `Z`, or `+hh:mm` and `-hh:mm`.
fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, time) = text.split_at_checked(1)?;
    let (hours, minutes) = time.split_once(':')?;
    let number = |text: &str, below: i64| {
        let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &i64| fits && *number < below)
    };
    let seconds = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    match sign {
        "+" => Some(seconds),
        "-" => Some(-seconds),
        _ => None,
    }
}

/// [`FIRST`] to [`LAST`], in milliseconds.
const TEXT: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const FIRST: DateTime = DateTime::constant(0, 1, 1, 0, 0, 0, 0);
const LAST: DateTime = DateTime::constant(9999, 12, 31, 23, 59, 59, 999_000_000);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_outside_of_the_calendar_show_its_ends() {
        let of = |millis| Timestamp::from_millis(millis).to_string();
        assert_eq!(of(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(of(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(of(-1), "1969-12-31T23:59:59.999Z");
        for (end, text) in [(*TEXT.start(), FIRST), (*TEXT.end(), LAST)] {
            let time = Timestamp::from_millis(end);
            assert!(time.has_text() && time.civil() == text);
        }
        for outside in [*TEXT.start() - 1, *TEXT.end() + 1, i64::MIN, i64::MAX] {
            assert!(!Timestamp::from_millis(outside).has_text());
        }
    }

    #[test]
    fn text_reads_as_rfc_3339_has_it() {
        // The first five are the examples of RFC 3339, section 5.8; a leap second is the second before it.
        for (text, millis) in [
            ("1985-04-12T23:20:50.52Z", 482_196_050_520),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("1990-12-31T23:59:60Z", 662_687_999_000),
            ("1990-12-31T15:59:60-08:00", 662_687_999_000),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01T00:00:00.0019999Z", 1),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("1990-12-31T23:59:60.5Z", 662_687_999_500),
            ("1969-12-31T23:59:60Z", -1_000),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-02T00:00:00+23:59", 60_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_text_is_an_error() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00Z[UTC]",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00++1:00",
            "2026-02-30T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "+002026-01-01T00:00:00Z",
            "-000001-01-01T00:00:00Z",
            "2026-01-01T00:00:0\u{660}Z",
            "1767225600000",
            "2026-01-01T00:00:00ZZ",
            "2026-01-01T00:00:00Z!!!!Z",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z\n",
            "2026-01-01T00:00:00+05",
            "2026-01-01T00:00:00+05:60",
            "2026-01-01T00:00:00+05:30:15",
            "20260101T000000Z",
            "2026-02-29T00:00:00Z",
            // No leap second is here.
            "2020-01-01T12:30:60Z",
            "1990-12-31T23:59:60+01:00",
            "2020-01-01T23:59:61Z",
            // Years that UTC has no text for.
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
            "+10000-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
            &format!("2026-01-01T00:00:00.{}", "1".repeat(10_000)),
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn system_times_convert_without_rounding_up() {
        let before = UNIX_EPOCH - Duration::from_micros(1_500);
        assert_eq!(Timestamp::from(before).as_millis(), -2);
        assert_eq!(
            Timestamp::from(UNIX_EPOCH + Duration::from_micros(1_500)).as_millis(),
            1
        );
    }

    proptest! {
        #[test]
        fn text_and_system_time_lead_back(millis in -62_167_219_200_000_i64..253_402_300_800_000) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            let system = SystemTime::try_from(time);
            prop_assert_eq!(system.map(Timestamp::from), Ok(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9TtZz:.+ -]{0,40}|\\PC{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
