//! Key formats.

mod alphabet;
mod builder;
mod checksum;
mod default;
mod formats;
mod generate;
mod keyed;
mod layout;
mod parse;
mod parsed;
mod pattern;
mod presets;
mod realm;
mod scanner;
mod split;

use std::fmt;
use std::sync::Arc;

pub use self::alphabet::Alphabet;
pub use self::builder::KeyFormatBuilder;
use self::builder::check_some_prefix;
pub use self::checksum::Checksum;
pub use self::formats::KeyFormats;
pub use self::generate::{GenerateError, GenerateErrorKind, GeneratedKey};
pub use self::keyed::{ServerSecret, ServerSecrets};
pub(crate) use self::layout::LONGEST_KEY;
use self::layout::Layout;
pub use self::parse::MalformedKey;
pub(crate) use self::parsed::Parsed;
pub use self::parsed::ParsedKey;
pub(crate) use self::realm::{ChecksumHistory, DatedSecret, RealmChecksum};
pub(crate) use self::split::SplitKey;
use crate::error::ConfigError;
use crate::key::Timestamp;

/// A key format: prefix, environment, lookup, secret and checksum. Cheap to clone.
///
/// The default is `<prefix>_<environment>_<12 lookup><32 secret><checksum>` in base62, with the environments `live` and `test`.
/// The lookup has 71 bits of entropy, the secret 190. The checksum is that of the [realm](Checksum::Realm): 11 characters that
/// only the servers can make. A format that belongs to no [`ApiKeys`](crate::ApiKeys) handle, as here, makes 6 of CRC-32.
///
/// ```
/// use tower_api_key::key::KeyFormat;
///
/// let format = KeyFormat::new("acme")?;
/// let new = format.generate(Some("live"))?;
/// let text = new.key().expose_secret();
/// assert!(text.starts_with("acme_live_"));
///
/// let key = format.parse(text.as_bytes())?;
/// assert_eq!(key.lookup(), new.lookup().as_str());
///
/// let mistyped = text.replace("acme_live_", "acme_live_x");
/// assert!(format.parse(mistyped.as_bytes()).is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyFormat(Arc<Layout>);

impl KeyFormat {
    /// The default format with this prefix: 1 to 32 characters of `A-Z`, `a-z`, `0-9`, `_` and `-`, with a letter or digit at
    /// both ends.
    ///
    /// # Errors
    /// When the prefix is not valid.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        check_some_prefix(prefix)?;
        Self::builder(prefix).build()
    }

    /// The characters of the longest key.
    pub(crate) fn longest_key(&self) -> usize {
        self.0.longest_key()
    }

    /// Settings of another format, with those of [`new`](Self::new) as defaults. An empty prefix is for keys without a prefix,
    /// which cannot have an environment either.
    pub fn builder(prefix: &str) -> KeyFormatBuilder {
        KeyFormatBuilder::new(prefix)
    }

    /// The parts of a presented key, if its length, prefix, environment, characters and checksum are right. Does not read the
    /// store, and allocates only for a lookup that is a hash.
    ///
    /// # Errors
    /// When it is not a key of this format.
    #[inline]
    pub fn parse<'a>(&'a self, key: &'a [u8]) -> Result<ParsedKey<'a>, MalformedKey> {
        match parse::parse(&self.0, key, 0, &Timestamp::now) {
            Parsed::Key(key) => Ok(key),
            Parsed::UnknownSecret | Parsed::Malformed => Err(MalformedKey(())),
        }
    }

    /// A new key of this environment, or `None` for a format without environments. Random bytes come from the operating system.
    /// It is unlikely but possible that another key has the same lookup: the store refuses it then, and the caller generates
    /// another one.
    ///
    /// # Errors
    /// When the format has no such environment or is only for imported keys, or when there are no random bytes.
    pub fn generate(&self, environment: Option<&str>) -> Result<GeneratedKey, GenerateError> {
        self.generate_at(environment, Timestamp::now())
    }

    /// [`generate`](Self::generate) at this time, which is written into keys with a timestamp.
    pub(crate) fn generate_at(&self, environment: Option<&str>, now: Timestamp) -> Result<GeneratedKey, GenerateError> {
        generate::generate(&self.0, environment, now)
    }

    /// Whether the last characters of a key may be stored and shown: 128 bits of it stay secret without them.
    pub(crate) fn may_show_hints(&self) -> bool {
        self.0.may_show_hints()
    }

    /// Whether new keys need the secret of a realm.
    pub(crate) fn needs_realm(&self) -> bool {
        matches!(self.0.checksum, Checksum::Realm)
    }

    /// Whether its keys with a CRC-32 end when the realm says so.
    pub(crate) fn is_of_realm(&self) -> bool {
        self.0.realm.is_some()
    }

    /// The same format, with the secrets of this realm behind [`Checksum::Realm`].
    pub(crate) fn bound_to(&self, realm: &Arc<RealmChecksum>) -> Self {
        match &self.0.checksum {
            Checksum::Realm => Self(Arc::new(Layout {
                realm: Some(realm.clone()),
                ..Layout::clone(&self.0)
            })),
            _ => self.clone(),
        }
    }

    /// Whether keys can have characters that are percent-encoded in URIs (RFC 3986, section 2.3).
    pub(crate) fn has_reserved_characters(&self) -> bool {
        self.0.has_reserved_characters()
    }

    /// A regular expression for secret scanners, without look-around. `None` for [`raw`](Self::raw), which accepts any text.
    ///
    /// It matches the form only; [`parse`](Self::parse) also verifies the checksum.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let regex = KeyFormat::new("acme")?.scanner_regex();
    /// assert_eq!(regex.as_deref(), Some(r"\bacme_(?:live|test)_[0-9A-Za-z]{50}(?:[0-9A-Za-z]{5})?\b"));
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    pub fn scanner_regex(&self) -> Option<String> {
        scanner::scanner_regex(&self.0)
    }

    /// Whether its keys end with a checksum under a secret of the servers, so that nobody else can make up a text that they look for
    /// in their store.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// assert!(KeyFormat::new("acme")?.has_keyed_checksum());
    /// assert!(!KeyFormat::cmpz().has_keyed_checksum());
    /// # Ok::<_, tower_api_key::ConfigError>(())
    /// ```
    pub fn has_keyed_checksum(&self) -> bool {
        matches!(self.0.checksum, Checksum::Keyed(_) | Checksum::Realm)
    }

    /// Whether it is [`raw`](Self::raw).
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.0.body, layout::Body::Any)
    }

    /// The prefix of keys, without the `_` after it. Empty for formats without a prefix.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The environments, in the order of the settings.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.0.heads.iter().filter_map(|head| head.environment.as_deref())
    }
}

impl fmt::Debug for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFormat")
            .field("prefix", &self.prefix())
            .field("environments", &self.environments().collect::<Vec<_>>())
            .field("body", &self.0.body)
            .field("checksum", &self.0.checksum)
            .finish_non_exhaustive()
    }
}
