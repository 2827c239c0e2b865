//! Hashes of new keys.

use super::*;

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
