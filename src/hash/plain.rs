//! SHA-256 without a pool.

use super::digest;
use super::error::{InvalidHash, InvalidHashKind};
use super::tagged::Tagged;
use crate::key::{ApiKey, SecretHash};

/// The SHA-256 of the whole key, as `sha256:<hex>`.
///
/// It is fast, so it runs where it is called and needs no [`HashPool`](super::HashPool).
///
/// ```
/// use tower_api_key::hash;
/// use tower_api_key::key::ApiKey;
///
/// let key = ApiKey::from(String::from("acme_live_not_a_real_key"));
/// let stored = hash::sha256(&key);
/// assert!(hash::verify_sha256(&key, &stored)?);
/// assert!(!hash::verify_sha256(&ApiKey::from(String::from("another")), &stored)?);
/// # Ok::<_, tower_api_key::hash::InvalidHash>(())
/// ```
///
/// # Security
/// For generated keys only, with at least 128 bits of entropy; see
/// [`HashPolicy::sha256`](super::HashPolicy::sha256).
pub fn sha256(key: &ApiKey) -> SecretHash {
    let digest = digest::sha256(key.expose_secret().as_bytes());
    SecretHash::of_sha256(&digest.to_bytes())
}

/// Whether this is the SHA-256 of the key, compared in constant time.
///
/// # Errors
/// When the hash is malformed, or of another scheme.
pub fn verify_sha256(key: &ApiKey, hash: &SecretHash) -> Result<bool, InvalidHash> {
    match Tagged::parse(hash)? {
        Tagged::Sha256(stored) => Ok(stored.matches(&digest::sha256(key.expose_secret().as_bytes()))),
        Tagged::Sha512(_) | Tagged::Slow(..) => Err(InvalidHash::new(InvalidHashKind::UnexpectedScheme)),
    }
}
