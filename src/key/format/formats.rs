//! The formats that a service accepts.

use std::fmt;
use std::sync::Arc;

use super::KeyFormat;
use super::layout::Body;
use super::parse::{MalformedKey, parse, split};
use super::parsed::{Parsed, ParsedKey};
use super::pattern::patterns;
use super::realm::RealmChecksum;
use super::split::SplitKey;
use crate::error::ConfigError;
use crate::key::Timestamp;

const MOST_FORMATS: usize = 16;

/// The formats that a service accepts: that of new keys, and those of older keys. Cheap to clone.
///
/// No text can be a key of two of them, so their order only affects speed: put the most common one first. The exception is
/// [`KeyFormat::raw`], which must be last and accepts what the others do not.
///
/// ```
/// use tower_api_key::key::{KeyFormat, KeyFormats};
///
/// let formats = KeyFormats::new([KeyFormat::new("acme")?, KeyFormat::cmpz(), KeyFormat::raw()])?;
/// let key = formats.parse(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV")?;
/// assert_eq!((key.prefix(), key.lookup()), ("cmpz", "01234567"));
///
/// let error = KeyFormats::new([KeyFormat::new("acme")?, KeyFormat::new("acme")?]).unwrap_err();
/// assert_eq!(error.setting(), "key formats");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyFormats {
    pub(super) formats: Arc<[KeyFormat]>,
    /// The raw format, if a key with the form of another one may also be found by its hash.
    by_hash: Option<KeyFormat>,
}

impl KeyFormats {
    /// A list of 1 to 16 formats.
    ///
    /// # Errors
    /// When there are none or more than 16, when some text would be a key of two of them, or when a raw format is not the last.
    pub fn new(formats: impl IntoIterator<Item = KeyFormat>) -> Result<Self, ConfigError> {
        let formats: Arc<[KeyFormat]> = formats.into_iter().collect();
        let problem = |text: String| Err(ConfigError::new("key formats", text));
        if formats.is_empty() || formats.len() > MOST_FORMATS {
            return Err(ConfigError::out_of_range(
                "key formats",
                1..=MOST_FORMATS,
                formats.len(),
            ));
        }
        let raw = formats.iter().position(|format| matches!(format.0.body, Body::Any));
        if raw.is_some_and(|index| index + 1 < formats.len()) {
            return problem("a raw format takes every key, so it must be the last".to_owned());
        }
        let patterns: Vec<_> = formats.iter().map(|format| patterns(&format.0)).collect();
        for (second, pattern) in patterns.iter().enumerate() {
            if let Some(first) = patterns[..second].iter().position(|other| other.overlaps(pattern)) {
                let problem_text = format!(
                    "a key could be of format {first} ({}) and of format {second} ({}); give them different prefixes or lengths",
                    named(&formats[first]),
                    named(&formats[second])
                );
                return problem(problem_text);
            }
        }
        Ok(Self::of(formats))
    }

    pub(super) fn of(formats: Arc<[KeyFormat]>) -> Self {
        Self { formats, by_hash: None }
    }

    /// Also for keys that are found by the SHA-256 of their whole text, and verified by it, although their form is that of
    /// another format: for a store with keys that have no lookup of their own. Texts of no format are keys if `any_text` is
    /// set.
    #[cfg(feature = "file")]
    pub(crate) fn also_by_hash(self, any_text: bool) -> Self {
        let raw = (any_text && !self.accepts_any()).then(KeyFormat::raw);
        Self {
            formats: self.formats.iter().cloned().chain(raw).collect(),
            by_hash: Some(KeyFormat::raw()),
        }
    }

    /// These formats in place of those of a store, which still finds its keys as before.
    pub(crate) fn in_place_of(self, formats: Option<Self>) -> Self {
        match formats {
            #[cfg(feature = "file")]
            Some(formats) if formats.by_hash.is_some() => self.also_by_hash(formats.accepts_any()),
            _ => self,
        }
    }

