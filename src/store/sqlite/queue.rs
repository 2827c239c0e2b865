//! A bounded queue from async callers to dedicated threads.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::sync::unpoisoned;

/// First in, first out; several threads may take from it. A caller never waits for room: a full queue is an error.
pub(super) struct Queue<T> {
    state: Mutex<Contents<T>>,
    arrived: Condvar,
    capacity: NonZeroUsize,
}

struct Contents<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// The queue is full or closed.
#[derive(Debug, thiserror::Error)]
#[error("the queue to the database is full")]
pub(super) struct Full;

impl<T> Queue<T> {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            state: Mutex::new(Contents {
                waiting: VecDeque::new(),
                closed: false,
            }),
            arrived: Condvar::new(),
            capacity,
        }
    }

    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        let mut state = self.state();
        if state.closed || state.waiting.len() >= self.capacity.get() {
            return Err(Full);
        }
        state.waiting.push_back(item);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for items and takes what is there, at most `most`. `None` when the queue is closed and empty.
    pub(super) fn take(&self, most: usize) -> Option<Vec<T>> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = unpoisoned(self.arrived.wait(state));
        }
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
    fn closed_queue_is_emptied_and_then_ends() {
        let queue = queue(2);
        assert!(queue.push(1).is_ok());
        queue.close();
        assert!(queue.push(2).is_err());
        assert_eq!(queue.take(10), Some(vec![1]));
        assert_eq!(queue.take(10), None);
    }
}
