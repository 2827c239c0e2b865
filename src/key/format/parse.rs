//! Parses the bytes of a presented key.

use std::fmt;

use sha2::{Digest, Sha256};

use super::alphabet::Alphabet;
use super::checksum::Checksum;
use super::layout::{
    Body, FixedBody, Head, LONGEST_KEY, LONGEST_NUMBER, LONGEST_TIME, Layout, NUMBERED_SECRET, NUMBERED_SEPARATOR,
    SHORTEST_ANY,
};
use super::parsed::{Parsed, ParsedKey};
use super::split::{Parts, SplitKey};
use crate::key::{SecretForm, Timestamp, hex};

/// The bytes are not a key of an accepted format.
///
/// It does not say which part is wrong: that would help only those who try to guess keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedKey(pub(super) ());

impl fmt::Display for MalformedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed API key")
    }
}

impl std::error::Error for MalformedKey {}

/// The parts of a key of this format.
pub(super) fn parse<'a>(layout: &'a Layout, key: &'a [u8], format: u8, now: &dyn Fn() -> Timestamp) -> Parsed<'a> {
    split(layout, key, format).map_or(Parsed::Malformed, |split| ParsedKey::of(split, now))
}

/// The parts of a text that has the lengths of a key of this format.
pub(super) fn split<'a>(layout: &'a Layout, key: &'a [u8], format: u8) -> Option<SplitKey<'a>> {
    // First, so that later steps never read a huge header.
    if key.len() > LONGEST_KEY {
        return None;
    }
    let (environment, head, rest) = strip_head(layout, key)?;
    let rest = if layout.timestamp { strip_time(rest)? } else { rest };
    let start = key.len() - rest.len();
    let (lookup, secret, form) = match &layout.body {
        Body::Fixed(body) => fixed(body, rest, &layout.checksum)?,
        Body::Numbered => numbered(rest)?,
        Body::Any => any(rest)?,
    };
    let parts = if layout.hashed_lookup {
        Parts::new(head.text.len(), start, start, 0)
    } else {
        Parts::new(head.text.len(), start, start + lookup, start + secret)
    };
    Some(SplitKey {
        key,
        layout,
        head,
        parts,
        hashed_lookup: layout.hashed_lookup.then(|| hash_of(key)),
        shape: [format, environment],
        form,
    })
}

/// The lookup of a key in a format with hashed lookups.
pub(super) fn hash_of(key: &[u8]) -> Box<str> {
    hex::encode(&Sha256::digest(key)).into()
}

/// No head is the start of another one, so at most one matches.
fn strip_head<'a, 'k>(layout: &'a Layout, key: &'k [u8]) -> Option<(u8, &'a Head, &'k [u8])> {
    for (environment, head) in (0..).zip(&layout.heads) {
        if let Some((front, rest)) = key.split_at_checked(head.text.len())
            && front == head.text.as_bytes()
        {
            return Some((environment, head, rest));
        }
    }
    None
}

/// Skips the time. It ends at the first `_`, because digits do not contain one.
fn strip_time(rest: &[u8]) -> Option<&[u8]> {
    let digits = rest.iter().take(LONGEST_TIME + 1).position(|&byte| byte == b'_')?;
    let (time, rest) = rest.split_at(digits);
    // Each time has one spelling, without leading zeros.
    (time.iter().all(u8::is_ascii_digit) && matches!(time.first(), Some(b'1'..=b'9')))
        .then_some(rest.get(1..))
        .flatten()
}

/// The end of the lookup, the start of the secret, and the form. Found by lengths, not by `_`, which a base64url body may
/// contain.
fn fixed(body: &FixedBody, rest: &[u8], checksum: &Checksum) -> Option<(usize, usize, SecretForm)> {
    let form = checksum.form_of_length(rest.len().checked_sub(body.length())?)?;
    let separator = body.separator.as_slice();
    let secret = body.lookup + separator.len();
    (rest.get(body.lookup..secret) == Some(separator)).then_some((body.lookup, secret, form))
}

fn numbered(rest: &[u8]) -> Option<(usize, usize, SecretForm)> {
    let digits = rest
        .iter()
        .take(LONGEST_NUMBER + 1)
        .position(|&byte| byte == NUMBERED_SEPARATOR)?;
    let (number, secret) = (rest.get(..digits)?, rest.get(digits + 1..)?);
    let number_is_plain = number.iter().all(u8::is_ascii_digit) && matches!(number.first(), Some(b'1'..=b'9'));
    (number_is_plain && NUMBERED_SECRET.contains(&secret.len()) && Alphabet::Base62.spells(secret)).then_some((
        digits,
        digits + 1,
        SecretForm::Foreign,
    ))
}

fn any(rest: &[u8]) -> Option<(usize, usize, SecretForm)> {
    (rest.len() >= SHORTEST_ANY && rest.iter().all(u8::is_ascii_graphic)).then_some((0, 0, SecretForm::Foreign))
}
