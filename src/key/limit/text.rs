//! Rate limits as text: `requests=100/60s,burst=200,cost=2`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::RateLimit;
use crate::error::{ConfigError, ParseError};

const FORM: &str = "must be as in `requests=100/60s` or `requests=100/1m,burst=200,cost=2`";

/// Reads `name=limit/window`, and after it `,burst=units` and `,cost=units`, each once and in any order. The window is a whole
/// number with `s`, `m`, `h` or `d` behind it: seconds, minutes, hours, days of 24 hours.
impl FromStr for RateLimit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.split(',');
        let (name, rate) = parts
            .next()
            .and_then(|part| part.split_once('='))
            .ok_or_else(wrong_form)?;
        let (limit, window) = rate.split_once('/').ok_or_else(wrong_form)?;
        let read = Self::new(name, number(limit)?, duration(window)?).map_err(parse_error)?;
        let (mut burst, mut cost) = (None, None);
        for part in parts {
            let (setting, units) = part.split_once('=').ok_or_else(wrong_form)?;
            let place = match setting {
                "burst" => &mut burst,
                "cost" => &mut cost,
                _ => return Err(wrong_form()),
            };
            if place.replace(number(units)?).is_some() {
                return Err(ParseError::new("rate limit", "has a burst or a cost twice"));
            }
        }
        let read = match burst {
            Some(units) => read.burst(units).map_err(parse_error)?,
            None => read,
        };
        match cost {
            Some(units) => read.cost(units).map_err(parse_error),
            None => Ok(read),
        }
    }
}

/// The text form, with the window in seconds. Burst and cost are left out if they are the defaults.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}/{}s", self.name, self.limit, self.per_seconds)?;
        if self.burst != self.limit {
            write!(f, ",burst={}", self.burst)?;
        }
        if self.cost.get() != 1 {
            write!(f, ",cost={}", self.cost)?;
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u32, ParseError> {
    // `parse` takes a sign too.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| match is_number {
        true => ParseError::new("rate limit", format!("its numbers must be at most {}", u32::MAX)),
        false => wrong_form(),
    })
}

fn duration(text: &str) -> Result<Duration, ParseError> {
    let unit = match text.bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return Err(wrong_form()),
    };
    let count = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    Ok(Duration::from_secs(u64::from(number(count)?) * unit))
}

fn wrong_form() -> ParseError {
    ParseError::new("rate limit", FORM)
}

fn parse_error(error: ConfigError) -> ParseError {
    let (what, problem) = error.into_parts();
    ParseError::new(what, String::from(problem))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> RateLimit {
        text.parse().unwrap()
    }

    #[test]
    fn text_reads_as_the_constructors_make() {
        let limit = |name, limit, seconds| RateLimit::new(name, limit, Duration::from_secs(seconds)).unwrap();
        for (text, expected) in [
            ("requests=100/60s", limit("requests", 100, 60)),
            ("requests=100/1m", limit("requests", 100, 60)),
            ("a-b_1=1/2h", limit("a-b_1", 1, 7_200)),
            ("a=4294967295/31d", limit("a", u32::MAX, 31 * 86_400)),
            ("a=2/1s,burst=5", limit("a", 2, 1).burst(5).unwrap()),
            (
                "a=2/1s,cost=3,burst=5",
                limit("a", 2, 1).burst(5).unwrap().cost(3).unwrap(),
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("a=120/2m,cost=1").to_string(), "a=120/120s");
        assert_eq!(read("a=2/1s,cost=3,burst=5").to_string(), "a=2/1s,burst=5,cost=3");
    }

    #[test]
    fn other_text_is_an_error_that_does_not_show_it() {
        for text in [
            "",
            "requests",
            "requests=",
            "requests=100",
            "requests=100/",
            "requests=100/60",
            "requests=100/s",
            "requests=/60s",
            "requests=100/60sec",
            "requests=100/1w",
            "requests=100/1.5s",
            "requests=+100/60s",
            "requests=-1/60s",
            "requests=0/60s",
            "requests=100/0s",
            "requests=100/32d",
            "requests=100/60s,",
            "requests=100/60s,burst",
            "requests=100/60s,burst=0",
            "requests=100/60s,burst=1,burst=1",
            "requests=100/60s,Burst=1",
            "requests=100/60s burst=1",
            "requests=4294967296/60s",
            "requests=100/99999999999999999999d",
            "requests=1/31d,burst=7000",
            "Requests=100/60s",
            "=100/60s",
            "requests =100/60s",
            "requests=100/60ſ",
        ] {
            assert!(text.parse::<RateLimit>().is_err(), "{text:?}");
        }
        let key = "acme_live_4kTz0Q2mVbXw7Hq";
        for text in [
            key.to_owned(),
            format!("{key}=1/1s"),
            format!("a={key}/1s"),
            format!("a=1/1s,{key}=1"),
        ] {
            let error = text.parse::<RateLimit>().unwrap_err().to_string();
            assert!(!error.contains("4kTz"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn text_leads_back(count in 1..=u32::MAX, seconds in 1..=31 * 86_400u64, burst in 1..=860u32, cost in 1..=u32::MAX) {
            let limit = RateLimit::new("a", count, Duration::from_secs(seconds)).unwrap();
            let limit = limit.burst(burst).unwrap().cost(cost).unwrap();
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z=/,0-9smhd]{0,30}|\\PC{0,30}") {
            let _ = text.parse::<RateLimit>();
        }
    }
}
