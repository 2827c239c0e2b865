//! Replacing hashes of an older policy, one key at a time, as the keys are used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::core::Core;
use super::entry::Fingerprint;
use super::tag::Tag;
use crate::key::{ApiKey, Lookup, SecretHash};
use crate::store::ManageKeys;

/// Re-hashes under way at once; a key that finds no place is hashed anew the next time it is verified.
pub(super) const PLACES: usize = 4;

/// How an obsolete hash is replaced. A function pointer that knows the store can be written to: checking alone does not
/// ask that of it.
pub(super) type Rehash<S> = fn(Arc<Core<S>>, Obsolete) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A key that was just verified against a hash of an older policy.
pub(super) struct Obsolete {
    pub(super) tag: Tag,
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
        let Obsolete { tag, lookup, hash, key } = obsolete;
        // An error: the pool is busy with keys that someone waits for. This one comes again.
        let Ok(new) = core.pool.hash(&core.policy, &key).await else {
            return;
        };
        match core.store.replace_hash(&lookup, &hash, &new).await {
            Ok(was_replaced) => {
                tracing::debug!(%lookup, was_replaced, "re-hashed by today's policy");
                // What is cached was verified against the old hash and would have to be hashed anew at its next reading,
                // for which a stream that waits for its end has no key.
                if was_replaced
                    && let Some(entry) = core.cache.get(&lookup)
                    && entry.tag.is(&tag)
                    && entry.fingerprint == Fingerprint::of(&hash)
                {
                    core.cache.put(lookup, Arc::new(entry.rehashed(Fingerprint::of(&new))));
                }
            }
            Err(error) => tracing::warn!(%lookup, %error, "a new hash could not be stored"),
        }
    })
}
