//! What a handler says of a request, to tell requests apart.

use std::fmt;

use super::error::{UsageError, UsageErrorKind};

/// Up to four names with their values, such as `model` with `large`. Each name once: a later value replaces an earlier one.
///
/// ```
/// use tower_api_key::usage::Tags;
///
/// let mut tags = Tags::default();
/// tags.set("model", "large")?;
/// assert_eq!(tags.get("model"), Some("large"));
/// assert!(tags.set("Model", "large").is_err(), "names are of a-z, 0-9, `_`, `-` and `.`");
/// # Ok::<_, tower_api_key::usage::UsageError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tags(Vec<(Box<str>, Box<str>)>);

impl Tags {
    /// How many a request has at most.
    pub const MOST: usize = 4;
    /// How long a name is at most, in bytes.
    pub const LONGEST_NAME: usize = 32;
    /// How long a value is at most, in bytes.
    pub const LONGEST_VALUE: usize = 64;

    /// Sets a tag. Of a value that is too long the start is kept; control characters become `U+FFFD`.
    ///
    /// # Errors
    /// [`InvalidTag`](UsageErrorKind::InvalidTag) if the name is not of 1 to 32 of `a-z`, `0-9`, `_`, `-` and `.`, or the value is
    /// empty; [`TooManyTags`](UsageErrorKind::TooManyTags) if there are four others.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), UsageError> {
        let may_be_in_it = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > Self::LONGEST_NAME || !name.bytes().all(may_be_in_it) || value.is_empty() {
            return Err(UsageErrorKind::InvalidTag.into());
        }
        let value: Box<str> = cut(value, Self::LONGEST_VALUE).into();
        match self.0.binary_search_by(|(other, _)| (**other).cmp(name)) {
            Ok(place) => {
                if let Some((_, old)) = self.0.get_mut(place) {
                    *old = value;
                }
            }
            Err(_) if self.0.len() == Self::MOST => return Err(UsageErrorKind::TooManyTags.into()),
            Err(place) => self.0.insert(place, (name.into(), value)),
        }
        Ok(())
    }

    /// The value of this tag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The start of a text, without what terminals obey.
pub(super) fn cut(text: &str, longest: usize) -> String {
    let seen = |c: char| {
        if crate::key::is_hidden(c) {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let shown: String = crate::key::shortened(text, longest).chars().map(seen).collect();
    crate::key::shortened(&shown, longest).to_owned()
}
