//! Limits that change while they are in use.

use super::*;

#[test]
fn raised_limit_applies_to_the_next_request() {
    let limiter = LocalLimiter::new();
    let mut client = Client::new([limit("requests", 1, DAY, 5)]);
    assert_eq!(client.drain(&limiter, START), 5);
    // What was taken in advance of the old limit is days; of the new one it is five seconds.
    client.change_key_limits(vec![per_second("requests", 1, 5)]);
    assert!(!client.passes(&limiter, START));
    assert!(!client.passes(&limiter, START + SECOND - 1));
    assert!(client.passes(&limiter, START + SECOND));
    assert_eq!(client.drain(&limiter, START + 10 * SECOND), 5);

    // Time is what is owed: five seconds of it are all of the fifty units, and the next comes ten times sooner.
    client.change_key_limits(vec![per_second("requests", 10, 50)]);
    let limited = client.take(&limiter, START + 10 * SECOND).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_millis(100));
    // A greater burst alone is there at once.
    client.change_key_limits(vec![per_second("requests", 10, 80)]);
    assert_eq!(client.drain(&limiter, START + 10 * SECOND), 30);
}

#[test]
fn lowered_limit_applies_to_the_next_request() {
    let limiter = LocalLimiter::new();
    let mut client = Client::new([per_second("requests", 100, 100)]);
    for _ in 0..40 {
        assert!(client.passes(&limiter, START));
    }
    client.change_key_limits(vec![limit("requests", 1, DAY, 2)]);
    assert_eq!(client.drain(&limiter, START), 1, "a part of the other is taken");
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_millis(400));
    assert_eq!(client.drain(&limiter, START + SECOND), 1);
    assert_eq!(client.drain(&limiter, START + 3600 * SECOND), 0);
}

#[test]
fn changed_organization_limit_applies_to_cached_keys() {
    let limiter = LocalLimiter::new();
    let organization = OrganizationId::new();
    let mut clients: Vec<_> = (0..2)
        .map(|_| {
            Client::of(
                organization,
                [per_second("requests", 50, 50)],
                [limit("all", 4, DAY, 4)],
            )
        })
        .collect();
    assert_eq!(drain_each(&clients, &limiter), [4, 0]);
    for client in &mut clients {
        client.change_organization_limits(vec![per_second("all", 2, 4)]);
    }
    assert!(!clients[0].passes(&limiter, START));
    assert_eq!(clients[0].drain(&limiter, START + SECOND), 2);
    assert_eq!(clients[1].drain(&limiter, START + SECOND), 0);
    assert_eq!(clients[1].drain(&limiter, START + 2 * SECOND), 2);
}

#[test]
fn reordered_and_returning_limits_keep_their_state() {
    let limiter = LocalLimiter::new();
    let (day, minute) = (limit("day", 9, DAY, 9), limit("minute", 5, Duration::from_secs(60), 5));
    let mut client = Client::new([day.clone(), minute.clone()]);
    assert_eq!(client.drain(&limiter, START), 5);
    client.change_key_limits(vec![minute.clone(), day.clone()]);
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.violated, [0]);
    assert_eq!(limited.limits[1].1.remaining(), 4);
    client.change_key_limits(vec![day]);
    assert_eq!(client.drain(&limiter, START), 4);
    client.change_key_limits(vec![minute]);
    assert_eq!(client.drain(&limiter, START), 0);
}

#[test]
fn known_buckets_of_another_limiter_are_not_used() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("requests", 1, 3)]);
    assert_eq!(client.drain(&limiter, START), 3);
    assert_eq!(client.drain(&LocalLimiter::new(), START), 3);
    assert_eq!(client.drain(&limiter, START), 0);
}

#[test]
fn buckets_of_another_key_or_organization_are_not_found() {
    let limiter = LocalLimiter::new();
    for _ in 0..3 {
        let client = Client::new([per_second("requests", 1, 3)]);
        assert_eq!(client.drain(&limiter, START), 3);
        let organizational = Client::of(OrganizationId::new(), [], [per_second("all", 1, 3)]);
        assert_eq!(organizational.drain(&limiter, START), 3);
        assert_eq!(organizational.reloaded().drain(&limiter, START), 0);
    }
}
