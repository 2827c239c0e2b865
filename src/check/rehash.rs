//! Replacing hashes of an older policy, one key at a time, as the keys are used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::core::Core;
use crate::key::{ApiKey, Lookup, SecretHash};
use crate::store::ManageKeys;

/// Re-hashes under way at once; a key that finds no place is hashed anew the next time it is verified.
pub(super) const PLACES: usize = 4;

/// How an obsolete hash is replaced. A function pointer that knows the store can be written to: checking alone does not
/// ask that of it.
pub(super) type Rehash<S> = fn(Arc<Core<S>>, Obsolete) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A key that was just verified against a hash of an older policy.
pub(super) struct Obsolete {
    pub(super) lookup: Lookup,
    pub(super) hash: SecretHash,
    pub(super) key: ApiKey,
}

/// Hashes the key by today's policy and swaps the hash, unless someone else did in the meantime.
pub(super) fn replace<S: ManageKeys>(
    core: Arc<Core<S>>,
    obsolete: Obsolete,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Obsolete { lookup, hash, key } = obsolete;
        let replaced = match core.pool.hash(&core.policy, &key).await {
            Ok(new) => core.store.replace_hash(&lookup, &hash, &new).await,
            // The pool is busy with keys that someone waits for. This one comes again.
            Err(_) => return,
        };
        match replaced {
            Ok(was_replaced) => tracing::debug!(%lookup, was_replaced, "re-hashed by today's policy"),
            Err(error) => tracing::warn!(%lookup, %error, "a new hash could not be stored"),
        }
    })
}
