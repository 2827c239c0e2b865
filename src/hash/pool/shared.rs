//! What the pool's handles and its threads share.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::builder::Settings;
use super::queue::{FairQueue, Push};
use super::restraint::{Reading, Restraint};
use super::{PoolError, processor_time, retry, worker};
use crate::client::ClientGroup;
use crate::clock::Monotonic;
use crate::hash::Argon2Params;
use crate::hash::digest::SlowDigest;
use crate::hash::policy::HashPolicy;
use crate::hash::recipe::Recipe;
use crate::key::OwnedKey;
use crate::sync::unpoisoned;

/// A hash to be computed. It owns all it needs: once begun it ends, whether or not anyone still waits, and it is never
/// begun twice.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) recipe: Recipe,
    pub(super) key: OwnedKey,
    pub(super) purpose: Purpose,
    pub(super) deadline: Monotonic,
    pub(super) reply: oneshot::Sender<Result<SlowDigest, PoolError>>,
}

/// Called once with whether the key was right.
pub(crate) type OnVerdict = Box<dyn FnOnce(bool) + Send>;

/// What a hash is for.
pub(super) enum Purpose {
    /// To be stored.
    New,
    /// To be compared with this one.
    Verify(SlowDigest, OnVerdict),
    /// To take as long as another.
    Dummy(OnVerdict),
}

impl Purpose {
    /// Whether the right key was presented, if the hash tells; told to whom it concerns.
    pub(super) fn settle(self, computed: &SlowDigest) -> Option<bool> {
        let (was_right, on_verdict) = match self {
            Self::New => return None,
            Self::Verify(stored, on_verdict) => (stored.matches(computed), on_verdict),
            Self::Dummy(on_verdict) => (false, on_verdict),
        };
        on_verdict(was_right);
        Some(was_right)
    }
}

/// What the pool's handles and its threads share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    wake: Condvar,
    /// Told when the threads are to end; workers that rest listen to nothing else.
    end: Condvar,
    /// The length of the queue, to be read without the lock.
    queued: AtomicUsize,
    /// Memory that each worker keeps between hashes.
    kept_kib: AtomicU32,
    running: AtomicUsize,
    hashes_run: AtomicU64,
}

