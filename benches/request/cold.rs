//! Keys that have to be read from the store: cached keys that may have changed (stale), and new ones.
//!
//! A read alone and a check with a read take turns, with the same calls from the same runtime. SQLite reads on other threads,
//! and waking them is most of the time of a read. A read over a socket takes the least time that a database server can take.
//! A read in memory is a look into a map, so its figures show the rest of a check.
//!
//! Both sides pause before each call, like a service that reads rarely. Back to back, a thread that slept for a shorter time
//! wakes up sooner: on a virtual machine, three microseconds of work in between delay its answer by fifteen. Any work would
//! cause that delay, not only a check, so figures without a pause are printed without a bound.

use std::future::Future;
use std::hint::{black_box, spin_loop};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tower_api_key::key::Lookup;
use tower_api_key::store::{KeyStore, ManagedStore, MemoryStore};
use tower_api_key::{Authenticator, PresentedKey};

use super::remote::Remote;
use crate::support::{Bounds, keys, median, median_ratio, rounds};

const ROUNDS: usize = 61;
const KEYS: usize = 256;
/// The pause before a call.
const PAUSE: Duration = Duration::from_micros(20);

pub fn measure(bounds: &mut Bounds) {
    println!("keys that have to be read, hashed with SHA-256:");
    let one = Builder::new_current_thread().enable_time().build().expect("a runtime");
    one.block_on(Cold::new(MemoryStore::new()))
        .report("in memory", &one, Duration::ZERO);
    over_a_socket(bounds);
    in_sqlite(&one, bounds);
}

fn over_a_socket(bounds: &mut Bounds) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cold = runtime.block_on(async {
        let memory = MemoryStore::new();
        let texts = keys::issue_into(&memory, KEYS, &[]).await;
        Cold::of(Remote::new(memory).await, texts).await
    });
    cold.report("over a socket, back to back", &runtime, Duration::ZERO);
    let ratio = cold.report("over a socket", &runtime, PAUSE);
    bounds.check("stale key / read over a socket", ratio, ..=1.3);
}

#[cfg(feature = "sqlite")]
fn in_sqlite(one: &Runtime, bounds: &mut Bounds) {
    let two = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.sqlite"));
    let cold = one.block_on(async { Cold::new(store.await.expect("a store")).await });
    for (name, runtime) in [("one thread", one), ("two threads", &two)] {
        cold.report(
            &format!("in SQLite, asked by {name}, back to back"),
            runtime,
            Duration::ZERO,
        );
        let ratio = cold.report(&format!("in SQLite, asked by {name}"), runtime, PAUSE);
        bounds.check(&format!("stale key / read from SQLite, {name}"), ratio, ..=1.3);
    }
}

#[cfg(not(feature = "sqlite"))]
fn in_sqlite(_: &Runtime, _: &mut Bounds) {
    println!("  in SQLite: with `--features sqlite`");
}

/// Keys that were all checked once, and their store.
struct Cold<S> {
    store: S,
    texts: Vec<String>,
    lookups: Vec<Lookup>,
    authenticator: Authenticator<S>,
}

type Work = Pin<Box<dyn Future<Output = Duration> + Send>>;

impl<S: ManagedStore + Clone> Cold<S> {
    async fn new(store: S) -> Arc<Self> {
        let texts = keys::issue_into(&store, KEYS, &[]).await;
        Self::of(store, texts).await
    }
}

impl<S: KeyStore + Clone> Cold<S> {
    /// For keys that the store has.
    async fn of(store: S, texts: Vec<String>) -> Arc<Self> {
        let authenticator = Authenticator::new(store.clone());
        let mut lookups = Vec::with_capacity(KEYS);
        for text in &texts {
            let presented = PresentedKey::new(text.as_bytes());
            let context = authenticator.check(presented).await.expect("a good key");
            lookups.push(context.lookup().clone());
        }
        Arc::new(Self {
            store,
            texts,
            lookups,
            authenticator,
        })
    }

    /// Prints the figures, and returns the ratio of the check of a stale key to a read.
    fn report(self: &Arc<Self>, title: &str, runtime: &Runtime, pause: Duration) -> f64 {
        let run = |work: Work| runtime.block_on(runtime.spawn(work)).expect("a task");
        let times = rounds(
            ROUNDS,
            &mut [
                &mut || run(Box::pin(self.clone().read(pause))),
                &mut || run(Box::pin(self.clone().revalidate(pause))),
                &mut || run(Box::pin(self.clone().miss(pause))),
            ],
        );
        let [read, stale, miss] = times.as_slice() else {
            return f64::NAN;
        };
        let each = |side: &[f64]| median(side.to_vec()) / KEYS as f64;
        let (stale_ratio, miss_ratio) = (median_ratio(stale, read), median_ratio(miss, read));
        println!(
            "  {title}: read {:.0} ns, stale {:.0} ns ({stale_ratio:.3} reads), new {:.0} ns ({miss_ratio:.3} reads)",
            each(read),
            each(stale),
            each(miss),
        );
        stale_ratio
    }

    /// The time of one read of each key.
    async fn read(self: Arc<Self>, pause: Duration) -> Duration {
        let mut time = Duration::ZERO;
        for lookup in &self.lookups {
            let began = after(pause);
            let found = self.store.find(lookup).await;
            assert!(black_box(found).is_ok_and(|found| found.is_some()));
            time += began.elapsed();
        }
        time
    }

    /// The time of one check of each key when all cached keys are stale.
    async fn revalidate(self: Arc<Self>, pause: Duration) -> Duration {
        self.store.fence().expect("a fence").everything_changed();
        self.check(&self.authenticator, pause).await
    }

    /// The time of the first check of each key.
    async fn miss(self: Arc<Self>, pause: Duration) -> Duration {
        let authenticator = Authenticator::new(self.store.clone());
        self.check(&authenticator, pause).await
    }

    async fn check(&self, authenticator: &Authenticator<S>, pause: Duration) -> Duration {
        let mut time = Duration::ZERO;
        for text in &self.texts {
            let began = after(pause);
            let presented = PresentedKey::new(text.as_bytes());
            assert!(authenticator.try_check(presented).is_none(), "nothing had to be read");
            let context = authenticator.check(presented).await;
            assert!(black_box(context).is_ok());
            time += began.elapsed();
        }
        time
    }
}

/// Waits without sleeping, and returns the time after that.
fn after(pause: Duration) -> Instant {
    let began = Instant::now();
    while began.elapsed() < pause {
        spin_loop();
    }
    Instant::now()
}
