//! The pool under load, by clients of several addresses: bounds, fairness, deadlines.

use std::collections::HashSet;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::*;
use crate::hash::params::Argon2Params;
use crate::testing::ManualClock;

const KEY: &str = "password";
const SMALL: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

type Verifying = Pin<Box<dyn Future<Output = Result<bool, PoolError>> + Send>>;

/// A pool whose workers stop before every hash until they are let go.
struct Parked {
    pool: HashPool,
    arrived: Receiver<ThreadId>,
    proceed: Sender<()>,
}

impl Parked {
    fn new(builder: HashPoolBuilder) -> Self {
        let (announce, arrived) = channel();
        let (proceed, wait) = channel();
        let wait = Mutex::new(wait);
        let pool = builder
            .before_each_hash(move || {
                let _ = announce.send(std::thread::current().id());
                // When the test is over, nothing is waited for.
                let _ = wait.lock().unwrap().recv();
            })
            .build();
        Self { pool, arrived, proceed }
    }

    /// One worker, a queue of `capacity`.
    fn one_worker(capacity: usize) -> Self {
        Self::new(HashPool::builder().queue_per_worker(capacity).unwrap())
    }

    /// Sends one job to each of the workers and returns when they are stopped at it.
    fn occupy(&self, workers: usize) -> Vec<Verifying> {
        let jobs = (0..workers)
            .map(|worker| {
                let mut job = self.verify(client(200));
                assert!(poll(&mut job).is_pending());
                self.arrived.recv().unwrap();
                assert_eq!(self.pool.running(), worker + 1);
                job
            })
            .collect();
        assert_eq!(self.pool.queued(), 0);
        jobs
    }

    fn verify(&self, client: ClientGroup) -> Verifying {
        verify(&self.pool, KEY, client)
    }

    /// A job that has reached the queue, or was refused.
    fn sent(&self, client: ClientGroup) -> (Verifying, Poll<Result<bool, PoolError>>) {
        let mut job = self.verify(client);
        let polled = poll(&mut job);
        (job, polled)
    }

    fn waiting(&self, client: ClientGroup) -> Verifying {
        let (job, polled) = self.sent(client);
        assert!(polled.is_pending(), "{polled:?}");
        job
    }

    fn release(&self, hashes: usize) {
        for _ in 0..hashes {
            self.proceed.send(()).unwrap();
        }
    }
}

fn verify(pool: &HashPool, key: &str, client: ClientGroup) -> Verifying {
    let (pool, key) = (pool.clone(), ApiKey::from(String::from(key)));
    Box::pin(async move {
        let (hash, key) = (SecretHash::new(SMALL).unwrap(), OwnedKey::from(&key));
        pool.verify_for(&hash, &key, client, Box::new(|_| {})).await
    })
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn client(number: u8) -> ClientGroup {
    ClientGroup::of(Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))))
}

fn kind<T: fmt::Debug>(result: Result<T, PoolError>) -> PoolErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn fast_schemes_need_no_thread_and_no_place() {
    let parked = Parked::one_worker(1);
    let _running = parked.occupy(1);
    let _queued = parked.waiting(client(1));
    let key = ApiKey::from(String::from(KEY));
    let hash = parked.pool.hash(&HashPolicy::sha256(), &key).await.unwrap();
    assert!(parked.pool.verify(&hash, &key).await.unwrap());
    parked.pool.verify_dummy(&HashPolicy::sha256()).await.unwrap();
    assert_eq!(parked.pool.hashes_run(), 1);
}

