//! Slow hashes, before they are computed.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use password_hash::phc::Salt;

#[cfg(feature = "legacy-hashes")]
use super::bcrypt::BcryptRecipe;
use super::digest::SlowDigest;
use super::memory::Blocks;
use super::params::Argon2Params;

/// Scheme, parameters and salt of a slow hash.
#[derive(Clone)]
pub(super) enum Recipe {
    Argon2id {
        params: Argon2Params,
        salt: Salt,
    },
    #[cfg(feature = "legacy-hashes")]
    Bcrypt(BcryptRecipe),
}

impl Recipe {
    /// Hashes the key. Slow: for the threads of the pool only.
    pub(super) fn run(&self, key: &[u8], blocks: &mut Blocks) -> Result<SlowDigest, Box<dyn Error + Send + Sync>> {
        match self {
            Self::Argon2id { params, salt } => {
                let function = params.function()?;
                let mut output = [0; 32];
                blocks.with(function.params().block_count(), |blocks| {
                    function.hash_password_into_with_memory(key, salt, &mut output, blocks)
                })??;
                Ok(SlowDigest::from_bytes(&output))
            }
            #[cfg(feature = "legacy-hashes")]
            Self::Bcrypt(recipe) => Ok(recipe.run(key)),
        }
    }

    /// What a processor of these years takes for it: 30 ms for the default cost.
    pub(super) fn assumed_time(&self) -> Duration {
        match self {
            Self::Argon2id { params, .. } => {
                const OF_A_KIB: Duration = Duration::from_nanos(458);
                OF_A_KIB * params.memory_kib() * params.passes()
            }
            #[cfg(feature = "legacy-hashes")]
            Self::Bcrypt(recipe) => Duration::from_micros(50) * (1 << recipe.cost.min(20)),
        }
    }

    /// The tagged text of the result.
    pub(super) fn tagged(&self, digest: &SlowDigest) -> String {
        match self {
            Self::Argon2id { params, salt } => format!(
                "$argon2id$v=19$m={},t={},p={}${}${}",
                params.memory_kib(),
                params.passes(),
                params.lanes(),
                STANDARD_NO_PAD.encode(salt),
                STANDARD_NO_PAD.encode(digest.to_bytes()),
            ),
            #[cfg(feature = "legacy-hashes")]
            Self::Bcrypt(recipe) => recipe.tagged(digest),
        }
    }
}
