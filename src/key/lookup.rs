//! The part of a key that may be seen.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::error::ParseError;

/// What fits into 16 bytes with its length and tag: the default lookup of 12 and every preset's do.
const INLINE: usize = 14;
const LONGEST: usize = 128;

/// The non-secret leading characters of a key's body: unique, indexed, and what a record is found by.
///
/// `Debug` and `Display` show it only as far as it may be seen: whole up to 24 characters, otherwise (a lookup that
/// is the hash of a whole key) its first 8 characters. [`as_str`](Self::as_str) gives all of it, for stores.
#[derive(Clone)]
pub struct Lookup(Text);

#[derive(Clone)]
enum Text {
    Inline { length: u8, bytes: [u8; INLINE] },
    // A thin pointer: millions of these are cached, and long lookups are the exception.
    Heap(Box<Box<str>>),
}

impl Lookup {
    /// A lookup from its text: 1 to 128 visible ASCII characters.
    ///
    /// # Errors
    /// When the text is empty, too long, or holds anything but visible ASCII.
    pub fn new(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ParseError::new("lookup", "must be 1 to 128 visible ASCII characters"));
        }
        if text.len() > INLINE {
            return Ok(Self(Text::Heap(Box::new(text.into()))));
        }
        let mut bytes = [0; INLINE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(Text::Inline {
            length: text.len() as u8,
            bytes,
        }))
    }

    /// A lookup of bytes of which a format has seen that they are visible ASCII, or for comparison with such lookups alone:
    /// their number is all that is looked at.
    #[inline(always)]
    pub(crate) fn of_parsed(text: &[u8]) -> Option<Self> {
        match padded(text) {
            Some(bytes) => Some(Self(Text::Inline {
                length: text.len() as u8,
                bytes,
            })),
            None => Self::of_unusual(text),
        }
    }

    /// Shorter or longer than the lookups of our formats and of most others.
    #[cold]
    fn of_unusual(text: &[u8]) -> Option<Self> {
        Self::new(std::str::from_utf8(text).ok()?).ok()
    }

    /// The whole lookup, as stores index it.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // A str's or, in a lookup that is only compared and then dropped, whatever a client sent.
            Text::Inline { length, bytes } => std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default(),
            Text::Heap(text) => text,
        }
    }

    /// As much of the lookup as may be shown or logged.
    pub fn shown(&self) -> &str {
        shown(self.as_str())
    }
}

/// 8 to [`INLINE`] bytes, with zeros behind.
///
/// By two words that overlap: a copy of so many bytes as there happen to be is a call, and what it wrote cannot be read as
/// words before it has reached the cache, which every request would wait for.
#[inline(always)]
fn padded(text: &[u8]) -> Option<[u8; INLINE]> {
    if text.len() > INLINE {
        return None;
    }
    let (first, last) = (text.first_chunk()?, text.last_chunk()?);
    let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    let word = u128::from(first) | u128::from(last) << (8 * (text.len() - 8));
    let [bytes @ .., _, _] = word.to_le_bytes();
    Some(bytes)
}

/// A lookup longer than this is derived from the secret (a hash of the whole key), so only its start is shown.
pub(crate) fn shown(lookup: &str) -> &str {
    if lookup.len() > 24 {
        lookup.get(..8).unwrap_or_default()
    } else {
        lookup
    }
}

// As words where it can be: a text of unknown length takes three times as long, and every request asks the cache. A
// lookup has one form for its length, so equal ones are always hashed alike.
impl Hash for Lookup {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Text::Inline { length, bytes } => state.write_u128(word(*length, bytes)),
            Text::Heap(text) => text.hash(state),
        }
    }
}

impl PartialEq for Lookup {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (
                Text::Inline { length, bytes },
                Text::Inline {
                    length: theirs,
                    bytes: other,
                },
            ) => word(*length, bytes) == word(*theirs, other),
            (Text::Heap(text), Text::Heap(other)) => text == other,
            _ => false,
        }
    }
}

#[inline]
fn word(length: u8, bytes: &[u8; INLINE]) -> u128 {
    let mut word = [0; 16];
    word[0] = length;
    word[2..].copy_from_slice(bytes);
    u128::from_le_bytes(word)
}

impl Eq for Lookup {}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_that_is_a_hash_of_the_key_is_never_shown_whole() {
        let hash = "a".repeat(8) + &"b".repeat(56);
        let lookup = Lookup::new(&hash).unwrap();
        assert_eq!(lookup.as_str(), hash);
        assert_eq!(lookup.to_string(), "aaaaaaaa");
        assert_eq!(format!("{lookup:?}"), "Lookup(aaaaaaaa)");
    }

    #[test]
    fn a_parsed_lookup_is_that_of_its_text() {
        let text = "abcdefghijklmnopqrstuvwxyz";
        for length in 1..=text.len() {
            let text = &text[..length];
            let parsed = Lookup::of_parsed(text.as_bytes()).unwrap();
            assert_eq!(parsed.as_str(), text);
            assert!(parsed == Lookup::new(text).unwrap());
        }
        assert!(Lookup::of_parsed(b"").is_none());
    }

    #[test]
    fn short_and_long_lookups_keep_their_text() {
        assert_eq!(size_of::<Lookup>(), 16);
        for length in [1, 8, 12, 14, 15, 24, 64, 128] {
            let text = "x".repeat(length);
            assert_eq!(Lookup::new(&text).unwrap().as_str(), text);
        }
        for bad in ["", "a b", "\u{e9}", &"x".repeat(129)] {
            assert!(Lookup::new(bad).is_err());
        }
    }
}
