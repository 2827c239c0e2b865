//! The pieces of HTTP syntax that several headers share (RFC 9110).

/// Whether a byte may stand in a token (section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value without the white space around it, which is not part of it (section 5.5).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Drops leading spaces, and only spaces: those are what separates a scheme from its credentials (section 11.4).
pub(super) fn skip_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = value {
        value = rest;
    }
    value
}

/// The first word and what follows it, without the spaces around both: a scheme and its credentials.
pub(super) fn split_word(value: &[u8]) -> (&[u8], &[u8]) {
    let value = trim(value);
    let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (word, rest) = value.split_at(end.unwrap_or(value.len()));
    (word, trim(rest))
}

/// The elements of a list (section 5.6.1), without empty ones. A comma in a quoted string separates nothing.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    let mut has_quotes = true;
    let elements = std::iter::from_fn(move || {
        let value = rest?;
        let end = end_of_element(value, &mut has_quotes);
        rest = value.get(end + 1..);
        Some(trim(value.get(..end)?))
    });
    elements.filter(|element| !element.is_empty())
}

/// A quote that nothing closes is an ordinary character: it must not hide what comes after it. Nothing closes any later one
/// then, because what lies between is escaped. So the end is looked for once, not once for each quote: that would take
/// seconds for a line of many.
fn end_of_element(value: &[u8], has_quotes: &mut bool) -> usize {
    let mut at = 0;
    loop {
        match value.get(at) {
            None | Some(b',') => return at,
            Some(b'"') if *has_quotes => match value.get(at..).and_then(read_quoted) {
                Some((_, rest)) => at = value.len() - rest.len(),
                None => {
                    *has_quotes = false;
                    at += 1;
                }
            },
            Some(_) => at += 1,
        }
    }
}

/// A quoted string (section 5.6.4). Control characters are dropped.
pub(super) fn quoted(text: &str) -> String {
    let escaped = text
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]));
    ['"'].into_iter().chain(escaped).chain(['"']).collect()
}

/// Reads a quoted string from the start of the text: what is between the quotes, and what follows. Escapes are skipped
/// but not resolved. `None` without an opening or a closing quote.
pub(super) fn read_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let quoted = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((quoted.get(..at)?, quoted.get(at + 1..)?)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trim_drops_spaces_and_tabs_on_both_sides() {
        for (value, trimmed) in [
            (&b" \ta b\t "[..], &b"a b"[..]),
            (b"\t", b""),
            (b"", b""),
            (b"\xa0a", b"\xa0a"),
        ] {
            assert_eq!(trim(value), trimmed);
        }
    }

    #[test]
    fn skip_spaces_stops_at_a_tab() {
        assert_eq!(skip_spaces(b"  \tk"), b"\tk");
    }

    #[test]
    fn split_word_ends_at_any_space() {
        for (value, parts) in [
            (&b" Token \t k "[..], (&b"Token"[..], &b"k"[..])),
            (b"k", (b"k", b"")),
            (b"a b c", (b"a", b"b c")),
            (b"", (b"", b"")),
        ] {
            assert_eq!(split_word(value), parts, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn list_splits_at_commas_outside_of_quotes() {
        for (value, elements) in [
            (&b"a, b"[..], &[&b"a"[..], b"b"][..]),
            (b",a,,\tb ,", &[b"a", b"b"]),
            (b"a=\"b, c\\\", d\", e", &[b"a=\"b, c\\\", d\"", b"e"]),
            (b"\"a, b", &[b"\"a", b"b"]),
            (b" , ", &[]),
        ] {
            assert_eq!(list(value).collect::<Vec<_>>(), elements, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn quoted_escapes_quotes_and_drops_controls() {
        assert_eq!(quoted("a\"\r\nb\\"), "\"a\\\"b\\\\\"");
    }

    #[test]
    fn read_quoted_ends_at_the_first_unescaped_quote() {
        assert_eq!(read_quoted(br#""a\"b,"c"#), Some((&br#"a\"b,"#[..], &b"c"[..])));
        for text in [&b"a"[..], b"", b"\"", b"\"a", b"\"a\\", b"\"a\\\""] {
            assert_eq!(read_quoted(text), None, "{}", text.escape_ascii());
        }
    }
}
