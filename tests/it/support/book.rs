//! What a service's metrics say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// A recorder that keeps values by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<BTreeMap<String, Arc<Line>>>>);

#[derive(Default)]
struct Line {
    count: AtomicU64,
    /// The last value of a gauge, or the sum of a histogram.
    value: Mutex<f64>,
}

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name).or_default().clone()
    }

    /// With labels.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// How often a counter was raised.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0
            .lock()
            .unwrap()
            .get(name)
            .map_or(0, |line| line.count.load(Ordering::SeqCst))
    }

    /// The last value of a gauge, or the sum of a histogram.
    pub(crate) fn value(&self, name: &str) -> f64 {
        *self.0.lock().unwrap()[name].value.lock().unwrap()
    }

    /// Asserts that the counters of checks, cache and hashes are these, and all others zero.
    #[track_caller]
    pub(crate) fn reads(&self, expected: &[(&str, u64)]) {
        let lines = self.0.lock().unwrap();
        let counted: Vec<_> = lines
            .iter()
            .filter(|(name, _)| name.contains("_total"))
            .map(|(name, line)| (name.as_str(), line.count.load(Ordering::SeqCst)))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, expected);
    }
}

impl CounterFn for Line {
    fn increment(&self, value: u64) {
        self.count.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, value: u64) {
        self.count.store(value, Ordering::SeqCst);
    }
}

impl GaugeFn for Line {
    fn increment(&self, value: f64) {
        *self.value.lock().unwrap() += value;
    }

    fn decrement(&self, value: f64) {
        *self.value.lock().unwrap() -= value;
    }

    fn set(&self, value: f64) {
        *self.value.lock().unwrap() = value;
    }
}

impl HistogramFn for Line {
    fn record(&self, value: f64) {
        self.count.fetch_add(1, Ordering::SeqCst);
        *self.value.lock().unwrap() += value;
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}
