//! What was taken of one limit: one word, exchanged for a single limit and locked for a decision over several.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What was taken of one limit of one key or organization.
pub(super) struct Bucket {
    /// The theoretical arrival time of GCRA in nanoseconds; its highest bit is the lock.
    arrival: AtomicU64,
    /// The window of the limit that `arrival` was last adjusted to. Written under the lock only, except for [`UNKNOWN`].
    window: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(window: u64) -> Self {
        Self {
            arrival: AtomicU64::new(0),
            window: AtomicU64::new(window),
        }
    }

    /// The arrival time. `None` while the bucket is locked, or when it was last adjusted to another window.
    pub(super) fn read(&self, window: u64) -> Option<u64> {
        let arrival = self.arrival.load(Ordering::Acquire);
        let ready = arrival & LOCKED == 0 && self.window.load(Ordering::Relaxed) == window;
        ready.then_some(arrival)
    }

    /// Writes `next` if the arrival time is still the one that was read, and answers whether it was.
    pub(super) fn replace(&self, read: u64, next: u64, window: u64) -> bool {
        let replaced = self
            .arrival
            .compare_exchange(read, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        // The limit may have changed between reading and writing without moving the arrival time. Then the time written
        // here was never adjusted, and the next request has to do it.
        if replaced && self.window.load(Ordering::Relaxed) != window {
            self.window.store(UNKNOWN, Ordering::Relaxed);
        }
        replaced
    }

    /// Locks the bucket and adjusts it to the limit's window.
    ///
    /// A thread that locks several buckets locks them in the order of their addresses.
    pub(super) fn lock(&self, window: u64, now: u64) -> Locked<'_> {
        let mut arrival = self.acquire();
        if self.window.load(Ordering::Relaxed) != window {
            self.window.store(window, Ordering::Relaxed);
            // Otherwise a limit that became tighter would act only after everything that was taken in advance under the
            // old one has come back.
            arrival = arrival.min(now + window);
        }
        Locked {
            bucket: self,
            arrival,
            pending: arrival,
        }
    }

    /// Whether nothing is missing from it, so that a new bucket could take its place.
    pub(super) fn is_full(&self, now: u64) -> bool {
        self.arrival.load(Ordering::Acquire) <= now
    }

    fn acquire(&self) -> u64 {
        let mut tries = 0;
        loop {
            let arrival = self.arrival.load(Ordering::Relaxed);
            let locked = arrival | LOCKED;
            if arrival & LOCKED == 0
                && self
                    .arrival
                    .compare_exchange_weak(arrival, locked, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return arrival;
            }
            tries += 1;
            if tries < SPINS {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// A locked bucket. Dropping it unlocks it, and nothing is taken unless [`commit`](Self::commit) was called.
pub(super) struct Locked<'a> {
    bucket: &'a Bucket,
    arrival: u64,
    /// The arrival time that [`commit`](Self::commit) writes.
    pub(super) pending: u64,
}

impl Locked<'_> {
    /// Whether this is the lock of `bucket`.
    pub(super) fn is_of(&self, bucket: &Bucket) -> bool {
        std::ptr::eq(self.bucket, bucket)
    }

    /// Takes what is pending, at the drop.
    pub(super) fn commit(&mut self) {
        self.arrival = self.pending;
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.bucket.arrival.store(self.arrival, Ordering::Release);
    }
}

/// Set in an arrival time while the bucket is locked. Arrival times themselves never reach it.
const LOCKED: u64 = 1 << 63;

/// How often a thread looks at a locked bucket before it yields. A lock lasts some nanoseconds, unless its holder was
/// interrupted.
const SPINS: u32 = 64;

/// The window of a bucket that has to be adjusted by the next request.
const UNKNOWN: u64 = 0;
