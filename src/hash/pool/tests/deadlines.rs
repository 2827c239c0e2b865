//! Jobs that are late.

use super::*;

#[tokio::test]
async fn deadline_ends_the_wait_and_frees_the_place() {
    let deadline = Duration::from_millis(10);
    let parked = Parked::new(HashPool::builder().deadline(deadline).unwrap());
    let began = Instant::now();
    let running = parked.occupy(1);
    let error = parked.verify(client(1)).await.unwrap_err();
    assert_eq!(error.kind(), PoolErrorKind::TimedOut);
    assert!(error.retry_after().is_some());
    assert!(began.elapsed() >= deadline);
    assert_eq!(parked.pool.queued(), 0);
    // The one that runs is not waited for any longer either.
    for job in running {
        assert_eq!(kind(job.await), PoolErrorKind::TimedOut);
    }
    assert_eq!((parked.pool.hashes_run(), parked.pool.running()), (1, 1));
}

/// To Tokio, nothing runs while a thread of the pool does: it would move paused time on to the next timer.
#[tokio::test(start_paused = true)]
async fn paused_time_ends_no_wait() {
    let pool = HashPool::builder().build();
    let began = tokio::time::Instant::now();
    let hash = pool.hash(&HashPolicy::default(), &key()).await.unwrap();
    assert!(pool.verify(&hash, &key()).await.unwrap());
    pool.verify_dummy(&HashPolicy::default()).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Those who issue keys wait longer than requests.
#[tokio::test]
async fn new_hashes_may_wait_for_thirty_seconds() {
    let hand = ManualClock::new();
    let parked = Parked::new(HashPool::builder().clock(hand.clock()));
    let running = parked.occupy(1);
    let pool = parked.pool.clone();
    let hash = |seconds: u64| {
        hand.advance(Duration::from_secs(seconds));
        let pool = pool.clone();
        let mut hash: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { pool.hash(&small(), &key()).await });
        assert!(poll(&mut hash).is_pending());
        hash
    };
    let (late, in_time) = (hash(0), hash(1));
    hand.advance(Duration::from_secs(29));
    parked.release(2);
    assert_eq!(kind(late.await), PoolErrorKind::TimedOut);
    assert!(in_time.await.is_ok());
    drop(running);
}

#[tokio::test]
async fn late_job_is_never_begun() {
    let hand = ManualClock::new();
    let parked = Parked::new(HashPool::builder().clock(hand.clock()));
    let running = parked.occupy(1);
    let late = parked.waiting(client(1));
    hand.advance(Duration::from_millis(1));
    let in_time = parked.waiting(client(1));
    hand.advance(Duration::from_millis(7_999));
    parked.release(2);
    assert_eq!(kind(late.await), PoolErrorKind::TimedOut);
    assert!(in_time.await.unwrap());
    // Its deadline is that of the late one: whether its answer comes before that is open.
    for job in running {
        let answer = job.await.map_err(|error| error.kind());
        assert!(matches!(answer, Ok(true) | Err(PoolErrorKind::TimedOut)), "{answer:?}");
    }
    assert_eq!(parked.pool.hashes_run(), 2);
}

#[tokio::test]
async fn late_jobs_leave_before_anyone_is_refused() {
    let hand = ManualClock::new();
    let parked = Parked::new(HashPool::builder().clock(hand.clock()).queue_per_worker(2).unwrap());
    let _running = parked.occupy(1);
    let late = [parked.waiting(client(1)), parked.waiting(client(1))];
    assert!(matches!(parked.sent(client(1)).1, Poll::Ready(Err(_))));
    hand.advance(Duration::from_secs(8));
    let newcomer = parked.waiting(client(1));
    for job in late {
        assert_eq!(kind(job.await), PoolErrorKind::TimedOut);
    }
    parked.release(2);
    assert!(newcomer.await.unwrap());
}
