//! Holds the worker of a hash pool at a known point.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::house::until;
use tower_api_key::hash::{HashPool, HashPoolBuilder};

/// Stops the worker before each hash while it is closed.
#[derive(Clone)]
pub(crate) struct Brake(Arc<State>);

struct State {
    is_closed: Mutex<bool>,
    changed: Condvar,
    reached: AtomicUsize,
}

impl Brake {
    /// A pool of one worker with a closed brake.
    pub(crate) fn pool() -> (Self, HashPool) {
        // A slow test on a busy machine must not reach the deadline, and tests fill the queue.
        let pool = HashPool::builder().deadline(Duration::from_secs(60)).unwrap();
        Self::of(pool.queue_per_worker(16).unwrap())
    }

    /// A pool with these settings and a closed brake.
    pub(crate) fn of(pool: HashPoolBuilder) -> (Self, HashPool) {
        let brake = Self(Arc::new(State {
            is_closed: Mutex::new(true),
            changed: Condvar::new(),
            reached: AtomicUsize::new(0),
        }));
        let state = brake.0.clone();
        let hold = move || {
            state.reached.fetch_add(1, Ordering::SeqCst);
            let is_closed = state.is_closed.lock().unwrap();
            drop(state.changed.wait_while(is_closed, |is_closed| *is_closed).unwrap());
        };
        (brake, pool.before_each_hash(hold).build())
    }

    pub(crate) fn close(&self) {
        *self.0.is_closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.0.is_closed.lock().unwrap() = false;
        self.0.changed.notify_all();
    }

    /// Waits until this many hashes have begun since the start.
    pub(crate) async fn reached(&self, hashes: usize) {
        until(|| self.0.reached.load(Ordering::SeqCst) >= hashes).await;
    }
}