#[tokio::test]
async fn queue_is_bounded_and_shows_how_full_it_is() {
    let parked = Parked::one_worker(4);
    assert_eq!(parked.pool.capacity(), 4);
    let _running = parked.occupy(1);
    let mut jobs = Vec::new();
    for (number, half) in [(1, false), (2, false), (3, true), (4, true)] {
        jobs.push(parked.waiting(client(number)));
        assert_eq!(parked.pool.queued(), usize::from(number));
        assert_eq!(parked.pool.is_more_than_half_full(), half);
    }
    let (_, refused) = parked.sent(client(1));
    let Poll::Ready(Err(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.kind(), PoolErrorKind::Busy);
    let retry_after = error.retry_after().unwrap();
    assert!((Duration::from_secs(1)..=Duration::from_secs(60)).contains(&retry_after));
    assert_eq!(parked.pool.queued(), 4);
    parked.release(5);
    for job in jobs {
        assert!(job.await.unwrap());
    }
    assert_eq!(parked.pool.queued(), 0);
}

#[tokio::test]
async fn newcomer_displaces_newest_job_of_largest_client() {
    let parked = Parked::one_worker(4);
    let _running = parked.occupy(1);
    let mut flood: Vec<_> = (0..4).map(|_| parked.waiting(client(1))).collect();

    let newcomer = parked.waiting(client(2));
    assert_eq!(kind(flood.pop().unwrap().await), PoolErrorKind::Busy);
    assert_eq!(parked.pool.queued(), 4);
    assert!(flood.iter_mut().all(|job| poll(job).is_pending()));

    let (_, own) = parked.sent(client(1));
    assert!(matches!(own, Poll::Ready(Err(error)) if error.kind() == PoolErrorKind::Busy));
    assert_eq!(parked.pool.queued(), 4);

    parked.release(5);
    assert!(newcomer.await.unwrap());
    for job in flood {
        assert!(job.await.unwrap());
    }
}

#[tokio::test]
async fn newcomer_waits_for_one_turn_of_each_client() {
    let parked = Parked::one_worker(4);
    let running = parked.occupy(1);
    let mut flood: Vec<_> = (0..4).map(|_| parked.waiting(client(1))).collect();
    let newcomer = parked.waiting(client(2));
    assert_eq!(kind(flood.pop().unwrap().await), PoolErrorKind::Busy);

    parked.release(3);
    for job in running {
        assert!(job.await.unwrap());
    }
    assert!(flood.remove(0).await.unwrap());
    assert!(newcomer.await.unwrap());
    assert!(flood.iter_mut().all(|job| poll(job).is_pending()));
}

#[tokio::test]
async fn abandoned_wrong_keys_still_count_against_client() {
    for is_dummy in [false, true] {
        let parked = Parked::one_worker(4);
        let mut wrong = if is_dummy {
            let pool = parked.pool.clone();
            let policy = HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap());
            Box::pin(async move {
                pool.verify_dummy_for(&policy, client(1), Box::new(|_| {}))
                    .await
                    .map(|()| false)
            })
        } else {
            verify(&parked.pool, "wrong", client(1))
        };
        assert!(poll(&mut wrong).is_pending());
        parked.arrived.recv().unwrap();
        drop(wrong);
        let right = parked.waiting(client(2));
        parked.release(1);
        parked.arrived.recv().unwrap();

        // Its last turn is longer ago, and it comes first.
        let mut again = parked.waiting(client(1));
        let another = parked.waiting(client(2));
        parked.release(2);
        assert!(right.await.unwrap());
        assert!(another.await.unwrap());
        assert!(poll(&mut again).is_pending());
        parked.release(1);
        assert!(again.await.unwrap());
    }
}

#[tokio::test]
async fn ipv6_network_and_unknown_clients_are_one_group_each() {
    let parked = Parked::one_worker(2);
    let _running = parked.occupy(1);
    let group = |address: &str| ClientGroup::of(Some(address.parse().unwrap()));
    let _first = parked.waiting(group("2001:db8::1"));
    let second = parked.waiting(group("2001:db8::2"));
    let (_, third) = parked.sent(group("2001:db8::3"));
    assert!(matches!(third, Poll::Ready(Err(_))));
    let _other = parked.waiting(group("2001:db8:0:1::1"));
    assert_eq!(kind(second.await), PoolErrorKind::Busy);

    let parked = Parked::one_worker(2);
    let _running = parked.occupy(1);
    let _first = parked.waiting(ClientGroup::UNKNOWN);
    let _second = parked.waiting(ClientGroup::of(None));
    assert!(matches!(parked.sent(ClientGroup::UNKNOWN).1, Poll::Ready(Err(_))));
    assert!(parked.sent(client(1)).1.is_pending());
}

#[tokio::test]
async fn issuing_gets_a_place_during_a_flood() {
    let parked = Parked::one_worker(2);
    let _running = parked.occupy(1);
    let _flood: Vec<_> = (0..2).map(|_| parked.waiting(client(1))).collect();
    let pool = parked.pool.clone();
    let mut issuing: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
        let policy = HashPolicy::argon2id(Argon2Params::new(8, 1, 1)?);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(pool.hash(&policy, &ApiKey::from(String::from(KEY))).await?)
    });
    assert!(poll(&mut issuing).is_pending());
    parked.release(3);
    assert_eq!(issuing.await.unwrap().scheme(), "argon2id");
}

