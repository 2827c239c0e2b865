//! Verified keys, and keys that were rejected a moment ago. Bounded by weight; no entry is used without checking its mark.

use std::num::NonZeroUsize;
use std::sync::Arc;

use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::entry::Entry;
use super::presented::Tag;
use super::rejection::RejectionKind;
use crate::clock::Monotonic;
use crate::key::{Lookup, LookupBytes};

/// What a rejection in the cache takes: its tag, its answer, and the map's own bookkeeping.
const REJECTION_BYTES: u64 = 128;
/// What the map takes for an entry.
const BOOKKEEPING_BYTES: u64 = 128;
/// More than a key of our stores can take with all its scopes, networks, limits and metadata at their bounds.
const HEAVIEST: u64 = 128 << 10;

pub(super) struct VerifiedCache {
    /// Lookups are hashed by something faster than SipHash, which shows in a check. It is keyed as well, and only verified
    /// keys are in the map: no client can fill it with lookups that collide.
    verified: Cache<Lookup, Arc<Entry>, EntryWeight, RandomState>,
    /// Why a key was rejected, as of how many changes, and until when that is used.
    rejected: Cache<Tag, (RejectionKind, u64, Monotonic)>,
}

#[derive(Clone)]
struct EntryWeight;

impl Weighter<Lookup, Arc<Entry>> for EntryWeight {
    fn weight(&self, _: &Lookup, entry: &Arc<Entry>) -> u64 {
        entry.weight() + BOOKKEEPING_BYTES
    }
}

impl VerifiedCache {
    /// A cache of at most this many bytes, a tenth of them for rejections: a flood of wrong keys evicts no right one.
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let rejections = capacity_bytes / 10;
        let verified = capacity_bytes - rejections;
        let items = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX).max(16);
        Self {
            verified: in_shards(shards(verified, parallelism()), items(verified, 512), verified),
            rejected: Cache::new(items(rejections, REJECTION_BYTES)),
        }
    }

    /// The entry with this lookup, given as its bytes: a part of a presented key.
    pub(super) fn get(&self, lookup: &[u8]) -> Option<Arc<Entry>> {
        self.verified.get(&LookupBytes(lookup))
    }

    /// No lock against a change in between is needed: an entry with an old mark never serves.
    pub(super) fn put(&self, entry: Arc<Entry>) {
        self.verified.insert(entry.lookup.clone(), entry);
    }

    /// By the whole tag only: one client's wrong secret says nothing about another's.
    pub(super) fn rejected(&self, tag: &Tag, changes: u64, now: Monotonic) -> Option<RejectionKind> {
        let (kind, as_of, until) = self.rejected.get(tag)?;
        (as_of == changes && now < until).then_some(kind)
    }

    /// Remembers that a key was found unknown or wrong, as of this many changes.
    pub(super) fn put_rejected(&self, tag: Tag, kind: RejectionKind, changes: u64, until: Monotonic) {
        self.rejected.insert(tag, (kind, changes, until));
    }

    pub(super) fn len(&self) -> usize {
        self.verified.len()
    }
}

/// As many shards as the cache's own default, unless an entry could be heavier than a whole shard: the map would silently
/// drop it, and its key would be hashed at every request.
fn shards(bytes: u64, parallelism: usize) -> usize {
    let most = usize::try_from(bytes / HEAVIEST).unwrap_or(usize::MAX).max(1);
    let most = 1 << most.ilog2();
    most.min(parallelism.saturating_mul(4).next_power_of_two())
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn in_shards(shards: usize, items: usize, bytes: u64) -> Cache<Lookup, Arc<Entry>, EntryWeight, RandomState> {
    let options = OptionsBuilder::new()
        .shards(shards)
        .estimated_items_capacity(items)
        .weight_capacity(bytes)
        .build();
    let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
    match options {
        Ok(options) => Cache::with_options(options, EntryWeight, hasher, lifecycle),
        // `build` fails only for a missing setting, and none is.
        Err(_) => Cache::with(items, bytes, EntryWeight, hasher, lifecycle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_never_smaller_than_the_heaviest_entry() {
        for cache in [1 << 20, 3 << 20, 64 << 20, 1 << 40] {
            let verified = cache - cache / 10;
            for parallelism in [1, 2, 7, 64, 1024] {
                let shards = shards(verified, parallelism);
                assert!(shards.is_power_of_two(), "the cache rounds up");
                assert!(verified / shards as u64 >= HEAVIEST, "{cache} {parallelism}");
                assert!(shards <= 4 * parallelism.next_power_of_two());
            }
        }
        assert_eq!(shards(58 << 20, 2), 8);
    }
}
