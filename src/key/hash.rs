//! What is stored instead of a secret.

use std::fmt;

use crate::error::ConfigError;

const LONGEST: usize = 512;

/// A tagged hash of a whole presented key, such as `$argon2id$v=19$…` or `sha256:<hex>`.
///
/// The tag names the scheme and its parameters, so that records of many ages verify side by side. The text is taken
/// as it is: whether its scheme is known and its parameters are within bounds is judged when it is used, since a
/// record from a store may hold anything. `Debug` shows the scheme only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(Box<str>);

impl SecretHash {
    /// A hash from its tagged text: 1 to 512 bytes.
    ///
    /// # Errors
    /// When the text is empty or longer than any supported hash.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let text = text.into();
        if text.is_empty() || text.len() > LONGEST {
            return Err(ConfigError::new("secret hash", "must have 1 to 512 bytes"));
        }
        Ok(Self(text))
    }

    /// The tagged text, for stores.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the scheme, as far as the tag says it: `argon2id`, `sha256`, `2b`, …
    pub fn scheme(&self) -> &str {
        let text = self.0.strip_prefix('$').unwrap_or(&self.0);
        let end = text.find(['$', ':']).unwrap_or(0);
        text.get(..end).unwrap_or_default()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHash({}, [redacted])", self.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_scheme_and_nothing_of_the_hash() {
        let hash = SecretHash::new("sha256:00ff").unwrap();
        assert_eq!(format!("{hash:?}"), "SecretHash(sha256, [redacted])");
        let untagged = SecretHash::new("00ff").unwrap();
        assert_eq!(format!("{untagged:?}"), "SecretHash(, [redacted])");
    }
}
