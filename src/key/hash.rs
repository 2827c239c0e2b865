//! Stored hashes of keys.

use std::fmt;

use super::hex;
use crate::error::ParseError;

const LONGEST: usize = 512;

/// A hash of a whole key as it is stored, such as `$argon2id$v=19$…` or `sha256:<hex>`.
///
/// The tag in front names the scheme and its parameters, so that hashes of several schemes can be stored side by side.
/// Any text of 1 to 512 bytes is accepted here: whether the scheme is known and its parameters are within bounds is
/// checked when the hash is used. `Debug` shows the scheme only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(Box<str>);

impl SecretHash {
    /// A hash from its tagged text.
    ///
    /// # Errors
    /// When the text is empty or longer than 512 bytes.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, ParseError> {
        let text = text.into();
        if text.is_empty() || text.len() > LONGEST {
            let problem = format!("must have 1 to {LONGEST} bytes, got {}", text.len());
            return Err(ParseError::new("secret hash", problem));
        }
        Ok(Self(text))
    }

    /// `sha256:` and these 32 bytes in hexadecimal.
    pub(crate) fn of_sha256(digest: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(digest)).into())
    }

    /// The tagged text, for stores.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scheme that the tag names: `argon2id`, `sha256`, `2b`, …; empty without a tag.
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

    #[test]
    fn error_does_not_show_the_text() {
        let error = SecretHash::new("5".repeat(513)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid secret hash: must have 1 to 512 bytes, got 513"
        );
    }
}
