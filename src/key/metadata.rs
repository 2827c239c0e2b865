//! Names and values that a service keeps with a key.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::ParseError;

/// Names and values that a service keeps with a key and reads in the handler's context. The crate does not interpret them.
///
/// At most 64 entries, names of 1 to 64 bytes, values of up to 1,024 bytes. Do not store secrets here: metadata is
/// listed and shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<Box<str>, Box<str>>);

impl Metadata {
    /// Sets an entry. An entry of the same name is replaced.
    ///
    /// # Errors
    /// When the name, the value or the number of entries is out of bounds. The metadata is then unchanged.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ParseError> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            let problem = format!("must have 1 to {LONGEST_NAME} bytes, got {}", name.len());
            return Err(ParseError::new("metadata name", problem));
        }
        if value.len() > LONGEST_VALUE {
            let problem = format!("must have at most {LONGEST_VALUE} bytes, got {}", value.len());
            return Err(ParseError::new("metadata value", problem));
        }
        if self.0.len() >= MOST_ENTRIES && !self.0.contains_key(name) {
            let problem = format!("must have at most {MOST_ENTRIES} entries");
            return Err(ParseError::new("metadata", problem));
        }
        self.0.insert(name.into(), value.into());
        Ok(())
    }

    /// The value of an entry.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// All entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const MOST_ENTRIES: usize = 64;
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 1024;
