//! The handle of the queue between requests and the sink.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::error::UsageError;
use super::event::UsageEvent;
use super::flusher::Flusher;
use super::queue::{MeterCounts, Queue};
use super::sink::UsageSink;
use crate::clock::Clock;
use crate::error::ConfigError;

/// Takes events, and has them stored in the background. A request never waits for it.
///
/// Events wait in a queue of bounded length. While the sink is down the same batch is sent again and again; once the queue is full,
/// new events are dropped, which is counted: at all times `accepted = stored + dropped + queued`.
///
/// ```
/// use tower_api_key::key::{KeyId, OrganizationId, Timestamp};
/// use tower_api_key::usage::{MemoryUsage, Meter, UsageEvent, UsageExt, UsageOf, UsageRange};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let usage = MemoryUsage::new();
/// let meter = Meter::builder().start(usage.clone())?;
/// let (acme, key, now) = (OrganizationId::new(), KeyId::new(), Timestamp::now());
/// meter.record(UsageEvent::new(acme, key, now).route("nightly-report"))?;
/// meter.close().await;
/// let counts = meter.counts();
/// assert_eq!((counts.accepted, counts.stored, counts.dropped, counts.queued), (1, 1, 0, 0));
///
/// let today = UsageRange::new(UsageOf::Key(acme, key), now, now.after(std::time::Duration::from_secs(1)))?;
/// assert_eq!(usage.summary(today).await?.requests, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Meter {
    queue: Arc<Queue>,
    /// Tells the flusher to end once nobody has the meter any more.
    _last: Arc<Closing>,
    is_done: watch::Receiver<bool>,
}

struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Settings of a [`Meter`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MeterBuilder {
    length: usize,
    interval: Duration,
    clock: Clock,
}

impl Meter {
    /// How many events wait at most, unless it is set.
    pub const QUEUE: usize = 65_536;

    /// A meter with other settings.
    pub fn builder() -> MeterBuilder {
        MeterBuilder {
            length: Self::QUEUE,
            interval: Duration::from_millis(500),
            clock: Clock::system(),
        }
    }

    /// Takes an event that no layer made: of a job, or of a check without HTTP. It goes the way of all others.
    ///
    /// # Errors
    /// [`FromTheFuture`](super::UsageErrorKind::FromTheFuture) and [`TooMuch`](super::UsageErrorKind::TooMuch): the event is not one, and is not
    /// counted. [`QueueFull`](super::UsageErrorKind::QueueFull) and [`Closed`](super::UsageErrorKind::Closed): it was dropped, which is counted.
    pub fn record(&self, event: UsageEvent) -> Result<(), UsageError> {
        event.check(self.queue.clock.wall())?;
        self.queue.offer(Arc::new(event))
    }

    /// How many events there were so far.
    pub fn counts(&self) -> MeterCounts {
        self.queue.counts()
    }

    /// Takes no more events, and returns once all that were taken are stored; after 10 seconds without that those that are left are
    /// dropped, and counted.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (queue, mut is_done) = (self.queue.clone(), self.is_done.clone());
        async move {
            queue.close();
            // An error says that the flusher is gone, with its runtime.
            let _ = is_done.wait_for(|is_done| *is_done).await;
        }
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

impl MeterBuilder {
    /// How many events wait at most. Default: 65,536, of about 300 bytes each.
    ///
    /// # Errors
    /// If it is not between 1 and 16,777,216.
    pub fn queue(mut self, events: usize) -> Result<Self, ConfigError> {
        if !(1..=1 << 24).contains(&events) {
            let problem = format!("must be between 1 and 16777216, got {events}");
            return Err(ConfigError::new("queue of the meter", problem));
        }
        self.length = events;
        Ok(self)
    }

    /// How long an event waits at most until it is sent, if the sink is idle. Default: half a second.
    ///
    /// # Errors
    /// If it is not between 10 milliseconds and a minute.
    pub fn interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&interval) {
            let problem = format!("must be between 10ms and 1min, got {interval:?}");
            return Err(ConfigError::new("interval of the meter", problem));
        }
        self.interval = interval;
        Ok(self)
    }

    /// The clock by which events have their times. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Begins to store events in this sink, on the runtime of the caller.
    ///
    /// # Errors
    /// If it is not called within a tokio runtime.
    pub fn start(self, sink: impl UsageSink) -> Result<Meter, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::new("meter", "must be started within a tokio runtime"))?;
        let queue = Arc::new(Queue::new(self.length, self.clock));
        let (done, is_done) = watch::channel(false);
        let flusher = Flusher::new(queue.clone(), sink, self.interval);
        runtime.spawn(async move {
            flusher.run().await;
            // Nobody may wait for it.
            let _ = done.send(true);
        });
        Ok(Meter {
            _last: Arc::new(Closing(queue.clone())),
            queue,
            is_done,
        })
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
