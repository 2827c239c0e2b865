//! Which job runs next, and which jobs are turned away.

use std::time::Duration;

use super::error::PoolError;
use super::job::{Job, Rejected};
use super::queue::{FairQueue, Push};
use crate::client::ClientGroup;
use crate::clock::Monotonic;

/// The queue, with the deadlines of its jobs. It has no threads, no lock and no clock: callers bring the time.
pub(super) struct Schedule {
    queue: FairQueue<Waiting>,
    workers: usize,
    deadline: Duration,
    next_id: u64,
    /// A moving average of the time that a worker spends on a hash, its rest included.
    hash_time: Option<Duration>,
}

struct Waiting {
    id: JobId,
    deadline: Monotonic,
    job: Job,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct JobId(u64);

/// Assumed until a hash has been measured.
const ASSUMED_HASH_TIME: Duration = Duration::from_millis(100);
/// In seconds.
const SHORTEST_RETRY: f64 = 1.0;
const LONGEST_RETRY: f64 = 60.0;

impl Schedule {
    pub(super) fn new(capacity: usize, workers: usize, deadline: Duration) -> Self {
        Self {
            queue: FairQueue::new(capacity),
            workers,
            deadline,
            next_id: 0,
            hash_time: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Queues a job or refuses it. A full queue first drops the jobs that need not run any more, then the client with the
    /// most jobs may lose one.
    pub(super) fn submit(
        &mut self,
        client: ClientGroup,
        job: Job,
        now: Monotonic,
    ) -> (Result<JobId, PoolError>, Rejected) {
        let mut rejected = Rejected::default();
        if self.queue.is_full() {
            let useless = self.queue.take_if(|waiting| waiting.is_useless(now));
            let error = self.timed_out();
            for waiting in useless {
                rejected.push(waiting.job, error.clone());
            }
        }
        let id = JobId(self.next_id);
        self.next_id += 1;
        let deadline = now.after(self.deadline);
        let place = match self.queue.push(client, Waiting { id, deadline, job }) {
            Push::Queued => Ok(id),
            Push::Displaced(waiting) => {
                rejected.push(waiting.job, PoolError::busy(self.retry_after()));
                Ok(id)
            }
            Push::Refused(waiting) => {
                let error = PoolError::busy(self.retry_after());
                rejected.push(waiting.job, error.clone());
                Err(error)
            }
        };
        (place, rejected)
    }

    /// The next job to run. Jobs that need not run any more are taken out on the way.
    pub(super) fn next(&mut self, now: Monotonic) -> (Option<(ClientGroup, Job)>, Rejected) {
        let mut rejected = Rejected::default();
        while let Some((client, waiting)) = self.queue.pop() {
            if !waiting.is_useless(now) {
                return (Some((client, waiting.job)), rejected);
            }
            rejected.push(waiting.job, self.timed_out());
        }
        (None, rejected)
    }

    /// Takes a job out of the queue, unless it has begun.
    pub(super) fn withdraw(&mut self, id: JobId) -> Option<Job> {
        let withdrawn = self.queue.take_if(|waiting| waiting.id == id);
        withdrawn.into_iter().next().map(|waiting| waiting.job)
    }

    /// Empties the queue of a pool that is shut down.
    pub(super) fn stop(&mut self) -> Rejected {
        let mut rejected = Rejected::default();
        for waiting in self.queue.take_if(|_| true) {
            rejected.push(waiting.job, PoolError::stopped());
        }
        rejected
    }

    /// A hash is done: how long its worker is occupied by it, and whether the client's key was right.
    pub(super) fn record(&mut self, client: ClientGroup, was_right: Option<bool>, occupied: Duration) {
        if let Some(was_right) = was_right {
            self.queue.record_verdict(client, was_right);
        }
        self.hash_time = Some(self.hash_time.map_or(occupied, |mean| (mean * 7 + occupied) / 8));
    }

    pub(super) fn timed_out(&self) -> PoolError {
        PoolError::timed_out(self.retry_after())
    }

    /// The time to work off the queue, in whole seconds from 1 to 60.
    fn retry_after(&self) -> Duration {
        let hash_time = self.hash_time.unwrap_or(ASSUMED_HASH_TIME).as_secs_f64();
        let seconds = self.queue.len() as f64 * hash_time / self.workers as f64;
        Duration::from_secs_f64(seconds.ceil().clamp(SHORTEST_RETRY, LONGEST_RETRY))
    }
}

impl Waiting {
    /// Its caller has gone away, or its deadline has passed.
    fn is_useless(&self, now: Monotonic) -> bool {
        self.job.reply.is_closed() || now >= self.deadline
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{self, Receiver};

    use super::super::error::PoolErrorKind;
    use super::super::job::{Answer, Purpose};
    use super::*;
    use crate::hash::policy::{HashPolicy, NewHash};
    use crate::key::OwnedKey;

    const DEADLINE: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn client(number: u8) -> ClientGroup {
        ClientGroup::of(Some([192, 0, 2, number].into()))
    }

    fn job() -> (Job, Receiver<Answer>) {
        let Ok(NewHash::Slow(recipe)) = HashPolicy::default().begin() else {
            panic!("a slow scheme");
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            recipe,
            key: OwnedKey::copy_of(b"a key"),
            purpose: Purpose::Store,
            reply,
        };
        (job, answer)
    }

    fn submit(schedule: &mut Schedule, number: u8, millis: u64) -> (Result<JobId, PoolErrorKind>, Receiver<Answer>) {
        let (job, answer) = job();
        let (place, rejected) = schedule.submit(client(number), job, at(millis));
        rejected.send();
        (place.map_err(|error| error.kind()), answer)
    }

    fn next(schedule: &mut Schedule, millis: u64) -> Option<ClientGroup> {
        let (next, rejected) = schedule.next(at(millis));
        rejected.send();
        next.map(|(client, _)| client)
    }

    fn kind(mut answer: Receiver<Answer>) -> Option<PoolErrorKind> {
        answer.try_recv().ok()?.err().map(|error| error.kind())
    }

    #[test]
    fn late_and_abandoned_jobs_are_never_next() {
        let mut schedule = Schedule::new(4, 1, DEADLINE);
        let (_, late) = submit(&mut schedule, 1, 0);
        drop(submit(&mut schedule, 2, 1000));
        let (_, in_time) = submit(&mut schedule, 3, 1000);
        assert!(next(&mut schedule, 2000) == Some(client(3)));
        assert_eq!(kind(late), Some(PoolErrorKind::TimedOut));
        assert_eq!((kind(in_time), schedule.len()), (None, 0));
        assert!(next(&mut schedule, 2000).is_none());
    }

    #[test]
    fn full_queue_drops_late_and_abandoned_jobs_first() {
        let mut schedule = Schedule::new(2, 1, DEADLINE);
        let (_, late) = submit(&mut schedule, 1, 0);
        let (_, waiting) = submit(&mut schedule, 1, 1000);
        assert!(matches!(submit(&mut schedule, 1, 1999).0, Err(PoolErrorKind::Busy)));
        let (place, newest) = submit(&mut schedule, 1, 2000);
        assert!(place.is_ok());
        assert_eq!(kind(late), Some(PoolErrorKind::TimedOut));
        drop(newest);
        assert!(submit(&mut schedule, 1, 2001).0.is_ok());
        assert_eq!((kind(waiting), schedule.len()), (None, 2));
    }

    #[test]
    fn displaced_job_gets_busy_and_newcomer_its_place() {
        let mut schedule = Schedule::new(2, 1, DEADLINE);
        let (_, first) = submit(&mut schedule, 1, 0);
        let (_, second) = submit(&mut schedule, 1, 0);
        assert!(submit(&mut schedule, 2, 0).0.is_ok());
        assert_eq!((kind(first), kind(second)), (None, Some(PoolErrorKind::Busy)));
    }

    #[test]
    fn withdrawn_job_is_gone() {
        let mut schedule = Schedule::new(2, 1, DEADLINE);
        let (first, _first) = submit(&mut schedule, 1, 0);
        let (_, _second) = submit(&mut schedule, 2, 0);
        assert!(schedule.withdraw(first.unwrap()).is_some());
        assert!(schedule.withdraw(first.unwrap()).is_none());
        assert!(next(&mut schedule, 0) == Some(client(2)));
        assert!(next(&mut schedule, 0).is_none());
    }

    #[test]
    fn stop_rejects_all_waiting_jobs() {
        let mut schedule = Schedule::new(2, 1, DEADLINE);
        let answers = [submit(&mut schedule, 1, 0).1, submit(&mut schedule, 2, 0).1];
        schedule.stop().send();
        assert_eq!(answers.map(kind), [Some(PoolErrorKind::Stopped); 2]);
        assert_eq!(schedule.len(), 0);
    }

    #[test]
    fn retry_after_follows_queue_and_stays_within_a_minute() {
        let retry = |queued: usize, hash_millis: Option<u64>, workers: usize| {
            let mut schedule = Schedule::new(queued, workers, Duration::from_secs(60));
            let _answers: Vec<_> = (0..queued).map(|_| submit(&mut schedule, 1, 0).1).collect();
            if let Some(millis) = hash_millis {
                schedule.record(client(1), None, Duration::from_millis(millis));
            }
            schedule.retry_after().as_secs()
        };
        assert_eq!(retry(0, None, 1), 1);
        assert_eq!(retry(16, None, 1), 2);
        assert_eq!(retry(16, Some(30), 1), 1);
        assert_eq!(retry(16, Some(1000), 1), 16);
        assert_eq!(retry(16, Some(1000), 4), 4);
        assert_eq!(retry(200, Some(1000), 1), 60);
        assert_eq!(retry(2, Some(u64::MAX / 8_000), 1), 60);
    }
}
