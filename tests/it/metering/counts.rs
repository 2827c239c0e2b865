//! The queue: what is stored, and what is dropped, adds up at all times.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_api_key::key::{KeyId, OrganizationId, Timestamp};
use tower_api_key::usage::{
    MemoryUsage, Meter, MeterCounts, UsageBatch, UsageError, UsageErrorKind, UsageEvent, UsageExt, UsageOf, UsageRange,
    UsageSink, UsageSource,
};

fn event() -> UsageEvent {
    UsageEvent::new(OrganizationId::new(), KeyId::new(), Timestamp::now())
}

#[track_caller]
fn assert_counts(counts: MeterCounts, expected: [u64; 4]) {
    let MeterCounts {
        accepted,
        stored,
        dropped,
        queued,
        ..
    } = counts;
    assert_eq!([accepted, stored, dropped, queued], expected, "{counts:?}");
}

/// A sink that answers as it is told, and takes a batch before that or not.
#[derive(Clone, Default)]
struct Moody {
    usage: MemoryUsage,
    seen: Arc<Mutex<Vec<(UsageSource, u64, usize)>>>,
    answers: Arc<Mutex<Vec<(bool, UsageErrorKind)>>>,
    is_down: Arc<AtomicBool>,
}

impl UsageSink for Moody {
    async fn write(&self, batch: Arc<UsageBatch>) -> Result<(), UsageError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(UsageErrorKind::Unavailable.into());
        }
        self.seen
            .lock()
            .unwrap()
            .push((batch.source, batch.first, batch.events.len()));
        let answer = self.answers.lock().unwrap().pop();
        match answer {
            None => self.usage.write(batch).await,
            Some((takes_it, kind)) => {
                if takes_it {
                    self.usage.write(batch).await?;
                }
                Err(kind.into())
            }
        }
    }
}

async fn requests(usage: &MemoryUsage) -> u64 {
    let now = Timestamp::now();
    let range = UsageRange::new(
        UsageOf::Everyone,
        now.after(Duration::ZERO),
        now.after(Duration::from_secs(1)),
    );
    usage.summary(range.unwrap()).await.unwrap().requests
}

#[tokio::test(start_paused = true)]
async fn full_queue_drops_what_is_new_and_counts_it() {
    let sink = Moody::default();
    sink.is_down.store(true, Ordering::SeqCst);
    let meter = Meter::builder().queue(10).unwrap().start(sink.clone()).unwrap();
    for number in 0..25 {
        let taken = meter.record(event()).map_err(|error| error.kind());
        let expected = if number < 10 {
            Ok(())
        } else {
            Err(UsageErrorKind::QueueFull)
        };
        assert_eq!(taken, expected, "{number}");
    }
    assert_counts(meter.counts(), [25, 0, 15, 10]);
    // An hour without the sink: what waits stays, and there is room again for as much as it is trying to send.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_counts(meter.counts(), [25, 0, 15, 10]);
    sink.is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_counts(meter.counts(), [25, 10, 15, 0]);
    assert_eq!(requests(&sink.usage).await, 10);
}

