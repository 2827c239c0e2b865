//! The keyed checksum: HMAC-SHA256 (RFC 2104) under a secret that only the servers have.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::alphabet::{Alphabet, from_base62, to_base62};
use crate::error::ConfigError;
use crate::sha256::{self, BLOCK};

/// Base62 digits of the HMAC, 59 bits: a million forgeries a second would need ten thousand years to hit one.
const TAG_LENGTH: usize = 10;
pub(super) const KEYED_LENGTH: usize = 1 + TAG_LENGTH;
const TAG_RANGE: u64 = 62u64.pow(TAG_LENGTH as u32);

const SHORTEST_SECRET: usize = 32;

/// A secret of the servers, under which [`Checksum::Keyed`](super::Checksum::Keyed) tags keys.
///
/// Every server that checks keys of such a format needs it. Its bytes are not kept, only the two hash states that
/// come of them, and those are wiped on drop. There is no way to read it, compare it or copy it.
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
    state: Box<MacState>,
}

/// SHA-256 after the inner and after the outer padded key: computed once, which halves the price of a tag.
struct MacState {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Drop for MacState {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl ServerSecret {
    /// A secret of at least 32 random bytes. The id, a digit or an ASCII letter, is written into every key made
    /// under it, so it must never name another secret later.
    ///
    /// # Errors
    /// When the id is no base62 character, or there are fewer than 32 bytes.
    ///
    /// # Security
    /// Use the secret for nothing else. The given bytes are the caller's to wipe.
    pub fn new(id: char, bytes: &[u8]) -> Result<Self, ConfigError> {
        let id = match u8::try_from(id) {
            Ok(id) if Alphabet::Base62.spells(&[id]) => id,
            _ => {
                return Err(ConfigError::new(
                    "server secret id",
                    format!("{id:?} is none of 0-9, A-Z, a-z"),
                ));
            }
        };
        if bytes.len() < SHORTEST_SECRET {
            let problem = format!("{} bytes, but it must have at least {SHORTEST_SECRET}", bytes.len());
            return Err(ConfigError::new("server secret", problem));
        }
        Ok(Self {
            id,
            state: Box::new(MacState::new(bytes)),
        })
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerSecret({}, [redacted])", char::from(self.id))
    }
}

/// The server secrets of a format: the current one, which new keys are made under, and retired ones, which keys made
/// earlier still verify under. Cheap to clone: a clone shares the secrets.
///
/// To rotate: give every server the new secret as a retired one, then make it the current one and the old one
/// retired, and drop the old one when the last key that names it is gone.
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
                let problem = format!("two secrets have the id {:?}", char::from(secret.id));
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
    pub(super) fn tag(&self, text: &[u8]) -> [u8; KEYED_LENGTH] {
        let digits = to_base62::<TAG_LENGTH>(self.current.state.tag(text));
        let mut tag = [self.current.id; KEYED_LENGTH];
        tag[1..].copy_from_slice(&digits);
        tag
    }

    /// Whether the key ends with the id of one of the secrets and its tag.
    pub(super) fn verify(&self, key: &[u8]) -> bool {
        let Some((text, &[id, ref digits @ ..])) = key.split_last_chunk::<KEYED_LENGTH>() else {
            return false;
        };
        let Some(given) = from_base62::<TAG_LENGTH>(digits) else {
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
        // In constant time: how many leading digits are right must not show, or a tag could be found digit by digit.
        [secret.state.tag(text)].as_slice().ct_eq([given].as_slice()).into()
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

impl MacState {
    fn new(secret: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; BLOCK]);
        if secret.len() > BLOCK {
            key[..32].copy_from_slice(&Sha256::digest(secret));
        } else {
            key[..secret.len()].copy_from_slice(secret);
        }
        let start = |pad: u8| {
            let block = Zeroizing::new(key.map(|byte| byte ^ pad));
            sha256::after(&block)
        };
        Self {
            inner: start(0x36),
            outer: start(0x5c),
        }
    }

    /// The HMAC's first 64 bits, brought into the range of ten base62 digits. The remainder favours some tags by less
    /// than one part in twenty, which costs no whole bit.
    fn tag(&self, text: &[u8]) -> u64 {
        let [first, second, ..] = self.mac(text);
        (u64::from(first) << 32 | u64::from(second)) % TAG_RANGE
    }

    fn mac(&self, text: &[u8]) -> [u32; 8] {
        let digest = sha256::finish(self.inner, text);
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(digest) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        sha256::finish(self.outer, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};

    use super::*;

    #[test]
    fn mac_is_hmac_sha256_for_every_length_of_secret_and_text() {
        for secret_length in [32, 63, 64, 65, 200] {
            let secret: Vec<u8> = (0..secret_length).collect();
            let state = MacState::new(&secret);
            for text_length in 0..=256usize {
                let text: Vec<u8> = (0..text_length).map(|i| (i * 7) as u8).collect();
                let mut reference = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
                reference.update(&text);
                let reference = reference.finalize().into_bytes();
                let mac: Vec<u8> = state.mac(&text).iter().flat_map(|word| word.to_be_bytes()).collect();
                assert_eq!(mac, reference.as_slice(), "{secret_length} {text_length}");
            }
        }
    }

    #[test]
    fn ids_and_short_secrets_are_refused() {
        assert!(ServerSecret::new('-', &[1; 32]).is_err());
        assert!(ServerSecret::new('\u{e9}', &[1; 32]).is_err());
        assert!(ServerSecret::new('a', &[1; 31]).is_err());
        let secret = |id| ServerSecret::new(id, &[1; 32]).unwrap();
        assert!(ServerSecrets::new(secret('a'), [secret('a')]).is_err());
        assert!(ServerSecrets::new(secret('a'), [secret('b'), secret('b')]).is_err());
        assert!(ServerSecrets::new(secret('a'), [secret('b'), secret('c')]).is_ok());
    }
}
