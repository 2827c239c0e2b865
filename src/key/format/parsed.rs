//! The parts of a presented key.

use std::fmt;

use super::realm::ChecksumVerdict;
use super::split::SplitKey;
use crate::key::lookup::shown;
use crate::key::{SecretForm, Timestamp};

/// A presented key of the right form. The key may still not exist.
///
/// It borrows the key and the format, so parsing copies nothing. `Debug` shows only what may be logged: the prefix, the
/// environment, and the [shown](crate::key::Lookup::shown) part of the lookup.
///
/// ```
/// use tower_api_key::key::KeyFormat;
///
/// let format = KeyFormat::pk();
/// let key = format.parse(b"pk_test_AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE")?;
/// assert_eq!(key.environment(), Some("test"));
/// assert_eq!(key.lookup(), "AbCdEfGh");
/// assert_eq!(key.hint(), "bCdE");
/// assert_eq!(
///     format!("{key:?}"),
///     r#"ParsedKey { prefix: "pk", environment: Some("test"), lookup: "AbCdEfGh", .. }"#,
/// );
/// # Ok::<_, tower_api_key::key::MalformedKey>(())
/// ```
#[derive(Clone)]
pub struct ParsedKey<'a>(SplitKey<'a>, bool);

/// A text that was read by a format.
pub(crate) enum Parsed<'a> {
    Key(ParsedKey<'a>),
    /// It names a secret that this process does not know: it may be a key, once the secrets were read again.
    UnknownSecret,
    Malformed,
}

impl<'a> ParsedKey<'a> {
    /// The one way to a parsed key.
    pub(super) fn of(split: SplitKey<'a>, now: &dyn Fn() -> Timestamp) -> Parsed<'a> {
        match split.judge(now) {
            ChecksumVerdict::Proven => Parsed::Key(Self(split, true)),
            ChecksumVerdict::Right => Parsed::Key(Self(split, false)),
            ChecksumVerdict::UnknownSecret => Parsed::UnknownSecret,
            ChecksumVerdict::Wrong => Parsed::Malformed,
        }
    }

    /// The whole key. Stored hashes are made of it.
    ///
    /// # Security
    /// Pass it to a hash function and nowhere else.
    pub fn text(&self) -> &'a str {
        as_text(self.0.key)
    }

    /// The same parts, as those of a text that may not be a key.
    pub(crate) fn as_split(&self) -> &SplitKey<'a> {
        &self.0
    }

    /// The lookup of the key's record: a part of the key, or the SHA-256 of the whole key as 64 hex digits.
    pub fn lookup(&self) -> &str {
        as_text(self.0.lookup())
    }

    /// The text after the lookup and its separator, or the whole key if the lookup is its hash. Some other systems hash only
    /// this part.
    ///
    /// # Security
    /// As for [`text`](Self::text).
    pub fn secret(&self) -> &'a str {
        as_text(self.0.slice(self.0.parts.secret, u16::MAX))
    }

    /// The format's prefix, without the `_` that follows it; empty for formats without one.
    pub fn prefix(&self) -> &'a str {
        &self.0.layout.prefix
    }

    /// The key's environment, if its format has environments.
    pub fn environment(&self) -> Option<&'a str> {
        self.0.head.environment.as_deref()
    }

    /// The text after prefix and environment, which is different for every key: timestamp, lookup, secret and checksum.
    ///
    /// # Security
    /// As for [`text`](Self::text).
    pub fn body(&self) -> &'a str {
        as_text(self.0.body())
    }

    /// Which checksum the key has.
    pub fn form(&self) -> SecretForm {
        self.0.form()
    }

    /// Whether the key's checksum was verified under a secret of the servers, so that they made it.
    pub(crate) fn is_proven(&self) -> bool {
        self.1
    }

    /// The last four characters, by which people recognise the key.
    pub fn hint(&self) -> &'a str {
        hint(self.text())
    }
}

/// Parsed keys are ASCII, so the fallback is never used.
fn as_text(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap_or_default()
}

impl fmt::Debug for ParsedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedKey")
            .field("prefix", &self.prefix())
            .field("environment", &self.environment())
            .field("lookup", &shown(self.lookup()))
            .finish_non_exhaustive()
    }
}

pub(super) fn hint(key: &str) -> &str {
    key.len()
        .checked_sub(4)
        .and_then(|start| key.get(start..))
        .unwrap_or_default()
}
