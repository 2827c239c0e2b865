//! Collects the events of this thread.

use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

#[derive(Clone, Default)]
pub(crate) struct Audit(Arc<Mutex<Vec<Recorded>>>);

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) level: Level,
    pub(crate) target: String,
    /// `name=value` each, in order.
    pub(crate) fields: String,
}

impl Audit {
    /// Records the events of this thread until the guard is dropped. On a runtime with one thread those are all events.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let audit = Self::default();
        hear_every_callsite();
        let subscriber = tracing_subscriber::registry().with(audit.clone());
        let guard = tracing::subscriber::set_default(subscriber);
        // Other threads may have cached that their subscribers do not want these callsites.
        tracing::callsite::rebuild_interest_cache();
        (audit, guard)
    }

    /// Records the events of all threads, in a process with no other test.
    #[cfg(all(feature = "testing", target_os = "linux", debug_assertions))]
    pub(crate) fn for_all_threads() -> Self {
        let audit = Self::default();
        let subscriber = tracing_subscriber::registry().with(audit.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        audit
    }

    /// All events of this crate with this level, not only those about checks.
    pub(crate) fn all_of_level(&self, level: Level) -> Vec<Recorded> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|event| event.level == level && event.target.starts_with("tower_api_key"))
            .cloned()
            .collect()
    }

    pub(crate) fn of_level(&self, level: Level) -> Vec<Recorded> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|event| event.level == level && event.target == "tower_api_key::audit")
            .cloned()
            .collect()
    }
}

/// With only one subscriber, `tracing` caches the interest in a callsite when a thread first reaches it. The thread of another
/// test, without a subscriber, would disable it for all threads. A second subscriber that wants everything and lives as long as
/// the process prevents that.
fn hear_every_callsite() {
    static EVERYTHING: OnceLock<Dispatch> = OnceLock::new();
    EVERYTHING.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
}

impl<S: Subscriber> Layer<S> for Audit {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(Recorded {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields: fields.0,
        });
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
