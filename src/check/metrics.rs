//! Counters through the `metrics` facade. Labels name outcomes, never keys.

use std::sync::OnceLock;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::rejection::RejectionKind;
use crate::hash::HashPool;

/// Handles that are registered once, at the first outcome: the recorder has to be installed before.
#[derive(Default)]
pub(super) struct Counters {
    admitted: OnceLock<Counter>,
    hits: OnceLock<Counter>,
    misses: OnceLock<Counter>,
    stale: OnceLock<Counter>,
    queued: OnceLock<Gauge>,
    in_flight: OnceLock<Gauge>,
    verify_seconds: OnceLock<Histogram>,
}

impl Counters {
    pub(super) fn admitted(&self) {
        let admitted = || counter!("api_key_checks_total", "outcome" => "admitted");
        self.admitted.get_or_init(admitted).increment(1);
    }

    pub(super) fn refused(&self, kind: RejectionKind) {
        counter!("api_key_checks_total", "outcome" => kind.as_str()).increment(1);
    }

    pub(super) fn hit(&self) {
        self.hits
            .get_or_init(|| counter!("api_key_cache_total", "result" => "hit"))
            .increment(1);
    }

    pub(super) fn miss(&self) {
        self.misses
            .get_or_init(|| counter!("api_key_cache_total", "result" => "miss"))
            .increment(1);
    }

    pub(super) fn stale(&self) {
        self.stale
            .get_or_init(|| counter!("api_key_cache_total", "result" => "stale"))
            .increment(1);
    }

    /// A key was compared with its hash, or could not be.
    pub(super) fn verified(&self, seconds: f64) {
        self.verify_seconds
            .get_or_init(|| histogram!("api_key_verify_seconds"))
            .record(seconds);
    }

    /// Counts a load as under way until the guard is dropped.
    pub(super) fn load(&self) -> InFlight<'_> {
        let loads = self.in_flight.get_or_init(|| gauge!("api_key_loads_in_flight"));
        loads.increment(1);
        InFlight(loads)
    }

    /// Shows how many hashes are waiting, now and when the guard is dropped.
    pub(super) fn queue<'a>(&'a self, pool: &'a HashPool) -> Queue<'a> {
        let gauge = self.queued.get_or_init(|| gauge!("api_key_verify_queue"));
        gauge.set(pool.queued() as f64);
        Queue { gauge, pool }
    }
}

/// See [`Counters::load`]. A guard, because a load may be dropped at any await.
pub(super) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// See [`Counters::queue`].
pub(super) struct Queue<'a> {
    gauge: &'a Gauge,
    pool: &'a HashPool,
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        self.gauge.set(self.pool.queued() as f64);
    }
}