#[tokio::test]
async fn dropped_caller_frees_its_place_and_costs_no_hash() {
    let parked = Parked::one_worker(3);
    let running = parked.occupy(1);
    let first = parked.waiting(client(1));
    let second = parked.waiting(client(1));
    let third = parked.waiting(client(1));
    assert!(matches!(parked.sent(client(1)).1, Poll::Ready(Err(_))));

    drop(second);
    assert_eq!(parked.pool.queued(), 2);
    let fourth = parked.waiting(client(1));
    drop(first);
    drop(fourth);
    assert_eq!(parked.pool.queued(), 1);

    // The running one goes on without its caller, and the last one runs after it.
    drop(running);
    assert_eq!(parked.pool.running(), 1);
    parked.release(2);
    assert!(third.await.unwrap());
    assert_eq!(parked.pool.hashes_run(), 2);
    assert_eq!(parked.pool.running(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn aborted_callers_never_exceed_the_workers() {
    const WORKERS: usize = 2;
    let most = Arc::new(AtomicUsize::new(0));
    let threads = Arc::new(Mutex::new(HashSet::new()));
    let active = Arc::new(Mutex::new(None::<HashPool>));
    let pool = {
        let (most, threads, active) = (most.clone(), threads.clone(), active.clone());
        HashPool::builder()
            .workers(WORKERS)
            .unwrap()
            .before_each_hash(move || {
                threads.lock().unwrap().insert(std::thread::current().id());
                if let Some(pool) = &*active.lock().unwrap() {
                    most.fetch_max(pool.running(), Ordering::SeqCst);
                }
            })
            .build()
    };
    *active.lock().unwrap() = Some(pool.clone());

    for number in 0..200u8 {
        let task = tokio::spawn(verify(&pool, "wrong", client(number)));
        let watched = pool.clone();
        // Some are aborted while they wait, some while they run.
        while !task.is_finished() && watched.hashes_run() < u64::from(number) / 2 {
            tokio::task::yield_now().await;
        }
        task.abort();
    }
    // The pool is in order: it answers, and nothing is left of the others.
    assert!(verify(&pool, KEY, client(1)).await.unwrap());
    while pool.running() > 0 {
        tokio::task::yield_now().await;
    }
    *active.lock().unwrap() = None;
    assert_eq!(pool.queued(), 0);
    assert!(most.load(Ordering::SeqCst) <= WORKERS, "{most:?}");
    assert!(threads.lock().unwrap().len() <= WORKERS);
}

#[tokio::test]
async fn callers_aborted_while_a_hash_runs_add_no_hash() {
    let parked = Parked::new(HashPool::builder().workers(2).unwrap());
    let running = parked.occupy(2);
    for number in 0..200 {
        drop(parked.sent(client(number)));
    }
    drop(running);
    assert_eq!((parked.pool.running(), parked.pool.queued()), (2, 0));
    let last = parked.waiting(client(1));
    parked.release(3);
    assert!(last.await.unwrap());
    assert_eq!(parked.pool.hashes_run(), 3);
}

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

/// At the lower priority of the workers, a key that is issued on a busy machine would take seconds.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn issuing_has_the_priority_of_the_process() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pool = {
        let seen = seen.clone();
        let hook = move || {
            seen.lock()
                .unwrap()
                .push(rustix::process::getpriority_process(None).unwrap())
        };
        HashPool::builder().before_each_hash(hook).build()
    };
    let hash = pool.hash(&small(), &key()).await.unwrap();
    assert!(pool.verify(&hash, &key()).await.unwrap());
    pool.hash_many(&small(), &[key()]).await.unwrap();
    pool.hash(&small(), &key()).await.unwrap();
    let process = rustix::process::getpriority_process(None).unwrap();
    let worker = process.max(10);
    assert_eq!(*seen.lock().unwrap(), [process, worker, worker, process]);
}

#[tokio::test]
async fn issuing_counts_as_one_of_the_workers() {
    for workers in [1, 2] {
        let parked = Parked::new(HashPool::builder().workers(workers).unwrap());
        let mut running = Vec::new();
        for worker in 0..workers {
            let pool = parked.pool.clone();
            let mut issuing: Pin<Box<dyn Future<Output = _> + Send>> =
                Box::pin(async move { pool.hash(&small(), &key()).await.map(|_| true) });
            assert!(poll(&mut issuing).is_pending());
            running.push(issuing);
            if worker == 0 {
                parked.arrived.recv().unwrap();
            }
        }
        let check = parked.waiting(client(1));
        let mut left = workers + 1;
        while left > 0 {
            assert!(parked.pool.running() <= workers);
            parked.release(1);
            left -= 1;
        }
        for job in running {
            assert!(job.await.unwrap());
        }
        assert!(check.await.unwrap());
        assert_eq!(parked.pool.hashes_run(), workers as u64 + 1);
    }
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
    for job in running {
        assert!(job.await.unwrap());
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

#[tokio::test]
async fn dummy_runs_like_any_other_hash() {
    let parked = Parked::one_worker(1);
    let _running = parked.occupy(1);
    let policy = HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap());
    let _queued = parked.waiting(client(1));
    let refused = parked.pool.verify_dummy_for(&policy, client(1), Box::new(|_| {})).await;
    assert_eq!(kind(refused), PoolErrorKind::Busy);

    let pool = HashPool::builder().build();
    pool.verify_dummy(&policy).await.unwrap();
    assert_eq!(pool.hashes_run(), 1);
}

#[tokio::test]
async fn debug_shows_nothing_of_the_key() {
    let parked = Parked::one_worker(4);
    let _running = parked.occupy(1);
    let mut job = verify(&parked.pool, "acme_live_canary", client(1));
    assert!(poll(&mut job).is_pending());
    assert!(!format!("{:?}", parked.pool).contains("canary"));
}

fn small() -> HashPolicy {
    HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap())
}

fn key() -> ApiKey {
    ApiKey::from(String::from(KEY))
}

#[tokio::test]
async fn hash_many_takes_only_the_room_there_is() {
    let parked = Parked::one_worker(2);
    let _running = parked.occupy(1);
    let _other = parked.waiting(client(1));
    let pool = parked.pool.clone();
    let mut many: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
        let keys: Vec<ApiKey> = (0..8).map(|_| key()).collect();
        pool.hash_many(&small(), &keys).await
    });
    assert!(poll(&mut many).is_pending());
    assert_eq!(parked.pool.queued(), 2);
    parked.release(10);
    assert_eq!(many.await.unwrap().len(), 8);
}

