//! Clients that go away at every point where a check can wait: nothing is left behind, and the next client gets its answer.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use crate::support::rows::Rows as _;
use tower_api_key::RejectionKind;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyFormat, RateLimit};
use tower_api_key::limit::{Allowance, Charge, Decision, RateLimiter, Take};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Barrier, Fault};

use crate::house::brake::Brake;
use crate::house::*;

/// More than there are slots of any kind: for loads, for reads, in the queue.
const TIMES: usize = 200;

/// Polls a future this many times, lets other tasks run in between, and drops it. Returns whether it was ready before.
async fn poll_then_drop<T>(future: impl Future<Output = T>, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_once(future.as_mut()).await.is_some() {
            return true;
        }
        settle().await;
    }
    false
}

/// A limiter that waits a few turns before it answers, and counts waiting calls.
#[derive(Clone, Default)]
struct Turns {
    waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl RateLimiter for Turns {
    fn take(&self, _: &Charge<'_>) -> Take {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(self.waiting.clone());
        Take::Later(Box::pin(async move {
            for _ in 0..2 {
                turn().await;
            }
            drop(waiting);
            Decision::Allowed(Allowance::default())
        }))
    }
}

/// Pending once, and woken immediately.
async fn turn() {
    let mut is_first = true;
    std::future::poll_fn(|cx| {
        if std::mem::take(&mut is_first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await
}

fn limit() -> RateLimit {
    RateLimit::per_second("any", 1).unwrap()
}

#[tokio::test(start_paused = true)]
async fn check_dropped_at_any_poll_leaves_nothing() {
    let turns = Turns::default();
    let limiter = turns.clone();
    let house = House::with(HashPolicy::sha256(), move |builder| builder.limiter(limiter)).await;
    let limited = || house.request("key").limit(limit());
    for polls in 0..8 {
        let mut done = 0;
        for number in 0..TIMES {
            let issued = house.issuer.issue(limited()).await.unwrap();
            house.faults().heal();
            match number % 5 {
                // Not read yet.
                0 => {}
                // Stale.
                1 => {
                    house.check(text(&issued)).await.unwrap();
                    house.everything_changed();
                }
                // Fresh.
                2 => drop(house.check(text(&issued)).await.unwrap()),
                // The store fails once.
                3 => house.faults().next_find(Fault::Error(StoreErrorKind::Unavailable)),
                // A change comes in between, so that it loads again.
                _ => {
                    let barrier = Barrier::new();
                    house.faults().next_find(Fault::After(barrier.clone()));
                    let check = house.authenticator.check(presented(text(&issued)));
                    let mut check = pin!(check);
                    assert!(poll_once(check.as_mut()).await.is_none());
                    settle().await;
                    house.everything_changed();
                    barrier.open();
                    settle().await;
                    done += usize::from(poll_then_drop(check, polls).await);
                    continue;
                }
            }
            let key = if number % 7 == 0 {
                with_other_secret(text(&issued), number)
            } else {
                text(&issued).to_owned()
            };
            done += usize::from(poll_then_drop(house.authenticator.check(presented(&key)), polls).await);
        }
        house.faults().heal();
        house.is_at_rest().await;
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
        match polls {
            0 => assert_eq!(done, 0),
            7 => assert_eq!(done, TIMES),
            _ => assert!(done < TIMES || polls > 3, "{polls} polls"),
        }
        let good = house.key().await;
        house.check(text(&good)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn check_dropped_during_a_read_leaves_nothing() {
    let house = House::new().await;
    let good = house.key().await;
    for late in [false, true] {
        let barrier = Barrier::new();
        house.faults().every_find(if late {
            Fault::After(barrier.clone())
        } else {
            Fault::Before(barrier.clone())
        });
        for n in 0..TIMES {
            let key = unknown_key(n);
            let check = tokio::spawn(house.authenticator.check(presented(&key)));
            barrier.reached(n + 1).await;
            check.abort();
            assert!(check.await.unwrap_err().is_cancelled());
            settle().await;
            assert_eq!(house.authenticator.loads_in_flight(), 0);
            assert_eq!(house.faults().finds_in_progress(), 0);
        }
        // The barrier is still closed, and only this call waits at it.
        house.faults().heal();
        house.check(text(&good)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn check_dropped_before_its_turn_to_read_leaves_nothing() {
    let house = House::new().await;
    let mut keys = Vec::new();
    for _ in 0..300 {
        keys.push(house.known_key().await);
    }
    house.everything_changed();
    let barrier = Barrier::new();
    house.faults().every_find(Fault::Before(barrier.clone()));
    // Verified keys, whose loads are not bounded: more than the reads at once.
    let checks: Vec<_> = keys
        .iter()
        .map(|issued| tokio::spawn(house.authenticator.check(presented(text(issued)))))
        .collect();
    settle().await;
    let reading = barrier.arrivals();
    assert!(reading < keys.len(), "all of them could read at once");
    assert_eq!(house.authenticator.loads_in_flight(), keys.len());
    for check in &checks {
        check.abort();
    }
    settle().await;
    assert_eq!(house.authenticator.loads_in_flight(), 0);
    assert_eq!(house.faults().finds_in_progress(), 0);
    house.faults().heal();
    for issued in &keys {
        house.check(text(issued)).await.unwrap();
    }
}

#[tokio::test]
async fn check_dropped_in_queue_or_hash_leaves_nothing() {
    let (brake, pool) = Brake::pool();
    // Two formats. Lookups of the second can be guessed, so its unknown keys are hashed too.
    let formats = tower_api_key::key::KeyFormats::new([KeyFormat::default(), KeyFormat::cmpz()]).unwrap();
    let house = House::with_pool(argon2(), pool, |builder| builder.formats(formats)).await;
    let good = house.key().await;
    for number in 0..TIMES {
        brake.close();
        let issued = house.key().await;
        let mut checks = vec![tokio::spawn(house.authenticator.check(presented(text(&issued))))];
        brake.reached(number + 1).await;
        for n in 0..4 {
            let guessed = format!("cmpz_{n:0>8}{number:0>24}");
            checks.push(tokio::spawn(house.authenticator.check(presented(&guessed))));
        }
        until(|| house.pool.queued() == 4).await;
        for check in &checks {
            check.abort();
        }
        until(|| house.pool.queued() == 0 && house.authenticator.loads_in_flight() == 0).await;
        brake.open();
        house.is_at_rest().await;
    }
    assert_eq!(house.pool.hashes_run(), TIMES as u64);
    brake.open();
    house.check(text(&good)).await.unwrap();
}

#[tokio::test]
async fn flood_of_clients_that_hang_up_leaves_nothing() {
    let house = House::with_argon2().await;
    let good = house.key().await;
    for round in 0..50 {
        let mut checks = Vec::new();
        for n in 0..100 {
            let key = with_other_secret(text(&good), round * 100 + n);
            checks.push(tokio::spawn(house.authenticator.check(presented(&key))));
        }
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        for check in &checks {
            check.abort();
        }
    }
    house.is_at_rest().await;
    house.check(text(&good)).await.unwrap();
}

#[tokio::test]
async fn check_does_nothing_before_it_is_polled() {
    let house = House::new().await;
    let issued = house.key().await;
    drop(house.authenticator.check(presented(text(&issued))));
    settle().await;
    assert_eq!((house.faults().finds(), house.authenticator.loads_in_flight()), (0, 0));
}

/// A revoke whose caller goes away is either not made at all, or made and announced.
#[tokio::test(start_paused = true)]
async fn abandoned_change_is_announced_if_it_was_made() {
    let house = House::new().await;
    let (mut undone, mut done) = (0, 0);
    for number in 0..TIMES {
        let issued = house.known_key().await;
        let barrier = Barrier::new();
        barrier.open();
        house.faults().next_manage(Fault::None);
        house.faults().next_manage(match number % 2 {
            0 => Fault::Before(barrier.clone()),
            _ => Fault::After(barrier.clone()),
        });
        let revoke = house.issuer.revoke(issued.record.id, "lost");
        poll_then_drop(revoke, number % 3).await;
        house.faults().heal();
        let stored = house.store.inner().key(issued.record.id).await.unwrap().unwrap();
        if stored.record.revocation.is_some() {
            done += 1;
            assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
        } else {
            undone += 1;
            house.check(text(&issued)).await.unwrap();
        }
    }
    assert!(undone > 0 && done > 0, "{undone} {done}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn abandoned_sqlite_change_is_announced_if_it_was_made() {
    use tower_api_key::key::Lookup;
    use tower_api_key::store::{Candidate, KeyStore, SqliteStore, StoreError};
    use tower_api_key::{Authenticator, Fence};

    /// Without a follower: it announces a change for the second time that it read before its writer had said whose it is.
    struct Unfollowed(SqliteStore);

    impl KeyStore for Unfollowed {
        async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
            self.0.find(lookup).await
        }

        fn fence(&self) -> Option<&Fence> {
            self.0.fence()
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.sqlite");
    let store = SqliteStore::builder().exclusive().open(file).await.unwrap();
    let issuer = issuer(&store);
    let acme = issuer.create_organization("acme").await.unwrap();
    let authenticator = Authenticator::builder(Unfollowed(store.clone()))
        .read_timeout(std::time::Duration::from_secs(60))
        .unwrap()
        .build();
    let (mut undone, mut done_unheard, mut returned) = (0, 0, 0);
    for number in 0..40 {
        let request = tower_api_key::IssueRequest::new(acme.id, "key");
        let issued = issuer.issue(request).await.unwrap();
        check(&authenticator, text(&issued)).await.unwrap();
        let changes = store.fence().unwrap().changes();
        let revoke = issuer.revoke(issued.record.id, "lost");
        // It waits for each read, and for the commit, unless the answer is there at once.
        let has_returned = poll_at_most(number % 6, revoke).await;
        // The next change is queued behind it. When that has returned, so has the first one, if it was sent.
        issuer.create_organization("behind").await.unwrap();
        let stored = store.key(issued.record.id).await.unwrap().unwrap();
        let is_revoked = stored.record.revocation.is_some();
        assert_eq!(store.fence().unwrap().changes() - changes, 1 + u64::from(is_revoked));
        let checked = check(&authenticator, text(&issued)).await;
        assert_eq!(checked.is_err(), is_revoked, "round {number}");
        match (is_revoked, has_returned) {
            (false, false) => undone += 1,
            (true, false) => done_unheard += 1,
            (true, true) => returned += 1,
            (false, true) => panic!("round {number}: the revoke returned but was not made"),
        }
    }
    assert!(
        undone > 0 && done_unheard > 0 && returned > 0,
        "{undone} were not made, {done_unheard} without their callers, {returned} with them"
    );
}

/// Polls a future each time it is woken, at most this many times, and drops it. Returns whether it was ready before. A future
/// that waits for a thread makes progress only when it is woken.
#[cfg(feature = "sqlite")]
async fn poll_at_most<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polled == polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
