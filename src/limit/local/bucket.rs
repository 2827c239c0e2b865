//! What was taken of one limit: a word that is exchanged, or locked for a moment.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Set in an arrival time while somebody decides over several buckets. Arrival times themselves never reach it.
const LOCKED: u64 = 1 << 63;

/// How often to look at a locked bucket before giving the processor away. It is locked for some nanoseconds, unless its
/// holder was interrupted.
const SPINS: u32 = 64;

/// The window of a bucket that does not know it.
const UNKNOWN: u64 = 0;

/// What was taken of one limit of one key or organization.
pub(super) struct Bucket {
    /// The theoretical arrival time of GCRA in nanoseconds, and the lock.
    arrival: AtomicU64,
    /// The window of the limit that `arrival` was last brought in line with. Written under the lock alone, but for
    /// [`UNKNOWN`].
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

    /// The arrival time; none while somebody holds the lock, or before the limit's window was adopted.
    pub(super) fn read(&self, window: u64) -> Option<u64> {
        let arrival = self.arrival.load(Ordering::Acquire);
        let ready = arrival & LOCKED == 0 && self.window.load(Ordering::Relaxed) == window;
        ready.then_some(arrival)
    }

    /// Writes `next` if the arrival time still is what was read; `false` when it is not.
    pub(super) fn replace(&self, read: u64, next: u64, window: u64) -> bool {
        let replaced = self
            .arrival
            .compare_exchange(read, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        // A change of the limit that came between reading and writing and happened to leave the arrival time alone
        // has brought an older time in line than the one written here. The next request does it again.
        if replaced && self.window.load(Ordering::Relaxed) != window {
            self.window.store(UNKNOWN, Ordering::Relaxed);
        }
        replaced
    }

    /// Locks the bucket for a decision over several, and brings it in line with the limit's window.
    ///
    /// Whoever locks several does it in the order of their addresses.
    pub(super) fn lock(&self, window: u64, now: u64) -> Locked<'_> {
        let mut arrival = self.acquire();
        if self.window.load(Ordering::Relaxed) != window {
            self.window.store(window, Ordering::Relaxed);
            // A limit that became tighter would otherwise act only when all that its predecessor allowed to take in
            // advance has come back.
            arrival = arrival.min(now + window);
        }
        Locked {
            bucket: self,
            arrival,
            pending: arrival,
        }
    }

    /// Whether all of it is there, so that a new bucket could take its place.
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

/// A locked bucket. Dropping it unlocks it, with nothing taken unless [`commit`](Self::commit) was called.
pub(super) struct Locked<'a> {
    bucket: &'a Bucket,
    arrival: u64,
    /// The arrival time to be committed.
    pub(super) pending: u64,
}

impl Locked<'_> {
    /// Whether this is the lock of `bucket`.
    pub(super) fn is_of(&self, bucket: &Bucket) -> bool {
        std::ptr::eq(self.bucket, bucket)
    }

    /// Takes what is pending.
    pub(super) fn commit(&mut self) {
        self.arrival = self.pending;
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.bucket.arrival.store(self.arrival, Ordering::Release);
    }
}
