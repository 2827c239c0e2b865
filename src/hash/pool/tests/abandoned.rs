//! Callers that go away.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

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
