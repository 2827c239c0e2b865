//! Settings of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::HashPool;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::hash::Argon2Params;

const MOST_WORKERS: usize = 64;
const MOST_PER_WORKER: usize = 1024;
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);
const HIGHEST_NICENESS: u8 = 19;

/// Settings of a [`HashPool`] of one's own.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::hash::{Argon2Params, HashPool};
///
/// let pool = HashPool::builder()
///     .workers(2)?
///     .deadline(Duration::from_secs(1))?
///     .keep_memory_for(Argon2Params::OWASP)
///     .build();
/// assert_eq!(pool.capacity(), 32);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[must_use]
#[derive(Debug)]
pub struct HashPoolBuilder(Settings);

pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) per_worker: usize,
    pub(super) deadline: Duration,
    pub(super) niceness: u8,
    /// None: as much as the policies in use need.
    pub(super) kept_kib: Option<u32>,
    pub(super) clock: Clock,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

impl HashPoolBuilder {
    pub(super) fn new() -> Self {
        Self(Settings {
            workers: 1,
            per_worker: 16,
            deadline: Duration::from_secs(2),
            niceness: 10,
            kept_kib: None,
            clock: Clock::system(),
            hook: None,
        })
    }

    /// How many hashes run at once: 1 (the default) to 64. Each worker keeps the memory of one hash.
    ///
    /// # Errors
    /// When it is none, or more than 64.
    pub fn workers(mut self, workers: usize) -> Result<Self, ConfigError> {
        if !(1..=MOST_WORKERS).contains(&workers) {
            return Err(ConfigError::new(
                "hash workers",
                format!("{workers} is not 1 to {MOST_WORKERS}"),
            ));
        }
        self.0.workers = workers;
        Ok(self)
    }

    /// How many jobs may wait, for each worker: 1 to 1,024, by default 16. More than can be done by the
    /// [`deadline`](Self::deadline) is waste.
    ///
    /// # Errors
    /// When it is none, or more than 1,024.
    pub fn queue_per_worker(mut self, jobs: usize) -> Result<Self, ConfigError> {
        if !(1..=MOST_PER_WORKER).contains(&jobs) {
            return Err(ConfigError::new(
                "hash queue",
                format!("{jobs} is not 1 to {MOST_PER_WORKER}"),
            ));
        }
        self.0.per_worker = jobs;
        Ok(self)
    }

    /// How long a caller waits for its hash, the queue included: up to 60 s, by default 2 s.
    ///
    /// # Errors
    /// When it is zero, or more than 60 s.
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, ConfigError> {
        if deadline.is_zero() || deadline > LONGEST_DEADLINE {
            return Err(ConfigError::new(
                "hash deadline",
                format!("{deadline:?} is not up to 60 s"),
            ));
        }
        self.0.deadline = deadline;
        Ok(self)
    }

    /// The nice value of the workers on Linux: 0 (as the process) to 19, by default 10. Elsewhere it has no effect.
    ///
    /// Under a full load of requests a hash takes longer the nicer it is; at 19 it may take seconds.
    ///
    /// # Errors
    /// When it is more than 19.
    pub fn niceness(mut self, niceness: u8) -> Result<Self, ConfigError> {
        if niceness > HIGHEST_NICENESS {
            return Err(ConfigError::new(
                "hash niceness",
                format!("{niceness} is not 0 to {HIGHEST_NICENESS}"),
            ));
        }
        self.0.niceness = niceness;
        Ok(self)
    }

    /// Each worker keeps as much memory between hashes as these parameters need, and no more. It is allocated by the first
    /// hash that needs it; a bigger record's memory is released after its hash. A hash of 64 MiB is about twice as fast in
    /// memory that is kept.
    ///
    /// By default it is as much as the dearest of [`Argon2Params::DEFAULT`] and the policies of the issuers and
    /// authenticators that use the pool.
    pub fn keep_memory_for(mut self, params: Argon2Params) -> Self {
        self.0.kept_kib = Some(params.memory_kib());
        self
    }

    /// Where deadlines and measured times come from.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// Runs on the worker's thread before each slow hash, which counts as running by then. For tests that have to stop
    /// a worker at a known point, or to make a job panic.
    #[cfg(any(test, feature = "testing"))]
    pub fn before_each_hash(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.0.hook = Some(Arc::new(hook));
        self
    }

    /// The pool. Its threads are started by the first slow hash.
    pub fn build(self) -> HashPool {
        HashPool::with(self.0)
    }
}

impl Settings {
    pub(super) fn capacity(&self) -> usize {
        self.workers * self.per_worker
    }

    pub(super) fn before_each_hash(&self) {
        if let Some(hook) = &self.hook {
            hook();
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("workers", &self.workers)
            .field("per_worker", &self.per_worker)
            .field("deadline", &self.deadline)
            .field("niceness", &self.niceness)
            .field("kept_kib", &self.kept_kib)
            .finish_non_exhaustive()
    }
}
