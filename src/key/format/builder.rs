//! Settings of a key format.

use std::sync::Arc;

use super::KeyFormat;
use super::alphabet::Alphabet;
use super::checksum::Checksum;
use super::layout::{Body, FixedBody, LONGEST_KEY, LONGEST_TIME, Layout};
use crate::error::{ConfigError, quoted};

const LONGEST_PREFIX: usize = 32;
const LONGEST_ENVIRONMENT: usize = 16;
const MOST_ENVIRONMENTS: usize = 16;
/// In bits: 2^128 attempts cannot find the secret, whatever hash is stored.
const WEAKEST_SECRET: usize = 128;
/// In bits: with fewer, new keys would soon collide with existing lookups.
const SMALLEST_LOOKUP: usize = 32;
/// In characters: a longer lookup would be taken for a hash of the key, which is never shown whole.
const LONGEST_LOOKUP: usize = 24;
/// They need no quotes in a header, and neither base62 nor hex has them.
const SEPARATORS: &[char] = &['|', '.', '_', '-', '~'];

/// Settings of a [`KeyFormat`], with those of [`KeyFormat::new`] as defaults.
///
/// ```
/// use tower_api_key::key::{Alphabet, Checksum, KeyFormat};
///
/// let format = KeyFormat::builder("acme")
///     .environments(["prod", "dev"])
///     .alphabet(Alphabet::Hex)
///     .body_length(64)
///     .lookup_length(16)
///     .checksum(Checksum::None)
///     .build()?;
/// let key = format!("acme_dev_{}", "0123456789abcdef".repeat(4));
/// assert_eq!(format.parse(key.as_bytes())?.lookup(), "0123456789abcdef");
///
/// let error = KeyFormat::builder("acme").body_length(20).build().unwrap_err();
/// assert_eq!(error.setting(), "body length");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
#[derive(Clone, Debug)]
pub struct KeyFormatBuilder {
    prefix: String,
    environments: Vec<String>,
    alphabet: Alphabet,
    body_length: usize,
    lookup_length: usize,
    separator: Option<char>,
    hashed_lookup: bool,
    timestamp: bool,
    checksum: Checksum,
}

