//! The map from a limit of somebody to its bucket, bounded.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex};

use super::bucket::Bucket;
use crate::sync::unpoisoned;

/// Slots that every new bucket looks at for one that has refilled, so that the map shrinks towards what is in use.
const SWEEP: usize = 2;

/// Slots that a new bucket looks at when there is no room.
const SWEEP_FOR_ROOM: usize = 16;

/// Shards at most, and the least buckets that are worth a shard.
const SHARDS: usize = 64;
const LEAST_PER_SHARD: usize = 1024;

/// A bounded map of buckets.
///
/// No request ever walks it: each new bucket looks at the next few slots of its shard, and removes those that are full and
/// that no cached key holds. A bucket that is not full is never removed, since that would be a reset; one that is held is
/// not either, since a second bucket for the same limit would double it.
pub(super) struct Buckets {
    shards: Box<[Mutex<Shard>]>,
    capacity_per_shard: usize,
    hashers: [RandomState; 2],
}

/// Whose limit it is: 128 bits of keyed hash over kind, id, name and occurrence. Nobody outside can aim at a collision,
/// and among a million buckets chance makes one in 10^26 maps.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64, u64);

#[derive(Default)]
struct Shard {
    places: HashMap<Fingerprint, usize, BuildHasherDefault<AlreadyHashed>>,
    slots: Vec<Slot>,
    hand: usize,
}

struct Slot {
    fingerprint: Fingerprint,
    bucket: Arc<Bucket>,
}

impl Buckets {
    pub(super) fn new(capacity: usize) -> Self {
        let shards = (capacity / LEAST_PER_SHARD).clamp(1, SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            capacity_per_shard: (capacity / shards).max(1),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// The bucket of `owner`, a new one if there is none; nothing when there is no room for a new one.
    pub(super) fn find_or_insert(&self, owner: &impl Hash, window: u64, now: u64) -> Option<Arc<Bucket>> {
        let [first, second] = &self.hashers;
        let fingerprint = Fingerprint(first.hash_one(owner), second.hash_one(owner));
        let shard = fingerprint.1 as usize % self.shards.len();
        let shard = self.shards.get(shard)?;
        unpoisoned(shard.lock()).find_or_insert(fingerprint, window, now, self.capacity_per_shard)
    }

    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| unpoisoned(shard.lock()).slots.len())
            .sum()
    }
}

impl Shard {
    fn find_or_insert(
        &mut self,
        fingerprint: Fingerprint,
        window: u64,
        now: u64,
        capacity: usize,
    ) -> Option<Arc<Bucket>> {
        if let Some(slot) = self.places.get(&fingerprint).and_then(|place| self.slots.get(*place)) {
            return Some(slot.bucket.clone());
        }
        self.sweep(
            if self.slots.len() < capacity {
                SWEEP
            } else {
                SWEEP_FOR_ROOM
            },
            now,
        );
        if self.slots.len() >= capacity {
            return None;
        }
        let bucket = Arc::new(Bucket::new(window));
        self.places.insert(fingerprint, self.slots.len());
        self.slots.push(Slot {
            fingerprint,
            bucket: bucket.clone(),
        });
        Some(bucket)
    }

    /// Moves the hand over the next slots and removes those that nobody would miss.
    fn sweep(&mut self, steps: usize, now: u64) {
        for _ in 0..steps.min(self.slots.len()) {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            match self.slots.get(self.hand) {
                Some(slot) if slot.is_idle(now) => self.remove(self.hand),
                _ => self.hand += 1,
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let removed = self.slots.swap_remove(place);
        self.places.remove(&removed.fingerprint);
        if let Some(moved) = self.slots.get(place) {
            self.places.insert(moved.fingerprint, place);
        }
    }
}

impl Slot {
    /// Counting holders is sound under the shard's lock: new ones come through the shard alone.
    fn is_idle(&self, now: u64) -> bool {
        Arc::strong_count(&self.bucket) == 1 && self.bucket.is_full(now)
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Passes a fingerprint through: it is a keyed hash itself.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
