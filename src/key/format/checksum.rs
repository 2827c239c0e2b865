//! Checksums at the end of keys.

use super::alphabet::{from_base62, to_base62};
use super::keyed::{KEYED_LENGTH, ServerSecrets};
use super::realm::{ChecksumVerdict, RealmChecksum};
use crate::key::{SecretForm, Timestamp};

/// Base62 digits of a CRC-32: 62^6 is more than 2^32.
const CRC_LENGTH: usize = 6;

/// The checksum at the end of a key. It lets a mistyped or invented key be refused without a store read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Checksum {
    /// That of the realm: a [`Keyed`](Self::Keyed) one, whose secret the [`ApiKeys`](crate::ApiKeys) handle makes when it
    /// first opens a store, and keeps there. The default.
    ///
    /// Keys that end with [`Crc32`](Self::Crc32) are read too, until the end that the realm states, and a format that belongs
    /// to no handle makes such keys. Where a handle has no secret (`checking`, `ApiKeyLayer::new`), keyed checksums are read
    /// without being verified.
    Realm,
    /// None: every key of the right form is looked up. For keys of other systems.
    None,
    /// Six base62 characters of CRC-32/IEEE over the body, as GitHub's tokens have them.
    ///
    /// It finds typing errors, and secret scanners use it to discard look-alikes. Anyone can compute it.
    Crc32,
    /// One base62 character with the id of a server secret, and ten of HMAC-SHA256 under that secret, over all that stands
    /// before. With secrets of this format alone; [`Realm`](Self::Realm) has those of the store.
    ///
    /// A key that this service did not make is refused without a store read and without a hash, whether its lookup exists
    /// or not. If a server secret leaks, this is as good as [`Crc32`](Self::Crc32): the stored hash still decides.
    Keyed(ServerSecrets),
}

/// A checksum, with what it is verified by.
pub(super) struct ChecksumOf<'a> {
    pub(super) checksum: &'a Checksum,
    pub(super) realm: Option<&'a RealmChecksum>,
    /// Read only where the answer depends on it.
    pub(super) now: &'a dyn Fn() -> Timestamp,
}

impl Checksum {
    /// In characters.
    pub(super) fn longest(&self) -> usize {
        self.lengths().iter().copied().max().unwrap_or_default()
    }

    /// All lengths that it can have.
    pub(super) fn lengths(&self) -> &'static [usize] {
        match self {
            Self::Realm => &[CRC_LENGTH, KEYED_LENGTH],
            Self::None => &[0],
            Self::Crc32 => &[CRC_LENGTH],
            Self::Keyed(_) => &[KEYED_LENGTH],
        }
    }

    /// The form of a key that ends with a checksum of this length.
    pub(super) fn form_of_length(&self, length: usize) -> Option<SecretForm> {
        match (self, length) {
            (Self::Realm | Self::Keyed(_), KEYED_LENGTH) => Some(SecretForm::Keyed),
            (Self::Realm | Self::Crc32, CRC_LENGTH) => Some(SecretForm::Crc32),
            (Self::None, 0) => Some(SecretForm::None),
            _ => None,
        }
    }
}

impl ChecksumOf<'_> {
    /// What the checksum says of a key of this form. `head` is the length of the constant text in front.
    pub(super) fn judge(&self, form: SecretForm, key: &[u8], head: usize) -> ChecksumVerdict {
        let is_right = match (form, self.checksum, self.realm) {
            (SecretForm::Keyed, Checksum::Keyed(secrets), _) if secrets.verify(key) => return ChecksumVerdict::Proven,
            (SecretForm::Keyed, Checksum::Keyed(_), _) => false,
            (SecretForm::Keyed, _, Some(realm)) => return realm.now().judge(key),
            // Nothing here can verify it. The stored hash still decides.
            (SecretForm::Keyed, _, None) => has_keyed_spelling(key),
            (SecretForm::Crc32, Checksum::Realm, Some(realm)) => {
                let until = realm.now().crc_accepted_until();
                until > NEVER && has_crc(key, head) && (self.now)() < until
            }
            (SecretForm::Crc32, ..) => has_crc(key, head),
            (SecretForm::None | SecretForm::Foreign, ..) => true,
        };
        if is_right {
            ChecksumVerdict::Right
        } else {
            ChecksumVerdict::Wrong
        }
    }

    /// Appends the checksum to a new key and returns the key's form. The text must have room for it: growing would leave a
    /// copy of the key behind.
    pub(super) fn append(&self, key: &mut String, head: usize) -> SecretForm {
        let history = self.realm.map(RealmChecksum::now);
        let tagged = match self.checksum {
            Checksum::None => return SecretForm::None,
            Checksum::Keyed(secrets) => Some(secrets.tagged(key.as_bytes())),
            Checksum::Realm => {
                let current = history.as_ref().and_then(|history| history.current((self.now)()));
                current.map(|secret| secret.tagged(key.as_bytes()))
            }
            Checksum::Crc32 => None,
        };
        match tagged {
            Some(tagged) => {
                key.extend(tagged.map(char::from));
                SecretForm::Keyed
            }
            None => {
                let body = key.as_bytes().get(head..).unwrap_or_default();
                let digits = to_base62::<CRC_LENGTH>(u64::from(crc32fast::hash(body)));
                key.extend(digits.map(char::from));
                SecretForm::Crc32
            }
        }
    }
}

