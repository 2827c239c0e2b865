//! Replacing hashes of an older policy, one key at a time, as the keys are used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::core::Core;
use super::entry::Fingerprint;
use super::tag::Tag;
use crate::key::{ApiKey, KeySecret, Lookup, OwnedKey, SecretHash};
use crate::store::{KeyStore, ManageKeys};

/// Re-hashes under way at once; a key that finds no place is hashed anew the next time it is verified.
pub(super) const PLACES: usize = 4;

/// How an obsolete hash is replaced. A function pointer that knows the store can be written to: checking alone does not
/// ask that of it.
pub(super) type Rehash<S> = fn(Arc<Core<S>>, Obsolete) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A key that was just verified against a hash of an older policy.
pub(super) struct Obsolete {
    tag: Tag,
    lookup: Lookup,
    hash: SecretHash,
    key: OwnedKey,
}

/// Begins to replace the hash of a key that was just verified, if it is obsolete and there is room: in a pool that is more
/// than half full it would stand before keys that someone waits for.
pub(super) fn start_if_due<S: KeyStore>(core: &Arc<Core<S>>, tag: Tag, secret: &KeySecret, key: &ApiKey) {
    let Some(replace) = core.rehash else {
        return;
    };
    if !core.policy.is_obsolete(&secret.hash) || core.pool.is_more_than_half_full() {
        return;
    }
    let Ok(place) = core.rehashes.clone().try_acquire_owned() else {
        return;
    };
    let obsolete = Obsolete {
        tag,
        lookup: secret.lookup.clone(),
        hash: secret.hash.clone(),
        key: key.into(),
    };
    let replaced = replace(core.clone(), obsolete);
    tokio::spawn(async move {
        replaced.await;
        drop(place);
    });
}

/// Hashes the key by today's policy and swaps the hash, unless someone else did in the meantime.
pub(super) fn replace<S: ManageKeys>(
    core: Arc<Core<S>>,
    obsolete: Obsolete,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Obsolete { tag, lookup, hash, key } = obsolete;
        // An error: the pool is busy with keys that someone waits for. This one comes again.
        let Ok(new) = core.pool.hash_owned(&core.policy, &key).await else {
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
                    && entry.is_proven_by(Fingerprint::of(&hash))
                {
                    core.cache.put(lookup, Arc::new(entry.rehashed(Fingerprint::of(&new))));
                }
            }
            Err(error) => core.complaints.hash_not_stored(&lookup, &error, core.clock.now()),
        }
    })
}
