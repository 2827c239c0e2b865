//! Copies of the key in header lines that are not read.
//!
//! A client that is unsure where the key belongs sends it in several places, and a proxy may copy the line that it came in.
//! Inner services must not get the key from there either.

use http::header::{HeaderMap, HeaderValue};

use super::super::authorization::decode_basic;
use super::super::syntax::{split_word, trim};

/// Shorter texts are no keys, and could be part of anything.
const SHORTEST: usize = 16;

/// Whether a line holds this key.
pub(super) fn is_copy(line: &HeaderValue, key: &[u8]) -> bool {
    let line = line.as_bytes();
    key.len() >= SHORTEST && line.len() >= key.len() && (contains(line, key) || is_encoded(line, key))
}

/// Cuts the key out of all lines that hold it. What else they hold stays.
pub(super) fn cut(headers: &mut HeaderMap, key: &[u8]) {
    for line in headers.values_mut().filter(|line| is_copy(line, key)) {
        let rest = without(line.as_bytes(), key);
        // Some of the bytes of a valid value are a valid value.
        *line = HeaderValue::from_bytes(&rest).unwrap_or(HeaderValue::from_static(""));
        line.set_sensitive(true);
    }
}

/// Marks all lines that hold the key.
pub(super) fn mark(headers: &mut HeaderMap, key: &[u8]) {
    for line in headers.values_mut().filter(|line| is_copy(line, key)) {
        line.set_sensitive(true);
    }
}

/// Compares the end of the key first, eight bytes at once: its start is the same in all keys.
fn contains(line: &[u8], key: &[u8]) -> bool {
    let Some(end) = key.last_chunk::<8>() else { return false };
    let end = u64::from_ne_bytes(*end);
    let ends = line.get(key.len() - 8..).unwrap_or_default().windows(8).enumerate();
    ends.filter(|(_, eight)| {
        eight
            .first_chunk()
            .is_some_and(|eight| u64::from_ne_bytes(*eight) == end)
    })
    .any(|(at, _)| line.get(at..at + key.len()) == Some(key))
}

fn is_encoded(line: &[u8], key: &[u8]) -> bool {
    let (scheme, credentials) = split_word(line);
    scheme.eq_ignore_ascii_case(b"basic")
        && decode_basic(credentials).is_some_and(|decoded| decoded.len() >= key.len() && contains(&decoded, key))
}

fn without(line: &[u8], key: &[u8]) -> Vec<u8> {
    if !contains(line, key) {
        return split_word(line).0.to_vec();
    }
    let mut rest = Vec::with_capacity(line.len());
    for byte in line {
        rest.push(*byte);
        // Also where cutting one copy makes another.
        if rest.ends_with(key) {
            rest.truncate(rest.len() - key.len());
        }
    }
    trim(&rest).to_vec()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const KEY: &str = "acme_live_0123456789";

    fn cut_from(line: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-other", line.parse().unwrap());
        cut(&mut headers, KEY.as_bytes());
        let line = &headers["x-other"];
        assert!(line.is_sensitive());
        line.to_str().unwrap().to_owned()
    }

    #[test]
    fn every_copy_is_cut_and_the_rest_stays() {
        let nested = format!("{}{KEY}{}", &KEY[..7], &KEY[7..]);
        let basic = format!("Basic {}", STANDARD.encode(format!("user:{KEY}")));
        for (line, rest) in [
            (KEY.to_owned(), ""),
            (format!("Token {KEY}"), "Token"),
            (format!("{KEY}, 192.0.2.7"), ", 192.0.2.7"),
            (format!("a=1; key={KEY}; b={KEY}{KEY}"), "a=1; key=; b="),
            (nested, ""),
            (basic, "Basic"),
        ] {
            assert_eq!(cut_from(&line), rest, "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_copies() {
        for line in [
            "",
            "acme_live_0123456780",
            "0acme_live_012345678",
            "acme_live_012345678x9",
            "Basic acme_live_0123456789x",
        ] {
            let is_one = is_copy(&line.parse().unwrap(), KEY.as_bytes());
            assert_eq!(is_one, line.contains(KEY), "{line}");
        }
        assert!(!is_copy(&HeaderValue::from_static("https"), b"https"));
    }
}
