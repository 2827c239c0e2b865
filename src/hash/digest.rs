//! Outputs of hash functions, compared in constant time.

use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The output of a hash function, as words: comparing eight bytes at a time is several times faster in `subtle` than
/// comparing single bytes, and as constant in time.
///
/// It has no `==`, so that no comparison in variable time can slip in.
#[derive(Clone, Copy)]
pub(super) struct Digest<const WORDS: usize>([u64; WORDS]);

/// The output of every slow scheme: 32 bytes of Argon2id, or the 23 of bcrypt and zeros.
pub(super) type SlowDigest = Digest<4>;

impl<const WORDS: usize> Digest<WORDS> {
    /// A digest of these bytes, filled up with zeros. Callers have checked the length.
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

    /// The digest that this text spells in hexadecimal, if it is exactly that long.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        if text.len() != WORDS * 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut words = [0; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            let digits = text.get(index * 16..(index + 1) * 16)?;
            *word = u64::from_str_radix(digits, 16).ok()?.swap_bytes();
        }
        Some(Self(words))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn to_hex(self) -> String {
        self.0
            .iter()
            .map(|word| format!("{:016x}", word.swap_bytes()))
            .collect()
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

    #[test]
    fn bytes_and_hex_spell_the_same_digest() {
        let bytes: Vec<u8> = (0..32).collect();
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let digest = Digest::<4>::from_bytes(&bytes);
        assert_eq!(digest.to_bytes(), bytes);
        assert_eq!(digest.to_hex(), hex);
        assert!(digest.matches(&Digest::from_hex(hex).unwrap()));
        assert!(digest.matches(&Digest::from_hex(&hex.to_uppercase()).unwrap()));
    }

    #[test]
    fn a_difference_in_any_byte_is_seen() {
        let bytes: Vec<u8> = (0..32).collect();
        for index in 0..32 {
            let mut other = bytes.clone();
            other[index] ^= 0x80;
            assert!(
                !Digest::<4>::from_bytes(&bytes).matches(&Digest::from_bytes(&other)),
                "{index}"
            );
        }
    }

    #[test]
    fn only_exact_hexadecimal_is_read() {
        let good = "0".repeat(64);
        assert!(Digest::<4>::from_hex(&good).is_some());
        for bad in [
            "",
            &good[1..],
            &format!("{good}0"),
            &format!("+{}", &good[1..]),
            &format!("{}g", &good[1..]),
            &format!("é{}", &good[2..]),
        ] {
            assert!(Digest::<4>::from_hex(bad).is_none(), "{bad:?}");
        }
    }
}
