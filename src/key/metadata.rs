//! A user's own words on a key.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::ConfigError;

const MOST_ENTRIES: usize = 64;
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 1024;

/// Names and values that a service keeps with a key and finds again in the context; nothing here is interpreted.
///
/// At most 64 entries, names of 1 to 64 bytes, values of up to 1,024 bytes. Not a place for secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<Box<str>, Box<str>>);

impl Metadata {
    /// Sets an entry, replacing one of the same name.
    ///
    /// # Errors
    /// When a bound is passed; the metadata is unchanged then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(ConfigError::new("metadata name", "must have 1 to 64 bytes"));
        }
        if value.len() > LONGEST_VALUE {
            return Err(ConfigError::new("metadata value", "must have at most 1024 bytes"));
        }
        if self.0.len() >= MOST_ENTRIES && !self.0.contains_key(name) {
            return Err(ConfigError::new("metadata", "must have at most 64 entries"));
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

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
