//! Outputs of hash functions, compared in constant time.

use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The output of a hash function, as words: `subtle` compares words several times faster than bytes.
///
/// It has no `==`, so that nobody compares it in variable time by mistake.
#[derive(Clone, Copy)]
pub(super) struct Digest<const WORDS: usize>([u64; WORDS]);

/// The output of every slow scheme: the 32 bytes of Argon2id, or the 23 of bcrypt and zeros.
pub(super) type SlowDigest = Digest<4>;

impl<const WORDS: usize> Digest<WORDS> {
    /// A digest of these bytes, padded with zeros. Callers check the length.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut octets = [0; 8];
            for (octet, byte) in octets.iter_mut().zip(chunk) {
                *octet = *byte;
            }
            *word = u64::from_le_bytes(octets);
        }
        Self(words)
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Whether they are equal, in constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0[..].ct_eq(&other.0[..]).into()
    }
}

pub(super) fn sha256(key: &[u8]) -> Digest<4> {
    Digest::from_bytes(&Sha256::digest(key))
}

pub(super) fn sha512(key: &[u8]) -> Digest<8> {
    Digest::from_bytes(&Sha512::digest(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(SlowDigest: PartialEq, std::fmt::Debug);

    #[test]
    fn difference_in_any_byte_is_seen() {
        let bytes: Vec<u8> = (0..32).collect();
        let digest = Digest::<4>::from_bytes(&bytes);
        assert_eq!(digest.to_bytes(), bytes);
        assert!(digest.matches(&digest));
        for index in 0..32 {
            let mut other = bytes.clone();
            other[index] ^= 0x80;
            assert!(!digest.matches(&Digest::from_bytes(&other)), "{index}");
        }
    }
}
