//! A key of a known format, in parts.

use std::fmt;

use super::layout::{Head, Layout};
use super::parse::Parts;
use crate::key::Lookup;
use crate::key::lookup::shown;

/// A presented key whose form is right; nothing says yet that it exists.
///
/// It borrows the key and the format, and holds both as they are: parsing copies nothing. `Debug` shows what may be
/// logged: prefix, environment, and the lookup as far as it may be seen.
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
pub struct ParsedKey<'a> {
    /// ASCII, as parsing has seen. Bytes, because a check takes them as they are.
    key: &'a [u8],
    layout: &'a Layout,
    head: &'a Head,
    parts: Parts,
    hashed_lookup: Option<Box<str>>,
    shape: [u8; 2],
}

impl<'a> ParsedKey<'a> {
    pub(super) fn new(
        key: &'a [u8],
        layout: &'a Layout,
        head: &'a Head,
        parts: Parts,
        hashed_lookup: Option<Box<str>>,
        shape: [u8; 2],
    ) -> Self {
        Self {
            key,
            layout,
            head,
            parts,
            hashed_lookup,
            shape,
        }
    }

    /// The whole key, which stored hashes are made of.
    ///
    /// # Security
    /// This is the secret: it goes into a hash and nowhere else.
    pub fn text(&self) -> &'a str {
        as_text(self.key)
    }

    pub(super) fn has_right_checksum(&self) -> bool {
        self.layout.checksum.verifies(self.key, usize::from(self.parts.body))
    }

    /// What the key's record is found by: a part of the key, or the SHA-256 of all of it as 64 hex digits.
    pub fn lookup(&self) -> &str {
        match &self.hashed_lookup {
            Some(hash) => hash,
            None => as_text(self.slice(self.parts.lookup, self.parts.lookup_end)),
        }
    }

    /// The lookup as a value. A parsed key always has one.
    pub(crate) fn to_lookup(&self) -> Option<Lookup> {
        match &self.hashed_lookup {
            Some(hash) => Lookup::new(hash).ok(),
            None => Lookup::of_parsed(self.slice(self.parts.lookup, self.parts.lookup_end)),
        }
    }

    /// What follows the lookup and its separator; all of the key if the lookup is its hash. Some systems whose keys
    /// are imported hashed only this part.
    ///
    /// # Security
    /// As for [`text`](Self::text).
    pub fn secret(&self) -> &'a str {
        as_text(self.slice(self.parts.secret, u16::MAX))
    }

    /// The format's prefix, without the `_` that follows it; empty for formats without one.
    pub fn prefix(&self) -> &'a str {
        &self.layout.prefix
    }

    /// The environment that the key names, for formats that have environments.
    pub fn environment(&self) -> Option<&'a str> {
        self.head.environment.as_deref()
    }

    /// All that varies from key to key: what follows prefix and environment, with timestamp and checksum. Together
    /// with [`shape`](Self::shape) it determines the key, so a cache may hash these instead of the whole text.
    ///
    /// # Security
    /// As for [`text`](Self::text).
    pub fn body(&self) -> &'a str {
        as_text(self.body_bytes())
    }

    pub(crate) fn body_bytes(&self) -> &'a [u8] {
        self.slice(self.parts.body, u16::MAX)
    }

    /// Which format and which environment: their places in the [`KeyFormats`](super::KeyFormats) that parsed the key,
    /// and in that format.
    pub fn shape(&self) -> [u8; 2] {
        self.shape
    }

    /// Whether the lookup has at least 64 bits and the key a checksum. Then nobody finds out by trying which lookups
    /// exist, and an unknown one may be refused at once; otherwise an unknown lookup must take as long as a known one.
    pub fn has_unguessable_lookup(&self) -> bool {
        self.layout.has_unguessable_lookup()
    }

    /// The last four characters, by which people recognise a key of theirs.
    pub fn hint(&self) -> &'a str {
        hint(self.text())
    }

    /// Offsets come from parsing this very key, so the fallback cannot be reached.
    fn slice(&self, start: u16, end: u16) -> &'a [u8] {
        let end = usize::from(end).min(self.key.len());
        self.key.get(usize::from(start)..end).unwrap_or_default()
    }
}

/// Parsed keys are ASCII, so the fallback cannot be reached.
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
