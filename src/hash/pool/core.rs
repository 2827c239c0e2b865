//! What the handles of a pool and its threads share.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::builder::PoolSettings;
use super::cpu_time;
use super::error::PoolError;
use super::job::{Job, Purpose, Rejected, Reply};
use super::own_work::OwnWork;
use super::schedule::{JobId, Next, Schedule};
use super::throttle::{Reading, WrongKeyThrottle};
use crate::client::ClientGroup;
use crate::clock::Monotonic;
use crate::hash::memory::{Blocks, KeptMemory};
use crate::sync::unpoisoned;

/// What the handles of a pool and its threads share: locking and waking, around rules that know neither.
pub(super) struct PoolCore {
    pub(super) settings: PoolSettings,
    pub(super) memory: KeptMemory,
    pub(super) own_work: Arc<OwnWork>,
    state: Mutex<PoolState>,
    /// Wakes a background worker for a job, and all of them at the end.
    wake: Condvar,
    /// The same for the operator's worker.
    wake_operator: Condvar,
    /// Wakes workers at rest for a job that does not wait for a rest, and at the end.
    wake_resting: Condvar,
    /// Wakes the timer for an earlier deadline, and at the end.
    wake_timer: Condvar,
}

pub(super) struct PoolState {
    schedule: Schedule,
    throttle: WrongKeyThrottle,
    threads: Threads,
    /// The callers of the hashes that run, and when each has waited long enough.
    running: Vec<(Reply, ClientGroup, Monotonic)>,
    /// The memory of the hashes that do not run.
    blocks: Vec<Blocks>,
    resting: usize,
    hashes_run: u64,
    is_stopped: bool,
}

/// The threads that were started.
#[derive(Default)]
struct Threads {
    background: usize,
    has_operator: bool,
    has_timer: bool,
    /// The deadline that the timer waits for.
    timer: Option<Monotonic>,
}

/// What a thread of the pool is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Hashes for requests, and for imports, at a lower priority.
    Background,
    /// Hashes of keys that are issued and rotated one by one, at the priority of the process: on a busy machine they would
    /// take seconds otherwise. It counts as one of the workers while it runs.
    Operator,
    /// Ends waits at their deadline. Not a timer of the caller's runtime: a test that pauses the time of Tokio would end
    /// every wait at once, since to Tokio a thread of ours looks like nothing to wait for.
    Timer,
}

/// A job for a worker, and the memory to hash in.
pub(super) struct Assigned {
    pub(super) client: ClientGroup,
    pub(super) job: Job,
    pub(super) blocks: Blocks,
}

