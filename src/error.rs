//! The errors of settings and of parsing.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;

/// A setting is not valid.
///
/// Returned when the setting is made, never while a request is handled. The message names the setting, the accepted values
/// and the value, but of a text that is long enough for a key only its start and its length.
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

    /// The setting, and what is wrong with it.
    pub(crate) fn into_parts(self) -> (&'static str, Box<str>) {
        (self.setting, self.problem)
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
/// The message says what is accepted and what is wrong, but never shows the text: it may be a key that was pasted into the
/// wrong place.
///
/// ```
/// use tower_api_key::key::Scope;
///
/// let error = "orders:Read".parse::<Scope>().unwrap_err();
/// assert_eq!(error.what(), "scope");
/// assert_eq!(
///     error.to_string(),
///     "invalid scope: must be `resource:action`, `resource:*` or `*` in lower case, got an upper-case letter at byte 8",
/// );
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

    /// Of an entry of a list, counted from 1.
    pub(crate) fn of_entry(self, number: usize) -> Self {
        Self::new(self.what, format!("entry {number} {}", self.problem))
    }

    /// What the value should have been, such as `"scope"` or `"key id"`.
    pub fn what(&self) -> &str {
        self.what
    }
}

/// The `Debug` of errors that end programs: a `main` that returns one prints it so, and what to do is in the sentences of its causes.
pub(crate) fn in_sentences(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    kind: &dyn fmt::Debug,
    error: &dyn Error,
) -> fmt::Result {
    write!(f, "{name}({kind:?}): {error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// A text of a setting in quotes, for an error. Of a text that is long enough for a key only the start is shown.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some(_) => {
            let start: String = text.chars().take(START_SHOWN).collect();
            format!("{start:?}… ({} bytes)", text.len())
        }
        None => format!("{text:?}"),
    }
}

/// The first character of a text that is not accepted, and where it is: for an error that must not show the text.
pub(crate) fn unlike(text: &str, is_accepted: impl Fn(usize, char) -> bool) -> Option<String> {
    let (at, c) = text.char_indices().find(|(at, c)| !is_accepted(*at, *c))?;
    Some(format!("{} at byte {}", class_of(c), at + 1))
}

fn class_of(c: char) -> &'static str {
    match c {
        'A'..='Z' => "an upper-case letter",
        'a'..='z' => "a lower-case letter",
        '0'..='9' => "a digit",
        ' ' => "a space",
        '_' => "a `_`",
        '-' => "a `-`",
        ':' => "a `:`",
        '*' => "a `*`",
        c if c.is_control() => "a control character",
        c if c.is_ascii() => "a punctuation character",
        _ => "a character outside of ASCII",
    }
}

/// In characters. Every key is longer: its secret alone has at least 22 characters, for 128 bits.
const LONGEST_SHOWN: usize = 16;
const START_SHOWN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_long_enough_for_a_key_is_not_shown() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted(&"ü".repeat(16)), format!("\"{}\"", "ü".repeat(16)));
        assert_eq!(quoted(&"ü".repeat(17)), format!("\"{}\"… (34 bytes)", "ü".repeat(7)));
    }

    #[test]
    fn first_unaccepted_character_is_named_by_class() {
        assert_eq!(unlike("aaa", |_, c| c == 'a'), None);
        assert_eq!(unlike("", |_, _| false), None);
        for (text, what) in [
            ("aB!", "an upper-case letter at byte 2"),
            ("ab", "a lower-case letter at byte 2"),
            ("7", "a digit at byte 1"),
            (" ", "a space at byte 1"),
            ("a\n", "a control character at byte 2"),
            ("a/", "a punctuation character at byte 2"),
            ("aü", "a character outside of ASCII at byte 2"),
        ] {
            assert_eq!(unlike(text, |_, c| c == 'a').unwrap(), what);
        }
    }
}