    #[cfg(feature = "file")]
    fn accepts_any(&self) -> bool {
        self.formats.last().is_some_and(KeyFormat::is_raw)
    }

    /// The text of a key of this shape as one that is found by its hash, if that is another one.
    pub(crate) fn split_by_hash<'a>(&'a self, key: &'a [u8], shape: [u8; 2]) -> Option<SplitKey<'a>> {
        let raw = self.by_hash.as_ref()?;
        let read_as = self.format(shape[0])?;
        // Behind the others.
        let index = u8::try_from(self.formats.len()).ok()?;
        (!read_as.is_raw()).then(|| split(&raw.0, key, index)).flatten()
    }

    fn format(&self, index: u8) -> Option<&KeyFormat> {
        let index = usize::from(index);
        let by_hash = self.by_hash.as_ref().filter(|_| index == self.formats.len());
        self.formats.get(index).or(by_hash)
    }

    /// The parts of a presented key, by the format that accepts it. Does not read the store.
    ///
    /// # Errors
    /// When no format accepts the key.
    pub fn parse<'a>(&'a self, key: &'a [u8]) -> Result<ParsedKey<'a>, MalformedKey> {
        match self.read(key, &Timestamp::now, false) {
            Parsed::Key(key) => Ok(key),
            Parsed::UnknownSecret | Parsed::Malformed => Err(MalformedKey(())),
        }
    }

    /// What a presented text is at this time. A key under a secret that this process does not know may be one after the secrets
    /// were read again; without `may_read_again` it is none, and the formats behind are tried.
    pub(crate) fn read<'a>(&'a self, key: &'a [u8], now: &dyn Fn() -> Timestamp, may_read_again: bool) -> Parsed<'a> {
        for (index, format) in (0..).zip(self.formats.iter()) {
            match parse(&format.0, key, index, now) {
                Parsed::UnknownSecret if !may_read_again => {}
                Parsed::Malformed => {}
                read => return read,
            }
        }
        Parsed::Malformed
    }

    /// The same formats, with the secrets of this realm behind [`Checksum::Realm`](super::Checksum::Realm).
    pub(crate) fn bound_to(&self, realm: &Arc<RealmChecksum>) -> Self {
        Self {
            formats: self.formats.iter().map(|format| format.bound_to(realm)).collect(),
            by_hash: self.by_hash.clone(),
        }
    }

    /// The parts that a text has if it is a key, by the first format whose lengths it has.
    pub(crate) fn split<'a>(&'a self, key: &'a [u8]) -> Option<SplitKey<'a>> {
        (0..)
            .zip(self.formats.iter())
            .find_map(|(index, format)| split(&format.0, key, index))
    }

    /// The prefix and the environment of keys of this [shape](ParsedKey::shape).
    pub(crate) fn head_of(&self, shape: [u8; 2]) -> Option<(&str, Option<&str>)> {
        let [format, environment] = shape;
        let layout = &self.format(format)?.0;
        let head = layout.heads.get(usize::from(environment))?;
        Some((&layout.prefix, head.environment.as_deref()))
    }

    /// Whether keys of this shape have a lookup of at least 64 bits and a checksum. Then trying keys does not find existing
    /// lookups, so an unknown one can be refused at once. Otherwise an unknown lookup must take as long as a known one.
    pub(crate) fn has_unguessable_lookup(&self, shape: [u8; 2]) -> bool {
        // In a store that finds keys by their hash and verifies them by it, an existing lookup is a right key.
        let is_hash = |format: &KeyFormat| self.by_hash.is_some() && format.is_raw();
        self.format(shape[0])
            .is_some_and(|format| format.0.has_unguessable_lookup() || is_hash(format))
    }

    /// Whether the checksum of a key can show that these servers made it, in any of the formats.
    pub(crate) fn can_prove(&self) -> bool {
        self.formats.iter().any(|format| format.0.can_prove())
    }

