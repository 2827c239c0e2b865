//! Copies of the key in header lines and in parts of the query that are not read.
//!
//! A client that is unsure where the key belongs sends it in several places, and a proxy may copy the line that it came in.
//! Inner services must not get the key from there either.

use std::ops::RangeInclusive;

use http::header::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::super::authorization::decode_basic;
use super::super::query;
use super::super::syntax::{split_word, trim};
use crate::key::LONGEST_KEY;

/// Shorter texts are no keys, and could be part of anything. Longer ones are none either, and to look for one could take a
/// large part of a second.
const KEYS: RangeInclusive<usize> = 16..=LONGEST_KEY;

/// Whether a text holds this key. `may_be_escaped` says that software percent-encodes keys of this form.
pub(super) fn is_copy(text: &[u8], key: &[u8], may_be_escaped: bool) -> bool {
    KEYS.contains(&key.len())
        && text.len() >= key.len()
        && (contains(text, key) || is_encoded(text, key) || (may_be_escaped && is_escaped(text, key)))
}

/// Cuts the key out of all lines that hold it. What else they hold stays.
pub(super) fn cut(headers: &mut HeaderMap, key: &[u8], may_be_escaped: bool) {
    for line in headers.values_mut() {
        if is_copy(line.as_bytes(), key, may_be_escaped) {
            let rest = without(line.as_bytes(), key);
            // Some of the bytes of a valid value are a valid value.
            *line = HeaderValue::from_bytes(&rest).unwrap_or(HeaderValue::from_static(""));
            line.set_sensitive(true);
        }
    }
}

/// Marks all lines that hold the key.
pub(super) fn mark(headers: &mut HeaderMap, key: &[u8], may_be_escaped: bool) {
    for line in headers.values_mut() {
        if is_copy(line.as_bytes(), key, may_be_escaped) {
            line.set_sensitive(true);
        }
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

fn is_escaped(text: &[u8], key: &[u8]) -> bool {
    text.contains(&b'%') && contains(&query::decode(text), key)
}

/// A text that holds the key, without it.
pub(super) fn without(text: &[u8], key: &[u8]) -> Vec<u8> {
    // Plain copies first: a key may have `%` in it.
    let plain = contains(text, key).then(|| cut_from(text, key, |_| None));
    let text = plain.as_deref().unwrap_or(text);
    if is_escaped(text, key) {
        return cut_from(text, key, escape);
    }
    match is_encoded(text, key) {
        true => split_word(text).0.to_vec(),
        false => text.to_vec(),
    }
}

/// Reads `text` with the escapes that `escape` knows, and leaves out every copy of the key.
fn cut_from(text: &[u8], key: &[u8], escape: fn(&[u8]) -> Option<u8>) -> Vec<u8> {
    let mut rest = Zeroizing::new(Vec::with_capacity(text.len()));
    // What `rest` reads as, and where each byte of that starts in `rest`.
    let mut read = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut starts = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = text.get(at..).and_then(escape);
        let length = if escaped.is_some() { ESCAPE } else { 1 };
        starts.push(rest.len());
        rest.extend_from_slice(text.get(at..at + length).unwrap_or_default());
        read.push(escaped.unwrap_or(*byte));
        at += length;
        // Also where cutting one copy makes another.
        if read.ends_with(key) {
            let end = read.len() - key.len();
            rest.truncate(starts.get(end).copied().unwrap_or_default());
            starts.truncate(end);
            read.truncate(end);
        }
    }
    trim(&rest).to_vec()
}

/// The byte that a percent-encoded text starts with.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// The length of `%41`.
const ESCAPE: usize = 3;

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const KEY: &str = "acme_live_0123456789";

    fn cut_from(line: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-other", line.parse().unwrap());
        cut(&mut headers, KEY.as_bytes(), true);
        let line = &headers["x-other"];
        assert!(line.is_sensitive());
        line.to_str().unwrap().to_owned()
    }

    #[test]
    fn every_copy_is_cut_and_the_rest_stays() {
        let nested = format!("{}{KEY}{}", &KEY[..7], &KEY[7..]);
        let escaped = KEY.replace('_', "%5f");
        let basic = format!("Basic {}", STANDARD.encode(format!("user:{KEY}")));
        for (line, rest) in [
            (KEY.to_owned(), ""),
            (format!("Token {KEY}"), "Token"),
            (format!("{KEY}, 192.0.2.7"), ", 192.0.2.7"),
            (format!("a=1; key={KEY}; b={KEY}{KEY}"), "a=1; key=; b="),
            (nested, ""),
            (format!("a=%41; key={escaped}; b=%"), "a=%41; key=; b=%"),
            (format!("{}{KEY}{}", &escaped[..9], &escaped[9..]), ""),
            (format!("{KEY} {escaped} %4"), "%4"),
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
            let is_one = is_copy(line.as_bytes(), KEY.as_bytes(), true);
            assert_eq!(is_one, line.contains(KEY), "{line}");
        }
        assert!(!is_copy(b"https", b"https", true));
        // To look for a text of any length could take a request a second, whatever its key.
        let longest = "k".repeat(256);
        assert!(is_copy(longest.as_bytes(), longest.as_bytes(), true));
        let longer = "k".repeat(257);
        assert!(!is_copy(longer.as_bytes(), longer.as_bytes(), true));
    }
}
