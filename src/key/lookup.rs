//! Lookups: the public part of a key, which its record is found by.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use quick_cache::Equivalent;

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
/// assert_eq!("4kTz0Q2mVbXw".parse(), Ok(lookup));
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Lookup(LookupText);

/// 16 bytes: the cache keeps one for every key, and those of nearly all formats need no allocation.
///
/// A text has one form for its length, and an inline one has zeros behind it, so comparing the forms compares the texts.
#[derive(Clone, PartialEq, Eq)]
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
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            LookupText::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            LookupText::Heap(text) => text.as_bytes(),
        }
    }

    /// As much of the lookup as may be shown or logged.
    pub fn shown(&self) -> &str {
        shown(self.as_str())
    }
}

impl FromStr for Lookup {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::new(text)
    }
}

// As `LookupBytes` hashes.
impl Hash for Lookup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// A part of a presented key, to find an equal lookup in a map. It need not be one itself.
#[derive(Hash)]
pub(crate) struct LookupBytes<'a>(pub(crate) &'a [u8]);

impl Equivalent<Lookup> for LookupBytes<'_> {
    fn equivalent(&self, lookup: &Lookup) -> bool {
        self.0 == lookup.as_bytes()
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
    use std::hash::BuildHasher;

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
    fn map_of_lookups_finds_them_by_their_bytes() {
        let build = std::hash::RandomState::new();
        let text = "abcdefghijklmnopqrstuvwxyz";
        for length in 1..=text.len() {
            let (text, other) = (&text[..length], &text[..length - 1]);
            let lookup = Lookup::new(text).unwrap();
            assert_eq!(build.hash_one(&lookup), build.hash_one(LookupBytes(text.as_bytes())));
            assert!(LookupBytes(text.as_bytes()).equivalent(&lookup));
            assert!(!LookupBytes(other.as_bytes()).equivalent(&lookup));
        }
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