    /// The formats, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &KeyFormat> {
        self.formats.iter()
    }
}

/// A format in a message.
fn named(format: &KeyFormat) -> String {
    match format.prefix() {
        "" => "without a prefix".to_owned(),
        prefix => format!("prefix `{prefix}`"),
    }
}

impl From<KeyFormat> for KeyFormats {
    fn from(format: KeyFormat) -> Self {
        Self::of(Arc::new([format]))
    }
}

impl fmt::Debug for KeyFormats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Alphabet, Checksum, KeyFormatBuilder, ServerSecret, ServerSecrets};

    fn all_presets() -> KeyFormats {
        let formats = [
            KeyFormat::new("acme").unwrap(),
            KeyFormat::cmpz(),
            KeyFormat::pk(),
            KeyFormat::hk(),
            KeyFormat::gml(),
            KeyFormat::bare_hex(),
            KeyFormat::sanctum(),
            KeyFormat::django_rest_framework(),
            KeyFormat::seam("seam").unwrap(),
            KeyFormat::raw(),
        ];
        KeyFormats::new(formats).unwrap()
    }

    fn shape(formats: &KeyFormats, key: &str) -> [u8; 2] {
        formats.parse(key.as_bytes()).unwrap().as_split().shape()
    }

    #[test]
    fn shape_is_the_place_of_format_and_environment() {
        let formats = all_presets();
        let mut generated = 0;
        for (index, format) in (0..).zip(formats.iter()) {
            let environments: Vec<Option<&str>> = match format.environments().next() {
                None => vec![None],
                Some(_) => format.environments().map(Some).collect(),
            };
            for (place, environment) in (0..).zip(environments) {
                let Ok(new) = format.generate(environment) else {
                    continue;
                };
                let key = new.key().expose_secret();
                assert_eq!(shape(&formats, key), [index, place]);
                assert_eq!(shape(&KeyFormats::from(format.clone()), key), [0, place]);
                assert_eq!(formats.head_of([index, place]), Some((format.prefix(), environment)));
                generated += 1;
            }
        }
        assert_eq!(
            generated, 11,
            "one of each format and environment that keys can be generated in"
        );
        assert_eq!(shape(&formats, "7|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd"), [6, 0]);
        assert_eq!(shape(&formats, "whatever-else-there-was"), [9, 0]);
        assert_eq!(formats.head_of([10, 0]), None);
        assert_eq!(formats.head_of([0, 2]), None);
    }

    #[test]
    fn shape_does_not_depend_on_the_timestamp() {
        let formats = all_presets();
        let hex = "0123456789abcdef".repeat(4);
        for seconds in ["1767225600", "1767225601"] {
            assert_eq!(shape(&formats, &format!("gml_{seconds}_{hex}")), [4, 0]);
        }
    }

    #[test]
    fn lookup_is_unguessable_from_64_bits_with_checksum() {
        let unguessable = |builder: KeyFormatBuilder| {
            let formats = KeyFormats::from(builder.build().unwrap());
            formats.has_unguessable_lookup([0, 0])
        };
        let acme = || KeyFormat::builder("acme");
        let secret = ServerSecret::new('a', &[7; 32]).unwrap();
        assert!(unguessable(acme()));
        assert!(unguessable(acme().lookup_length(11)));
        assert!(!unguessable(acme().lookup_length(10)));
        assert!(!unguessable(acme().checksum(Checksum::None)));
        assert!(unguessable(
            acme().checksum(Checksum::Keyed(ServerSecrets::from(secret)))
        ));
        let hex = || acme().alphabet(Alphabet::Hex).body_length(64);
        assert!(unguessable(hex().lookup_length(16)));
        assert!(!unguessable(hex().lookup_length(15)));

        let presets = all_presets();
        assert!(presets.has_unguessable_lookup([0, 1]));
        assert!((1..=10).all(|preset| !presets.has_unguessable_lookup([preset, 0])));
    }
}
