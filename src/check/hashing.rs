//! The hash of a presented key: its place in the queue, and a new one by the current policy afterwards, one key at a time.

use std::sync::Arc;

use super::core::Core;
use super::entry::fingerprint;
use super::presented::TaggedKey;
use crate::client::ClientGroup;
use crate::hash::{Ahead, HashKind, OnVerdict, PoolError};
use crate::key::{KeySecret, OwnedKey, SecretHash};
use crate::store::{Candidate, KeyStore};

/// Hashes a key and compares it. One with another prefix or environment than its record (`is_named` is false) is wrong in any
/// case, and hashed all the same: the time must not tell that its lookup exists with another one.
pub(super) async fn verify<S: KeyStore>(
    core: &Arc<Core<S>>,
    tagged: &TaggedKey,
    candidate: &Candidate,
    key: &OwnedKey,
    client: ClientGroup,
    is_named: bool,
    on_verdict: OnVerdict,
) -> Result<bool, PoolError> {
    let on_verdict = Box::new(move |is_right| on_verdict(is_right && is_named));
    let is_admissible = is_named && is_admissible(core, tagged, candidate);
    let ahead = match is_admissible {
        true => ahead(core, tagged, candidate),
        false => None,
    };
    let (pool, hash) = (&core.pool, &candidate.secret.hash);
    let verify = pool.verify_for(hash, key, client, ahead, on_verdict, is_admissible);
    let is_right = core.outcomes.hash(&core.clock, verify).await? && is_named;
    match is_right {
        true => replace_if_due(core, tagged, &candidate.secret, key),
        false => core.right_before.remove(tagged.tag.number()),
    }
    Ok(is_right)
}

/// Whether the record lets its key in. Keys that are not admitted, right or wrong, must not delay those that are.
fn is_admissible<S: KeyStore>(core: &Core<S>, tagged: &TaggedKey, candidate: &Candidate) -> bool {
    let end = core.end_of(candidate, tagged.form);
    let is_admissible = candidate.barrier().is_none() && end.is_none_or(|end| end > core.clock.wall());
    if !is_admissible {
        core.right_before.remove(tagged.tag.number());
    }
    is_admissible
}

/// What speaks for the key before it is hashed: a keyed checksum that nobody else can make, or that it was right before.
fn ahead<S: KeyStore>(core: &Core<S>, tagged: &TaggedKey, candidate: &Candidate) -> Option<Ahead> {
    core.speaks_for(tagged).then(|| Ahead {
        organization: candidate.organization.id,
        lookup: tagged.lookup.clone(),
    })
}

/// Begins to replace the hash of a key that was just verified, if it is obsolete and there is room: in a pool that is more
/// than half full it would delay keys that requests wait for. A key that finds no room is re-hashed the next time it is
/// verified.
fn replace_if_due<S: KeyStore>(core: &Arc<Core<S>>, tagged: &TaggedKey, secret: &KeySecret, key: &OwnedKey) {
    // A hash that ignores the end of this key does not prove the whole key, and a hash of the whole key would lock the right
    // one out if this is another.
    if HashKind::of(&secret.hash).is_cut_before(key.as_bytes().len()) {
        return;
    }
    if core.replace_hash.is_none() || !core.policy.is_obsolete(&secret.hash) || core.pool.is_more_than_half_full() {
        return;
    }
    let Ok(permit) = core.rehashes.clone().try_acquire_owned() else {
        return;
    };
    let (core, tagged, hash, key) = (core.clone(), tagged.clone(), secret.hash.clone(), key.clone());
    tokio::spawn(async move {
        replace(&core, tagged, hash, key).await;
        drop(permit);
    });
}

/// Hashes the key by the current policy and swaps the hash, unless it has changed meanwhile.
async fn replace<S: KeyStore>(core: &Core<S>, tagged: TaggedKey, old: SecretHash, key: OwnedKey) {
    let Some(replace_hash) = core.replace_hash else {
        return;
    };
    // An error means that the pool is busy with keys that requests wait for. This one will be used again.
    let Ok(new) = core.pool.hash_owned(&core.policy, &key).await else {
        return;
    };
    let lookup = &tagged.lookup;
    let was_replaced = match replace_hash(&core.store, lookup, &old, &new).await {
        Ok(was_replaced) => was_replaced,
        Err(error) => return core.alerts.hash_not_stored(lookup, &error, core.clock.now()),
    };
    tracing::debug!(%lookup, was_replaced, "re-hashed by the current policy");
    // The cached entry was verified against the old hash. Its next read would hash the key again, and a stream that waits
    // for the end of its key has no key to hash.
    if was_replaced
        && let Some(entry) = core.cache.get(lookup.as_bytes())
        && entry.tag.is(&tagged.tag)
        && entry.is_proven_by(fingerprint(&old))
    {
        core.cache.put(Arc::new(entry.rehashed(&new)));
    }
}
