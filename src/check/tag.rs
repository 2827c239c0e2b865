//! A keyed hash of a presented key: what the cache knows a verified key by, instead of the key.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::key::ParsedKey;

/// SHA-256 over a random block of this process and the presented key.
///
/// Never leaves the process. Compared in constant time where it stands for a secret, and on words: the byte-wise
/// comparison costs six times as much.
#[derive(Clone, Copy)]
pub(crate) struct Tag([u64; 4]);

/// Makes tags. The random block fills the first block of SHA-256, so its state is computed once.
#[derive(Clone)]
pub(crate) struct Tagger(Sha256);

impl Tagger {
    pub(super) fn new() -> Self {
        let block: [u8; 64] = rand::random();
        Self(Sha256::new_with_prefix(block))
    }

    /// The tag of this key. Format and environment are part of it: two keys with one body are two keys.
    pub(super) fn tag(&self, key: &ParsedKey<'_>) -> Tag {
        let digest = self
            .0
            .clone()
            .chain_update(key.shape())
            .chain_update(key.body())
            .finalize();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Tag(words)
    }
}

impl Tag {
    /// Whether both are of the same presented key, in constant time.
    pub(super) fn is(&self, other: &Tag) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

// As a map key only: tags are uniform and keyed with randomness that nobody outside has.
impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for Tag {}
