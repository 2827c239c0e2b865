//! Threads that charge the same limits.

use std::sync::Barrier;
use std::thread;

use super::*;

/// Charges from four threads at one frozen point in time; answers how many passed.
fn storm(limiter: &LocalLimiter, clients: &[Client], charges: usize) -> u32 {
    const THREADS: usize = 4;
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    (0..charges)
                        .filter(|charge| clients[(thread + charge) % clients.len()].passes(limiter, START))
                        .count() as u32
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn threads_on_one_limit_pass_exactly_the_burst() {
    for _ in 0..20 {
        let limiter = LocalLimiter::new();
        let client = Client::new([limit("day", 10_000, DAY, 10_000)]);
        assert_eq!(storm(&limiter, &[client], 5_000), 10_000);
    }
}

#[test]
fn threads_on_crossing_limits_pass_exactly_what_fits_all() {
    for _ in 0..20 {
        let limiter = LocalLimiter::new();
        let organization = OrganizationId::new();
        let all = limit("all", 3_000, DAY, 3_000);
        // One key is charged to the organization alone, by the way without a lock; the others by the way with locks.
        let clients: Vec<_> = [0, 1, 1, 2]
            .iter()
            .map(|count| {
                let own: Vec<_> = (0..*count)
                    .map(|i| limit(&format!("own-{i}"), 5_000, DAY, 5_000))
                    .collect();
                Client::of(organization, own, [all.clone()])
            })
            .collect();
        assert_eq!(storm(&limiter, &clients, 2_000), 3_000);
        // A request that the organization's limit refuses takes nothing of the key's own.
        let mut taken = 0;
        for client in &clients {
            let limited = client.take(&limiter, START).unwrap_err();
            let own = limited.limits.iter().find(|(limit, _)| limit.name() == "own-0");
            taken += own.map_or(0, |(_, state)| 5_000 - state.remaining());
            let twin = limited.limits.iter().find(|(limit, _)| limit.name() == "own-1");
            assert!(twin.is_none_or(|(_, state)| state.remaining() == own.unwrap().1.remaining()));
        }
        let unlocked = 3_000 - taken;
        assert!(taken > 0 && unlocked > 0, "both ways were used: {taken} and {unlocked}");
    }
}

#[test]
fn threads_with_limits_in_other_orders_do_not_deadlock() {
    let (done, finished) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let limiter = LocalLimiter::new();
        let organization = OrganizationId::new();
        let limits: Vec<_> = (0..3)
            .map(|i| limit(&format!("limit-{i}"), 50_000, DAY, 50_000))
            .collect();
        let clients: Vec<_> = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
            .into_iter()
            .map(|order| Client::of(organization, [], order.map(|i| limits[i].clone())))
            .collect();
        done.send(storm(&limiter, &clients, 20_000)).unwrap();
    });
    let passed = finished.recv_timeout(Duration::from_secs(30));
    assert_eq!(passed, Ok(50_000), "threads wait for each other's buckets");
}

#[test]
fn threads_that_meet_a_new_key_share_one_bucket() {
    for _ in 0..200 {
        let limiter = LocalLimiter::new();
        let first = Client::new([limit("day", 50, DAY, 50)]);
        let clients = [first.reloaded(), first.reloaded(), first.reloaded(), first];
        assert_eq!(storm(&limiter, &clients, 100), 50);
    }
}
