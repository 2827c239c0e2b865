//! Shared loads: which requests share one, and which must not. Gates make every race happen in one order.

use std::time::Duration;

use crate::support::rows::Rows as _;
use tokio::task::JoinHandle;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyRecord, KeyStatus};
use tower_api_key::store::KeyStore;
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{AuthContext, IssuedKey, Rejection, RejectionKind};

use crate::house::brake::Brake;
use crate::house::*;

type Checked = Result<AuthContext, Rejection>;

impl House {
    /// A check in a task of its own, which has run until it waits.
    async fn begin(&self, key: &str) -> JoinHandle<Checked> {
        let check = tokio::spawn(self.authenticator.check(presented(key)));
        settle().await;
        check
    }

    /// All reads wait at the barrier.
    fn barrier(&self) -> Barrier {
        let barrier = Barrier::new();
        self.faults().every_find(Fault::Before(barrier.clone()));
        barrier
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_share_one_load() {
    let house = House::new().await;
    let issued = house.key().await;
    let barrier = house.barrier();
    let mut waiters = Vec::new();
    for _ in 0..50 {
        waiters.push(house.begin(text(&issued)).await);
    }
    assert_eq!((barrier.arrivals(), house.authenticator.loads_in_flight()), (1, 1));
    barrier.open();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(house.faults().finds(), 1);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn first_waiter_that_leaves_strands_no_other() {
    let house = House::new().await;
    let issued = house.key().await;
    let barrier = house.barrier();
    let leader = house.begin(text(&issued)).await;
    let mut followers = Vec::new();
    for _ in 0..5 {
        followers.push(house.begin(text(&issued)).await);
    }
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    settle().await;
    assert_eq!(house.authenticator.loads_in_flight(), 1);
    barrier.open();
    for follower in followers {
        follower.await.unwrap().unwrap();
    }
    assert_eq!(house.faults().finds(), 1);
}

#[tokio::test(start_paused = true)]
async fn load_without_waiters_is_dropped() {
    let house = House::new().await;
    let issued = house.key().await;
    let barrier = house.barrier();
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(house.begin(text(&issued)).await);
    }
    for waiter in &waiters {
        assert_eq!(house.authenticator.loads_in_flight(), 1);
        waiter.abort();
        settle().await;
    }
    assert_eq!(house.authenticator.loads_in_flight(), 0);
    assert_eq!((barrier.arrivals(), house.faults().finds_in_progress()), (1, 0));
    // The next one is a new load, not a part of the dropped one.
    let next = house.begin(text(&issued)).await;
    assert_eq!(barrier.arrivals(), 2);
    barrier.open();
    next.await.unwrap().unwrap();
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn wrong_and_right_secret_do_not_share_a_load() {
    for is_known in [false, true] {
        for wrong_comes_first in [false, true] {
            let house = House::new().await;
            let issued = if is_known {
                house.known_key().await
            } else {
                house.key().await
            };
            let wrong = with_other_secret(text(&issued), 1);
            house.everything_changed();
            let barrier = house.barrier();
            let (right, wrong) = if wrong_comes_first {
                let wrong = house.begin(&wrong).await;
                (house.begin(text(&issued)).await, wrong)
            } else {
                (house.begin(text(&issued)).await, house.begin(&wrong).await)
            };
            assert_eq!((barrier.arrivals(), house.authenticator.loads_in_flight()), (2, 2));
            barrier.open();
            assert_eq!(kind(&wrong.await.unwrap()), RejectionKind::WrongSecret);
            right.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn request_after_a_change_gets_no_older_answer() {
    for is_known in [false, true] {
        let house = House::new().await;
        let issued = if is_known {
            house.known_key().await
        } else {
            house.key().await
        };
        house.everything_changed();
        let old = Barrier::new();
        house.faults().next_find(Fault::After(old.clone()));
        let early = house.begin(text(&issued)).await;
        old.reached(1).await;

        let rename = |record: &mut KeyRecord| record.name = "renamed".into();
        house.issuer.update(issued.record.id, rename).await.unwrap();
        let late = house.check(text(&issued)).await.unwrap();
        assert_eq!(late.name(), "renamed");
        assert_eq!(
            house.authenticator.loads_in_flight(),
            1,
            "the early one is still at the barrier"
        );

        old.open();
        // The early load's read is older than a known change: it reads again.
        assert_eq!(early.await.unwrap().unwrap().name(), "renamed");
        assert_eq!(house.check(text(&issued)).await.unwrap().name(), "renamed");
    }
}

#[tokio::test(start_paused = true)]
async fn revoke_during_a_load_reaches_all_waiters() {
    for is_known in [false, true] {
        let house = House::new().await;
        let issued = if is_known {
            house.known_key().await
        } else {
            house.key().await
        };
        house.everything_changed();
        let old = Barrier::new();
        house.faults().next_find(Fault::After(old.clone()));
        let mut waiters = Vec::new();
        for _ in 0..10 {
            waiters.push(house.begin(text(&issued)).await);
        }
        old.reached(1).await;
        house.issuer.revoke(issued.record.id, "lost").await.unwrap();
        old.open();
        for waiter in waiters {
            assert_eq!(kind(&waiter.await.unwrap()), RejectionKind::KeyRevoked);
        }
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_read_before_a_waiter_began_is_no_answer_to_it() {
    for time_passes in [true, false] {
        let house = House::new().await;
        let (key, record, secret) = unborn(&house.organization).await;
        let unknown = Barrier::new();
        house.faults().next_find(Fault::After(unknown.clone()));
        let early = house.begin(&key).await;
        unknown.reached(1).await;
        if time_passes {
            house.hand.advance(Duration::from_millis(1));
        }
        // It joins the load whose read is over already.
        let late = house.begin(&key).await;
        assert_eq!((house.faults().finds(), house.authenticator.loads_in_flight()), (1, 1));
        house.store.inner().insert_key(record, secret).await.unwrap();
        unknown.open();
        late.await.unwrap().unwrap();
        // The early request began before the key existed; either answer is right.
        let _ = early.await.unwrap();
        house.check(&key).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_is_shared_while_nothing_changes() {
    let house = House::new().await;
    let barrier = house.barrier();
    let first = house.begin(&unknown_key(1)).await;
    let second = house.begin(&unknown_key(1)).await;
    barrier.open();
    for waiter in [first, second] {
        assert_eq!(kind(&waiter.await.unwrap()), RejectionKind::UnknownKey);
    }
    assert_eq!(house.faults().finds(), 1);
}

#[tokio::test(start_paused = true)]
async fn lookup_has_two_unproven_loads_and_proven_ones_pass() {
    let house = House::new().await;
    let issued = house.known_key().await;
    let other = house.key().await;
    house.everything_changed();
    let barrier = house.barrier();
    let wrong = |n| with_other_secret(text(&issued), n);
    let first = house.begin(&wrong(1)).await;
    let second = house.begin(&wrong(2)).await;

    let rejection = house.check(&wrong(3)).await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Busy);
    assert!(rejection.retry_after().is_some());
    // The bound does not concern the key that was verified before, nor other lookups.
    let proven = house.begin(text(&issued)).await;
    let other = house.begin(text(&other)).await;
    // Nor another request with one of the two wrong keys.
    let third = house.begin(&wrong(2)).await;
    assert_eq!(house.authenticator.loads_in_flight(), 4);

    barrier.open();
    proven.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    for waiter in [first, second, third] {
        assert_eq!(kind(&waiter.await.unwrap()), RejectionKind::WrongSecret);
    }
    assert_eq!(house.refusal(&wrong(3)).await, RejectionKind::WrongSecret);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn process_has_4096_unproven_loads_and_proven_ones_pass() {
    let house = House::new().await;
    let known = house.known_key().await;
    let new = house.key().await;
    house.everything_changed();
    let barrier = Barrier::new();
    for _ in 0..64 {
        house.faults().next_find(Fault::Before(barrier.clone()));
    }
    let mut waiters = Vec::new();
    for n in 0..4096 {
        waiters.push(tokio::spawn(house.authenticator.check(presented(&unknown_key(n)))));
    }
    until(|| house.authenticator.loads_in_flight() == 4096).await;
    settle().await;
    // The others wait for their turn to read.
    assert_eq!(barrier.arrivals(), 64);
    assert_eq!(house.refusal(&unknown_key(4096)).await, RejectionKind::Busy);
    assert_eq!(house.refusal(text(&new)).await, RejectionKind::Busy);
    house.check(text(&known)).await.unwrap();

    barrier.open();
    for waiter in waiters {
        assert_eq!(kind(&waiter.await.unwrap()), RejectionKind::UnknownKey);
    }
    house.check(text(&new)).await.unwrap();
    house.is_at_rest().await;
}

/// A slow store, and more wrong keys from one network than may wait for it.
#[tokio::test(start_paused = true)]
async fn newcomer_of_another_network_has_a_place_in_a_flood_of_loads() {
    let house = House::new().await;
    let new = house.key().await;
    let barrier = house.barrier();
    let check = |key: &str, host: usize| {
        let from = format!("192.0.2.{}", host % 256);
        tokio::spawn(house.authenticator.check(presented_from(key, &from)))
    };
    let mut waiters: Vec<_> = (0..4096).map(|n| check(&unknown_key(n), n)).collect();
    until(|| house.authenticator.loads_in_flight() == 4096).await;
    waiters.push(check(&unknown_key(4096), 4096));
    until(|| waiters[4096].is_finished()).await;

    let new = tokio::spawn(house.authenticator.check(presented_from(text(&new), "198.51.100.1")));
    until(|| new.is_finished() || waiters[..4096].iter().any(JoinHandle::is_finished)).await;
    barrier.open();
    new.await.unwrap().unwrap();
    let mut busy = 0;
    for waiter in waiters {
        match kind(&waiter.await.unwrap()) {
            RejectionKind::Busy => busy += 1,
            other => assert_eq!(other, RejectionKind::UnknownKey),
        }
    }
    assert_eq!(busy, 2);
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn load_through_disable_and_enable_ends_with_the_last_state() {
    let house = House::with(HashPolicy::sha256(), |builder| builder).await;
    let issued = house.known_key().await;
    house.everything_changed();
    let old = Barrier::new();
    house.faults().next_find(Fault::After(old.clone()));
    let early = house.begin(text(&issued)).await;
    old.reached(1).await;
    house.issuer.disable(issued.record.id).await.unwrap();
    let enabled = house.issuer.enable(issued.record.id).await.unwrap();
    assert_eq!(enabled.status, KeyStatus::Active);
    old.open();
    early.await.unwrap().unwrap();
    house.check(text(&issued)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn loads_answered_late_are_not_mixed_up() {
    let house = House::new().await;
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(house.key().await);
    }
    let barrier = house.barrier();
    let mut waiters = Vec::new();
    for issued in &keys {
        waiters.push(house.begin(text(issued)).await);
    }
    barrier.open();
    for (waiter, issued) in waiters.into_iter().zip(&keys) {
        assert_eq!(waiter.await.unwrap().unwrap().key_id(), issued.record.id);
    }
    assert!(house.store.fence().is_some());
}

impl House {
    /// Another key changes, as all keys of an import do.
    async fn change_another(&self, other: &IssuedKey, n: u8) {
        let rename = |record: &mut KeyRecord| record.name = format!("imported {n}");
        self.issuer.update(other.record.id, rename).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn new_key_is_admitted_while_others_keep_changing() {
    let house = House::new().await;
    let (new, other) = (house.key().await, house.key().await);
    let barrier = house.barrier();
    let mut waiters = Vec::new();
    for n in 0..10_u8 {
        waiters.push(house.begin(text(&new)).await);
        house.change_another(&other, n).await;
    }
    // No more than the bound: the others wait for the later of the two.
    assert_eq!((barrier.arrivals(), house.authenticator.loads_in_flight()), (2, 2));
    barrier.open();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap().key_id(), new.record.id);
    }
    house.is_at_rest().await;
}

/// A stale key has no bound on its loads, and must not need one.
#[tokio::test(start_paused = true)]
async fn stale_key_needs_one_read_while_others_keep_changing() {
    let house = House::new().await;
    let known = house.known_key().await;
    let mut others = Vec::new();
    for _ in 0..30 {
        others.push(house.key().await);
    }
    house.everything_changed();
    let barrier = house.barrier();
    let mut waiters = Vec::new();
    for (n, other) in (0..).zip(&others) {
        waiters.push(house.begin(text(&known)).await);
        house.change_another(other, n).await;
    }
    // One read, but for keys that share its generation counter by chance, once in 4,096.
    assert!(barrier.arrivals() <= 3, "{} reads", barrier.arrivals());
    barrier.open();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap().key_id(), known.record.id);
    }
    house.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_key_is_rejected_while_others_keep_changing() {
    let house = House::new().await;
    let other = house.key().await;
    let barrier = house.barrier();
    let mut waiters = Vec::new();
    for n in 0..10_u8 {
        house.hand.advance(Duration::from_nanos(1));
        waiters.push(house.begin(&unknown_key(1)).await);
        house.change_another(&other, n).await;
    }
    house.hand.advance(Duration::from_nanos(1));
    barrier.open();
    for waiter in waiters {
        assert_eq!(kind(&waiter.await.unwrap()), RejectionKind::UnknownKey);
    }
    house.is_at_rest().await;
}

/// Two loads have read the key as disabled and are still hashing when it is enabled. A request after that has no slot for a
/// load of its own, and still must not be rejected as disabled.
#[tokio::test]
async fn older_load_at_the_bound_gives_no_outdated_admission() {
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let (key, other) = (house.key().await, house.key().await);
    house.issuer.disable(key.record.id).await.unwrap();
    let mut early = Vec::new();
    for n in 0..2_u8 {
        early.push(house.begin(text(&key)).await);
        until(|| house.faults().finds() == u64::from(n) + 1).await;
        until(|| house.faults().finds_in_progress() == 0).await;
        settle().await;
        house.change_another(&other, n).await;
    }
    brake.reached(1).await;
    house.issuer.enable(key.record.id).await.unwrap();
    let late = house.begin(text(&key)).await;
    assert_eq!((house.faults().finds(), house.authenticator.loads_in_flight()), (2, 2));

    brake.open();
    late.await.unwrap().unwrap();
    for early in early {
        // Either answer is right for the earlier requests.
        let _ = early.await.unwrap();
    }
    house.check(text(&key)).await.unwrap();
    house.is_at_rest().await;
}

/// The same for two loads that found the key unknown.
#[tokio::test(start_paused = true)]
async fn older_load_at_the_bound_gives_no_outdated_rejection() {
    for time_passes in [true, false] {
        let house = House::new().await;
        let other = house.key().await;
        let (key, record, secret) = unborn(&house.organization).await;
        let unknown = Barrier::new();
        let mut early = Vec::new();
        for n in 0..2_u8 {
            house.faults().next_find(Fault::After(unknown.clone()));
            early.push(house.begin(&key).await);
            unknown.reached(usize::from(n) + 1).await;
            house.change_another(&other, n).await;
        }
        house.store.inner().insert_key(record, secret).await.unwrap();
        if time_passes {
            house.hand.advance(Duration::from_millis(1));
        }
        let late = house.begin(&key).await;
        assert_eq!((house.faults().finds(), house.authenticator.loads_in_flight()), (2, 2));
        unknown.open();
        late.await.unwrap().unwrap();
        for early in early {
            let _ = early.await.unwrap();
        }
        house.check(&key).await.unwrap();
        house.is_at_rest().await;
    }
}
