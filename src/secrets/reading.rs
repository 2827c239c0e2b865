//! Reading the secrets again: once for all who wait, and at most once a second.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Monotonic};
use crate::sync::unpoisoned;

const INTERVAL: Duration = Duration::from_secs(1);

/// The reads that presented keys cause. A key that names an unknown secret costs one at most a second, however many
/// of them are sent; a change that was announced allows one more.
#[derive(Default)]
pub(crate) struct Reading(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the latest read began, and at which epoch of the fence.
    began: Option<(Monotonic, u64)>,
    /// How it ended, once it has.
    outcome: Option<watch::Receiver<Option<bool>>>,
    /// When the latest one that succeeded began, of those before it and of those that no key caused.
    succeeded: Option<Monotonic>,
}

impl Reading {
    /// They are read at this time, by who opens a handle or issues a key.
    pub(super) fn read_at(&self, now: Monotonic) {
        unpoisoned(self.0.lock()).succeeded = Some(now);
    }

    /// Whether the latest read that succeeded is longer ago than this.
    pub(crate) fn is_older(&self, now: Monotonic, age: Duration) -> bool {
        let state = unpoisoned(self.0.lock());
        state.latest_success().is_some_and(|began| now.since(began) > age)
    }

    /// Whether the latest read succeeded, if it is recent enough to be the answer.
    pub(crate) fn answer(&self, now: Monotonic, epoch: u64) -> Option<bool> {
        let state = unpoisoned(self.0.lock());
        if !state.is_recent(now, epoch) {
            return None;
        }
        let outcome = state.outcome.as_ref()?;
        // A read that ended without an outcome, by a panic or with its runtime, has failed.
        match *outcome.borrow() {
            None if outcome.has_changed().is_err() => Some(false),
            outcome => outcome,
        }
    }

    /// Reads, waits for the read under way, or takes the answer of a recent one. The read has a task of its own, so that a
    /// client that goes away neither stops it nor makes room for another one.
    pub(crate) async fn run<F>(&self, clock: &Clock, epoch: u64, read: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let Some(mut outcome) = self.join(clock.now(), epoch, read) else {
            return false;
        };
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => *outcome == Some(true),
            Err(_) => false,
        }
    }

    /// `None` where there is no runtime to read on.
    fn join<F>(&self, now: Monotonic, epoch: u64, read: impl FnOnce() -> F) -> Option<watch::Receiver<Option<bool>>>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let mut state = unpoisoned(self.0.lock());
        if state.is_recent(now, epoch)
            && let Some(outcome) = &state.outcome
        {
            return Some(outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        state.succeeded = state.latest_success();
        state.began = Some((now, epoch));
        state.outcome = Some(outcome.clone());
        drop(state);
        let read = Box::pin(read());
        runtime.spawn(async move { sender.send_replace(Some(read.await)) });
        Some(outcome)
    }
}

impl State {
    fn latest_success(&self) -> Option<Monotonic> {
        let outcome = self.outcome.as_ref().and_then(|outcome| *outcome.borrow());
        match (self.began, outcome) {
            (Some((began, _)), Some(true)) => Some(began).max(self.succeeded),
            _ => self.succeeded,
        }
    }

    fn is_recent(&self, now: Monotonic, epoch: u64) -> bool {
        self.began
            .is_some_and(|(began, at)| at == epoch && now.since(began) < INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::testing::ManualClock;

    #[derive(Clone)]
    struct Reads {
        hand: ManualClock,
        reading: Arc<Reading>,
        begun: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
    }

    impl Reads {
        fn new(permits: usize) -> Self {
            Self {
                hand: ManualClock::new(),
                reading: Arc::default(),
                begun: Arc::default(),
                gate: Arc::new(Semaphore::new(permits)),
            }
        }

        async fn run(&self, epoch: u64, is_read: bool) -> bool {
            let (begun, gate) = (self.begun.clone(), self.gate.clone());
            let read = move || async move {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                is_read
            };
            self.reading.run(&self.hand.clock(), epoch, read).await
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        fn answer(&self, epoch: u64) -> Option<bool> {
            self.reading.answer(self.hand.clock().now(), epoch)
        }
    }

    #[tokio::test]
    async fn many_at_once_share_one_read() {
        let reads = Reads::new(0);
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let reads = reads.clone();
                tokio::spawn(async move { reads.run(0, true).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(reads.answer(0), None);
        reads.gate.add_permits(1);
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert_eq!((reads.begun(), reads.answer(0)), (1, Some(true)));
    }

    #[tokio::test]
    async fn next_read_is_a_second_later_or_after_a_change() {
        let reads = Reads::new(100);
        assert!(!reads.run(0, false).await);
        assert!(!reads.run(0, true).await, "the answer of the failed read");
        reads.hand.advance(INTERVAL);
        assert!(reads.run(0, true).await);
        assert!(reads.run(0, false).await, "the answer of the read before");
        assert!(!reads.run(1, false).await, "a change was announced");
        assert_eq!(reads.begun(), 3);
    }

    #[tokio::test]
    async fn age_is_that_of_the_latest_read_that_succeeded() {
        let reads = Reads::new(100);
        let is_older = |age| reads.reading.is_older(reads.hand.clock().now(), age);
        reads.reading.read_at(reads.hand.clock().now());
        for is_read in [true, false] {
            reads.hand.advance(INTERVAL * 3);
            assert!(is_older(INTERVAL * 2));
            assert_eq!(reads.run(0, is_read).await, is_read);
            assert_eq!(is_older(INTERVAL * 2), !is_read);
        }
        reads.hand.advance(INTERVAL);
        assert!(reads.run(0, true).await && !is_older(INTERVAL));
    }

    #[tokio::test]
    async fn client_that_goes_away_stops_no_read() {
        let reads = Reads::new(0);
        for _ in 0..100 {
            let first = tokio::spawn({
                let reads = reads.clone();
                async move { reads.run(0, true).await }
            });
            tokio::task::yield_now().await;
            first.abort();
        }
        reads.gate.add_permits(1);
        assert!(reads.run(0, false).await);
        assert_eq!(reads.begun(), 1);
    }

    #[test]
    fn read_whose_runtime_is_gone_has_failed() {
        let reads = Reads::new(0);
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let first = runtime();
        first.block_on(async {
            let reads = reads.clone();
            tokio::spawn(async move { reads.run(0, true).await });
            tokio::task::yield_now().await;
        });
        drop(first);
        assert_eq!(reads.answer(0), Some(false));
        reads.hand.advance(INTERVAL);
        reads.gate.add_permits(1);
        assert!(runtime().block_on(reads.run(0, true)));
    }
}
