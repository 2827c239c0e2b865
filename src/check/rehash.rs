//! Replacing hashes of an older policy, one key at a time, as the keys are used.

use std::sync::Arc;

use super::core::Core;
use super::entry::fingerprint;
use super::presented::Tag;
use crate::key::{KeySecret, Lookup, OwnedKey, SecretHash};
use crate::store::KeyStore;

/// Begins to replace the hash of a key that was just verified, if it is obsolete and there is room: in a pool that is more
/// than half full it would delay keys that requests wait for. A key that finds no room is re-hashed the next time it is
/// verified.
pub(super) fn start_if_due<S: KeyStore>(core: &Arc<Core<S>>, tag: Tag, secret: &KeySecret, key: &OwnedKey) {
    if core.replace_hash.is_none() || !core.policy.is_obsolete(&secret.hash) || core.pool.is_more_than_half_full() {
        return;
    }
    let Ok(permit) = core.rehashes.clone().try_acquire_owned() else {
        return;
    };
    let (core, lookup, hash, key) = (core.clone(), secret.lookup.clone(), secret.hash.clone(), key.clone());
    tokio::spawn(async move {
        replace(&core, tag, lookup, hash, key).await;
        drop(permit);
    });
}

/// Hashes the key by the current policy and swaps the hash, unless it has changed meanwhile.
async fn replace<S: KeyStore>(core: &Core<S>, tag: Tag, lookup: Lookup, old: SecretHash, key: OwnedKey) {
    let Some(replace_hash) = core.replace_hash else {
        return;
    };
    // An error means that the pool is busy with keys that requests wait for. This one will be used again.
    let Ok(new) = core.pool.hash_owned(&core.policy, &key).await else {
        return;
    };
    let was_replaced = match replace_hash(&core.store, &lookup, &old, &new).await {
        Ok(was_replaced) => was_replaced,
        Err(error) => return core.alerts.hash_not_stored(&lookup, &error, core.clock.now()),
    };
    tracing::debug!(%lookup, was_replaced, "re-hashed by the current policy");
    // The cached entry was verified against the old hash. Its next read would hash the key again, and a stream that waits
    // for the end of its key has no key to hash.
    if was_replaced
        && let Some(entry) = core.cache.get(lookup.as_bytes())
        && entry.tag.is(&tag)
        && entry.is_proven_by(fingerprint(&old))
    {
        core.cache.put(Arc::new(entry.rehashed(fingerprint(&new))));
    }
}
