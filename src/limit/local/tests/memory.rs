//! How many buckets are kept, and which are dropped.

use super::*;

#[test]
fn exhausted_key_stays_exhausted_among_a_million_others() {
    let limiter = with_capacity(10_000);
    let exhausted = Client::new([limit("day", 1, DAY, 1)]);
    // Every look at it is a reload: no cached key holds its bucket in between.
    assert!(exhausted.reloaded().passes(&limiter, START));
    let mut now = START;
    let mut refused = 0;
    for other in 0..1_000_000u32 {
        now += SECOND / 50_000;
        let passing = Client::new([per_second("requests", 20, 5)]);
        refused += u32::from(!passing.passes(&limiter, now));
        if other % 10_000 == 0 {
            assert!(!exhausted.reloaded().passes(&limiter, now), "after {other} others");
            assert!(limiter.buckets() <= 10_000);
        }
    }
    assert_eq!(
        refused, 0,
        "2,500 buckets are in use at any time, and room is made for them"
    );
    assert!(!exhausted.reloaded().passes(&limiter, now));
    assert!(limiter.buckets() < 10_000, "{}", limiter.buckets());
}

#[test]
fn eviction_changes_no_bucket_in_use() {
    let limiter = with_capacity(1_000);
    let mut daily = Vec::new();
    let mut now = START;
    for round in 0..4_000u32 {
        now += SECOND;
        assert!(Client::new([per_second("requests", 1, 1)]).passes(&limiter, now));
        if round % 8 == 0 {
            let client = Client::new([limit("day", 100, DAY, 100)]);
            let taken = 1 + round / 8 % 90;
            (0..taken).for_each(|_| assert!(client.reloaded().passes(&limiter, now)));
            daily.push((client, taken, now));
        }
    }
    for (client, taken, at) in daily {
        let back = (now - at) / (DAY.as_nanos() as u64 / 100);
        let left = 100.min(100 - taken + back as u32) - 1;
        assert_eq!(
            remaining(client.reloaded().take(&limiter, now).unwrap().states()),
            [left]
        );
    }
}

#[test]
fn full_limiter_keeps_used_buckets_and_new_keys_share() {
    let limiter = with_capacity(100);
    let daily = || Client::new([limit("day", 10, DAY, 10)]);
    let living: Vec<_> = (0..100).map(|_| daily()).collect();
    for client in &living {
        assert_eq!(client.drain(&limiter, START), 10);
    }
    assert_eq!(limiter.buckets(), 100);
    let newcomers: u32 = (0..1_000).map(|_| u32::from(daily().passes(&limiter, START))).sum();
    assert_eq!(newcomers, 10, "all of them together get what one key gets");
    assert_eq!(limiter.buckets(), 100);
    // Another rate shares with its like.
    let hourly = Client::new([limit("hour", 7, Duration::from_secs(3600), 7)]);
    assert_eq!(hourly.drain(&limiter, START), 7);
    for client in &living {
        assert!(!client.reloaded().passes(&limiter, START));
    }
}

#[test]
fn two_limits_in_one_overflow_bucket_are_both_charged() {
    let limiter = with_capacity(1);
    assert!(Client::new([limit("day", 1, DAY, 1)]).passes(&limiter, START));
    let twins = Client::of(OrganizationId::new(), [per_second("a", 5, 5)], [per_second("b", 5, 5)]);
    assert_eq!(twins.drain(&limiter, START), 2);
    assert_eq!(twins.drain(&limiter, START + SECOND), 2);
}

#[test]
fn overflow_refuses_the_1025th_rate() {
    let limiter = with_capacity(1);
    assert!(Client::new([limit("day", 1, DAY, 1)]).passes(&limiter, START));
    let client = |burst| Client::new([limit("day", 1, DAY, burst)]);
    for burst in 1..=1024 {
        assert!(client(burst).passes(&limiter, START));
    }
    let beyond = client(1025);
    let now = Monotonic::from_nanos(START);
    let charge = Charge::new(beyond.key, beyond.organization, &beyond.key_limits, &[], now);
    assert!(matches!(limiter.take(&charge), Take::Now(Decision::Unavailable)));
}

#[test]
fn new_key_gets_its_own_bucket_once_there_is_room() {
    let limiter = with_capacity(1);
    let first = Client::new([per_second("requests", 1, 1)]);
    assert!(first.passes(&limiter, START));
    drop(first);
    let (one, other) = (
        Client::new([per_second("requests", 1, 3)]),
        Client::new([per_second("requests", 1, 3)]),
    );
    assert_eq!(one.drain(&limiter, START) + other.drain(&limiter, START), 3);
    assert_eq!(one.drain(&limiter, START + SECOND), 3, "its own, and full");
    assert_eq!(other.drain(&limiter, START + SECOND), 1, "still the shared one");
}

#[test]
fn bucket_of_a_cached_key_is_never_evicted() {
    let limiter = with_capacity(4);
    let held = Client::new([per_second("requests", 1, 5)]);
    assert_eq!(held.drain(&limiter, START), 5);
    let later = START + 100 * SECOND;
    // It is full again by now, and others look for room.
    for _ in 0..100 {
        Client::new([per_second("requests", 100, 100)]).passes(&limiter, later);
    }
    let reloaded = held.reloaded();
    let both = held.drain(&limiter, later) + reloaded.drain(&limiter, later);
    assert_eq!(both, 5);
}

#[test]
fn full_buckets_are_evicted_below_the_capacity() {
    let limiter = LocalLimiter::new();
    for i in 0..10_000 {
        assert!(Client::new([per_second("requests", 1000, 1)]).passes(&limiter, START + i * SECOND));
    }
    assert!(limiter.buckets() <= 200, "{}", limiter.buckets());
}

#[test]
fn charge_with_known_buckets_allocates_nothing() {
    let limiter = LocalLimiter::new();
    for count in 1..=4 {
        let limits: Vec<_> = (0..count)
            .map(|i| per_second(&format!("limit-{i}"), 100, 100))
            .collect();
        let client = Client::of(OrganizationId::new(), &limits[..count / 2], &limits[count / 2..]);
        client.take(&limiter, START).unwrap();
        let counted = allocation_counter::measure(|| {
            assert!(client.passes(&limiter, START));
        });
        assert_eq!(counted.count_total, 0, "{count} limits");
    }
}

#[test]
fn bucket_takes_at_most_150_bytes() {
    const KEYS: i64 = 50_000;
    let limiter = LocalLimiter::new();
    let daily = [limit("requests", 10, DAY, 10)];
    let counted = allocation_counter::measure(|| {
        for _ in 0..KEYS {
            assert!(Client::new(daily.clone()).passes(&limiter, START));
        }
    });
    assert_eq!(limiter.buckets() as i64, KEYS);
    let each = counted.bytes_current / KEYS;
    assert!((32..=150).contains(&each), "{each} bytes");
}
