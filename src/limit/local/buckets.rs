//! The bounded map from a limit of a key or an organization to its bucket.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::bucket::Bucket;
use crate::sync::unpoisoned;

/// A bounded map of buckets.
///
/// No request walks it: each new bucket looks at the next few of the others, and removes those that are full again and
/// that no cached key holds. A bucket that is not full is never removed, since that would be a reset. One that is held is
/// not either, since a second bucket for the same limit would double it.
pub(super) struct Buckets {
    map: DashMap<Fingerprint, Arc<Bucket>>,
    /// Each bucket of the map once, in the order in which new buckets look at them. Locked before a shard of the map is.
    queue: Mutex<VecDeque<Fingerprint>>,
    capacity: usize,
    hashers: [RandomState; 2],
}

/// Which limit it is: 128 bits of keyed hash over kind, id, name and occurrence, which take less room than these.
///
/// Collisions cannot be provoked from outside, and among a million buckets one happens by chance in 10^26 maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Fingerprint(u64, u64);

impl Buckets {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            map: DashMap::new(),
            queue: Mutex::default(),
            capacity,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// The bucket of `owner`, a new one if there is none; `None` when there is no room for a new one.
    pub(super) fn find_or_insert(&self, owner: &impl Hash, window: u64, now: u64) -> Option<Arc<Bucket>> {
        let [first, second] = &self.hashers;
        let fingerprint = Fingerprint(first.hash_one(owner), second.hash_one(owner));
        if let Some(bucket) = self.map.get(&fingerprint) {
            return Some(bucket.clone());
        }
        let mut queue = unpoisoned(self.queue.lock());
        self.evict(&mut queue, now);
        match self.map.entry(fingerprint) {
            // Another thread has inserted it in the meantime.
            Entry::Occupied(bucket) => Some(bucket.get().clone()),
            Entry::Vacant(place) if queue.len() < self.capacity => {
                queue.push_back(fingerprint);
                Some(place.insert(Arc::new(Bucket::new(window))).clone())
            }
            Entry::Vacant(_) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        unpoisoned(self.queue.lock()).len()
    }

    /// Looks at the next buckets of the queue. Those that are not needed any more are removed, the others go to its end.
    fn evict(&self, queue: &mut VecDeque<Fingerprint>, now: u64) {
        let looks = if queue.len() < self.capacity {
            LOOKS
        } else {
            LOOKS_FOR_ROOM
        };
        for _ in 0..looks.min(queue.len()) {
            let Some(fingerprint) = queue.pop_front() else { return };
            // Counting holders is sound here: the map locks the bucket's shard, and new holders come through it alone.
            let unused = |_: &Fingerprint, bucket: &Arc<Bucket>| Arc::strong_count(bucket) == 1 && bucket.is_full(now);
            if self.map.remove_if(&fingerprint, unused).is_none() {
                queue.push_back(fingerprint);
            }
        }
    }
}

/// Buckets that each new one looks at. Two, so that the map shrinks to what is in use.
const LOOKS: usize = 2;

/// Buckets that a new one looks at when there is no room.
const LOOKS_FOR_ROOM: usize = 16;
