//! How new secrets are hashed.

use password_hash::phc::{self, Salt};
use rand::TryRng;
use rand::rngs::{SysError, SysRng};

#[cfg(feature = "legacy-hashes")]
use super::bcrypt::{BcryptRecipe, COSTS};
use super::params::Argon2Params;
use super::recipe::Recipe;
use super::tagged::Tagged;
#[cfg(feature = "legacy-hashes")]
use crate::error::ConfigError;
use crate::key::SecretHash;

const SALT_BYTES: usize = 16;

/// How new secrets are hashed. The default is Argon2id with [`Argon2Params::DEFAULT`].
///
/// ```
/// use tower_api_key::hash::{Argon2Params, HashPolicy};
/// use tower_api_key::key::SecretHash;
///
/// let today = HashPolicy::argon2id(Argon2Params::DEFAULT);
/// let imported = SecretHash::new(format!("sha256:{}", "0".repeat(64)))?;
/// assert!(today.is_obsolete(&imported));
/// assert!(!HashPolicy::sha256().is_obsolete(&imported));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashPolicy(Scheme);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Argon2id(Argon2Params),
    Sha256,
    #[cfg(feature = "legacy-hashes")]
    BcryptSha256 {
        cost: u32,
    },
}

/// No salt for a new hash.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaltError {
    #[error("the operating system gave no random bytes")]
    Random(#[from] SysError),
    #[error("a salt of {SALT_BYTES} bytes was refused")]
    Refused(#[from] phc::Error),
}

/// A hash to make for one secret.
pub(super) enum NewHash {
    Sha256,
    Slow(Recipe),
}

impl HashPolicy {
    /// Argon2id (RFC 9106) with these parameters: slow and memory-hard, so that even keys with little entropy are hard to
    /// guess from a stolen table.
    pub const fn argon2id(params: Argon2Params) -> Self {
        Self(Scheme::Argon2id(params))
    }

    /// SHA-256 of the whole key: fast, for random keys.
    ///
    /// # Security
    /// Safe for secrets with at least 128 bits of entropy, as generated keys of the default format have: nobody can try
    /// them all. Never use it for shorter keys, or for keys that people chose.
    pub const fn sha256() -> Self {
        Self(Scheme::Sha256)
    }

    /// bcrypt over the base64 of the key's SHA-256, with `2^cost` rounds, for tables that other systems read. The cost is 4
    /// to 14.
    ///
    /// # Errors
    /// When the cost is out of its bounds.
    #[cfg(feature = "legacy-hashes")]
    pub fn bcrypt_sha256(cost: u32) -> Result<Self, ConfigError> {
        if !COSTS.contains(&cost) {
            return Err(ConfigError::out_of_range("bcrypt cost", COSTS, cost));
        }
        Ok(Self(Scheme::BcryptSha256 { cost }))
    }

    /// The memory for a hash of this policy, if it is worth keeping.
    pub(super) fn memory_kib(&self) -> u32 {
        match self.0 {
            Scheme::Argon2id(params) => params.memory_kib(),
            _ => 0,
        }
    }

    /// Whether this policy would make another hash: it has another scheme, other parameters (costlier ones too), a salt of
    /// less than 16 bytes, or cannot be used at all.
    pub fn is_obsolete(&self, hash: &SecretHash) -> bool {
        let current = match (self.0, Tagged::parse(hash)) {
            (Scheme::Sha256, Ok(Tagged::Sha256(_))) => true,
            (Scheme::Argon2id(wanted), Ok(Tagged::Slow(Recipe::Argon2id { params, salt }, _))) => {
                params == wanted && salt.len() >= SALT_BYTES
            }
            #[cfg(feature = "legacy-hashes")]
            (Scheme::BcryptSha256 { cost }, Ok(Tagged::Slow(Recipe::Bcrypt(recipe), _))) => {
                recipe.prehashed && recipe.cost == cost
            }
            _ => false,
        };
        !current
    }

    /// The hash to make for one secret, with a new salt from the operating system.
    pub(super) fn begin(&self) -> Result<NewHash, SaltError> {
        Ok(match self.0 {
            Scheme::Sha256 => NewHash::Sha256,
            Scheme::Argon2id(params) => NewHash::Slow(Recipe::Argon2id {
                params,
                salt: Salt::new(&fresh_salt()?)?,
            }),
            #[cfg(feature = "legacy-hashes")]
            Scheme::BcryptSha256 { cost } => NewHash::Slow(Recipe::Bcrypt(BcryptRecipe {
                cost,
                salt: fresh_salt()?,
                prehashed: true,
            })),
        })
    }
}

impl Default for HashPolicy {
    fn default() -> Self {
        Self::argon2id(Argon2Params::DEFAULT)
    }
}

fn fresh_salt() -> Result<[u8; SALT_BYTES], SaltError> {
    let mut salt = [0; SALT_BYTES];
    SysRng.try_fill_bytes(&mut salt)?;
    Ok(salt)
}
