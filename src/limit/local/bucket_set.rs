//! The buckets of one request, and the decision over them.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::bucket::{Bucket, Locked};
use super::cell_rate::{CellRate, Verdict};
use crate::key::{KeyId, OrganizationId, RateLimit};
use crate::limit::{Allowance, Charge, Decision, LimitState, Limited};

/// The buckets that a request is charged to, together with what they were looked up for.
pub(in crate::limit) struct BucketSet {
    limiter: u64,
    key: KeyId,
    organization: OrganizationId,
    key_limits: usize,
    /// Ordered by the address of the bucket, which is the order of locking.
    entries: SmallVec<[Entry; 1]>,
}

struct Entry {
    limit: RateLimit,
    rate: CellRate,
    bucket: Arc<Bucket>,
    /// The place of the limit among those of the request.
    position: usize,
}

/// What one limit of a request said, and over which arrival time.
#[derive(Clone, Copy)]
struct Outcome {
    arrival: u64,
    verdict: Verdict,
}

impl BucketSet {
    /// A set for this charge; `buckets` are in the order of its limits.
    pub(super) fn new(
        limiter: u64,
        charge: &Charge<'_>,
        buckets: impl Iterator<Item = (CellRate, Arc<Bucket>)>,
    ) -> Self {
        let mut entries: SmallVec<[Entry; 1]> = charge
            .limits()
            .zip(buckets)
            .enumerate()
            .map(|(position, (limit, (rate, bucket)))| Entry {
                limit: limit.clone(),
                rate,
                bucket,
                position,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| Arc::as_ptr(&entry.bucket).addr());
        Self {
            limiter,
            key: charge.key,
            organization: charge.organization,
            key_limits: charge.key_limits.len(),
            entries,
        }
    }

    /// Whether a look-up for this charge would find these buckets.
    pub(super) fn is_for(&self, limiter: u64, charge: &Charge<'_>) -> bool {
        self.limiter == limiter
            && self.key == charge.key
            && self.organization == charge.organization
            && self.key_limits == charge.key_limits.len()
            && self.entries.len() == charge.len()
            && self
                .entries
                .iter()
                .all(|entry| charge.limit(entry.position) == Some(&entry.limit))
    }

    /// Takes one request from all buckets, or nothing from any.
    pub(super) fn take(&self, now: u64) -> Decision {
        match self.entries.as_slice() {
            [only] => self.take_one(only, now),
            _ => self.take_all(now),
        }
    }

    /// The way of most keys: no lock, one exchange.
    fn take_one(&self, entry: &Entry, now: u64) -> Decision {
        while let Some(arrival) = entry.bucket.read(entry.rate.window()) {
            match entry.rate.decide(arrival, now) {
                Verdict::Fits(next) => {
                    if entry.bucket.replace(arrival, next, entry.rate.window()) {
                        let mut allowance = Allowance::zeroed(1);
                        allowance.set(0, entry.rate.state(next, now));
                        return Decision::Allowed(allowance);
                    }
                }
                verdict @ Verdict::Exhausted(_) => return self.refuse(&[Outcome { arrival, verdict }], now),
            }
        }
        self.take_all(now)
    }

    fn take_all(&self, now: u64) -> Decision {
        let mut outcomes: SmallVec<[Outcome; 4]> = SmallVec::with_capacity(self.entries.len());
        let mut locks: SmallVec<[Locked<'_>; 4]> = SmallVec::with_capacity(self.entries.len());
        let mut fits = true;
        for entry in &self.entries {
            // Two limits have one bucket when both overflowed into it; locking it twice would wait for ever.
            if !locks.last().is_some_and(|last| last.is_of(&entry.bucket)) {
                locks.push(entry.bucket.lock(entry.rate.window(), now));
            }
            let Some(lock) = locks.last_mut() else { continue };
            let verdict = entry.rate.decide(lock.pending, now);
            match verdict {
                Verdict::Fits(next) => lock.pending = next,
                Verdict::Exhausted(_) => fits = false,
            }
            outcomes.push(Outcome {
                arrival: lock.arrival(),
                verdict,
            });
        }
        if fits {
            locks.iter_mut().for_each(Locked::commit);
        }
        drop(locks);
        if fits {
            self.admit(&outcomes, now)
        } else {
            self.refuse(&outcomes, now)
        }
    }

    fn admit(&self, outcomes: &[Outcome], now: u64) -> Decision {
        let mut allowance = Allowance::zeroed(self.entries.len());
        for (entry, outcome) in self.entries.iter().zip(outcomes) {
            if let Verdict::Fits(next) = outcome.verdict {
                allowance.set(entry.position, entry.rate.state(next, now));
            }
        }
        Decision::Allowed(allowance)
    }

    #[cold]
    fn refuse(&self, outcomes: &[Outcome], now: u64) -> Decision {
        let mut order: Vec<(&Entry, &Outcome)> = self.entries.iter().zip(outcomes).collect();
        order.sort_unstable_by_key(|(entry, _)| entry.position);
        let mut limited = Limited {
            limits: Vec::with_capacity(order.len()),
            violated: Vec::new(),
            retry_after: Duration::ZERO,
        };
        for (entry, outcome) in order {
            let state: LimitState = entry.rate.state(outcome.arrival, now);
            if let Verdict::Exhausted(wait) = outcome.verdict {
                limited.violated.push(limited.limits.len());
                limited.retry_after = limited.retry_after.max(wait);
            }
            limited.limits.push((entry.limit.clone(), state));
        }
        Decision::Limited(Box::new(limited))
    }
}
