//! The task that has events stored.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::batch::{UsageBatch, UsageSource};
use super::error::{UsageError, UsageErrorKind};
use super::queue::{MeterCounts, Queue};
use super::sink::UsageSink;

/// How long a closed meter goes on until it drops what is left.
const CLOSING: Duration = Duration::from_secs(10);
/// Between two attempts with the same batch: this at first, then twice as long each time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a sink may take for a batch. After that nobody knows whether it has taken it.
const LONGEST_WRITE: Duration = Duration::from_secs(30);
/// How late it is noticed meanwhile that the meter was closed.
const LOOK: Duration = Duration::from_millis(250);

/// Takes events from the queue, numbers them, and sends batches to a sink, one at a time.
pub(super) struct Flusher<K> {
    queue: Arc<Queue>,
    /// Shared with the write under way, which is not a part of this.
    sink: Arc<K>,
    interval: Duration,
    source: UsageSource,
    next: u64,
    /// Events of the batch that is sent.
    under_way: u64,
    /// Since when the meter is closed.
    closed_at: Option<Instant>,
    /// The counts that metrics have.
    reported: MeterCounts,
}

impl<K: UsageSink> Flusher<K> {
    pub(super) fn new(queue: Arc<Queue>, sink: K, interval: Duration) -> Self {
        Self {
            queue,
            sink: Arc::new(sink),
            interval,
            source: UsageSource::new(),
            next: 0,
            under_way: 0,
            closed_at: None,
            reported: MeterCounts::default(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            // Before the events: what was offered before the meter was closed is in the queue then.
            let is_closed = self.is_closed();
            let sent = match self.take() {
                Some(batch) => self.send(batch).await,
                None if is_closed => return,
                None => 0,
            };
            self.report();
            if sent == UsageBatch::MOST || is_closed {
                tokio::task::yield_now().await;
            } else {
                // Not before there is a batch to make, so that each of them has many events. A timeout is the end of the interval.
                let _ = timeout(self.interval, self.queue.work.notified()).await;
            }
        }
    }

    /// Metrics are recorded here, and not by requests.
    fn report(&mut self) {
        let now = self.queue.counts();
        let reported = std::mem::replace(&mut self.reported, now);
        if now != reported {
            let [accepted, stored, dropped] = [
                now.accepted - reported.accepted,
                now.stored - reported.stored,
                now.dropped - reported.dropped,
            ];
            #[cfg(feature = "metrics")]
            crate::telemetry::usage_events(accepted, stored, dropped, now.queued);
            tracing::debug!(accepted, stored, dropped, queued = now.queued, "usage events");
        }
    }

    fn is_closed(&mut self) -> bool {
        let is_closed = self.queue.is_closed.load(Ordering::SeqCst);
        if is_closed {
            self.closed_at.get_or_insert_with(Instant::now);
        }
        is_closed
    }

    /// The next batch, if there are events.
    fn take(&mut self) -> Option<Arc<UsageBatch>> {
        let now = self.queue.now();
        let events = std::iter::from_fn(|| self.queue.events.pop()).take(UsageBatch::MOST);
        let events: Vec<_> = events.map(|ended| ended.event(now)).collect();
        if events.is_empty() {
            return None;
        }
        let batch = UsageBatch::new(self.source, self.next, events);
        self.next = batch.end();
        Some(Arc::new(batch))
    }

    /// Sends a batch until its outcome is known; how many events it has. The batch stays the same, so that it counts once whatever an
    /// earlier attempt did.
    async fn send(&mut self, batch: Arc<UsageBatch>) -> usize {
        let events = batch.events.len();
        self.under_way = events as u64;
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.write(&batch).await {
                Ok(()) => {
                    self.under_way = 0;
                    self.queue.stored.fetch_add(events as u64, Ordering::SeqCst);
                    return events;
                }
                Err(error) => {
                    let is_refused = error.kind() == UsageErrorKind::Refused;
                    let is_first = pause == SHORTEST_PAUSE;
                    let error: &(dyn Error + 'static) = &error;
                    if is_refused {
                        tracing::error!(error, events, "the sink refused usage, which is counted as dropped");
                        self.drop_batch();
                        return events;
                    }
                    if is_first {
                        tracing::warn!(
                            error,
                            events,
                            "usage could not be stored, and is sent again until it is"
                        );
                    }
                }
            }
            if self.is_over() {
                tracing::error!(
                    events,
                    "the meter was closed, and usage could not be stored: it is dropped"
                );
                self.drop_batch();
                self.queue.drop_all();
                return events;
            }
            self.report();
            // Woken, it may be that the meter was closed, and has less time.
            let _ = timeout(pause, self.queue.work.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Writes a batch once, in a task of its own: a sink that panics ends nothing else.
    async fn write(&mut self, batch: &Arc<UsageBatch>) -> Result<(), UsageError> {
        let (sink, batch) = (self.sink.clone(), batch.clone());
        let mut write = tokio::spawn(async move { sink.write(batch).await });
        let end = Instant::now() + LONGEST_WRITE;
        // In pieces: a meter that is closed meanwhile has less time.
        while Instant::now() < end && !self.is_over() {
            match timeout(LOOK, &mut write).await {
                Ok(Ok(written)) => return written,
                Ok(Err(panic)) => return Err(UsageError::with_source(UsageErrorKind::Unknown, panic)),
                Err(_) => {}
            }
        }
        write.abort();
        Err(UsageError::with_source(
            UsageErrorKind::Unknown,
            "the sink did not answer in time",
        ))
    }

    /// Whether the meter was closed, and its time is over.
    fn is_over(&mut self) -> bool {
        self.is_closed() && self.closed_at.is_some_and(|at| at.elapsed() >= CLOSING)
    }

    fn drop_batch(&mut self) {
        let events = std::mem::take(&mut self.under_way);
        self.queue.dropped.fetch_add(events, Ordering::SeqCst);
    }
}

/// Also when its runtime ends before the meter is closed: what is left is counted then.
impl<K> Drop for Flusher<K> {
    fn drop(&mut self) {
        let events = std::mem::take(&mut self.under_way);
        self.queue.dropped.fetch_add(events, Ordering::SeqCst);
        self.queue.close();
        self.queue.end();
    }
}
