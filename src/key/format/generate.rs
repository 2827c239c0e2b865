//! New keys.

use std::fmt;

use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use zeroize::Zeroizing;

use super::alphabet::Alphabet;
use super::layout::{Body, FixedBody, LONGEST_KEY, Layout};
use super::parse::hash_of;
use super::parsed::hint;
use crate::error::ParseError;
use crate::key::{ApiKey, Lookup, SecretForm, Timestamp};

/// A new key and its lookup. Neither is stored yet.
#[derive(Debug)]
pub struct GeneratedKey {
    key: ApiKey,
    lookup: Lookup,
    form: SecretForm,
}

impl GeneratedKey {
    /// The key, to hash it and to hand it to its owner.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// The lookup of its record.
    pub fn lookup(&self) -> &Lookup {
        &self.lookup
    }

    /// Which checksum it has, to be stored with its secret.
    pub fn form(&self) -> SecretForm {
        self.form
    }

    /// The last four characters, by which people recognise the key.
    pub fn hint(&self) -> &str {
        hint(self.key.expose_secret())
    }

    /// Both parts.
    pub fn into_parts(self) -> (ApiKey, Lookup) {
        (self.key, self.lookup)
    }
}

/// No key was generated.
#[derive(Debug)]
pub struct GenerateError {
    kind: GenerateErrorKind,
    source: Option<GenerateErrorSource>,
}

#[derive(Debug)]
enum GenerateErrorSource {
    Random(SysError),
    Lookup(ParseError),
}

/// Why no key was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerateErrorKind {
    /// The format has no such environment, or it has environments and none was given.
    UnknownEnvironment,
    /// Keys of this format come from another system and are only checked here.
    ImportOnly,
    /// The operating system gave no random bytes.
    RandomSource,
    /// The generated lookup is not valid: a defect of this crate.
    UnfitLookup,
}

impl GenerateError {
    /// The reason.
    pub fn kind(&self) -> GenerateErrorKind {
        self.kind
    }
}

impl From<GenerateErrorKind> for GenerateError {
    fn from(kind: GenerateErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            GenerateErrorKind::UnknownEnvironment => "key format has no such environment",
            GenerateErrorKind::ImportOnly => "keys of this format can be checked, not generated",
            GenerateErrorKind::RandomSource => "operating system gave no random bytes",
            GenerateErrorKind::UnfitLookup => "lookup of the new key is not valid",
        })
    }
}

impl std::error::Error for GenerateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.source {
            Some(GenerateErrorSource::Random(error)) => Some(error),
            Some(GenerateErrorSource::Lookup(error)) => Some(error),
            None => None,
        }
    }
}

pub(super) fn generate(
    layout: &Layout,
    environment: Option<&str>,
    now: Timestamp,
) -> Result<GeneratedKey, GenerateError> {
    let Body::Fixed(body) = &layout.body else {
        return Err(GenerateErrorKind::ImportOnly.into());
    };
    let head = layout
        .heads
        .iter()
        .find(|head| head.environment.as_deref() == environment)
        .ok_or(GenerateErrorKind::UnknownEnvironment)?;
    // Room for all of it from the start: a string that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_KEY));
    text.push_str(&head.text);
    if layout.timestamp {
        // A machine whose clock was never set may show 0, which is no time of a key.
        text.push_str(&(now.as_millis() / 1000).max(1).to_string());
        text.push('_');
    }
    let lookup = push_body(&mut text, body)?;
    let form = layout.checksum_at(&|| now).append(&mut text, head.text.len());

    let lookup = if layout.hashed_lookup {
        hash_of(text.as_bytes())
    } else {
        lookup
    };
    let lookup = Lookup::new(&lookup).map_err(|error| GenerateError {
        kind: GenerateErrorKind::UnfitLookup,
        source: Some(GenerateErrorSource::Lookup(error)),
    })?;
    // A copy of the exact length: `ApiKey` cuts off spare room, and cutting may move the text without wiping it.
    let mut exact = String::with_capacity(text.len());
    exact.push_str(&text);
    Ok(GeneratedKey {
        key: ApiKey::from(exact),
        lookup,
        form,
    })
}

/// Lookup, separator and secret; returns the lookup.
fn push_body(text: &mut String, body: &FixedBody) -> Result<Box<str>, GenerateError> {
    let start = text.len();
    push_random(text, body.alphabet, body.lookup)?;
    let lookup = text.get(start..).unwrap_or_default().into();
    text.extend(body.separator.map(char::from));
    push_random(text, body.alphabet, body.secret)?;
    Ok(lookup)
}

/// Random characters of equal likelihood: a byte without a character is skipped, because a remainder would favour the
/// first ones. They come from the operating system, so that no state of a generator can reveal a key.
fn push_random(text: &mut String, alphabet: Alphabet, mut count: usize) -> Result<(), GenerateError> {
    let characters = alphabet.characters();
    let mask = characters.len().next_power_of_two() - 1;
    let mut bytes = Zeroizing::new([0; 64]);
    while count > 0 {
        SysRng.try_fill_bytes(&mut *bytes).map_err(|error| GenerateError {
            kind: GenerateErrorKind::RandomSource,
            source: Some(GenerateErrorSource::Random(error)),
        })?;
        let drawn = bytes
            .iter()
            .filter_map(|&byte| characters.get(usize::from(byte) & mask));
        for &character in drawn.take(count) {
            text.push(char::from(character));
            count -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a remainder of 256 by 62, the first eight characters would be a quarter more likely: 25 standard deviations.
    #[test]
    fn characters_are_equally_likely() {
        for alphabet in [Alphabet::Base62, Alphabet::Base64Url, Alphabet::Hex] {
            let characters = alphabet.characters();
            let each = 10_000;
            let mut text = String::new();
            push_random(&mut text, alphabet, each * characters.len()).unwrap();
            for &character in characters {
                let seen = text.bytes().filter(|&byte| byte == character).count();
                assert!(
                    seen.abs_diff(each) < each / 10,
                    "{:?} {seen} times instead of about {each}",
                    char::from(character)
                );
            }
        }
    }
}
