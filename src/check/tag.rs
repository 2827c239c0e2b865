//! A keyed hash of a presented key: what the cache knows a verified key by, instead of the key.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::key::ParsedKey;
use crate::sha256::{self, BLOCK, ROOM};

/// SHA-256 over a random block of this process and the presented key.
///
/// Never leaves the process. Compared in constant time where it stands for a secret, and on words: the byte-wise
/// comparison costs six times as much.
#[derive(Clone, Copy)]
pub(crate) struct Tag([u64; 4]);

/// Makes tags. The random block fills the first block of SHA-256, so its state is computed once.
pub(crate) struct Tagger {
    state: [u32; 8],
    hasher: Sha256,
}

impl Tagger {
    pub(super) fn new() -> Self {
        Self::over(rand::random())
    }

    fn over(block: [u8; BLOCK]) -> Self {
        Self {
            state: sha256::after(&block),
            hasher: Sha256::new_with_prefix(block),
        }
    }

    /// The tag of this key. Format and environment are part of it: two keys with one body are two keys.
    #[inline]
    pub(super) fn tag(&self, key: &ParsedKey<'_>) -> Tag {
        self.tag_of(key.shape(), key.body_bytes())
    }

    #[inline]
    fn tag_of(&self, shape: [u8; 2], body: &[u8]) -> Tag {
        let length = shape.len() + body.len();
        if length > ROOM {
            return self.tag_of_several_blocks(shape, body);
        }
        let mut block = [0; BLOCK];
        block[..2].copy_from_slice(&shape);
        block[2..length].copy_from_slice(body);
        let state = sha256::finish_block(self.state, &mut block, length, length);
        let word = |at: usize| u64::from(state[at]) << 32 | u64::from(state[at + 1]);
        Tag([word(0), word(2), word(4), word(6)])
    }

    #[cold]
    fn tag_of_several_blocks(&self, shape: [u8; 2], body: &[u8]) -> Tag {
        let digest = self.hasher.clone().chain_update(shape).chain_update(body).finalize();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Tag(words)
    }
}

impl Tag {
    /// The tag of a context that nobody presented a key for; it is never compared.
    #[cfg(feature = "testing")]
    pub(super) fn of_no_key() -> Self {
        Self([0; 4])
    }

    /// Whether both are of the same presented key, in constant time.
    #[inline]
    pub(super) fn is(&self, other: &Tag) -> bool {
        // One comparison of what differs anywhere: one for each word takes as many calls.
        let differing = self.0.iter().zip(&other.0).fold(0, |all, (one, two)| all | (one ^ two));
        differing.ct_eq(&0).into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_any_length_are_sha_256_of_block_shape_and_body() {
        let block: [u8; BLOCK] = std::array::from_fn(|i| i as u8);
        let tagger = Tagger::over(block);
        for length in 0..=256 {
            let body: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let reference = Sha256::new()
                .chain_update(block)
                .chain_update([3, 1])
                .chain_update(&body);
            let words = tagger.tag_of([3, 1], &body).0;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(bytes, reference.finalize().as_slice(), "{length}");
        }
    }
}
