//! Sealing: what is stored of a secret instead of the secret.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::root_key::RootKey;
use crate::key::{RealmId, SecretPurpose};

const VERSION: u8 = 1;
/// In bytes, as AES-GCM has it.
const NONCE: usize = 12;

/// Where a sealed secret belongs. It opens nowhere else: not in another row, and not in a copy of another realm's.
pub(super) struct Place<'a> {
    pub(super) purpose: &'a SecretPurpose,
    pub(super) id: &'a str,
    pub(super) realm: RealmId,
}

/// The secret, sealed with AES-256-GCM under a key that the root key gives for this purpose alone. `None` if the operating
/// system gives no random bytes.
pub(super) fn seal(key: &RootKey, place: &Place<'_>, secret: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE];
    SysRng.try_fill_bytes(&mut nonce).ok()?;
    let aad = place.bytes();
    let payload = Payload { msg: secret, aad: &aad };
    let sealed = cipher(key, place).encrypt(&Nonce::from(nonce), payload).ok()?;
    Some([&[VERSION], &nonce[..], &sealed].concat())
}

/// The secret again, or `None` if it was sealed under another key, for another place, or was altered.
pub(super) fn open(key: &RootKey, place: &Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.strip_prefix(&[VERSION])?.split_first_chunk::<NONCE>()?;
    let aad = place.bytes();
    let payload = Payload { msg: sealed, aad: &aad };
    let secret = cipher(key, place).decrypt(&Nonce::from(*nonce), payload);
    secret.ok().map(Zeroizing::new)
}

fn cipher(key: &RootKey, place: &Place<'_>) -> Aes256Gcm {
    let label = [b"tower-api-key seal ", place.purpose.as_str().as_bytes()].concat();
    let key = key.derive::<32>(&label);
    Aes256Gcm::new(&(*key).into())
}

impl Place<'_> {
    /// Every part with its length, so that no two places have the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"ak-seal-1".to_vec();
        let realm = self.realm.as_uuid().into_bytes();
        for part in [self.purpose.as_str().as_bytes(), self.id.as_bytes(), &realm] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_secret_opens_in_its_place_only() {
        let realm = RealmId::new();
        let place = |purpose: &'static SecretPurpose, id: &'static str, realm| Place { purpose, id, realm };
        let (checksum, cursor) = (&SecretPurpose::CHECKSUM, &SecretPurpose::CURSOR);
        let key = RootKey::new(&[1; 32]).unwrap();
        let here = place(checksum, "0", realm);
        let sealed = seal(&key, &here, &[7; 32]).unwrap();
        assert_eq!(open(&key, &here, &sealed).unwrap().as_slice(), [7; 32]);
        for elsewhere in [
            place(cursor, "0", realm),
            place(checksum, "1", realm),
            place(checksum, "0", RealmId::new()),
        ] {
            assert!(open(&key, &elsewhere, &sealed).is_none());
        }
        assert!(open(&RootKey::new(&[2; 32]).unwrap(), &here, &sealed).is_none());
    }

    /// The key of one purpose, if it leaks, opens nothing of another.
    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let key = RootKey::new(&[1; 32]).unwrap();
        let [here, there] = [&SecretPurpose::CHECKSUM, &SecretPurpose::CURSOR].map(|purpose| Place {
            purpose,
            id: "0",
            realm: RealmId::from(uuid::Uuid::nil()),
        });
        let aad = here.bytes();
        let sealed = |place| {
            let payload = Payload {
                msg: &[7; 32],
                aad: &aad,
            };
            let sealed = cipher(&key, place).encrypt(&Nonce::from([0; NONCE]), payload);
            [&[VERSION], &[0; NONCE][..], &sealed.unwrap()].concat()
        };
        assert!(open(&key, &here, &sealed(&here)).is_some());
        assert!(open(&key, &here, &sealed(&there)).is_none());
    }

    #[test]
    fn altered_or_cut_seal_does_not_open() {
        let key = RootKey::new(&[1; 32]).unwrap();
        let place = Place {
            purpose: &SecretPurpose::CHECKSUM,
            id: "0",
            realm: RealmId::new(),
        };
        let sealed = seal(&key, &place, &[7; 32]).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut sealed = sealed.clone();
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, &place, &sealed).is_none(), "{bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(&key, &place, &sealed[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn sealing_twice_gives_other_bytes_without_the_secret() {
        let key = RootKey::new(&[1; 32]).unwrap();
        let place = Place {
            purpose: &SecretPurpose::CHECKSUM,
            id: "0",
            realm: RealmId::new(),
        };
        let [one, two] = [(); 2].map(|()| seal(&key, &place, &[7; 32]).unwrap());
        assert_ne!(one, two);
        assert!(!one.windows(4).any(|window| window == [7; 4]));
    }
}
