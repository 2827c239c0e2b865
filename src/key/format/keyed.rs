//! The keyed checksum: HMAC-SHA256 (RFC 2104) under a secret that only servers have.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use super::alphabet::{Alphabet, from_base62, to_base62};
use crate::error::ConfigError;

/// Base62 digits of the HMAC, 59 bits: at a million attempts a second, one forgery takes ten thousand years.
const TAG_LENGTH: usize = 10;
pub(super) const KEYED_LENGTH: usize = 1 + TAG_LENGTH;
const TAG_RANGE: u64 = 62u64.pow(TAG_LENGTH as u32);

const SHORTEST_SECRET: usize = 32;

/// A secret of the servers, for keyed checksums.
///
/// An [`ApiKeys`](crate::ApiKeys) handle makes one and keeps it in its store. To keep it elsewhere, give it to
/// [`ApiKeysBuilder::realm_secret`](crate::ApiKeysBuilder::realm_secret); every server needs the same. Only the two hash states made from its bytes are kept, and
/// they are wiped on drop. It cannot be read, compared or copied.
///
/// ```
/// use tower_api_key::key::ServerSecret;
///
/// # let bytes = [7; 32];
/// let secret = ServerSecret::new('a', &bytes)?; // 32 random bytes, from a secret manager
/// assert_eq!(format!("{secret:?}"), "ServerSecret(a, [redacted])");
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
pub struct ServerSecret {
    id: u8,
    /// Boxed, so that moving the secret leaves no copy behind.
    mac: Box<Hmac<Sha256>>,
}

// Compiles only with the feature of `sha2` that wipes the states. The one of `hmac` does not.
const _: fn() = || {
    fn is_wiped<T: ZeroizeOnDrop>() {}
    is_wiped::<Sha256>();
};

impl ServerSecret {
    /// A secret of at least 32 random bytes. The id, a digit or an ASCII letter, becomes a part of every key made with
    /// the secret, so never use it for another secret later.
    ///
    /// # Errors
    /// When the id is not a base62 character, or there are fewer than 32 bytes.
    ///
    /// # Security
    /// Use the secret for nothing else. Wipe the bytes you pass in.
    pub fn new(id: char, bytes: &[u8]) -> Result<Self, ConfigError> {
        let id = match u8::try_from(id) {
            Ok(id) if Alphabet::Base62.spells(&[id]) => id,
            _ => {
                return Err(ConfigError::new(
                    "server secret id",
                    format!("must be one of 0-9, A-Z, a-z, got {id:?}"),
                ));
            }
        };
        if bytes.len() < SHORTEST_SECRET {
            let problem = format!("must have at least {SHORTEST_SECRET} bytes, got {}", bytes.len());
            return Err(ConfigError::new("server secret", problem));
        }
        // HMAC takes secrets of any length, so this error never happens.
        let mac = Hmac::new_from_slice(bytes).map_err(|error| ConfigError::new("server secret", error.to_string()))?;
        Ok(Self { id, mac: Box::new(mac) })
    }

    /// The first 64 bits of the HMAC, brought into the range of ten base62 digits. The remainder makes some tags more
    /// likely than others by less than 5 %, which costs less than one bit.
    pub(super) fn tag(&self, text: &[u8]) -> KeyedTag {
        let mac = (*self.mac).clone().chain_update(text).finalize().into_bytes();
        let first = mac.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        KeyedTag(first % TAG_RANGE)
    }

    /// The id of the secret and its tag of this text.
    pub(super) fn tagged(&self, text: &[u8]) -> [u8; KEYED_LENGTH] {
        let mut tagged = [self.id; KEYED_LENGTH];
        tagged[1..].copy_from_slice(&self.tag(text).digits());
        tagged
    }

    pub(crate) fn id(&self) -> u8 {
        self.id
    }
}

/// The part of an HMAC that is in a key. It has no `==`: compared in variable time, it could be found digit by digit.
pub(super) struct KeyedTag(u64);

impl KeyedTag {
    pub(super) fn read(digits: &[u8; TAG_LENGTH]) -> Option<Self> {
        from_base62(digits).map(Self)
    }

    fn digits(&self) -> [u8; TAG_LENGTH] {
        to_base62(self.0)
    }

    /// Whether they are equal, in constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerSecret({}, [redacted])", char::from(self.id))
    }
}

/// The server secrets of a format: the current one for new keys, and retired ones for older keys. Clones share the
/// secrets.
///
/// To rotate, add the new secret to the retired ones on every server. Then make it the current one and retire the old
/// one. Remove the old one when no key with its id is left.
///
/// ```
/// use tower_api_key::key::{Checksum, KeyFormat, ServerSecret, ServerSecrets};
///
/// # let (new, old) = ([1; 32], [2; 32]);
/// let secrets = ServerSecrets::new(ServerSecret::new('b', &new)?, [ServerSecret::new('a', &old)?])?;
/// let format = KeyFormat::builder("acme").checksum(Checksum::Keyed(secrets)).build()?;
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerSecrets {
    current: Arc<ServerSecret>,
    retired: Arc<[ServerSecret]>,
}