/// A hash that a worker has computed.
pub(super) struct Finished {
    pub(super) client: ClientGroup,
    pub(super) reply: Reply,
    pub(super) blocks: Blocks,
    /// Whether the key was right and is let in. None if the hash was not for comparing, or failed.
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
        Self {
            memory: KeptMemory::new(settings.kept_kib),
            state: Mutex::new(PoolState {
                schedule: Schedule::new(&settings),
                throttle: WrongKeyThrottle::new(),
                threads: Threads::default(),
                running: Vec::new(),
                blocks: Vec::new(),
                resting: 0,
                hashes_run: 0,
                is_stopped: false,
            }),
            settings,
            own_work: Arc::default(),
            wake: Condvar::new(),
            wake_operator: Condvar::new(),
            wake_resting: Condvar::new(),
            wake_timer: Condvar::new(),
        }
    }

    /// Starts the threads that a job of this purpose needs and that do not run yet.
    pub(super) fn start_threads(
        &self,
        purpose: &Purpose,
        mut spawn: impl FnMut(Role) -> io::Result<()>,
    ) -> Result<(), PoolError> {
        let mut state = self.lock();
        while state.threads.background < self.settings.workers && !state.is_stopped {
            match spawn(Role::Background) {
                Ok(()) => state.threads.background += 1,
                Err(error) if state.threads.background == 0 => return Err(PoolError::failed(error)),
                Err(_) => break,
            }
        }
        // Without these two, deadlines are seen by workers only, and operators wait longer.
        if !state.threads.has_timer && !state.is_stopped {
            state.threads.has_timer = spawn(Role::Timer).is_ok();
        }
        if matches!(purpose, Purpose::Issue) && !state.threads.has_operator && !state.is_stopped {
            state.threads.has_operator = spawn(Role::Operator).is_ok();
        }
        Ok(())
    }

    /// Queues a job.
    pub(super) fn submit(&self, client: ClientGroup, job: Job) -> Result<Ticket<'_>, PoolError> {
        let now = self.settings.clock.now();
        let deadline = self.settings.deadline;
        let mut state = self.lock();
        if state.is_stopped {
            return Err(PoolError::stopped());
        }
        let is_issue = matches!(job.purpose, Purpose::Issue);
        let goes_ahead = job.ahead.is_some();
        let (place, rejected) = state.schedule.submit(client, job, now);
        if place.is_ok() {
            if state.running.len() < self.settings.workers {
                match is_issue && state.threads.has_operator {
                    true => self.wake_operator.notify_one(),
                    false => self.wake.notify_one(),
                }
                if state.resting > 0 && (goes_ahead || !state.schedule.is_suspect(client)) {
                    self.wake_resting.notify_one();
                }
            }
            if state.threads.timer.is_none_or(|timer| now.after(deadline) < timer) {
                state.threads.timer = Some(now.after(deadline));
                self.wake_timer.notify_one();
            }
        }
        drop(state);
        rejected.send();
        let id = place?;
        Ok(Ticket { core: self, id })
    }

    /// Waits for the next job of a worker, which counts as running from here on. Until `rests_until` it is none of a client
    /// that has sent wrong keys, unless something speaks for the key. None when the thread has to end.
    pub(super) fn next_job(&self, role: Role, rests_until: Instant) -> Option<Assigned> {
        let mut state = self.lock();
        while !state.is_stopped {
            if state.running.len() >= self.settings.workers {
                state = self.wait(role, state);
                continue;
            }
            let has_operator = state.threads.has_operator;
            let is_mine = |job: &Job| match job.purpose {
                Purpose::Issue if has_operator => role == Role::Operator,
                _ => role == Role::Background,
            };
            let rest = rests_until.saturating_duration_since(Instant::now());
            let now = self.settings.clock.now();
            let (next, rejected) = state.schedule.next(now, !rest.is_zero(), is_mine);
            if let Next::Job(client, job, deadline) = next {
                let blocks = self.begin(&mut state, client, &job, deadline);
                drop(state);
                rejected.send();
                return Some(Assigned { client, job, blocks });
            }
            if !rejected.is_empty() {
                drop(state);
                rejected.send();
                state = self.lock();
                continue;
            }
            if matches!(next, Next::AfterRest) {
                state.resting += 1;
                state = unpoisoned(self.wake_resting.wait_timeout(state, rest)).0;
                state.resting -= 1;
                continue;
            }
            if matches!(next, Next::Others) {
                match role {
                    Role::Operator => self.wake.notify_one(),
                    _ => self.wake_operator.notify_one(),
                }
            }
            state = self.wait(role, state);
        }
        None
    }

    /// Counts a job as running, and returns the memory for it.
    fn begin(&self, state: &mut PoolState, client: ClientGroup, job: &Job, deadline: Monotonic) -> Blocks {
        state.running.push((job.reply.clone(), client, deadline));
        state.hashes_run += 1;
        // There may be another job, and another worker for it.
        if state.schedule.len() > 0 && state.running.len() < self.settings.workers {
            self.wake.notify_one();
            self.wake_operator.notify_one();
        }
        let mut blocks = state.blocks.pop().unwrap_or_default();
        blocks.keep_at_most(self.memory.kib());
        blocks
    }

    /// Takes a hash back, and returns how long the worker has to rest from now on.
    pub(super) fn finish(&self, finished: Finished) -> Duration {
        let Finished {
            client,
            reply,
            blocks,
            was_right,
            began,
            cpu,
        } = finished;
        let now = Reading {
            at: self.settings.clock.now(),
            process: cpu_time::of_this_process(),
            served: self.own_work.take(),
        };
        if was_right == Some(false) {
            self.own_work.count_from(now.at);
        }
        let took = now.at.since(began);
        let mut state = self.lock();
        state.running.retain(|(running, ..)| !running.is(&reply));
        state.blocks.push(blocks);
        let rest = state.throttle.rest_after(cpu, was_right == Some(false), now);
        state.schedule.record(client, was_right, took);
        rest
    }

    /// Rejects jobs at their deadlines, running ones too, until the pool is shut down.
    pub(super) fn keep_time(&self) {
        let mut state = self.lock();
        while !state.is_stopped {
            let now = self.settings.clock.now();
            let mut rejected = Rejected::default();
            let waiting = state.schedule.reject_late(now, &mut rejected);
            let (late, in_time): (Vec<_>, Vec<_>) = state.running.iter().cloned().partition(|job| job.2 <= now);
            for (reply, client, _) in late {
                // Once: its hash goes on to its end, but nobody waits for it.
                if !reply.is_closed() {
                    let error = state.schedule.timed_out(client, now);
                    rejected.push_running(reply, error);
                }
            }
            let running = in_time.iter().map(|job| job.2).min();
            let next = [waiting, running].into_iter().flatten().min();
            state.threads.timer = next;
            if !rejected.is_empty() {
                drop(state);
                rejected.send();
                state = self.lock();
                continue;
            }
            state = match next {
                Some(next) => unpoisoned(self.wake_timer.wait_timeout(state, next.since(now))).0,
                None => unpoisoned(self.wake_timer.wait(state)),
            };
        }
    }

    /// Ends the threads after the hashes they are running, and rejects what waits.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        let rejected = state.schedule.stop();
        drop(state);
        for threads in [&self.wake, &self.wake_operator, &self.wake_resting, &self.wake_timer] {
            threads.notify_all();
        }
        rejected.send();
    }

    pub(super) fn queued(&self) -> usize {
        self.lock().schedule.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.lock().schedule.capacity()
    }

    pub(super) fn is_more_than_half_full(&self) -> bool {
        let state = self.lock();
        state.schedule.len() * 2 > state.schedule.capacity()
    }

    pub(super) fn running(&self) -> usize {
        self.lock().running.len()
    }

    pub(super) fn hashes_run(&self) -> u64 {
        self.lock().hashes_run
    }

    fn wait<'a>(&self, role: Role, state: MutexGuard<'a, PoolState>) -> MutexGuard<'a, PoolState> {
        let wake = match role {
            Role::Operator => &self.wake_operator,
            _ => &self.wake,
        };
        unpoisoned(wake.wait(state))
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        unpoisoned(self.state.lock())
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
    use super::*;
    use crate::hash::HashPool;
    use crate::hash::policy::{HashPolicy, NewHash};
    use crate::hash::pool::Ahead;
    use crate::key::{Lookup, OrganizationId, OwnedKey};

    fn job() -> Job {
        let Ok(NewHash::Slow(recipe)) = HashPolicy::default().begin() else {
            panic!("a slow scheme");
        };
        Job {
            recipe,
            key: OwnedKey::copy_of(b"a key"),
            purpose: Purpose::Dummy(Box::new(|_| {})),
            ahead: None,
            // A caller that goes away takes its job along.
            reply: {
                let (reply, answer) = Reply::channel();
                std::mem::forget(answer);
                reply
            },
        }
    }

    fn client(number: u8) -> ClientGroup {
        ClientGroup::of(Some([192, 0, 2, number].into()))
    }

    /// A pool without threads, in which the key of client 1 was wrong.
    fn after_a_wrong_key() -> Arc<PoolCore> {
        let core = Arc::new(PoolCore::new(HashPool::builder().0));
        let wrong = core.submit(client(1), job()).unwrap();
        let Assigned { client, job, blocks } = core.next_job(Role::Background, Instant::now()).unwrap();
        core.finish(Finished {
            client,
            reply: job.reply,
            blocks,
            was_right: Some(false),
            began: core.settings.clock.now(),
            cpu: Duration::ZERO,
        });
        drop(wrong);
        core
    }

    fn resting(core: &Arc<PoolCore>) -> std::thread::JoinHandle<Option<ClientGroup>> {
        let resting = core.clone();
        let worker = std::thread::spawn(move || {
            let until = Instant::now() + Duration::from_secs(3600);
            Some(resting.next_job(Role::Background, until)?.client)
        });
        while core.lock().resting == 0 {
            std::thread::yield_now();
        }
        worker
    }

    #[test]
    fn shutdown_does_not_wait_for_a_resting_worker() {
        let core = after_a_wrong_key();
        let _again = core.submit(client(1), job()).unwrap();
        let worker = resting(&core);
        core.stop();
        assert!(worker.join().unwrap().is_none());
    }

    #[test]
    fn client_without_wrong_keys_ends_a_rest() {
        let core = after_a_wrong_key();
        let _again = core.submit(client(1), job()).unwrap();
        let worker = resting(&core);
        let _newcomer = core.submit(client(2), job()).unwrap();
        assert!(worker.join().unwrap() == Some(client(2)));
        assert_eq!(core.queued(), 1);
    }

    #[test]
    fn key_that_goes_ahead_ends_a_rest() {
        let core = after_a_wrong_key();
        let _again = core.submit(client(1), job()).unwrap();
        let worker = resting(&core);
        let ahead = Ahead {
            organization: OrganizationId::new(),
            lookup: Lookup::new("0123456789AB").unwrap(),
        };
        let spoken_for = Job {
            ahead: Some(ahead),
            ..job()
        };
        let _spoken_for = core.submit(client(1), spoken_for).unwrap();
        assert!(worker.join().unwrap() == Some(client(1)));
        assert_eq!(core.queued(), 1);
    }
}
