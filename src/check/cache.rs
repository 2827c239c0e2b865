//! Verified keys, and keys that were just refused. Bounded by weight; nothing in it is believed without its mark.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::entry::Entry;
use super::rejection::RejectionKind;
use super::tag::Tag;
use crate::clock::Monotonic;
use crate::key::Lookup;

/// What a refusal in the cache takes: its tag, its answer, and the map's own bookkeeping.
const REFUSAL_BYTES: u64 = 128;

pub(super) struct VerifiedCache {
    verified: Cache<Lookup, Arc<Entry>, EntryWeight>,
    refused: Cache<Tag, Refused>,
}

/// A key that was found unknown or wrong a moment ago, as of this many changes.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) kind: RejectionKind,
    pub(super) changes: u64,
    pub(super) until: Monotonic,
}

#[derive(Clone)]
struct EntryWeight;

impl Weighter<Lookup, Arc<Entry>> for EntryWeight {
    fn weight(&self, _: &Lookup, entry: &Arc<Entry>) -> u64 {
        entry.weight() + 64
    }
}

impl VerifiedCache {
    /// A cache of at most this many bytes, a tenth of them for refusals: a flood of wrong keys evicts no right one.
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let refusals = capacity_bytes / 10;
        let verified = capacity_bytes - refusals;
        let items = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX).max(16);
        Self {
            verified: Cache::with_weighter(items(verified, 384), verified, EntryWeight),
            refused: Cache::new(items(refusals, REFUSAL_BYTES)),
        }
    }

    pub(super) fn get(&self, lookup: &Lookup) -> Option<Arc<Entry>> {
        self.verified.get(lookup)
    }

    /// No lock against a change in between is needed: an entry with an old mark never serves.
    pub(super) fn put(&self, lookup: Lookup, entry: Arc<Entry>) {
        self.verified.insert(lookup, entry);
    }

    /// By the whole tag only: one client's wrong secret says nothing about another's.
    pub(super) fn refused(&self, tag: &Tag, changes: u64, now: Monotonic) -> Option<RejectionKind> {
        let refused = self.refused.get(tag)?;
        (refused.changes == changes && now < refused.until).then_some(refused.kind)
    }

    pub(super) fn put_refused(&self, tag: Tag, refused: Refused) {
        self.refused.insert(tag, refused);
    }

    pub(super) fn len(&self) -> usize {
        self.verified.len()
    }
}
