//! Shared buckets for limits that found no room for one of their own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::bucket::Bucket;
use super::cell_rate::CellRate;
use crate::sync::unpoisoned;

/// One bucket per rate, shared by all limits of that rate that found no room: together they get what one of them would.
#[derive(Default)]
pub(super) struct Overflow {
    buckets: Mutex<HashMap<(u64, u64), Arc<Bucket>>>,
    next_warning: AtomicU64,
}

impl Overflow {
    /// The shared bucket of this rate. `None` when there are too many rates: the request has to be refused.
    pub(super) fn bucket(&self, rate: &CellRate, now: u64) -> Option<Arc<Bucket>> {
        self.report(now);
        let mut buckets = unpoisoned(self.buckets.lock());
        if buckets.len() >= RATES {
            // A bucket that is full and unused is as good as a new one. Rates come and go while a process runs, and
            // without this only the first ones would ever get a bucket.
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
        }
        let room = buckets.len() < RATES;
        match buckets.entry(rate.parameters()) {
            Entry::Occupied(bucket) => Some(bucket.get().clone()),
            Entry::Vacant(place) if room => Some(place.insert(Arc::new(Bucket::new(rate.window()))).clone()),
            Entry::Vacant(_) => None,
        }
    }

    fn report(&self, now: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!("api_key_limit_overflow_total").increment(1);
        let next = self.next_warning.load(Ordering::Relaxed);
        let due = next <= now
            && self
                .next_warning
                .compare_exchange(next, now + BETWEEN_WARNINGS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due {
            tracing::warn!(
                target: "tower_api_key::limit",
                "rate limiter full: new keys with equal limits share one bucket; \
                 raise the capacity with LocalLimiter::with_capacity"
            );
        }
    }
}

/// The most rates that have a bucket.
const RATES: usize = 1024;

/// The time between two warnings, in nanoseconds.
const BETWEEN_WARNINGS: u64 = 60_000_000_000;
