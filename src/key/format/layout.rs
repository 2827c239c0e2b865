//! The parts of a format, as parsing and generating read them.

use std::sync::Arc;

use super::alphabet::Alphabet;
use super::checksum::{Checksum, ChecksumOf};
use super::realm::RealmChecksum;
use crate::key::Timestamp;

/// A longer key is refused before it is read.
pub(crate) const LONGEST_KEY: usize = 256;
/// In digits. A Unix time has ten until 2286.
pub(super) const LONGEST_TIME: usize = 12;
pub(super) const NUMBERED_SEPARATOR: u8 = b'|';
pub(super) const NUMBERED_SECRET: std::ops::RangeInclusive<usize> = 40..=48;
pub(super) const SHORTEST_ANY: usize = 16;
/// The decimal digits of the largest 64-bit number.
pub(super) const LONGEST_NUMBER: usize = 20;
/// What four characters tell at most of a secret, whether they are of it or of its checksum: six bits each.
const HINT: usize = 24;
/// So many bits must stay secret.
const SECRET: usize = 128;
/// Below this many bits an unknown lookup might have been guessed.
const UNGUESSABLE: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) prefix: Box<str>,
    /// One for each environment, or one without. None is the start of another.
    pub(super) heads: Box<[Head]>,
    pub(super) timestamp: bool,
    pub(super) body: Body,
    /// The lookup is the SHA-256 of the whole key instead of a part of it.
    pub(super) hashed_lookup: bool,
    pub(super) checksum: Checksum,
    /// The secrets behind [`Checksum::Realm`]; none in a format that belongs to no handle, or to one that only checks.
    pub(super) realm: Option<Arc<RealmChecksum>>,
}

/// The constant text that a key starts with, such as `acme_live_`.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) environment: Option<Box<str>>,
    pub(super) text: Box<str>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Parts of fixed lengths.
    Fixed(FixedBody),
    /// A decimal row number, `|`, and 40 to 48 base62 characters.
    Numbered,
    /// 16 to 256 visible ASCII characters.
    Any,
}

#[derive(Clone, Debug)]
pub(super) struct FixedBody {
    pub(super) alphabet: Alphabet,
    /// 0 when the lookup is a hash.
    pub(super) lookup: usize,
    pub(super) separator: Option<u8>,
    pub(super) secret: usize,
}

impl Layout {
    pub(super) fn heads(prefix: &str, environments: &[String]) -> Box<[Head]> {
        let head = |environment: Option<&str>| Head {
            environment: environment.map(Box::from),
            text: [Some(prefix), environment]
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
                .map(|part| format!("{part}_"))
                .collect::<String>()
                .into(),
        };
        if environments.is_empty() {
            return Box::new([head(None)]);
        }
        environments.iter().map(|name| head(Some(name))).collect()
    }

    /// The characters of the longest key.
    pub(super) fn longest_key(&self) -> usize {
        let body = match &self.body {
            Body::Fixed(body) => body.length(),
            Body::Numbered => LONGEST_NUMBER + 1 + NUMBERED_SECRET.end(),
            Body::Any => return LONGEST_KEY,
        };
        let head = self.heads.iter().map(|head| head.text.len()).max().unwrap_or_default();
        let time = if self.timestamp { LONGEST_TIME + 1 } else { 0 };
        head + time + body + self.checksum.longest()
    }

    /// The checksum at this time.
    pub(super) fn checksum_at<'a>(&'a self, now: &'a dyn Fn() -> Timestamp) -> ChecksumOf<'a> {
        ChecksumOf {
            checksum: &self.checksum,
            realm: self.realm.as_deref(),
            now,
        }
    }

    /// Whether the checksum of a key can show that these servers made it.
    pub(super) fn can_prove(&self) -> bool {
        match self.checksum {
            Checksum::Keyed(_) => true,
            Checksum::Realm => self.realm.is_some(),
            Checksum::Crc32 | Checksum::None => false,
        }
    }

    /// Whether a key can have other characters than the unreserved ones of URIs. All alphabets are unreserved, and prefixes.
    pub(super) fn has_reserved_characters(&self) -> bool {
        match &self.body {
            Body::Fixed(body) => body.separator.is_some_and(|byte| !is_unreserved(byte)),
            Body::Numbered | Body::Any => true,
        }
    }

    /// Whether the last four characters of a key leave enough of it secret.
    pub(super) fn may_show_hints(&self) -> bool {
        match &self.body {
            Body::Fixed(body) => body.alphabet.bits(body.secret) >= SECRET + HINT,
            Body::Numbered | Body::Any => false,
        }
    }

    /// Whether neither chance nor a mistyped key hits an existing lookup.
    pub(super) fn has_unguessable_lookup(&self) -> bool {
        match &self.body {
            Body::Fixed(body) => {
                !matches!(self.checksum, Checksum::None)
                    && (self.hashed_lookup || body.alphabet.bits(body.lookup) >= UNGUESSABLE)
            }
            Body::Numbered | Body::Any => false,
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

impl FixedBody {
    /// Without the checksum.
    pub(super) fn length(&self) -> usize {
        self.lookup + usize::from(self.separator.is_some()) + self.secret
    }
}
