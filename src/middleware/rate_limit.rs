//! The rate-limit fields: what is left, told before it runs out.
//!
//! `RateLimit-Policy` and `RateLimit` are the structured fields of draft-ietf-httpapi-ratelimit-headers-10.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::key::RateLimit;
use crate::limit::LimitState;

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static STATE: HeaderName = HeaderName::from_static("ratelimit");
static LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The fields of one answer, ready to be written.
pub(super) struct Fields {
    policy: HeaderValue,
    state: HeaderValue,
    legacy: Option<Box<HeaderMap>>,
}

impl Fields {
    /// `q` is the burst, `w` the seconds in which a whole burst comes back, `r` what is left, `t` the seconds to the next
    /// unit. Nothing when there are no limits.
    pub(super) fn new<'a>(limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) -> Option<Self> {
        let (mut policy, mut state) = (Text::new(), Text::new());
        let mut before = "\"";
        for (limit, left) in limits {
            policy.begin(before, limit.name());
            policy.parameter("\";q=", u64::from(limit.burst_size().get()));
            policy.parameter(";w=", window(limit));
            state.begin(before, limit.name());
            state.parameter("\";r=", u64::from(remaining(limit, left)));
            state.parameter(";t=", whole_seconds(left.next_unit()));
            before = ", \"";
        }
        if policy.is_empty() {
            return None;
        }
        Some(Self {
            policy: policy.value()?,
            state: state.value()?,
            legacy: None,
        })
    }

    /// Adds the older fields.
    pub(super) fn add_legacy<'a>(&mut self, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
        write_legacy(self.legacy.insert(Box::default()), limits);
    }

    /// Writes the fields into an answer.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        headers.insert(&POLICY, self.policy);
        headers.insert(&STATE, self.state);
        if let Some(legacy) = self.legacy {
            headers.extend(*legacy);
        }
    }
}

/// The text of a field, put together without the formatting machinery and without a call for each piece: this runs on every
/// admitted response of a limited key.
struct Text {
    /// On the stack while it fits, which it does for a few limits.
    bytes: [u8; ROOM],
    length: usize,
    /// What came before `bytes`, when there was more.
    front: Vec<u8>,
}

const ROOM: usize = 192;
/// What one limit takes at most: its name of 64 bytes, the four characters before it, and two numbers of 20 digits with
/// the four characters before each.
const LONGEST_ITEM: usize = 4 + 64 + 2 * (4 + DIGITS);
const DIGITS: usize = 20;

impl Text {
    fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            length: 0,
            front: Vec::new(),
        }
    }

    /// A limit's name; its parameters follow.
    #[inline(always)]
    fn begin(&mut self, before: &str, name: &str) {
        if self.length + LONGEST_ITEM > ROOM {
            self.front
                .extend_from_slice(self.bytes.get(..self.length).unwrap_or_default());
            self.length = 0;
        }
        self.push(before.as_bytes());
        self.push(name.as_bytes());
    }

    #[inline(always)]
    fn parameter(&mut self, name: &str, value: u64) {
        self.push(name.as_bytes());
        let count = digits(value);
        if let Some(place) = self.bytes.get_mut(self.length..self.length + count) {
            write_digits(place, value);
            self.length += count;
        }
    }

    #[inline(always)]
    fn push(&mut self, text: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + text.len()) {
            place.copy_from_slice(text);
            self.length += text.len();
        }
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn value(&self) -> Option<HeaderValue> {
        let bytes = self.bytes.get(..self.length)?;
        if self.front.is_empty() {
            return HeaderValue::from_bytes(bytes).ok();
        }
        HeaderValue::from_bytes(&[&self.front, bytes].concat()).ok()
    }
}

/// Writes both fields, if there are limits.
pub(super) fn write<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
    if let Some(fields) = Fields::new(limits) {
        fields.write(headers);
    }
}

/// Writes the older `X-RateLimit-*` fields of the limit that is nearest to its end: the burst, what is left of it, and
/// the seconds to the next unit.
pub(super) fn write_legacy<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
    // Compared as fractions without dividing: a/b < c/d when a*d < c*b.
    let nearest = limits.reduce(|nearest, next| {
        let share = |(one, state): (&RateLimit, LimitState), other: &RateLimit| {
            u64::from(remaining(one, state)) * u64::from(other.burst_size().get())
        };
        if share(next, nearest.0) < share(nearest, next.0) {
            next
        } else {
            nearest
        }
    });
    let Some((limit, left)) = nearest else { return };
    for (name, value) in [
        (&LEGACY_LIMIT, u64::from(limit.burst_size().get())),
        (&LEGACY_REMAINING, u64::from(remaining(limit, left))),
        (&LEGACY_RESET, whole_seconds(left.next_unit())),
    ] {
        if let Some(value) = integer(value) {
            headers.insert(name, value);
        }
    }
}

/// Whether one of the limits has at most a tenth of its burst left.
pub(super) fn is_near_exhaustion<'a>(mut limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) -> bool {
    limits.any(|(limit, left)| u64::from(remaining(limit, left)) * 10 <= u64::from(limit.burst_size().get()))
}

/// In whole numbers, since the interval between two units is a rounded one: 7 a minute are `w=60`, not 61.
fn window(limit: &RateLimit) -> u64 {
    let units = u64::from(limit.burst_size().get());
    (units * limit.per().as_secs()).div_ceil(u64::from(limit.limit().get()))
}

/// Rounded up: who waits as long as told must not be told to wait again.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

pub(super) fn integer(value: u64) -> Option<HeaderValue> {
    let mut text = [0; DIGITS];
    let text = text.get_mut(..digits(value))?;
    write_digits(text, value);
    HeaderValue::from_bytes(text).ok()
}

/// A limiter that reports more than there can be must not make the fields contradict each other.
fn remaining(limit: &RateLimit, left: LimitState) -> u32 {
    left.remaining().min(limit.burst_size().get())
}

/// How many decimal digits a number has.
fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |power| power as usize + 1)
}

/// Fills the text with the last digits of a number.
fn write_digits(text: &mut [u8], mut value: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn limit(name: &str, limit: u32, seconds: u64, burst: u32) -> RateLimit {
        let limit = RateLimit::new(name, limit, Duration::from_secs(seconds)).unwrap();
        limit.burst(burst).unwrap()
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
    fn many_limits_of_long_names_are_all_told() {
        let names: Vec<String> = (0..9).map(|number| number.to_string().repeat(64)).collect();
        for count in 1..=names.len() {
            let limits: Vec<(RateLimit, LimitState)> = names[..count]
                .iter()
                .map(|name| (limit(name, 100, 60, 100), LimitState::new(42, Duration::from_secs(16))))
                .collect();
            let headers = fields(&limits);
            let all = |text: &str| -> Vec<String> { names[..count].iter().map(|n| format!("\"{n}\"{text}")).collect() };
            assert_eq!(headers["ratelimit-policy"], all(";q=100;w=60").join(", "));
            assert_eq!(headers["ratelimit"], all(";r=42;t=16").join(", "));
        }
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
            proptest::prop_assert_eq!(integer(value).unwrap(), value.to_string());
        }
    }
}
