//! A handle for tests, with hashes that cost next to nothing.

use crate::check::ApiKeysBuilder;
use crate::hash::{Argon2Params, HashPolicy};
use crate::keys::ApiKeys;
use crate::store::MemoryStore;

/// The settings of a handle over an empty [`MemoryStore`], with [cheap hashes](cheap_hashes): for tests that issue keys and send
/// requests with them.
///
/// ```
/// use tower_api_key::IssueRequest;
/// use tower_api_key::key::Actor;
/// use tower_api_key::testing::api_keys;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = api_keys().open().await?;
/// let issuer = keys.issuer().acting_as(Actor::service());
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "test")).await?;
/// let layer = keys.layer();
/// # let _ = (layer, issued);
/// # Ok(())
/// # }
/// ```
pub fn api_keys() -> ApiKeysBuilder<MemoryStore> {
    ApiKeys::builder(MemoryStore::new()).hash_policy(cheap_hashes())
}

/// Argon2id at its lowest cost: 8 KiB and one pass. The same code runs as with any other cost, in some microseconds, also in a
/// build without optimization.
///
/// # Security
/// For tests only: a stolen hash of this cost is guessed quickly if the key has little entropy.
pub fn cheap_hashes() -> HashPolicy {
    match Argon2Params::new(8, 1, 1) {
        Ok(lowest) => HashPolicy::argon2id(lowest),
        Err(_) => unreachable!("the lowest parameters are within their bounds"),
    }
}
