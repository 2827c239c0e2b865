//! Places and turns of clients with several addresses.

use super::*;

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
