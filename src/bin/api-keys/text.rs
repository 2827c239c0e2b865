//! Text from rows, made safe to show.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Escapes what terminals obey: control characters and those that turn the direction of text. A name may hold them.
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
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

#[cfg(test)]
mod tests {
    use super::{duration, shown, shown_json};

    #[test]
    fn what_terminals_obey_is_escaped() {
        assert_eq!(shown("a\u{1b}[31mé\u{202e}\u{9b}"), "a\\u{1b}[31mé\\u{202e}\\u{9b}");
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