impl KeyFormatBuilder {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            environments: vec!["live".to_owned(), "test".to_owned()],
            alphabet: Alphabet::Base62,
            body_length: 44,
            lookup_length: 12,
            separator: None,
            hashed_lookup: false,
            timestamp: false,
            checksum: Checksum::Realm,
        }
    }

    /// The environments that can follow the prefix: up to 16 names of 1 to 16 characters from `a-z0-9-`. Default `live` and
    /// `test`. An empty list means keys without an environment.
    ///
    /// An underscore is refused: `acme_live_eu_…` could also be `live` with a body that starts with `eu_`.
    pub fn environments<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.environments = names.into_iter().map(Into::into).collect();
        self
    }

    /// Keys without an environment: `acme_…`.
    pub fn without_environments(self) -> Self {
        self.environments(None::<String>)
    }

    /// The characters of lookup and secret. Default [`Alphabet::Base62`].
    pub fn alphabet(mut self, alphabet: Alphabet) -> Self {
        self.alphabet = alphabet;
        self
    }

    /// The number of characters of lookup and secret together, without separator and checksum. Default 44.
    ///
    /// The secret must have at least 128 bits: 22 characters of base62 or base64url, 32 of hex.
    pub fn body_length(mut self, characters: usize) -> Self {
        self.body_length = characters;
        self
    }

    /// The number of characters at the start of the body that are the lookup, which is stored and shown as it is. At least
    /// 32 bits, at most 24 characters. Default 12 characters.
    ///
    /// With 64 bits (11 characters of base62) and a checksum, unknown keys are refused without a hash.
    pub fn lookup_length(mut self, characters: usize) -> Self {
        self.lookup_length = characters;
        self
    }

    /// A character between lookup and secret, as in `lookup.secret`: one of `|`, `.`, `_`, `-` and `~` that the alphabet does
    /// not have. Default none.
    pub fn separator(mut self, separator: char) -> Self {
        self.separator = Some(separator);
        self
    }

    /// Uses the SHA-256 of the whole key as the lookup, for stores with such an index. The whole body is secret then, and
    /// the lookup length is ignored.
    pub fn hashed_lookup(mut self) -> Self {
        self.hashed_lookup = true;
        self
    }

    /// Puts the time of creation, in seconds since 1970, in front of the body: `acme_1767225600_…`.
    pub fn timestamp(mut self) -> Self {
        self.timestamp = true;
        self
    }

    /// The checksum at the end of keys. Default [`Checksum::Realm`].
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// The format.
    ///
    /// # Errors
    /// When a setting is impossible, ambiguous or weak, or when keys would be longer than 256 characters. Each option says
    /// what it accepts.
    pub fn build(self) -> Result<KeyFormat, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_prefix(&self.prefix)?;
        self.check_environments()?;
        self.check_lengths()?;
        self.check_separator()
    }

    /// Only for settings that `check` accepts.
    pub(super) fn assemble(self) -> KeyFormat {
        let lookup = if self.hashed_lookup { 0 } else { self.lookup_length };
        KeyFormat(Arc::new(Layout {
            heads: Layout::heads(&self.prefix, &self.environments),
            prefix: self.prefix.into(),
            timestamp: self.timestamp,
            body: Body::Fixed(FixedBody {
                alphabet: self.alphabet,
                lookup,
                separator: self.separator.map(|separator| separator as u8),
                secret: self.body_length.saturating_sub(lookup),
            }),
            hashed_lookup: self.hashed_lookup,
            checksum: self.checksum,
            realm: None,
        }))
    }

    fn check_environments(&self) -> Result<(), ConfigError> {
        let problem = |text: String| Err(ConfigError::new("environments", text));
        if self.environments.len() > MOST_ENVIRONMENTS {
            let bounds = 0..=MOST_ENVIRONMENTS;
            return Err(ConfigError::out_of_range(
                "environments",
                bounds,
                self.environments.len(),
            ));
        }
        if self.prefix.is_empty() && !self.environments.is_empty() {
            return problem("need a prefix; without one, call `without_environments`".to_owned());
        }
        for (index, name) in self.environments.iter().enumerate() {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || name.len() > LONGEST_ENVIRONMENT || !name.bytes().all(plain) {
                return problem(format!(
                    "must have 1 to {LONGEST_ENVIRONMENT} characters of a-z, 0-9, -, got {}",
                    quoted(name)
                ));
            }
            if self.environments[..index].contains(name) {
                return problem(format!("must differ, got {name:?} twice"));
            }
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), ConfigError> {
        let lookup = if self.hashed_lookup { 0 } else { self.lookup_length };
        if !self.hashed_lookup && (lookup > LONGEST_LOOKUP || self.alphabet.bits(lookup) < SMALLEST_LOOKUP) {
            let bounds = self.alphabet.characters_for(SMALLEST_LOOKUP)..=LONGEST_LOOKUP;
            return Err(ConfigError::out_of_range("lookup length", bounds, lookup));
        }
        let secret = self.alphabet.bits(self.body_length.saturating_sub(lookup));
        if secret < WEAKEST_SECRET {
            let problem = format!(
                "must leave at least {WEAKEST_SECRET} bits for the secret, got {secret} from {} characters of {:?}",
                self.body_length, self.alphabet
            );
            return Err(ConfigError::new("body length", problem));
        }
        let heads = Layout::heads(&self.prefix, &self.environments);
        let longest = [
            heads.iter().map(|head| head.text.len()).max().unwrap_or_default(),
            if self.timestamp { LONGEST_TIME + 1 } else { 0 },
            self.body_length,
            usize::from(self.separator.is_some()),
            self.checksum.longest(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add);
        if longest > LONGEST_KEY {
            let problem = format!("must keep keys within {LONGEST_KEY} characters, got up to {longest}");
            return Err(ConfigError::new("body length", problem));
        }
        Ok(())
    }

    fn check_separator(&self) -> Result<(), ConfigError> {
        let Some(separator) = self.separator else {
            return Ok(());
        };
        if self.hashed_lookup {
            let problem = "must be left out when the lookup is a hash: there is nothing to separate";
            return Err(ConfigError::new("separator", problem));
        }
        if !SEPARATORS.contains(&separator) || self.alphabet.spells(&[separator as u8]) {
            let problem = format!(
                "must be one of | . _ - ~ that is not in {:?}, got {separator:?}",
                self.alphabet
            );
            return Err(ConfigError::new("separator", problem));
        }
        Ok(())
    }
}

pub(super) fn check_some_prefix(prefix: &str) -> Result<(), ConfigError> {
    if prefix.is_empty() {
        return Err(ConfigError::new("prefix", "must not be empty"));
    }
    check_prefix(prefix)
}

/// A letter or digit at both ends, so that the `_` behind it ends it, and scanners find its start.
fn check_prefix(prefix: &str) -> Result<(), ConfigError> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    let right = prefix.len() <= LONGEST_PREFIX
        && prefix.bytes().all(inner)
        && edge(prefix.bytes().next())
        && edge(prefix.bytes().next_back());
    if right {
        return Ok(());
    }
    let problem = format!(
        "must have at most {LONGEST_PREFIX} characters of A-Z, a-z, 0-9, _ and -, with a letter or digit at both ends \
         (the _ behind it is added), got {}",
        quoted(prefix)
    );
    Err(ConfigError::new("prefix", problem))
}