struct State {
    queue: FairQueue<Job>,
    next_id: u64,
    threads: usize,
    stopped: bool,
    /// How long a worker was at a hash lately, its rest included.
    mean: Option<Duration>,
    restraint: Restraint,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State {
                queue: FairQueue::new(settings.capacity()),
                next_id: 0,
                threads: 0,
                stopped: false,
                mean: None,
                restraint: Restraint::new(),
            }),
            kept_kib: AtomicU32::new(settings.kept_kib.unwrap_or(Argon2Params::DEFAULT.memory_kib())),
            settings,
            wake: Condvar::new(),
            end: Condvar::new(),
            queued: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            hashes_run: AtomicU64::new(0),
        }
    }

    /// Queues a job. The ticket withdraws it when dropped, as long as it has not begun.
    pub(super) fn submit(
        self: &Arc<Self>,
        recipe: Recipe,
        key: OwnedKey,
        purpose: Purpose,
        client: ClientGroup,
        reply: oneshot::Sender<Result<SlowDigest, PoolError>>,
    ) -> Result<Ticket<'_>, PoolError> {
        let now = self.settings.clock.now();
        let mut state = self.lock();
        if state.stopped {
            return Err(PoolError::stopped());
        }
        self.start_threads(&mut state)?;
        let id = state.next_id;
        state.next_id += 1;
        let late = if state.queue.is_full() {
            state.queue.take_if(|job| job.reply.is_closed() || now >= job.deadline)
        } else {
            Vec::new()
        };
        let job = Job {
            id,
            recipe,
            key,
            purpose,
            deadline: now.after(self.settings.deadline),
            reply,
        };
        let pushed = state.queue.push(client, job);
        let retry_after = self.retry_after(&state);
        self.unlock(state);
        for job in late {
            let _ = job.reply.send(Err(PoolError::timed_out(retry_after)));
        }
        match pushed {
            Push::Queued => {}
            Push::Displaced(job) => {
                let _ = job.reply.send(Err(PoolError::busy(retry_after)));
            }
            Push::Refused(_) => return Err(PoolError::busy(retry_after)),
        }
        self.wake.notify_one();
        Ok(Ticket { shared: self, id })
    }

    /// The next job that somebody still waits for, and for whom it is; none when the thread is to end.
    pub(super) fn next_job(&self) -> Option<(ClientGroup, Job)> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let Some((client, job)) = state.queue.pop() else {
                state = unpoisoned(self.wake.wait(state));
                continue;
            };
            self.queued.store(state.queue.len(), Ordering::Relaxed);
            if job.reply.is_closed() {
                continue;
            }
            if self.settings.clock.now() >= job.deadline {
                let retry_after = self.retry_after(&state);
                // Whoever is woken may come back here at once.
                drop(state);
                let _ = job.reply.send(Err(PoolError::timed_out(retry_after)));
                state = self.lock();
                continue;
            }
            return Some((client, job));
        }
    }

    /// Counts a hash as running until [`Run::end`].
    pub(super) fn begin_run(&self) -> Run<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.hashes_run.fetch_add(1, Ordering::Relaxed);
        Run {
            shared: self,
            began: self.settings.clock.now(),
            used: processor_time::of_this_thread(),
        }
    }

    /// Lets a worker do nothing for so long, or until the pool is shut down.
    pub(super) fn rest(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let state = self.lock();
        drop(self.end.wait_timeout_while(state, time, |state| !state.stopped));
    }

    /// Ends the threads after what they are at, and refuses what is waiting.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let waiting = state.queue.take_if(|_| true);
        self.unlock(state);
        self.wake.notify_all();
        self.end.notify_all();
        for job in waiting {
            let _ = job.reply.send(Err(PoolError::stopped()));
        }
    }

    /// From now on workers keep as much memory as a hash of this policy needs, unless they were told what to keep.
    pub(super) fn keep_memory_for(&self, policy: &HashPolicy) {
        if self.settings.kept_kib.is_none() {
            self.kept_kib.fetch_max(policy.memory_kib(), Ordering::Relaxed);
        }
    }

    pub(super) fn kept_kib(&self) -> u32 {
        self.kept_kib.load(Ordering::Relaxed)
    }

    pub(super) fn timed_out(&self) -> PoolError {
        PoolError::timed_out(self.retry_after(&self.lock()))
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn hashes_run(&self) -> u64 {
        self.hashes_run.load(Ordering::Relaxed)
    }

    /// Threads are started by the first job: a service whose keys all have fast hashes never has any.
    fn start_threads(self: &Arc<Self>, state: &mut State) -> Result<(), PoolError> {
        while state.threads < self.settings.workers {
            match worker::spawn(self.clone()) {
                Ok(()) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(PoolError::failed(error)),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn retry_after(&self, state: &State) -> Duration {
        retry::after(state.queue.len(), state.mean, self.settings.workers)
    }

    fn withdraw(&self, id: u64) {
        let mut state = self.lock();
        let withdrawn = state.queue.take_if(|job| job.id == id);
        self.unlock(state);
        // The key is wiped here, outside the lock.
        drop(withdrawn);
    }

    /// Nothing can panic while the lock is held, but if it did, the queue would still be in order.
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn unlock(&self, state: MutexGuard<'_, State>) {
        self.queued.store(state.queue.len(), Ordering::Relaxed);
        drop(state);
    }
}

/// A place in the queue, given up when dropped: a caller that goes away makes room at once.
#[must_use]
pub(super) struct Ticket<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.shared.withdraw(self.id);
    }
}

/// See [`Shared::begin_run`].
#[must_use]
pub(super) struct Run<'a> {
    shared: &'a Shared,
    began: Monotonic,
    used: Duration,
}

impl Run<'_> {
    /// The hash is computed, and whether this client's key was right is known; gives how long its worker has to rest now.
    pub(super) fn end(self, client: ClientGroup, was_right: Option<bool>) -> Duration {
        self.shared.running.fetch_sub(1, Ordering::Relaxed);
        let now = self.shared.settings.clock.now();
        let hash = processor_time::of_this_thread().saturating_sub(self.used);
        let process = processor_time::of_this_process();
        let mut state = self.shared.lock();
        if let Some(was_right) = was_right {
            state.queue.settle(client, was_right);
        }
        let was_wrong = was_right == Some(false);
        let rest = state
            .restraint
            .rest_after(hash, was_wrong, Reading { at: now, process });
        let took = now.since(self.began) + rest;
        state.mean = Some(state.mean.map_or(took, |mean| (mean * 7 + took) / 8));
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashPool;

    #[test]
    fn the_end_does_not_wait_for_a_worker_that_rests() {
        // Whether it rests already cannot be seen from outside; of so many, some do.
        for _ in 0..100 {
            let pool = HashPool::builder().build();
            let shared = pool.shared().clone();
            let worker = std::thread::spawn(move || shared.rest(Duration::from_secs(3600)));
            for _ in 0..100 {
                std::thread::yield_now();
            }
            drop(pool);
            worker.join().unwrap();
        }
    }
}
