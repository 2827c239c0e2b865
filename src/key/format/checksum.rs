//! The end of a key that tells it from a mistyped or an invented one, before any store is asked.

use super::alphabet::{from_base62, to_base62};
use super::keyed::{KEYED_LENGTH, ServerSecrets};

/// Base62 digits of a CRC-32: 62^6 is more than 2^32.
const CRC_LENGTH: usize = 6;

/// What a key ends with, so that a wrong one is refused without asking the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Checksum {
    /// Nothing: every key of the right form is looked up. For formats that other systems made.
    None,
    /// Six base62 characters of CRC-32/IEEE over the body, as GitHub's tokens have them. The default.
    ///
    /// It stops typing errors, and lets secret scanners discard look-alikes; anybody can compute it.
    Crc32,
    /// One base62 character that names a server secret, and ten of HMAC-SHA256 under it over all that is in front.
    ///
    /// A key that this service did not make is refused before the store is asked, and costs no hash, whether its
    /// lookup exists or not. Should a server secret leak, this is no worse than [`Crc32`](Self::Crc32): keys are
    /// still verified against their stored hash.
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

    /// Whether the key ends as it should; `head` is how many bytes the constant text in front has.
    #[inline]
    pub(super) fn verifies(&self, key: &[u8], head: usize) -> bool {
        match self {
            Self::None => true,
            Self::Crc32 => match key.split_last_chunk::<CRC_LENGTH>() {
                // Comparing numbers is comparing texts: six digits write a number in one way only.
                Some((front, digits)) => front.get(head..).is_some_and(|body| {
                    let checksum = crc32fast::hash(body);
                    from_base62(digits) == Some(u64::from(checksum))
                }),
                None => false,
            },
            Self::Keyed(secrets) => secrets.verify(key),
        }
    }

    /// Adds the checksum to a key that lacks only it. The text must have room: growing would leave a copy behind.
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
    fn crc_is_that_of_githubs_tokens() {
        let mut key = String::from("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
        Checksum::Crc32.append(&mut key, 4);
        assert_eq!(key, "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");
        assert!(Checksum::Crc32.verifies(key.as_bytes(), 4));
        assert!(!Checksum::Crc32.verifies(b"ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18", 4));
    }

    #[test]
    fn digits_beyond_32_bits_are_no_other_spelling_of_a_crc() {
        // The CRC of nothing is 0, and 2^32 would be 0 again if the digits were cut to 32 bits.
        assert!(Checksum::Crc32.verifies(b"000000", 0));
        assert!(!Checksum::Crc32.verifies(&to_base62::<6>(1 << 32), 0));
    }
}