#[tokio::test]
async fn hash_many_makes_up_for_displaced_jobs() {
    // Two of ours and one of another. Then four of ours, of which three are displaced.
    for (workers, per_worker, newcomers) in [(1, 3, 2), (2, 2, 3)] {
        let builder = HashPool::builder().workers(workers).unwrap();
        let parked = Parked::new(builder.queue_per_worker(per_worker).unwrap());
        let _running = parked.occupy(workers);
        let pool = parked.pool.clone();
        let mut many: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            let keys: Vec<ApiKey> = (0..6).map(|number| ApiKey::from(number.to_string())).collect();
            let hashes = pool.hash_many(&small(), &keys).await?;
            Ok::<_, PoolError>((pool, keys, hashes))
        });
        assert!(poll(&mut many).is_pending());
        // Each newcomer takes a place of the client with the most.
        let _others: Vec<_> = (1..=newcomers).map(|number| parked.waiting(client(number))).collect();
        assert_eq!(parked.pool.queued(), parked.pool.capacity());
        parked.release(100);
        let (pool, keys, hashes) = many.await.unwrap();
        assert_eq!(hashes.len(), keys.len());
        for (hash, key) in hashes.iter().zip(&keys) {
            assert!(pool.verify(hash, key).await.unwrap());
        }
    }
}

#[tokio::test]
async fn hash_many_is_busy_without_any_room() {
    let parked = Parked::one_worker(1);
    let _running = parked.occupy(1);
    let pool = parked.pool.clone();
    let mut first: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move { pool.hash(&small(), &key()).await });
    assert!(poll(&mut first).is_pending());
    let many = parked.pool.hash_many(&small(), &[key()]).await;
    assert_eq!(kind(many), PoolErrorKind::Busy);
}

#[tokio::test]
async fn hash_many_has_two_jobs_for_each_worker() {
    let parked = Parked::new(HashPool::builder().workers(2).unwrap());
    let running = parked.occupy(2);
    let pool = parked.pool.clone();
    let mut many: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
        let keys: Vec<ApiKey> = (0..20).map(|_| key()).collect();
        pool.hash_many(&small(), &keys).await
    });
    assert!(poll(&mut many).is_pending());
    assert_eq!(parked.pool.queued(), 4);
    parked.release(22);
    assert_eq!(many.await.unwrap().len(), 20);
    for job in running {
        assert!(job.await.unwrap());
    }
    assert_eq!((parked.pool.running(), parked.pool.queued()), (0, 0));
    assert_eq!(parked.pool.hashes_run(), 22);
}

#[tokio::test]
async fn dropped_hash_many_lets_go_of_its_keys() {
    let parked = Parked::new(HashPool::builder().workers(2).unwrap());
    let keys: Vec<ApiKey> = (0..20).map(|_| key()).collect();
    let owned: Vec<OwnedKey> = keys.iter().map(OwnedKey::from).collect();
    // More than the list of keys and the one here.
    let held = || {
        owned
            .iter()
            .map(OwnedKey::holders)
            .filter(|holders| *holders > 2)
            .count()
    };
    let pool = parked.pool.clone();
    let mut many: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(async move { pool.hash_many(&small(), &keys).await });
    assert!(poll(&mut many).is_pending());
    for _ in 0..2 {
        parked.arrived.recv().unwrap();
    }
    assert_eq!((parked.pool.running(), parked.pool.queued()), (2, 2));
    // Of the four that are pending, and of the one that waits for a place.
    assert_eq!(held(), 5);
    drop(many);
    assert_eq!((parked.pool.running(), parked.pool.queued()), (2, 0));
    parked.release(20);
    while parked.pool.running() > 0 {
        tokio::task::yield_now().await;
    }
    while owned.iter().any(|key| key.holders() > 1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(parked.pool.hashes_run(), 2);
}
