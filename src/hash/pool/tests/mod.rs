//! The pool under load, by clients of several addresses: bounds, fairness, deadlines.

mod abandoned;
mod deadlines;
mod issuing;
mod many;
mod sharing;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
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
        pool.verify_for(&hash, &key, client, None, Box::new(|_| {}), true).await
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

fn small() -> HashPolicy {
    HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap())
}

fn key() -> ApiKey {
    ApiKey::from(String::from(KEY))
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