/// The end of acceptance that means: not accepted.
const NEVER: Timestamp = Timestamp::from_millis(0);

fn has_crc(key: &[u8], head: usize) -> bool {
    match key.split_last_chunk::<CRC_LENGTH>() {
        // Six digits write a number in one way only, so equal numbers are equal texts.
        Some((front, digits)) => front.get(head..).is_some_and(|body| {
            let checksum = crc32fast::hash(body);
            from_base62(digits) == Some(u64::from(checksum))
        }),
        None => false,
    }
}

fn has_keyed_spelling(key: &[u8]) -> bool {
    key.last_chunk::<KEYED_LENGTH>()
        .is_some_and(|tagged| tagged.iter().all(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::realm::{ChecksumHistory, DatedSecret};
    use super::*;
    use crate::key::ServerSecret;

    fn at_zero() -> Timestamp {
        NEVER
    }

    fn alone(checksum: &Checksum) -> ChecksumOf<'_> {
        ChecksumOf {
            checksum,
            realm: None,
            now: &at_zero,
        }
    }

    fn is_right(checksum: &Checksum, key: &[u8], head: usize) -> bool {
        alone(checksum).judge(SecretForm::Crc32, key, head) == ChecksumVerdict::Right
    }

    #[test]
    fn crc32_is_that_of_github_tokens() {
        let mut key = String::from("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
        assert_eq!(alone(&Checksum::Crc32).append(&mut key, 4), SecretForm::Crc32);
        assert_eq!(key, "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");
        assert!(is_right(&Checksum::Crc32, key.as_bytes(), 4));
        assert!(!is_right(
            &Checksum::Crc32,
            b"ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18",
            4
        ));
    }

    #[test]
    fn digits_beyond_32_bits_are_no_crc32() {
        // The CRC of an empty text is 0, and 2^32 would be 0 if the digits were cut to 32 bits.
        assert!(is_right(&Checksum::Crc32, b"000000", 0));
        assert!(!is_right(&Checksum::Crc32, &to_base62::<6>(1 << 32), 0));
    }

    #[test]
    fn crc_of_a_realm_is_read_until_its_end() {
        let mut key = String::from("acme_live_body");
        alone(&Checksum::Realm).append(&mut key, 10);
        let judge = |until: i64, now: i64| {
            let secret = DatedSecret {
                secret: Arc::new(ServerSecret::new('0', &[1; 32]).unwrap()),
                from: NEVER,
                is_retired: false,
            };
            let history = ChecksumHistory::new(vec![secret], Timestamp::from_millis(until), 0).unwrap();
            let of = ChecksumOf {
                checksum: &Checksum::Realm,
                realm: Some(&RealmChecksum::new(history)),
                now: &|| Timestamp::from_millis(now),
            };
            of.judge(SecretForm::Crc32, key.as_bytes(), 10)
        };
        assert_eq!(judge(0, -1), ChecksumVerdict::Wrong);
        assert_eq!(judge(100, 99), ChecksumVerdict::Right);
        assert_eq!(judge(100, 100), ChecksumVerdict::Wrong);
        assert_eq!(judge(i64::MAX, 100), ChecksumVerdict::Right);
    }

    #[test]
    fn keyed_checksum_without_a_secret_is_spelled_right() {
        let judge = |key: &[u8]| alone(&Checksum::Realm).judge(SecretForm::Keyed, key, 0);
        assert_eq!(judge(b"acme_0123456789a"), ChecksumVerdict::Right);
        assert_eq!(judge(b"acme_012345678-a"), ChecksumVerdict::Wrong);
    }
}
