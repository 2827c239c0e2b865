//! Events that wait to be stored, and what became of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::error::{UsageError, UsageErrorKind};
use super::event::UsageEvent;
use crate::clock::{Clock, Monotonic};
use crate::key::Timestamp;

/// How many events there were, and where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeterCounts {
    /// Events of requests that ended, and those that were recorded.
    pub accepted: u64,
    /// Those that the sink has taken.
    pub stored: u64,
    /// Those that nobody counts: the queue was full, the sink refused them, or the meter ended before they could be stored.
    pub dropped: u64,
    /// Those that wait.
    pub queued: u64,
}

/// What is over and becomes an event once it is stored: that costs more than a request should wait for.
pub(crate) trait Ended: Send + Sync {
    /// The event, if the clocks show this now.
    fn event(&self, now: Now) -> UsageEvent;
}

impl Ended for UsageEvent {
    fn event(&self, _: Now) -> UsageEvent {
        self.clone()
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Monotonic,
}

impl Now {
    /// The wall time of an earlier moment.
    pub(crate) fn at(self, earlier: Monotonic) -> Timestamp {
        let before = i64::try_from(self.monotonic.since(earlier).as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.wall.as_millis().saturating_sub(before))
    }
}

/// Events that wait, and what became of the others.
pub(crate) struct Queue {
    pub(super) events: ArrayQueue<Arc<dyn Ended>>,
    accepted: AtomicU64,
    pub(super) stored: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) is_closed: AtomicBool,
    /// Nobody takes anything any more.
    is_over: AtomicBool,
    pub(super) work: Notify,
    pub(crate) clock: Clock,
}

impl Queue {
    /// A queue of this length.
    pub(super) fn new(length: usize, clock: Clock) -> Self {
        Self {
            events: ArrayQueue::new(length),
            accepted: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            work: Notify::new(),
            clock,
        }
    }

    /// Takes what has ended. Never waits.
    pub(crate) fn offer(&self, ended: Arc<dyn Ended>) -> Result<(), UsageError> {
        // First: otherwise it could be stored before it was accepted.
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let problem = match self.is_closed.load(Ordering::SeqCst) {
            true => UsageErrorKind::Closed,
            false => match self.events.push(ended) {
                Ok(()) => {
                    // Closed since it was looked at: this may have come after the last look at the queue.
                    if self.is_over.load(Ordering::SeqCst) {
                        self.drop_all();
                    }
                    // At the interval it would be too late for a queue that is about to be full.
                    if self.events.len() >= self.events.capacity().div_ceil(2) {
                        self.work.notify_one();
                    }
                    return Ok(());
                }
                Err(_) => UsageErrorKind::QueueFull,
            },
        };
        self.dropped.fetch_add(1, Ordering::SeqCst);
        Err(problem.into())
    }

    pub(super) fn counts(&self) -> MeterCounts {
        let left = || (self.stored.load(Ordering::SeqCst), self.dropped.load(Ordering::SeqCst));
        let (mut stored, mut dropped) = left();
        let mut accepted = self.accepted.load(Ordering::SeqCst);
        // Of one moment, unless requests end faster than this reads. Then the queue seems longer than it is, never shorter: each event is
        // accepted before it is anything else.
        for _ in 0..16 {
            let again = left();
            if again == (stored, dropped) {
                break;
            }
            (stored, dropped) = again;
            accepted = self.accepted.load(Ordering::SeqCst);
        }
        MeterCounts {
            accepted,
            stored,
            dropped,
            queued: accepted.saturating_sub(stored).saturating_sub(dropped),
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.work.notify_one();
    }

    /// Nobody takes anything from now on.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.drop_all();
    }

    /// Drops all that waits.
    pub(super) fn drop_all(&self) {
        while self.events.pop().is_some() {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Both clocks now.
    pub(super) fn now(&self) -> Now {
        Now {
            wall: self.clock.wall(),
            monotonic: self.clock.now(),
        }
    }
}
