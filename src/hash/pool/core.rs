//! What the handles of a pool and its threads share.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::builder::PoolSettings;
use super::cpu_time;
use super::error::PoolError;
use super::job::Job;
use super::schedule::{JobId, Schedule};
use super::throttle::{Reading, WrongKeyThrottle};
use crate::client::ClientGroup;
use crate::clock::Monotonic;
use crate::hash::memory::KeptMemory;
use crate::sync::unpoisoned;

/// What the handles of a pool and its threads share: locking and waking, around rules that know neither.
pub(super) struct PoolCore {
    pub(super) settings: PoolSettings,
    pub(super) memory: KeptMemory,
    state: Mutex<PoolState>,
    /// Wakes a worker for a job, and all of them at the end.
    wake: Condvar,
    /// Wakes workers at rest at the end. They listen to nothing else.
    end: Condvar,
}

pub(super) struct PoolState {
    schedule: Schedule,
    throttle: WrongKeyThrottle,
    threads: usize,
    running: usize,
    hashes_run: u64,
    is_stopped: bool,
}

/// A hash that a worker has computed.
pub(super) struct Finished {
    pub(super) client: ClientGroup,
    /// None if the hash was not for comparing, or failed.
    pub(super) was_right: Option<bool>,
    pub(super) began: Monotonic,
    /// The processor time it took.
    pub(super) cpu: Duration,
}

/// The place of a job in the queue. Dropping it withdraws the job, unless that has begun: a caller that goes away makes
/// room at once.
#[must_use]
pub(super) struct Ticket<'a> {
    core: &'a PoolCore,
    id: JobId,
}

impl PoolCore {
    pub(super) fn new(settings: PoolSettings) -> Self {
        let schedule = Schedule::new(settings.capacity(), settings.workers, settings.deadline);
        Self {
            memory: KeptMemory::new(settings.kept_kib),
            state: Mutex::new(PoolState {
                schedule,
                throttle: WrongKeyThrottle::new(),
                threads: 0,
                running: 0,
                hashes_run: 0,
                is_stopped: false,
            }),
            settings,
            wake: Condvar::new(),
            end: Condvar::new(),
        }
    }

    /// Starts the threads that do not run yet.
    pub(super) fn start_threads(&self, mut spawn: impl FnMut() -> io::Result<()>) -> Result<(), PoolError> {
        let mut state = self.lock();
        while state.threads < self.settings.workers && !state.is_stopped {
            match spawn() {
                Ok(()) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(PoolError::failed(error)),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Queues a job.
    pub(super) fn submit(&self, client: ClientGroup, job: Job) -> Result<Ticket<'_>, PoolError> {
        let now = self.settings.clock.now();
        let mut state = self.lock();
        if state.is_stopped {
            return Err(PoolError::stopped());
        }
        let (place, rejected) = state.schedule.submit(client, job, now);
        drop(state);
        rejected.send();
        let id = place?;
        self.wake.notify_one();
        Ok(Ticket { core: self, id })
    }

    /// Waits for the next job, which counts as running from here on. None when the thread has to end.
    pub(super) fn next_job(&self) -> Option<(ClientGroup, Job)> {
        let mut state = self.lock();
        while !state.is_stopped {
            let (next, rejected) = state.schedule.next(self.settings.clock.now());
            if next.is_some() {
                state.running += 1;
                state.hashes_run += 1;
                drop(state);
                rejected.send();
                return next;
            }
            if rejected.is_empty() {
                state = unpoisoned(self.wake.wait(state));
            } else {
                drop(state);
                rejected.send();
                state = self.lock();
            }
        }
        None
    }

    /// Returns how long the worker has to rest now.
    pub(super) fn finish(&self, finished: Finished) -> Duration {
        let Finished {
            client,
            was_right,
            began,
            cpu,
        } = finished;
        let now = Reading {
            at: self.settings.clock.now(),
            process: cpu_time::of_this_process(),
        };
        let mut state = self.lock();
        state.running -= 1;
        let rest = state.throttle.rest_after(cpu, was_right == Some(false), now);
        state.schedule.record(client, was_right, now.at.since(began) + rest);
        rest
    }

    /// Blocks the worker for this long, or until the pool is shut down.
    pub(super) fn rest(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let state = self.lock();
        drop(self.end.wait_timeout_while(state, time, |state| !state.is_stopped));
    }

    /// Ends the threads after the hashes they are running, and rejects what waits.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        let rejected = state.schedule.stop();
        drop(state);
        self.wake.notify_all();
        self.end.notify_all();
        rejected.send();
    }

    pub(super) fn queued(&self) -> usize {
        self.lock().schedule.len()
    }

    pub(super) fn running(&self) -> usize {
        self.lock().running
    }

    pub(super) fn hashes_run(&self) -> u64 {
        self.lock().hashes_run
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        unpoisoned(self.state.lock())
    }
}

impl Ticket<'_> {
    pub(super) fn timed_out(&self) -> PoolError {
        self.core.lock().schedule.timed_out()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let withdrawn = self.core.lock().schedule.withdraw(self.id);
        // The key may be wiped here, after the lock.
        drop(withdrawn);
    }
}

#[cfg(test)]
mod tests {
    use super::super::HashPool;
    use super::*;

    #[test]
    fn shutdown_does_not_wait_for_a_resting_worker() {
        // Whether it rests already cannot be seen from outside. Out of a hundred, some do.
        for _ in 0..100 {
            let pool = HashPool::builder().build();
            let core = pool.core().clone();
            let worker = std::thread::spawn(move || core.rest(Duration::from_secs(3600)));
            for _ in 0..100 {
                std::thread::yield_now();
            }
            drop(pool);
            worker.join().unwrap();
        }
    }
}
