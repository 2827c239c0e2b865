//! Lookups: the public part of a key, which its record is found by.

use std::fmt;

use crate::error::ParseError;

/// The public leading characters of a key's body. They are unique and indexed, and a key's record is found by them.
///
/// `Display` and `Debug` show at most 24 characters: a longer lookup is the hash of a whole key, of which they show the
/// first 8. [`as_str`](Self::as_str) returns all of it, for stores.
///
/// ```
/// use tower_api_key::key::Lookup;
///
/// let lookup = Lookup::new("4kTz0Q2mVbXw")?;
/// assert_eq!(lookup.to_string(), "4kTz0Q2mVbXw");
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Lookup(LookupText);

/// 16 bytes: the cache keeps one for every key, and those of nearly all formats need no allocation.
///
/// A text has one form for its length, and an inline one has zeros behind it, so comparing the forms compares the texts.
#[derive(Clone, PartialEq, Eq, Hash)]
enum LookupText {
    Inline { length: u8, bytes: [u8; INLINE] },
    // Boxed twice, since a pointer to a `str` alone takes 16 bytes.
    Heap(Box<Box<str>>),
}

impl Lookup {
    /// A lookup from its text.
    ///
    /// # Errors
    /// When the text is not 1 to 128 visible ASCII characters.
    pub fn new(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
            // The text is not shown: it may be a key that was put into the wrong place.
            return Err(ParseError::new("lookup", "must be 1 to 128 visible ASCII characters"));
        }
        if text.len() > INLINE {
            return Ok(Self(LookupText::Heap(Box::new(text.into()))));
        }
        Ok(Self::inline(text.as_bytes()))
    }

    /// A lookup from bytes that a format has found to be visible ASCII, or that is only compared with such lookups: of a
    /// short one nothing but the length is checked.
    pub(crate) fn of_parsed(text: &[u8]) -> Option<Self> {
        match text.len() {
            1..=INLINE => Some(Self::inline(text)),
            _ => Self::new(std::str::from_utf8(text).ok()?).ok(),
        }
    }

    fn inline(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        let length = text.len().min(INLINE);
        bytes[..length].copy_from_slice(&text[..length]);
        Self(LookupText::Inline {
            length: length as u8,
            bytes,
        })
    }

    /// The whole lookup, as stores index it.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            LookupText::Inline { length, bytes } => {
                let text = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(text).unwrap_or_default()
            }
            LookupText::Heap(text) => text,
        }
    }

    /// As much of the lookup as may be shown or logged.
    pub fn shown(&self) -> &str {
        shown(self.as_str())
    }
}

/// As much of a lookup as may be shown: a long one is a hash of the whole key, so only its start.
pub(crate) fn shown(lookup: &str) -> &str {
    if lookup.len() > LONGEST_SHOWN {
        lookup.get(..8).unwrap_or_default()
    } else {
        lookup
    }
}

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

/// Fits into 16 bytes with the length and the tag. The default format's lookup has 12 characters.
const INLINE: usize = 14;
const LONGEST: usize = 128;
const LONGEST_SHOWN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_that_is_a_hash_of_the_key_is_not_shown_whole() {
        let hash = "a".repeat(8) + &"b".repeat(56);
        let lookup = Lookup::new(&hash).unwrap();
        assert_eq!(lookup.as_str(), hash);
        assert_eq!(lookup.to_string(), "aaaaaaaa");
        assert_eq!(format!("{lookup:?}"), "Lookup(aaaaaaaa)");
    }

    #[test]
    fn lookup_from_bytes_equals_that_of_their_text() {
        let text = "abcdefghijklmnopqrstuvwxyz";
        for length in 1..=text.len() {
            let text = &text[..length];
            let lookup = Lookup::of_parsed(text.as_bytes()).unwrap();
            assert_eq!(lookup.as_str(), text);
            assert!(lookup == Lookup::new(text).unwrap());
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
