//! Hashes of many new keys.

use super::*;

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
        // Each newcomer takes a place of the client with the most, and comes from a network of its own.
        let from = |number: u8| ClientGroup::of(Some(IpAddr::V4(Ipv4Addr::new(192, 0, number, 1))));
        let _others: Vec<_> = (1..=newcomers).map(|number| parked.waiting(from(number))).collect();
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
