//! The rate-limit fields: what is left, told before it runs out.
//!
//! `RateLimit-Policy` and `RateLimit` are the structured fields of draft-ietf-httpapi-ratelimit-headers-10.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::key::RateLimit;
use crate::limit::LimitState;

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static STATE: HeaderName = HeaderName::from_static("ratelimit");
static LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A field's text, on the stack for one or two limits.
type Text = SmallVec<[u8; 256]>;

/// Writes both fields: `q` is the burst, `w` the seconds in which a whole burst comes back, `r` what is left, `t` the
/// seconds to the next unit.
pub(super) fn write<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
    let (mut policy, mut state) = (Text::new(), Text::new());
    for (limit, left) in limits {
        for text in [&mut policy, &mut state] {
            let separator: &[u8] = if text.is_empty() { b"\"" } else { b", \"" };
            text.extend_from_slice(separator);
            text.extend_from_slice(limit.name().as_bytes());
        }
        policy.extend_from_slice(b"\";q=");
        number(&mut policy, u64::from(limit.burst().get()));
        policy.extend_from_slice(b";w=");
        number(&mut policy, window(limit));
        state.extend_from_slice(b"\";r=");
        number(&mut state, u64::from(remaining(limit, left)));
        state.extend_from_slice(b";t=");
        number(&mut state, whole_seconds(left.next_unit));
    }
    if policy.is_empty() {
        return;
    }
    insert(headers, &POLICY, &policy);
    insert(headers, &STATE, &state);
}

/// Writes the older `X-RateLimit-*` fields of the limit that is nearest to its end: the burst, what is left of it, and
/// the seconds to the next unit.
pub(super) fn write_legacy<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
    // Compared as fractions without dividing: a/b < c/d when a*d < c*b.
    let nearest = limits.reduce(|nearest, next| {
        let share = |(one, state): (&RateLimit, LimitState), other: &RateLimit| {
            u64::from(remaining(one, state)) * u64::from(other.burst().get())
        };
        if share(next, nearest.0) < share(nearest, next.0) {
            next
        } else {
            nearest
        }
    });
    let Some((limit, left)) = nearest else { return };
    for (name, value) in [
        (&LEGACY_LIMIT, u64::from(limit.burst().get())),
        (&LEGACY_REMAINING, u64::from(remaining(limit, left))),
        (&LEGACY_RESET, whole_seconds(left.next_unit)),
    ] {
        let mut text = Text::new();
        number(&mut text, value);
        insert(headers, name, &text);
    }
}

/// Whether one of the limits has at most a tenth of its burst left.
pub(super) fn is_near_exhaustion<'a>(mut limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) -> bool {
    limits.any(|(limit, left)| u64::from(remaining(limit, left)) * 10 <= u64::from(limit.burst().get()))
}

/// In whole numbers, since the interval between two units is a rounded one: 7 a minute are `w=60`, not 61.
fn window(limit: &RateLimit) -> u64 {
    let units = u64::from(limit.burst().get());
    (units * limit.per().as_secs()).div_ceil(u64::from(limit.limit().get()))
}

/// Rounded up: who waits as long as told must not be told to wait again.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

pub(super) fn integer(value: u64) -> Option<HeaderValue> {
    let mut text = Text::new();
    number(&mut text, value);
    HeaderValue::from_bytes(&text).ok()
}

/// A limiter that reports more than there can be must not make the fields contradict each other.
fn remaining(limit: &RateLimit, left: LimitState) -> u32 {
    left.remaining.min(limit.burst().get())
}

fn insert(headers: &mut HeaderMap, name: &HeaderName, text: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        headers.insert(name, value);
    }
}

/// Decimal digits without the formatting machinery: this runs on every admitted response of a limited key.
fn number(text: &mut Text, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    text.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn limit(name: &str, limit: u32, seconds: u64, burst: u32) -> RateLimit {
        RateLimit::new(name, NonZeroU32::new(limit).unwrap(), Duration::from_secs(seconds))
            .unwrap()
            .with_burst(NonZeroU32::new(burst).unwrap())
    }

    fn fields(limits: &[(RateLimit, LimitState)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        write(&mut headers, limits.iter().map(|(limit, left)| (limit, *left)));
        write_legacy(&mut headers, limits.iter().map(|(limit, left)| (limit, *left)));
        headers
    }

    #[test]
    fn both_fields_list_every_limit() {
        let headers = fields(&[
            (
                limit("default", 100, 60, 100),
                LimitState::new(42, Duration::from_millis(16_001)),
            ),
            (limit("burst_2-x", 2, 1, 5), LimitState::new(9, Duration::ZERO)),
        ]);
        assert_eq!(
            headers["ratelimit-policy"],
            "\"default\";q=100;w=60, \"burst_2-x\";q=5;w=3"
        );
        assert_eq!(headers["ratelimit"], "\"default\";r=42;t=17, \"burst_2-x\";r=5;t=0");
        assert_eq!(headers["x-ratelimit-limit"], "100");
        assert_eq!(headers["x-ratelimit-remaining"], "42");
        assert_eq!(headers["x-ratelimit-reset"], "17");
    }

    #[test]
    fn a_key_without_limits_gets_no_fields() {
        assert!(fields(&[]).is_empty());
    }

    #[test]
    fn the_window_is_rounded_up() {
        for (rate, per, burst, window) in [
            (7, 60, 7, 60),
            (1_000, 1, 1, 1),
            (3, 10, 1, 4),
            (1, 2_678_400, 2, 5_356_800),
        ] {
            let headers = fields(&[(limit("a", rate, per, burst), LimitState::new(1, Duration::ZERO))]);
            assert_eq!(headers["ratelimit-policy"], format!("\"a\";q={burst};w={window}"));
        }
    }

    #[test]
    fn near_exhaustion_is_the_last_tenth() {
        let near =
            |left| is_near_exhaustion([(&limit("a", 100, 60, 100), LimitState::new(left, Duration::ZERO))].into_iter());
        assert!(near(0) && near(10) && !near(11));
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_written_as_everyone_writes_them(value: u64) {
            let mut text = Text::new();
            number(&mut text, value);
            proptest::prop_assert_eq!(std::str::from_utf8(&text).unwrap(), value.to_string());
        }
    }
}
