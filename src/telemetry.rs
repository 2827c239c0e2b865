//! What operators see of a service: bounded log lines, and metrics.

#[cfg(feature = "metrics")]
use std::future::Future;
#[cfg(feature = "metrics")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(feature = "metrics")]
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

#[cfg(feature = "metrics")]
use crate::clock::Clock;
use crate::clock::Monotonic;

/// Lines of one kind that are written per second; the next one says how many were left out.
const PER_SECOND: u64 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Bounds the log lines of one kind that any client can cause.
#[derive(Default)]
pub(crate) struct Sampler {
    window_began: AtomicU64,
    written: AtomicU64,
    left_out: AtomicU64,
}

impl Sampler {
    /// Whether this line is written, and how many were left out since the last one. Approximate at the edge of a second,
    /// where two threads may both open the window: a sample needs no lock.
    pub(crate) fn may_write(&self, now: Monotonic) -> Option<u64> {
        let began = Monotonic::from_nanos(self.window_began.load(Ordering::Relaxed));
        if now.since(began) >= SECOND {
            self.window_began.store(now.as_nanos(), Ordering::Relaxed);
            self.written.store(0, Ordering::Relaxed);
        }
        if self.written.fetch_add(1, Ordering::Relaxed) < PER_SECOND {
            Some(self.left_out.swap(0, Ordering::Relaxed))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Counters through the `metrics` facade. Labels name outcomes, never keys.
///
/// Handles are registered once, at the first outcome: install the recorder before that.
#[cfg(feature = "metrics")]
#[derive(Default)]
pub(crate) struct Counters {
    admitted: OnceLock<Counter>,
    hits: OnceLock<Counter>,
    misses: OnceLock<Counter>,
    stale: OnceLock<Counter>,
    queued: OnceLock<Gauge>,
    loads: OnceLock<Gauge>,
    verify_seconds: OnceLock<Histogram>,
}

#[cfg(feature = "metrics")]
impl Counters {
    pub(crate) fn admitted(&self) {
        let admitted = || counter!("api_key_checks_total", "outcome" => "admitted");
        self.admitted.get_or_init(admitted).increment(1);
    }

    pub(crate) fn refused(&self, outcome: &'static str) {
        counter!("api_key_checks_total", "outcome" => outcome).increment(1);
    }

    pub(crate) fn hit(&self) {
        let hits = || counter!("api_key_cache_total", "result" => "hit");
        self.hits.get_or_init(hits).increment(1);
    }

    pub(crate) fn miss(&self) {
        let misses = || counter!("api_key_cache_total", "result" => "miss");
        self.misses.get_or_init(misses).increment(1);
    }

    pub(crate) fn stale(&self) {
        let stale = || counter!("api_key_cache_total", "result" => "stale");
        self.stale.get_or_init(stale).increment(1);
    }

    /// Counts a load as in progress until the guard is dropped.
    pub(crate) fn load(&self) -> InProgress<'_> {
        InProgress::begin(self.loads.get_or_init(|| gauge!("api_key_loads_in_flight")))
    }

    /// Waits for a hash: counted meanwhile, and timed unless it is abandoned.
    pub(crate) async fn hash<T>(&self, clock: &Clock, hash: impl Future<Output = T>) -> T {
        let _waiting = InProgress::begin(self.queued.get_or_init(|| gauge!("api_key_verify_queue")));
        let began = clock.now();
        let hashed = hash.await;
        self.verify_seconds
            .get_or_init(|| histogram!("api_key_verify_seconds"))
            .record(clock.now().since(began).as_secs_f64());
        hashed
    }
}

/// By how much the clock of the database differs from this process's.
#[cfg(all(feature = "metrics", feature = "postgres"))]
pub(crate) fn clock_skew(skew: Duration) {
    gauge!("api_key_database_clock_skew_seconds").set(skew.as_secs_f64());
}

/// What a database lacked of what its revocation journal has.
#[cfg(all(feature = "metrics", any(feature = "sqlite", feature = "postgres")))]
pub(crate) fn lost_changes(lost: usize) {
    counter!("api_key_lost_changes_total").increment(u64::try_from(lost).unwrap_or(u64::MAX));
}

/// Usage events since the last time, by what became of them, and how many wait now.
#[cfg(feature = "metrics")]
pub(crate) fn usage_events(accepted: u64, stored: u64, dropped: u64, queued: u64) {
    for (result, events) in [("accepted", accepted), ("stored", stored), ("dropped", dropped)] {
        counter!("api_key_usage_events_total", "result" => result).increment(events);
    }
    gauge!("api_key_usage_queued").set(queued as f64);
}

/// One more until it is dropped, which may be at any await. The gauge is incremented and decremented, never set: of two
/// that set it at once, the one that counted first could set it last, and the wrong value would stay.
#[cfg(feature = "metrics")]
pub(crate) struct InProgress<'a>(&'a Gauge);

#[cfg(feature = "metrics")]
impl<'a> InProgress<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

#[cfg(feature = "metrics")]
impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_is_sampled_and_the_rest_counted() {
        let sampler = Sampler::default();
        let now = Monotonic::from_nanos(5_000_000_000);
        let written = (0..1000).filter(|_| sampler.may_write(now).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(sampler.may_write(now.after(SECOND)), Some(900));
        assert_eq!(sampler.may_write(now.after(SECOND)), Some(0));
    }
}
