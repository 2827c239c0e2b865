//! The key with a hash.

use crate::error::ConfigError;
use crate::key::SecretHash;
use crate::store::StoredKey;
use crate::store::query::{Answer, Query, TypedQuery};

/// What an unsalted hash starts with: equal keys have equal hashes.
const UNSALTED: [&str; 2] = ["sha256:", "sha512:"];

/// The key with a secret that has exactly this hash: for services that know keys by their hashes, and for importing a table
/// twice. `None` if there is none; the one with the lowest id if there are several.
///
/// ```
/// use tower_api_key::hash::sha256;
/// use tower_api_key::key::ApiKey;
/// use tower_api_key::store::query::KeyByHash;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = tower_api_key::testing::api_keys().open().await?;
/// let hash = sha256(&ApiKey::from(String::from("acme_live_not_a_real_key")));
/// assert_eq!(keys.read(KeyByHash::new(hash)?).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeyByHash(SecretHash);

impl KeyByHash {
    /// By this hash.
    ///
    /// # Errors
    /// When the hash is salted: another hash of the same key differs, so nobody can look for it.
    pub fn new(hash: SecretHash) -> Result<Self, ConfigError> {
        match UNSALTED.iter().any(|scheme| hash.as_str().starts_with(scheme)) {
            true => Ok(Self(hash)),
            false => Err(ConfigError::new(
                "hash",
                "must be an unsalted one, `sha256:` or `sha512:`; keys with salted hashes are found by their lookup",
            )),
        }
    }
}

impl TypedQuery for KeyByHash {
    type Output = Option<StoredKey>;

    fn query(self) -> Query {
        Query::KeyByHash(self.0)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Key(key) => Some(key),
            _ => None,
        }
    }
}
