//! Settings of a pool.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::ConfigError;
use crate::hash::params::Argon2Params;

const MOST_WORKERS: usize = 64;
const MOST_PER_WORKER: usize = 1024;
/// A worker that is not running at this moment needs more time than that to begin.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);
const HIGHEST_NICENESS: u8 = 19;
/// Hashes of new keys may wait this long, if the deadline is not longer: an operator's act has no one to retry it.
const ISSUING_DEADLINE: Duration = Duration::from_secs(30);

/// Settings of a [`HashPool`](super::HashPool).
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::hash::{Argon2Params, HashPool};
///
/// let pool = HashPool::builder()
///     .workers(2)?
///     .deadline(Duration::from_secs(1))?
///     .keep_memory_for(Argon2Params::OWASP)
///     .queue_per_worker(16)?
///     .build();
/// assert_eq!(pool.capacity(), 32);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[must_use]
#[derive(Debug)]
pub struct HashPoolBuilder(pub(super) PoolSettings);

pub(super) struct PoolSettings {
    pub(super) workers: usize,
    /// None for as many as can be hashed within the deadline.
    pub(super) per_worker: Option<usize>,
    pub(super) deadline: Duration,
    pub(super) niceness: u8,
    /// None to keep what the policies in use need.
    pub(super) kept_kib: Option<u32>,
    pub(super) clock: Clock,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

impl HashPoolBuilder {
    pub(super) fn new() -> Self {
        Self(PoolSettings {
            workers: 1,
            per_worker: None,
            deadline: Duration::from_secs(8),
            niceness: 10,
            kept_kib: None,
            clock: Clock::system(),
            hook: None,
        })
    }

    /// How many hashes run at once: 1 (the default) to 64. Each worker keeps the memory of one hash.
    ///
    /// # Errors
    /// When it is 0, or more than 64.
    pub fn workers(mut self, workers: usize) -> Result<Self, ConfigError> {
        self.0.workers = within("hash workers", 1..=MOST_WORKERS, workers)?;
        Ok(self)
    }

    /// How many jobs may wait, for each worker: 1 to 1,024.
    ///
    /// By default it is as many as can be hashed before their [`deadline`](Self::deadline), by the measured time of a hash,
    /// and 16 to 4,096 for all workers together. Jobs beyond that would only use memory.
    ///
    /// # Errors
    /// When it is 0, or more than 1,024.
    pub fn queue_per_worker(mut self, jobs: usize) -> Result<Self, ConfigError> {
        self.0.per_worker = Some(within("hash queue per worker", 1..=MOST_PER_WORKER, jobs)?);
        Ok(self)
    }

    /// How long a request waits for its hash, the queue included: 10 ms to 60 s, by default 8 s. Hashes of new keys may take
    /// 30 s, or this time if it is longer.
    ///
    /// # Errors
    /// When it is below 10 ms, or more than 60 s.
    pub fn deadline(mut self, deadline: Duration) -> Result<Self, ConfigError> {
        self.0.deadline = within("hash deadline", SHORTEST_DEADLINE..=LONGEST_DEADLINE, deadline)?;
        Ok(self)
    }

    /// The nice value of the workers on Linux: 0 (that of the process) to 19, by default 10. Elsewhere it has no effect. The
    /// hash of a key that is issued or rotated runs at the priority of the process.
    ///
    /// Under a full load of requests, a higher value makes hashes slower. At 19 one may take seconds.
    ///
    /// # Errors
    /// When it is more than 19.
    pub fn niceness(mut self, niceness: u8) -> Result<Self, ConfigError> {
        self.0.niceness = within("hash niceness", 0..=HIGHEST_NICENESS, niceness)?;
        Ok(self)
    }

    /// Each worker keeps as much memory between hashes as these parameters need. The first hash that needs it allocates
    /// it. A record that needs more gets memory of its own, which is released after its hash. A hash of 64 MiB is about
    /// twice as fast in kept memory.
    ///
    /// The default is the largest of [`Argon2Params::DEFAULT`] and the policies of the issuers and authenticators that
    /// use the pool.
    pub fn keep_memory_for(mut self, params: Argon2Params) -> Self {
        self.0.kept_kib = Some(params.memory_kib());
        self
    }

    /// The clock for deadlines and measured times.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// Calls this on the worker's thread before each slow hash, which counts as running by then. For tests that stop a
    /// worker at a known point, or make a job panic.
    #[cfg(any(test, feature = "testing"))]
    pub fn before_each_hash(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.0.hook = Some(Arc::new(hook));
        self
    }
}

fn within<T: PartialOrd + fmt::Debug>(
    setting: &'static str,
    bounds: RangeInclusive<T>,
    value: T,
) -> Result<T, ConfigError> {
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError::out_of_range(setting, bounds, value))
    }
}

impl PoolSettings {
    pub(super) fn issuing_deadline(&self) -> Duration {
        self.deadline.max(ISSUING_DEADLINE)
    }

    pub(super) fn before_each_hash(&self) {
        if let Some(hook) = &self.hook {
            hook();
        }
    }
}

impl fmt::Debug for PoolSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolSettings")
            .field("workers", &self.workers)
            .field("per_worker", &self.per_worker)
            .field("deadline", &self.deadline)
            .field("niceness", &self.niceness)
            .field("kept_kib", &self.kept_kib)
            .finish_non_exhaustive()
    }
}
