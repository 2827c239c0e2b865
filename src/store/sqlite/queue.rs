//! A bounded queue from async callers to dedicated threads.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::sync::unpoisoned;

/// Groups that go ahead of an item which can wait: under a steady load it has its turn as well.
const AHEAD: u32 = 16;

/// First in, first out; several threads may take from it. A caller never waits for room: a full queue is an error. Items that
/// can wait have a lane and as many places of their own.
pub(super) struct Queue<T> {
    state: Mutex<Contents<T>>,
    arrived: Condvar,
    capacity: NonZeroUsize,
}

struct Contents<T> {
    waiting: VecDeque<T>,
    can_wait: VecDeque<T>,
    /// Groups that were taken while an item that can wait was there.
    went_ahead: u32,
    closed: bool,
}

/// The queue is full or closed.
#[derive(Debug, thiserror::Error)]
#[error("the queue to the database is full, or the store was closed")]
pub(super) struct Full;

impl<T> Queue<T> {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            state: Mutex::new(Contents {
                waiting: VecDeque::new(),
                can_wait: VecDeque::new(),
                went_ahead: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
            capacity,
        }
    }

    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        self.push_into(item, |state| &mut state.waiting)
    }

    /// Adds an item that can wait until nothing else does.
    pub(super) fn push_later(&self, item: T) -> Result<(), Full> {
        self.push_into(item, |state| &mut state.can_wait)
    }

    fn push_into(&self, item: T, lane: impl FnOnce(&mut Contents<T>) -> &mut VecDeque<T>) -> Result<(), Full> {
        let mut state = self.state();
        let is_closed = state.closed;
        let lane = lane(&mut state);
        if is_closed || lane.len() >= self.capacity.get() {
            return Err(Full);
        }
        lane.push_back(item);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for items and takes what is there, at most `most`, of those that can wait one. `None` when the queue is closed and
    /// empty.
    pub(super) fn take(&self, most: usize) -> Option<Vec<T>> {
        let mut state = self.state();
        while state.waiting.is_empty() && state.can_wait.is_empty() {
            if state.closed {
                return None;
            }
            state = unpoisoned(self.arrived.wait(state));
        }
        let has_turn = state.waiting.is_empty() || state.went_ahead >= AHEAD;
        if let Some(item) = has_turn.then(|| state.can_wait.pop_front()).flatten() {
            state.went_ahead = 0;
            return Some(vec![item]);
        }
        state.went_ahead = match state.can_wait.is_empty() {
            true => 0,
            false => state.went_ahead + 1,
        };
        let count = most.min(state.waiting.len());
        Some(state.waiting.drain(..count).collect())
    }

    /// Takes no more items; those that wait are still handed out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, Contents<T>> {
        unpoisoned(self.state.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize) -> Queue<u8> {
        Queue::new(NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn full_queue_refuses_and_keeps_its_items() {
        let queue = queue(2);
        assert!(queue.push(1).is_ok() && queue.push(2).is_ok());
        assert!(queue.push(3).is_err());
        assert_eq!(queue.take(1), Some(vec![1]));
        assert!(queue.push(4).is_ok());
        assert_eq!(queue.take(10), Some(vec![2, 4]));
    }

    #[test]
    fn items_that_can_wait_go_last_and_have_their_turn() {
        let queue = queue(100);
        for later in [100, 101] {
            assert!(queue.push_later(later).is_ok());
        }
        for item in 0..20 {
            assert!(queue.push(item).is_ok());
        }
        let taken: Vec<u8> = (0..22).filter_map(|_| queue.take(1)?.pop()).collect();
        let should: Vec<u8> = (0..16).chain([100]).chain(16..20).chain([101]).collect();
        assert_eq!(taken, should);
    }

    #[test]
    fn closed_queue_is_emptied_and_then_ends() {
        let queue = queue(2);
        assert!(queue.push(1).is_ok());
        queue.close();
        assert!(queue.push(2).is_err());
        assert_eq!(queue.take(10), Some(vec![1]));
        assert_eq!(queue.take(10), None);
    }
}
