//! The rate-limit headers.
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

/// The headers of one response, ready to be written.
pub(super) struct Prepared {
    policy: HeaderValue,
    state: HeaderValue,
    legacy: Option<Box<HeaderMap>>,
}

impl Prepared {
    /// `q` is the burst, `w` the seconds in which a whole burst is refilled, `r` what remains of it, `t` the seconds until
    /// the next unit. `None` without limits.
    pub(super) fn new<'a>(limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) -> Option<Self> {
        let (mut policy, mut state) = (List::default(), List::default());
        for (limit, left) in limits {
            policy.item(limit.name());
            policy.parameter(";q=", limit.burst_size().get().into());
            policy.parameter(";w=", window(limit));
            state.item(limit.name());
            state.parameter(";r=", remaining(limit, left).into());
            state.parameter(";t=", whole_seconds(left.next_unit()));
        }
        if policy.0.is_empty() {
            return None;
        }
        Some(Self {
            policy: HeaderValue::from_bytes(&policy.0).ok()?,
            state: HeaderValue::from_bytes(&state.0).ok()?,
            legacy: None,
        })
    }

    /// Adds the legacy headers.
    pub(super) fn add_legacy<'a>(&mut self, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
        write_legacy(self.legacy.insert(Box::default()), limits);
    }

    /// Writes the headers into a response.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        headers.insert(&POLICY, self.policy);
        headers.insert(&STATE, self.state);
        if let Some(legacy) = self.legacy {
            headers.extend(*legacy);
        }
    }
}

/// A list of strings with parameters (RFC 9651, section 3.1). On the stack for a few limits.
#[derive(Default)]
struct List(SmallVec<[u8; 256]>);

impl List {
    /// Appends a limit's name, which needs no escapes.
    fn item(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b", ");
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'"');
    }

    fn parameter(&mut self, name: &str, value: u64) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Writes the headers, if there are limits.
pub(super) fn write<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
    if let Some(prepared) = Prepared::new(limits) {
        prepared.write(headers);
    }
}

/// Writes `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the limit that has the smallest share of its burst left: the
/// burst, what remains of it, and the seconds until the next unit.
pub(super) fn write_legacy<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) {
    // Compared as fractions without dividing: a/b < c/d if a*d < c*b.
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
    headers.insert(&LEGACY_LIMIT, limit.burst_size().get().into());
    headers.insert(&LEGACY_REMAINING, remaining(limit, left).into());
    headers.insert(&LEGACY_RESET, whole_seconds(left.next_unit()).into());
}

/// Whether one of the limits has at most a tenth of its burst left.
pub(super) fn is_near_exhaustion<'a>(mut limits: impl Iterator<Item = (&'a RateLimit, LimitState)>) -> bool {
    limits.any(|(limit, left)| u64::from(remaining(limit, left)) * 10 <= u64::from(limit.burst_size().get()))
}

/// Computed in whole numbers, because the interval between two units is rounded: 7 a minute is `w=60`, not 61.
fn window(limit: &RateLimit) -> u64 {
    let units = u64::from(limit.burst_size().get());
    (units * limit.per().as_secs()).div_ceil(u64::from(limit.limit().get()))
}

/// Rounded up: a client that waits that long must not be asked to wait again.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Bounded by the burst, so that the headers agree whatever a limiter reports.
fn remaining(limit: &RateLimit, left: LimitState) -> u32 {
    left.remaining().min(limit.burst_size().get())
}

#[cfg(test)]
mod tests {

    use super::*;

    fn limit(name: &str, limit: u32, seconds: u64, burst: u32) -> RateLimit {
        let limit = RateLimit::new(name, limit, Duration::from_secs(seconds)).unwrap();
        limit.burst(burst).unwrap()
    }

    fn written(limits: &[(RateLimit, LimitState)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        write(&mut headers, limits.iter().map(|(limit, left)| (limit, *left)));
        write_legacy(&mut headers, limits.iter().map(|(limit, left)| (limit, *left)));
        headers
    }

    #[test]
    fn both_headers_list_every_limit() {
        let headers = written(&[
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
    fn many_limits_with_long_names_are_all_listed() {
        let names: Vec<String> = (0..9).map(|number| number.to_string().repeat(64)).collect();
        for count in 1..=names.len() {
            let limits: Vec<(RateLimit, LimitState)> = names[..count]
                .iter()
                .map(|name| (limit(name, 100, 60, 100), LimitState::new(42, Duration::from_secs(16))))
                .collect();
            let headers = written(&limits);
            let all = |text: &str| -> Vec<String> { names[..count].iter().map(|n| format!("\"{n}\"{text}")).collect() };
            assert_eq!(headers["ratelimit-policy"], all(";q=100;w=60").join(", "));
            assert_eq!(headers["ratelimit"], all(";r=42;t=16").join(", "));
        }
    }

    #[test]
    fn a_key_without_limits_gets_no_headers() {
        assert!(written(&[]).is_empty());
    }

    #[test]
    fn the_window_is_rounded_up() {
        for (rate, per, burst, window) in [
            (7, 60, 7, 60),
            (1_000, 1, 1, 1),
            (3, 10, 1, 4),
            (1, 2_678_400, 2, 5_356_800),
        ] {
            let headers = written(&[(limit("a", rate, per, burst), LimitState::new(1, Duration::ZERO))]);
            assert_eq!(headers["ratelimit-policy"], format!("\"a\";q={burst};w={window}"));
        }
    }

    #[test]
    fn near_exhaustion_is_the_last_tenth() {
        let near =
            |left| is_near_exhaustion([(&limit("a", 100, 60, 100), LimitState::new(left, Duration::ZERO))].into_iter());
        assert!(near(0) && near(10) && !near(11));
    }
}
