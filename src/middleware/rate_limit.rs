//! The rate-limit headers.
//!
//! `RateLimit-Policy` and `RateLimit` are the structured fields of draft-ietf-httpapi-ratelimit-headers-10.

use std::io::{self, Write};
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

/// The names of the headers.
pub(super) fn header_names(legacy: bool) -> impl Iterator<Item = HeaderName> {
    let legacy = legacy.then_some([&LEGACY_LIMIT, &LEGACY_REMAINING, &LEGACY_RESET]);
    [&POLICY, &STATE]
        .into_iter()
        .chain(legacy.into_iter().flatten())
        .cloned()
}

/// The headers of one response, ready to be written.
pub(super) struct Prepared {
    policy: HeaderValue,
    state: HeaderValue,
    legacy: Option<Box<HeaderMap>>,
}

impl Prepared {
    /// `q` is the burst, `w` the seconds in which a whole burst is refilled, `r` what remains of it, `t` the seconds until
    /// the next unit. `None` without limits.
    pub(super) fn new<'a>(limits: impl Iterator<Item = Reported<'a>>) -> Option<Self> {
        let limits = once_each(limits);
        if limits.is_empty() {
            return None;
        }
        let policy = |limit: &RateLimit, _| [(";q=", limit.burst_size().get().into()), (";w=", window(limit))];
        let state = |limit: &RateLimit, left: LimitState| {
            [
                (";r=", remaining(limit, left).into()),
                (";t=", whole_seconds(left.next_unit())),
            ]
        };
        Some(Self {
            policy: list(&limits, policy)?,
            state: list(&limits, state)?,
            legacy: None,
        })
    }

    /// Adds the legacy headers.
    pub(super) fn add_legacy<'a>(&mut self, limits: impl Iterator<Item = Reported<'a>>) {
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

/// A list of strings with parameters (RFC 9651, section 3.1): the names of the limits, with what `parameters` returns. Made
/// on the stack if it is short.
fn list(limits: &[Reported<'_>], parameters: impl Fn(&RateLimit, LimitState) -> Parameters) -> Option<HeaderValue> {
    let mut short = [0; SHORT_LIST];
    let mut room = &mut short[..];
    if write_list(&mut room, limits, &parameters).is_ok() {
        let length = SHORT_LIST - room.len();
        return HeaderValue::from_bytes(short.get(..length)?).ok();
    }
    let mut long = Vec::new();
    write_list(&mut long, limits, &parameters).ok()?;
    HeaderValue::from_bytes(&long).ok()
}

fn write_list(
    out: &mut impl Write,
    limits: &[Reported<'_>],
    parameters: impl Fn(&RateLimit, LimitState) -> Parameters,
) -> io::Result<()> {
    for (position, (limit, left)) in limits.iter().copied().enumerate() {
        if position > 0 {
            out.write_all(b", ")?;
        }
        // Names of limits need no escapes.
        out.write_all(b"\"")?;
        out.write_all(limit.name().as_bytes())?;
        out.write_all(b"\"")?;
        for (name, value) in parameters(limit, left) {
            out.write_all(name.as_bytes())?;
            out.write_all(itoa::Buffer::new().format(value).as_bytes())?;
        }
    }
    Ok(())
}

/// A limit, and what a request left of it.
type Reported<'a> = (&'a RateLimit, LimitState);

type Parameters = [(&'static str, u64); 2];

/// Each name once. A key and its organization may have limits of one name, and clients could not tell them apart: the tighter one
/// is reported, which has the smaller share of its burst left.
fn once_each<'a>(limits: impl Iterator<Item = Reported<'a>>) -> SmallVec<[Reported<'a>; 4]> {
    let mut reported = SmallVec::new();
    for next in limits {
        let same_name = |one: &Reported<'_>| one.0.name() == next.0.name();
        match reported.iter().position(same_name) {
            // Of two that are as tight, the first.
            Some(place) if !has_less_left(next, reported[place]) => continue,
            Some(place) => drop(reported.remove(place)),
            None => {}
        }
        reported.push(next);
    }
    reported
}

/// Bytes of a list that needs no allocation: some six limits.
const SHORT_LIST: usize = 256;

/// Writes the headers, if there are limits.
pub(super) fn write<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = Reported<'a>>) {
    if let Some(prepared) = Prepared::new(limits) {
        prepared.write(headers);
    }
}

/// Writes `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the limit that has the smallest share of its burst left: the
/// burst, what remains of it, and the seconds until the next unit.
pub(super) fn write_legacy<'a>(headers: &mut HeaderMap, limits: impl Iterator<Item = Reported<'a>>) {
    let nearest = limits.reduce(|nearest, next| if has_less_left(next, nearest) { next } else { nearest });
    let Some((limit, left)) = nearest else { return };
    headers.insert(&LEGACY_LIMIT, limit.burst_size().get().into());
    headers.insert(&LEGACY_REMAINING, remaining(limit, left).into());
    headers.insert(&LEGACY_RESET, whole_seconds(left.next_unit()).into());
}

/// Whether the first limit has the smaller share of its burst left.
fn has_less_left(one: Reported<'_>, other: Reported<'_>) -> bool {
    // Compared as fractions without dividing: a/b < c/d if a*d < c*b.
    let share = |(one, state): Reported<'_>, other: &RateLimit| {
        u64::from(remaining(one, state)) * u64::from(other.burst_size().get())
    };
    share(one, other.0) < share(other, one.0)
}

/// Whether one of the limits has at most a tenth of its burst left.
pub(super) fn is_near_exhaustion<'a>(mut limits: impl Iterator<Item = Reported<'a>>) -> bool {
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
    fn of_two_limits_of_one_name_the_tighter_is_listed() {
        let left = |units| LimitState::new(units, Duration::from_secs(1));
        let (own, shared, other) = (limit("a", 10, 60, 10), limit("a", 100, 60, 100), limit("b", 5, 60, 5));
        for (of_own, of_shared, listed) in [
            (9, 99, "\"a\";r=9;t=1, \"b\";r=1;t=1"),
            (9, 80, "\"b\";r=1;t=1, \"a\";r=80;t=1"),
            (0, 0, "\"a\";r=0;t=1, \"b\";r=1;t=1"),
            (10, 100, "\"a\";r=10;t=1, \"b\";r=1;t=1"),
            (10, 0, "\"b\";r=1;t=1, \"a\";r=0;t=1"),
        ] {
            let limits = [
                (own.clone(), left(of_own)),
                (other.clone(), left(1)),
                (shared.clone(), left(of_shared)),
            ];
            assert_eq!(written(&limits)["ratelimit"], listed);
        }
    }

    #[test]
    fn key_without_limits_gets_no_headers() {
        assert!(written(&[]).is_empty());
    }

    #[test]
    fn window_is_rounded_up() {
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
