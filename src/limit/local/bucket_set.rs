//! The buckets of one request, and the decision over them.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::bucket::{Bucket, Locked};
use super::cell_rate::CellRate;
use crate::key::RateLimit;
use crate::limit::{Allowance, Decision, Limited};

/// The limits of a charge, in two lists whose order is one.
type Limits<'a> = [&'a [RateLimit]; 2];
type ArrivalTimes = SmallVec<[u64; INLINE]>;

/// The buckets of a request. Its charge has the limits that they are for.
pub(in crate::limit) struct BucketSet {
    limiter: u64,
    /// Ordered by the address of the bucket, which is the order of locking.
    entries: SmallVec<[BucketEntry; 1]>,
}

struct BucketEntry {
    rate: CellRate,
    bucket: Arc<Bucket>,
    /// The position of the limit among those of the request.
    position: usize,
}

impl BucketSet {
    /// Bytes of memory that a set of this many buckets takes, the buckets themselves apart.
    pub(in crate::limit) fn size_for(buckets: usize) -> usize {
        let spilled = if buckets > 1 {
            buckets * size_of::<BucketEntry>()
        } else {
            0
        };
        size_of::<Self>() + spilled
    }

    /// The buckets of this limiter for the limits of a charge, in their order.
    pub(super) fn new(limiter: u64, buckets: impl Iterator<Item = (CellRate, Arc<Bucket>)>) -> Self {
        let mut entries: SmallVec<[BucketEntry; 1]> = buckets
            .enumerate()
            .map(|(position, (rate, bucket))| BucketEntry { rate, bucket, position })
            .collect();
        entries.sort_unstable_by_key(|entry| Arc::as_ptr(&entry.bucket).addr());
        Self { limiter, entries }
    }

    /// Whether these are buckets of this limiter. A limiter may hand its charges on to several others.
    pub(super) fn is_of(&self, limiter: u64) -> bool {
        self.limiter == limiter
    }

    /// Takes the request from all buckets, or nothing from any.
    pub(super) fn take(&self, limits: Limits<'_>, now: u64) -> Decision {
        match self.entries.as_slice() {
            [only] => self.take_one(only, limits, now),
            _ => self.take_all(limits, now),
        }
    }

    /// Most keys have one limit: no lock, one exchange.
    fn take_one(&self, entry: &BucketEntry, limits: Limits<'_>, now: u64) -> Decision {
        while let Some(arrival) = entry.bucket.read(entry.rate.window()) {
            let Some(next) = entry.rate.take(arrival, now) else {
                return self.limited(&[arrival], limits, now);
            };
            if entry.bucket.replace(arrival, next, entry.rate.window()) {
                let state = entry.rate.state(next, now);
                return Decision::Allowed([state].into_iter().collect());
            }
        }
        self.take_all(limits, now)
    }

    fn take_all(&self, limits: Limits<'_>, now: u64) -> Decision {
        let mut locks: SmallVec<[Locked<'_>; INLINE]> = SmallVec::new();
        let (mut before, mut after) = (ArrivalTimes::new(), ArrivalTimes::new());
        for entry in &self.entries {
            // Two limits share one bucket when both overflowed into it. Locking it twice would be a deadlock.
            if !locks.last().is_some_and(|last| last.is_of(&entry.bucket)) {
                locks.push(entry.bucket.lock(entry.rate.window(), now));
            }
            let Some(lock) = locks.last_mut() else { continue };
            before.push(lock.pending);
            if let Some(next) = entry.rate.take(lock.pending, now) {
                lock.pending = next;
                after.push(next);
            }
        }
        let fits = after.len() == self.entries.len();
        if fits {
            locks.iter_mut().for_each(Locked::commit);
        }
        drop(locks);
        if fits {
            self.allowed(&after, now)
        } else {
            self.limited(&before, limits, now)
        }
    }

    /// The decision when all limits fit and the entries now have these arrival times.
    fn allowed(&self, after: &[u64], now: u64) -> Decision {
        let mut allowance = Allowance::zeroed(self.entries.len());
        for (entry, arrival) in self.entries.iter().zip(after) {
            allowance.set(entry.position, entry.rate.state(*arrival, now));
        }
        Decision::Allowed(allowance)
    }

    /// The decision when the entries have these arrival times and not all of them fit.
    fn limited(&self, before: &[u64], limits: Limits<'_>, now: u64) -> Decision {
        let mut order: Vec<(&BucketEntry, u64)> = self.entries.iter().zip(before.iter().copied()).collect();
        order.sort_unstable_by_key(|(entry, _)| entry.position);
        let mut limited = Limited {
            limits: Vec::with_capacity(order.len()),
            violated: Vec::new(),
            retry_after: Duration::ZERO,
        };
        for ((entry, arrival), limit) in order.into_iter().zip(limits.into_iter().flatten()) {
            if let Some(wait) = entry.rate.wait(arrival, now) {
                limited.violated.push(limited.limits.len());
                limited.retry_after = limited.retry_after.max(wait);
            }
            limited.limits.push((limit.clone(), entry.rate.state(arrival, now)));
        }
        Decision::Limited(Box::new(limited))
    }
}

/// Up to this many limits are charged without an allocation.
const INLINE: usize = 4;