impl ServerSecrets {
    /// A current secret, and any number of retired ones.
    ///
    /// # Errors
    /// When two secrets have the same id.
    pub fn new(current: ServerSecret, retired: impl IntoIterator<Item = ServerSecret>) -> Result<Self, ConfigError> {
        let retired: Arc<[_]> = retired.into_iter().collect();
        let mut ids = vec![current.id];
        for secret in retired.iter() {
            if ids.contains(&secret.id) {
                let problem = format!("must have ids of their own, got {:?} twice", char::from(secret.id));
                return Err(ConfigError::new("server secrets", problem));
            }
            ids.push(secret.id);
        }
        Ok(Self {
            current: Arc::new(current),
            retired,
        })
    }

    /// The id of the current secret and its tag of this text.
    pub(super) fn tagged(&self, text: &[u8]) -> [u8; KEYED_LENGTH] {
        self.current.tagged(text)
    }

    /// Whether the key ends with the id of one of the secrets and its tag.
    pub(super) fn verify(&self, key: &[u8]) -> bool {
        let Some((text, &[id, ref digits @ ..])) = key.split_last_chunk::<KEYED_LENGTH>() else {
            return false;
        };
        let Some(given) = KeyedTag::read(digits) else {
            return false;
        };
        let secret = if self.current.id == id {
            &*self.current
        } else {
            match self.retired.iter().find(|secret| secret.id == id) {
                Some(secret) => secret,
                None => return false,
            }
        };
        secret.tag(text).matches(&given)
    }
}

impl From<ServerSecret> for ServerSecrets {
    fn from(current: ServerSecret) -> Self {
        Self {
            current: Arc::new(current),
            retired: Arc::new([]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(KeyedTag: PartialEq, fmt::Debug);

    /// RFC 4231, test case 6: a secret longer than a block. And a text of one block, by Python's `hmac`.
    #[test]
    fn tag_is_the_start_of_hmac_sha256() {
        let tag = |secret: &[u8], text: &[u8]| ServerSecret::new('a', secret).unwrap().tag(text).0;
        assert_eq!(
            tag(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            0x60e4_3159_1ee0_b67f % TAG_RANGE
        );
        assert_eq!(tag(&[7; 32], &[b'x'; 64]), 0x22b7045a4d35f29c % TAG_RANGE);
    }

    #[test]
    fn tag_is_right_only_with_the_id_of_its_secret() {
        let text = b"acme_live_a_body";
        let secret = |id| ServerSecret::new(id, &[id as u8; 32]).unwrap();
        let secrets = ServerSecrets::new(secret('a'), [secret('b'), secret('c')]).unwrap();
        for id in ['a', 'b', 'c', 'd'] {
            let tag = ServerSecrets::from(secret(id)).tagged(text);
            for named in [b'a', b'b', b'c', b'd', b'A'] {
                let key = [&text[..], &[named], &tag[1..]].concat();
                let is_right = char::from(named) == id && id != 'd';
                assert_eq!(secrets.verify(&key), is_right, "{id} {named}");
            }
        }
    }

    #[test]
    fn difference_in_any_bit_of_the_tag_is_seen() {
        let text = b"acme_live_a_body";
        let secrets = ServerSecrets::from(ServerSecret::new('a', &[7; 32]).unwrap());
        let tag = secrets.current.tag(text).0;
        let key = |tag| [&text[..], b"a", &to_base62::<TAG_LENGTH>(tag)].concat();
        assert!(secrets.verify(&key(tag)));
        for bit in 0..u64::BITS {
            let other = tag ^ 1 << bit;
            assert!(other >= TAG_RANGE || !secrets.verify(&key(other)), "{bit}");
        }
    }

    #[test]
    fn bad_ids_and_short_secrets_are_refused() {
        assert!(ServerSecret::new('-', &[1; 32]).is_err());
        assert!(ServerSecret::new('\u{e9}', &[1; 32]).is_err());
        assert!(ServerSecret::new('a', &[1; 31]).is_err());
        let secret = |id| ServerSecret::new(id, &[1; 32]).unwrap();
        assert!(ServerSecrets::new(secret('a'), [secret('a')]).is_err());
        assert!(ServerSecrets::new(secret('a'), [secret('b'), secret('b')]).is_err());
        assert!(ServerSecrets::new(secret('a'), [secret('b'), secret('c')]).is_ok());
    }
}