#[tokio::test(start_paused = true)]
async fn batch_that_may_have_been_taken_is_sent_again_and_counts_once() {
    let sink = Moody::default();
    *sink.answers.lock().unwrap() = vec![
        (true, UsageErrorKind::Unknown),
        (false, UsageErrorKind::Busy),
        (true, UsageErrorKind::Unavailable),
    ];
    let meter = Meter::builder().start(sink.clone()).unwrap();
    for _ in 0..700 {
        meter.record(event()).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_counts(meter.counts(), [700, 700, 0, 0]);
    assert_eq!(requests(&sink.usage).await, 700);
    let seen = sink.seen.lock().unwrap().clone();
    let (first, rest) = seen.split_at(4);
    assert!(
        first.iter().all(|one| *one == first[0]),
        "the same batch each time: {first:?}"
    );
    assert_eq!(
        rest.iter().map(|(_, _, events)| events).sum::<usize>() + first[0].2,
        700
    );
    assert_eq!(rest[0].1, first[0].1 + first[0].2 as u64, "without a gap");
}

#[tokio::test(start_paused = true)]
async fn refused_batch_is_dropped_and_counted() {
    let sink = Moody::default();
    sink.answers.lock().unwrap().push((false, UsageErrorKind::Refused));
    let meter = Meter::builder().start(sink.clone()).unwrap();
    for _ in 0..3 {
        meter.record(event()).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_counts(meter.counts(), [3, 2, 1, 0]);
    assert_eq!(requests(&sink.usage).await, 2);
}

#[tokio::test(start_paused = true)]
async fn close_stores_what_waits_and_takes_no_more() {
    let sink = Moody::default();
    let meter = Meter::builder()
        .interval(Duration::from_secs(60))
        .unwrap()
        .start(sink.clone())
        .unwrap();
    for _ in 0..2000 {
        meter.record(event()).unwrap();
    }
    meter.clone().close().await;
    assert_counts(meter.counts(), [2000, 2000, 0, 0]);
    assert_eq!(meter.record(event()).unwrap_err().kind(), UsageErrorKind::Closed);
    assert_counts(meter.counts(), [2001, 2000, 1, 0]);
    assert_eq!(requests(&sink.usage).await, 2000);
}

#[tokio::test(start_paused = true)]
async fn close_ends_within_ten_seconds_without_the_sink() {
    let sink = Moody::default();
    sink.is_down.store(true, Ordering::SeqCst);
    let meter = Meter::builder().start(sink).unwrap();
    for _ in 0..2000 {
        meter.record(event()).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let began = tokio::time::Instant::now();
    meter.close().await;
    assert!(began.elapsed() <= Duration::from_secs(16), "{:?}", began.elapsed());
    assert_counts(meter.counts(), [2000, 0, 2000, 0]);
}

/// A sink that never answers does not keep a program from ending.
#[tokio::test(start_paused = true)]
async fn close_ends_while_the_sink_hangs() {
    struct Hanging;
    impl UsageSink for Hanging {
        async fn write(&self, _: Arc<UsageBatch>) -> Result<(), UsageError> {
            std::future::pending().await
        }
    }
    let meter = Meter::builder().start(Hanging).unwrap();
    for _ in 0..2000 {
        meter.record(event()).unwrap();
    }
    // In the middle of a write.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = tokio::time::Instant::now();
    meter.close().await;
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
    assert_counts(meter.counts(), [2000, 0, 2000, 0]);
}

/// A program that forgets to close it loses nothing while its runtime lives.
#[tokio::test(start_paused = true)]
async fn last_handle_that_is_dropped_closes_the_meter() {
    let sink = Moody::default();
    let meter = Meter::builder().start(sink.clone()).unwrap();
    let other = meter.clone();
    drop(meter);
    other.record(event()).unwrap();
    drop(other);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(requests(&sink.usage).await, 1);
    assert_eq!(Arc::strong_count(&sink.seen), 1, "the flusher has ended");
}

#[tokio::test]
async fn impossible_events_are_no_events() {
    let meter = Meter::builder().start(MemoryUsage::new()).unwrap();
    let now = Timestamp::now();
    let of = |at| UsageEvent::new(OrganizationId::new(), KeyId::new(), at);
    let mut many = of(now);
    many.tokens = u64::MAX;
    let mut dear = of(now);
    dear.micro_usd = u64::MAX;
    for (event, kind) in [
        (of(now.after(Duration::from_secs(3700))), UsageErrorKind::FromTheFuture),
        (of(Timestamp::from_millis(i64::MAX)), UsageErrorKind::FromTheFuture),
        (many, UsageErrorKind::TooMuch),
        (dear, UsageErrorKind::TooMuch),
    ] {
        assert_eq!(meter.record(event).unwrap_err().kind(), kind);
    }
    assert_counts(meter.counts(), [0, 0, 0, 0]);
    // Late ones are events, of their own day.
    meter.record(of(Timestamp::from_millis(0))).unwrap();
    meter.record(of(Timestamp::from_millis(i64::MIN))).unwrap();
    meter.close().await;
    assert_counts(meter.counts(), [2, 2, 0, 0]);
}

#[test]
fn meter_needs_a_runtime_and_possible_settings() {
    assert!(Meter::builder().start(MemoryUsage::new()).is_err());
    assert!(Meter::builder().queue(0).is_err() && Meter::builder().queue(1 << 25).is_err());
    for interval in [Duration::ZERO, Duration::from_secs(61)] {
        assert!(Meter::builder().interval(interval).is_err());
    }
}

/// At every moment, from every thread: nothing is counted that did not happen, and nothing that did is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_add_up_at_all_times() {
    let sink = Moody::default();
    let meter = Meter::builder().queue(64).unwrap().start(sink.clone()).unwrap();
    let counter = || Arc::new(AtomicU64::new(0));
    let (begun, done, taken) = (counter(), counter(), counter());
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (meter, is_over, begun, done) = (meter.clone(), is_over.clone(), begun.clone(), done.clone());
        std::thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let done = done.load(Ordering::SeqCst);
                let counts = meter.counts();
                let begun = begun.load(Ordering::SeqCst);
                assert!((done..=begun).contains(&counts.accepted), "{done} {begun} {counts:?}");
                assert_eq!(counts.accepted, counts.stored + counts.dropped + counts.queued);
            }
        })
    };
    let offering = (0..2).map(|_| {
        let (meter, begun, done, taken) = (meter.clone(), begun.clone(), done.clone(), taken.clone());
        std::thread::spawn(move || {
            for _ in 0..20_000 {
                begun.fetch_add(1, Ordering::SeqCst);
                taken.fetch_add(u64::from(meter.record(event()).is_ok()), Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let offering: Vec<_> = offering.collect();
    tokio::task::spawn_blocking(move || offering.into_iter().for_each(|thread| thread.join().unwrap()))
        .await
        .unwrap();
    meter.close().await;
    is_over.store(true, Ordering::SeqCst);
    watcher.join().unwrap();
    let taken = taken.load(Ordering::SeqCst);
    assert_counts(meter.counts(), [40_000, taken, 40_000 - taken, 0]);
    assert_eq!(requests(&sink.usage).await, taken);
}

/// A sink that panics is one that has not answered.
#[tokio::test(start_paused = true)]
async fn panic_of_the_sink_ends_nothing() {
    #[derive(Clone, Default)]
    struct Panicking(MemoryUsage, Arc<AtomicBool>);
    impl UsageSink for Panicking {
        async fn write(&self, batch: Arc<UsageBatch>) -> Result<(), UsageError> {
            assert!(self.1.swap(true, Ordering::SeqCst), "as it should");
            self.0.write(batch).await
        }
    }
    let sink = Panicking::default();
    let meter = Meter::builder().start(sink.clone()).unwrap();
    meter.record(event()).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    meter.record(event()).unwrap();
    meter.close().await;
    assert_counts(meter.counts(), [2, 2, 0, 0]);
    assert_eq!(requests(&sink.0).await, 2);
}

/// What could not be stored is counted, also if the program ends its runtime first.
#[test]
fn runtime_that_ends_drops_what_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let sink = Moody::default();
    sink.is_down.store(true, Ordering::SeqCst);
    let meter = runtime.block_on(async {
        let meter = Meter::builder().start(sink).unwrap();
        for _ in 0..1000 {
            meter.record(event()).unwrap();
        }
        // A batch is under way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        meter
    });
    drop(runtime);
    assert_counts(meter.counts(), [1000, 0, 1000, 0]);
    assert_eq!(meter.record(event()).unwrap_err().kind(), UsageErrorKind::Closed);
}
