//! Hash schemes for keys, their parameters, and the bounded pool that runs the slow ones.
//!
//! A stored hash is a tagged text ([`SecretHash`](crate::key::SecretHash)) over the whole key:
//!
//! | tag | verified | made by |
//! |---|---|---|
//! | `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (PHC) | always | [`HashPolicy::argon2id`], the default |
//! | `sha256:<hex>` | always | [`HashPolicy::sha256`], [`sha256`] |
//! | `sha512:<hex>` | always | – |
//! | `bcrypt-sha256:$2b$…`, over base64 of SHA-256 | with `legacy-hashes` | `HashPolicy::bcrypt_sha256` |
//! | `$2a$`, `$2b$`, `$2y$`, over the first 72 bytes of the key | with `legacy-hashes` | other systems |
//!
//! 1. Parameters in a record have bounds: Argon2id of version 19 only, up to 256 MiB, 6 passes and 8 lanes, 512 MiB in
//!    all passes together, with 32 bytes of output and 8 to 48 of salt; bcrypt of cost 4 to 14. Anything else is an [`InvalidHash`], which says nothing
//!    about the presented key.
//! 2. Slow hashes run only on the threads of a [`HashPool`], by default one pool for the process. So no flood of keys
//!    uses more processors or memory than that pool.
//! 3. Hashes are compared in constant time.
//!
//! ```
//! use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
//! use tower_api_key::key::ApiKey;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = HashPool::global();
//! let key = ApiKey::from(String::from("acme_live_not_a_real_key"));
//! let hash = pool.hash(&HashPolicy::argon2id(Argon2Params::OWASP), &key).await?;
//! assert!(pool.verify(&hash, &key).await?);
//!
//! let other = ApiKey::from(String::from("acme_live_not_the_same_key"));
//! assert!(!pool.verify(&hash, &other).await?);
//! # Ok(()) }
//! ```

#[cfg(feature = "legacy-hashes")]
mod bcrypt;
mod digest;
mod error;
mod kind;
mod memory;
mod params;
mod plain;
mod policy;
mod pool;
mod recipe;
mod right_before;
mod tagged;

pub use self::error::{InvalidHash, InvalidHashKind};
pub(crate) use self::kind::HashKind;
pub use self::kind::validate_for;
pub use self::params::Argon2Params;
pub use self::plain::{sha256, verify_sha256};
pub use self::policy::HashPolicy;
pub(crate) use self::pool::{Ahead, OnVerdict, OwnWork};
pub use self::pool::{HashPool, HashPoolBuilder, PoolError, PoolErrorKind};
pub(crate) use self::right_before::RightBefore;
pub use self::tagged::validate;
