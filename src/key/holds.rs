//! What keeps a key disabled.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::ParseError;

/// The bulk changes that keep a disabled key disabled, each by the text of its selection, at most 16.
///
/// A disabled key without any was disabled by itself. One that several bulk changes disabled works again when each of them is
/// undone, unless it was disabled by itself as well: that has the name [`ITSELF`](Self::ITSELF).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Holds(BTreeSet<Box<str>>);

impl Holds {
    /// The key was disabled by itself too.
    pub const ITSELF: &str = "key";
    /// The most holds that a key has.
    pub const MOST: usize = 16;

    /// A set of these names.
    ///
    /// # Errors
    /// When a name is empty, longer than 320 bytes or has control characters, or there are too many.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, ParseError> {
        let mut holds = BTreeSet::new();
        for name in names {
            if name.is_empty() || name.len() > LONGEST || name.contains(char::is_control) {
                let problem = format!("must have 1 to {LONGEST} bytes and no control characters");
                return Err(ParseError::new("holds", problem));
            }
            holds.insert(name.into());
            if holds.len() > Self::MOST {
                let problem = format!("must be at most {}", Self::MOST);
                return Err(ParseError::new("holds", problem));
            }
        }
        Ok(Self(holds))
    }

    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more. Beyond the most there may be, the key counts as disabled by itself alone: it stays disabled until somebody
    /// enables that key.
    pub(super) fn add(&mut self, name: &str) {
        self.0.insert(name.into());
        if self.0.len() > Self::MOST {
            self.0 = BTreeSet::from([Self::ITSELF.into()]);
        }
    }

    /// One less; whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name)
    }
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Of one name: a word, and a user id of 255 bytes.
const LONGEST: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        for bad in ["", "a\n", &"x".repeat(321)] {
            assert!(Holds::new([bad]).is_err());
        }
        let names: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        assert!(Holds::new(names.iter().map(|name| &**name)).is_err());
        assert!(Holds::new(names[1..].iter().map(|name| &**name)).is_ok());
    }
}
