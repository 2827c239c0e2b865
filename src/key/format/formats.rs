//! Several formats at once.

use std::fmt;
use std::sync::Arc;

use super::KeyFormat;
use super::layout::Body;
use super::parse::{MalformedKey, parse};
use super::parsed::ParsedKey;
use super::pattern::patterns;
use crate::error::ConfigError;

const MOST_FORMATS: usize = 16;

/// The formats that a service accepts, in order: of new keys and of all older ones. Cheap to clone.
///
/// No text may be a key of two of them, so the order decides nothing but speed: the commonest goes first. The one
/// exception is [`KeyFormat::raw`], which takes whatever the others do not.
///
/// ```
/// use tower_api_key::key::{KeyFormat, KeyFormats};
///
/// let formats = KeyFormats::new([KeyFormat::new("acme")?, KeyFormat::cmpz(), KeyFormat::raw()])?;
/// let key = formats.parse(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV")?;
/// assert_eq!((key.prefix(), key.lookup(), key.shape()), ("cmpz", "01234567", [1, 0]));
///
/// let error = KeyFormats::new([KeyFormat::new("acme")?, KeyFormat::new("acme")?]).unwrap_err();
/// assert_eq!(error.setting(), "key formats");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyFormats(pub(super) Arc<[KeyFormat]>);

impl KeyFormats {
    /// These formats, 1 to 16.
    ///
    /// # Errors
    /// When there are none or too many, when some text would be a key of two of them, or when a raw format is not the
    /// last.
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
                    "a key could be of format {first} and of format {second} ({:?} and {:?}); give them different \
                     prefixes or lengths",
                    formats[first], formats[second]
                );
                return problem(problem_text);
            }
        }
        Ok(Self(formats))
    }

    /// The parts of a presented key, by the first format that it fits. It asks no store.
    ///
    /// # Errors
    /// When it is a key of none of the formats, for whatever reason.
    pub fn parse<'a>(&'a self, key: &'a [u8]) -> Result<ParsedKey<'a>, MalformedKey> {
        for (index, format) in (0..).zip(self.0.iter()) {
            if let Some(parsed) = parse(&format.0, key, index) {
                return Ok(parsed);
            }
        }
        Err(MalformedKey(()))
    }

    /// The prefix and the environment of keys of this [shape](ParsedKey::shape).
    pub(crate) fn head_of(&self, shape: [u8; 2]) -> Option<(&str, Option<&str>)> {
        let [format, environment] = shape.map(usize::from);
        let layout = &self.0.get(format)?.0;
        let head = layout.heads.get(environment)?;
        Some((&layout.prefix, head.environment.as_deref()))
    }

    /// Whether keys of this shape have [a lookup that nobody can guess](ParsedKey::has_unguessable_lookup).
    pub(crate) fn has_unguessable_lookup(&self, shape: [u8; 2]) -> bool {
        let format = self.0.get(usize::from(shape[0]));
        format.is_some_and(|format| format.0.has_unguessable_lookup())
    }

    /// The formats, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &KeyFormat> {
        self.0.iter()
    }
}

impl From<KeyFormat> for KeyFormats {
    fn from(format: KeyFormat) -> Self {
        Self(Arc::new([format]))
    }
}

impl fmt::Debug for KeyFormats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
