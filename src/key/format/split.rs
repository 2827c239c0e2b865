//! A text that has the lengths of a key, in parts.

use super::layout::{Body, Head, Layout};
use super::realm::ChecksumVerdict;
use crate::key::{SecretForm, Timestamp};

/// A text with the head, the lengths and the separators of a key, whose characters and checksum have not been checked.
///
/// Its one use is to find out whether this very text was [parsed](super::ParsedKey) before.
#[derive(Clone)]
pub(crate) struct SplitKey<'a> {
    pub(super) key: &'a [u8],
    pub(super) layout: &'a Layout,
    pub(super) head: &'a Head,
    pub(super) parts: Parts,
    pub(super) hashed_lookup: Option<Box<str>>,
    pub(super) shape: [u8; 2],
    pub(super) form: SecretForm,
}

/// The offsets of the parts of a key. A key has at most 256 bytes.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub(super) body: u16,
    pub(super) lookup: u16,
    pub(super) lookup_end: u16,
    pub(super) secret: u16,
}

impl<'a> SplitKey<'a> {
    /// Whether its characters and its checksum are right, so that it is a key.
    pub(super) fn judge(&self, now: &dyn Fn() -> Timestamp) -> ChecksumVerdict {
        if !self.is_spelled() {
            return ChecksumVerdict::Wrong;
        }
        let body = usize::from(self.parts.body);
        self.layout.checksum_at(now).judge(self.form, self.key, body)
    }

    /// Whether lookup and secret have no characters but those of the format. A checksum looks at its own.
    fn is_spelled(&self) -> bool {
        let Body::Fixed(body) = &self.layout.body else {
            // The other bodies have no fixed lengths, so they are split by their characters.
            return true;
        };
        let text = self.slice(self.parts.lookup, u16::MAX);
        let secret = body.lookup + usize::from(body.separator.is_some());
        let spells = |part: Option<&[u8]>| part.is_some_and(|part| body.alphabet.spells(part));
        spells(text.get(..body.lookup)) && spells(text.get(secret..body.length()))
    }

    /// The text after prefix and environment.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.slice(self.parts.body, u16::MAX)
    }

    /// The lookup of the key's record, or something that no lookup is equal to if the text is not a key.
    pub(crate) fn lookup(&self) -> &[u8] {
        match &self.hashed_lookup {
            Some(hash) => hash.as_bytes(),
            None => self.slice(self.parts.lookup, self.parts.lookup_end),
        }
    }

    /// The place of the format in the [`KeyFormats`](super::KeyFormats) that split the text, and that of the environment in the
    /// format. Shape and body together determine the text.
    pub(crate) fn shape(&self) -> [u8; 2] {
        self.shape
    }

    /// Which checksum the text has, by its length.
    pub(crate) fn form(&self) -> SecretForm {
        self.form
    }

    /// The offsets come from splitting this text, so the fallback is never used.
    pub(super) fn slice(&self, start: u16, end: u16) -> &'a [u8] {
        let end = usize::from(end).min(self.key.len());
        self.key.get(usize::from(start)..end).unwrap_or_default()
    }
}

impl Parts {
    pub(super) fn new(body: usize, lookup: usize, lookup_end: usize, secret: usize) -> Self {
        Self {
            body: body as u16,
            lookup: lookup as u16,
            lookup_end: lookup_end as u16,
            secret: secret as u16,
        }
    }
}
