//! The errors of settings and of parsing.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// A setting is not valid.
///
/// Returned when the setting is made, never while a request is handled. The message names the setting, the value and the
/// accepted values.
///
/// ```
/// use tower_api_key::key::RateLimit;
///
/// let error = RateLimit::per_minute("requests", 0).unwrap_err();
/// assert_eq!(error.setting(), "rate limit");
/// assert_eq!(error.to_string(), "invalid rate limit: must be at least 1 per window, got 0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {setting}: {problem}")]
pub struct ConfigError {
    setting: &'static str,
    problem: Box<str>,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<Box<str>>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }

    /// A number or duration is out of bounds.
    pub(crate) fn out_of_range<T: fmt::Debug>(setting: &'static str, bounds: RangeInclusive<T>, got: T) -> Self {
        let (least, most) = bounds.into_inner();
        Self::new(setting, format!("must be between {least:?} and {most:?}, got {got:?}"))
    }

    /// The setting, such as `"rate limit name"` or `"lookup length"`.
    pub fn setting(&self) -> &str {
        self.setting
    }
}

/// For settings that are given as text.
impl From<ParseError> for ConfigError {
    fn from(error: ParseError) -> Self {
        Self {
            setting: error.what,
            problem: error.problem.into(),
        }
    }
}

/// A text or value is not valid: an id, a scope, a network, a date.
///
/// The message says what is accepted. It shows the value only if the value cannot be a key that was pasted into the wrong
/// place.
///
/// ```
/// use tower_api_key::key::KeyId;
///
/// let error = "acme_live_4kTz0Q2mVbXw".parse::<KeyId>().unwrap_err();
/// assert_eq!(error.what(), "key id");
/// assert_eq!(error.to_string(), "invalid key id: must be a UUID");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what}: {problem}")]
pub struct ParseError {
    what: &'static str,
    problem: Cow<'static, str>,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            what,
            problem: problem.into(),
        }
    }

    /// What the value should have been, such as `"scope"` or `"key id"`.
    pub fn what(&self) -> &str {
        self.what
    }
}

/// A value in quotes, cut to at most 64 characters for logs.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => format!("{text:?}"),
    }
}

const LONGEST_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_short_ones_are_not() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted(&"ü".repeat(64)), format!("\"{}\"", "ü".repeat(64)));
        assert_eq!(quoted(&"ü".repeat(65)), format!("\"{}\"… (130 bytes)", "ü".repeat(64)));
    }
}
