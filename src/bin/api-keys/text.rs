//! Text from rows, made safe to show.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tower_api_key::key::Timestamp;

/// Escapes what terminals obey: control characters, those that turn the direction of text, and other ends of lines. A name may hold them.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| match is_obeyed(c) {
            true => Escaped::Escape(c.escape_unicode()),
            false => Escaped::Itself(Some(c)),
        })
        .collect()
}

/// The same in a JSON text, where control characters below U+0020 are escaped already.
pub(crate) fn shown_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) && c != '\n' {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

enum Escaped {
    Itself(Option<char>),
    Escape(std::char::EscapeUnicode),
}

impl Iterator for Escaped {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Itself(c) => c.take(),
            Self::Escape(escape) => escape.next(),
        }
    }
}

/// A time span such as `90d`, `12h` or `30m`; a day is 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a time such as 90d, 12h, 30m or 45s, got `{}`", shown(text));
    let span: Span = text.parse().map_err(|_| wrong())?;
    // Months and years have no length of their own.
    let length: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    Duration::try_from(length).map_err(|_| wrong())
}

/// A point in time: `2026-01-31T12:00:00Z`, `2026-01-31`, or a time span before now, such as `24h`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse() {
        return Ok(at);
    }
    let before = duration(text).map_err(|_| {
        format!(
            "must be a time such as 2026-01-31T12:00:00Z or 2026-01-31, or one before now such as 24h, got `{}`",
            shown(text)
        )
    })?;
    let millis = i64::try_from(before.as_millis()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_millis(
        Timestamp::now().as_millis().saturating_sub(millis),
    ))
}

/// A time of JSON, for people: to the minute, by UTC.
pub(crate) fn minute(text: &str) -> String {
    match (text.get(..10), text.get(10..11), text.get(11..16)) {
        (Some(day), Some("T"), Some(time)) if text.parse::<Timestamp>().is_ok() => format!("{day} {time}"),
        _ => text.to_owned(),
    }
}

/// A number with its thousands apart.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value in a query or a path. A dot too: a proxy would take a segment of one or two of them for another folder.
pub(crate) fn encoded(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::{duration, minute, moment, number, shown, shown_json};

    #[test]
    fn points_in_time_are_read_and_shown() {
        assert_eq!(
            moment("2026-01-31").unwrap().to_string(),
            moment("2026-01-31T00:00:00Z").unwrap().to_string()
        );
        assert!(moment("24h").unwrap() < moment("1s").unwrap());
        assert!(moment("yesterday").is_err());
        assert_eq!(minute("2026-01-31T12:34:56.789Z"), "2026-01-31 12:34");
        assert_eq!(minute("nightly export"), "nightly export");
        assert_eq!(
            (number(7), number(1_234), number(1_234_567)),
            ("7".into(), "1,234".into(), "1,234,567".into())
        );
    }

    #[test]
    fn what_terminals_obey_is_escaped() {
        assert_eq!(shown("a\u{1b}[31mé\u{202e}\u{9b}"), "a\\u{1b}[31mé\\u{202e}\\u{9b}");
        assert_eq!(shown("two\u{2028}lines\u{2029}"), "two\\u{2028}lines\\u{2029}");
        assert_eq!(shown_json("\"a\u{202e}\u{9b}\"\n"), "\"a\\u202e\\u009b\"\n");
    }

    #[test]
    fn times_have_a_length() {
        assert_eq!(duration("90d").unwrap().as_secs(), 90 * 86_400);
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5_400);
        for wrong in ["", "90", "1mo", "1y", "-1h", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
