//! The secret that chains are keyed with.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::ConfigError;

const SHORTEST: usize = 32;

/// The secret that entries of a chain are hashed with, so that who can write the database cannot make a chain that verifies.
/// Clones share it.
///
/// [`ApiKeys`](crate::ApiKeys) makes one where there is a root key, and [`Issuer`](crate::Issuer) gives it to each
/// [`Commit`](crate::store::Commit).
#[derive(Clone)]
pub struct AuditKey {
    id: Arc<str>,
    mac: Arc<Hmac<Sha256>>,
}

/// All secrets that entries may have been hashed with. The current one is the last.
#[derive(Clone, Default)]
pub(crate) struct AuditKeys {
    keys: Vec<AuditKey>,
    /// Whether the store had no events when the first of these secrets was made, so that every chain begins with a keyed entry.
    from_the_start: bool,
}

impl AuditKey {
    /// From at least 32 random bytes. Entries name the id.
    ///
    /// # Errors
    /// When there are fewer bytes, or the id does not have 1 to 64 characters of `0-9`, `a-z`, `A-Z`.
    ///
    /// # Security
    /// Use the secret for nothing else. Wipe the bytes you pass in.
    pub fn new(id: &str, secret: &[u8]) -> Result<Self, ConfigError> {
        if !(1..=64).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ConfigError::new(
                "audit key id",
                "must be 1 to 64 letters and digits of ASCII",
            ));
        }
        if secret.len() < SHORTEST {
            let problem = format!("must have at least {SHORTEST} bytes, got {}", secret.len());
            return Err(ConfigError::new("audit key", problem));
        }
        // HMAC takes secrets of any length, so this error never happens.
        let mac = Hmac::new_from_slice(secret).map_err(|error| ConfigError::new("audit key", error.to_string()))?;
        Ok(Self {
            id: id.into(),
            mac: Arc::new(mac),
        })
    }

    /// The id that entries name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl AuditKeys {
    pub(crate) fn new(keys: Vec<AuditKey>, from_the_start: bool) -> Self {
        Self { keys, from_the_start }
    }

    pub(crate) fn current(&self) -> Option<&AuditKey> {
        self.keys.last()
    }

    pub(super) fn with_id(&self, id: &str) -> Option<&AuditKey> {
        self.keys.iter().find(|key| key.id() == id)
    }

    pub(super) fn are_from_the_start(&self) -> bool {
        self.from_the_start && !self.keys.is_empty()
    }
}

/// HMAC-SHA256 under the key, and SHA-256 where there is none.
pub(super) fn hash(key: Option<&AuditKey>, parts: [&[u8]; 4]) -> [u8; 32] {
    match key {
        Some(key) => {
            let mut mac = (*key.mac).clone();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        }
        None => {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().into()
        }
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKey({:?}, [redacted])", self.id())
    }
}
