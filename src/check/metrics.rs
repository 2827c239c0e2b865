//! Counters through the `metrics` facade. Labels name outcomes, never keys.

use std::future::Future;
use std::sync::OnceLock;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::rejection::RejectionKind;
use crate::clock::Clock;

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

    /// Counts a load as under way until the guard is dropped.
    pub(super) fn load(&self) -> UnderWay<'_> {
        UnderWay::begin(self.in_flight.get_or_init(|| gauge!("api_key_loads_in_flight")))
    }

    /// Waits for a hash: counted while it does, and timed if it is not given up.
    pub(super) async fn hash<T>(&self, clock: &Clock, hash: impl Future<Output = T>) -> T {
        let _waiting = UnderWay::begin(self.queued.get_or_init(|| gauge!("api_key_verify_queue")));
        let began = clock.now();
        let hashed = hash.await;
        self.verify_seconds
            .get_or_init(|| histogram!("api_key_verify_seconds"))
            .record(clock.now().since(began).as_secs_f64());
        hashed
    }
}

/// One more, until it is dropped: a load may be given up at any await. Counted up and down, and never set to what somebody
/// has counted: of two who set it at once the later may have counted first, and what it set would stand for good.
pub(super) struct UnderWay<'a>(&'a Gauge);

impl<'a> UnderWay<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
