//! Checksums at the end of keys.

use super::alphabet::{from_base62, to_base62};
use super::keyed::{KEYED_LENGTH, ServerSecrets};

/// Base62 digits of a CRC-32: 62^6 is more than 2^32.
const CRC_LENGTH: usize = 6;

/// The checksum at the end of a key. It lets a mistyped or invented key be refused without a store read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Checksum {
    /// None: every key of the right form is looked up. For keys of other systems.
    None,
    /// Six base62 characters of CRC-32/IEEE over the body, as GitHub's tokens have them. The default.
    ///
    /// It finds typing errors, and secret scanners use it to discard look-alikes. Anyone can compute it.
    Crc32,
    /// One base62 character with the id of a server secret, and ten of HMAC-SHA256 under that secret, over all that stands
    /// before.
    ///
    /// A key that this service did not make is refused without a store read and without a hash, whether its lookup exists
    /// or not. If a server secret leaks, this is as good as [`Crc32`](Self::Crc32): the stored hash still decides.
    Keyed(ServerSecrets),
}

impl Checksum {
    /// In characters.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32 => CRC_LENGTH,
            Self::Keyed(_) => KEYED_LENGTH,
        }
    }

    /// Whether the key ends with its checksum. `head` is the length of the constant text in front.
    pub(super) fn verifies(&self, key: &[u8], head: usize) -> bool {
        match self {
            Self::None => true,
            Self::Crc32 => match key.split_last_chunk::<CRC_LENGTH>() {
                // Six digits write a number in one way only, so equal numbers are equal texts.
                Some((front, digits)) => front.get(head..).is_some_and(|body| {
                    let checksum = crc32fast::hash(body);
                    from_base62(digits) == Some(u64::from(checksum))
                }),
                None => false,
            },
            Self::Keyed(secrets) => secrets.verify(key),
        }
    }

    /// Appends the checksum to a key. The text must have room for it: growing would leave a copy of the key behind.
    pub(super) fn append(&self, key: &mut String, head: usize) {
        match self {
            Self::None => {}
            Self::Crc32 => {
                let body = key.as_bytes().get(head..).unwrap_or_default();
                let digits = to_base62::<CRC_LENGTH>(u64::from(crc32fast::hash(body)));
                key.extend(digits.map(char::from));
            }
            Self::Keyed(secrets) => {
                let tag = secrets.tag(key.as_bytes());
                key.extend(tag.map(char::from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_that_of_github_tokens() {
        let mut key = String::from("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
        Checksum::Crc32.append(&mut key, 4);
        assert_eq!(key, "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");
        assert!(Checksum::Crc32.verifies(key.as_bytes(), 4));
        assert!(!Checksum::Crc32.verifies(b"ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18", 4));
    }

    #[test]
    fn digits_beyond_32_bits_are_no_crc32() {
        // The CRC of an empty text is 0, and 2^32 would be 0 if the digits were cut to 32 bits.
        assert!(Checksum::Crc32.verifies(b"000000", 0));
        assert!(!Checksum::Crc32.verifies(&to_base62::<6>(1 << 32), 0));
    }
}
