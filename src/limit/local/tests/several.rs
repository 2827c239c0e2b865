//! Several limits of one request.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn refusal_by_one_limit_takes_nothing_from_the_others() {
    let limiter = LocalLimiter::new();
    let organization = OrganizationId::new();
    let client = Client::of(
        organization,
        [per_second("second", 10, 10), limit("day", 3, DAY, 3)],
        [per_second("all", 100, 100)],
    );
    for left in [[9, 2, 99], [8, 1, 98], [7, 0, 97]] {
        assert_eq!(remaining(client.take(&limiter, START).unwrap().states()), left);
    }
    for _ in 0..50 {
        let limited = client.take(&limiter, START).unwrap_err();
        assert_eq!(limited.violated, [1]);
        assert_eq!(limited.retry_after, DAY / 3);
        let names: Vec<_> = limited.limits.iter().map(|(limit, _)| limit.name()).collect();
        assert_eq!(names, ["second", "day", "all"]);
        let states: Vec<_> = limited.limits.iter().map(|(_, state)| *state).collect();
        assert_eq!(remaining(&states), [7, 0, 97]);
    }
    // Another key of the organization sees what the refused requests left.
    let other = Client::of(organization, [], [per_second("all", 100, 100)]);
    assert_eq!(remaining(other.take(&limiter, START).unwrap().states()), [96]);
}

#[test]
fn retry_after_is_the_longest_wait_of_exhausted_limits() {
    let limiter = LocalLimiter::new();
    let minute = limit("minute", 1, Duration::from_secs(60), 1);
    let hour = limit("hour", 1, Duration::from_secs(3600), 1);
    for (own, shared) in [(&minute, &hour), (&hour, &minute)] {
        let client = Client::of(
            OrganizationId::new(),
            [own.clone()],
            [shared.clone(), per_second("free", 5, 5)],
        );
        client.take(&limiter, START).unwrap();
        let limited = client.take(&limiter, START).unwrap_err();
        assert_eq!(limited.violated, [0, 1]);
        assert_eq!(limited.retry_after, Duration::from_secs(3600));
    }
}

#[test]
fn keys_share_limits_of_their_organization_only() {
    let limiter = LocalLimiter::new();
    let organization = OrganizationId::new();
    let keys: Vec<_> = (0..3)
        .map(|_| {
            Client::of(
                organization,
                [per_second("requests", 4, 4)],
                [per_second("all", 10, 10)],
            )
        })
        .collect();
    assert_eq!(drain_each(&keys, &limiter), [4, 4, 2]);

    let stranger = Client::of(
        OrganizationId::new(),
        [per_second("requests", 4, 4)],
        [per_second("all", 10, 10)],
    );
    assert_eq!(stranger.drain(&limiter, START), 4);
}

#[test]
fn key_and_organization_of_equal_id_have_own_buckets() {
    let limiter = LocalLimiter::new();
    let id = uuid::Uuid::now_v7();
    let mut client = Client::of(id.into(), [per_second("same", 1, 3)], [per_second("same", 1, 9)]);
    client.key = id.into();
    assert_eq!(remaining(client.take(&limiter, START).unwrap().states()), [2, 8]);
}

#[test]
fn limits_of_equal_name_have_own_buckets() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("same", 1, 3), limit("same", 1, DAY, 5)]);
    assert_eq!(client.drain(&limiter, START), 3);
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.limits[1].1.remaining(), 2);
}

proptest! {
    #[test]
    fn request_passes_if_each_limit_alone_would_pass_it(
        limits in prop::collection::vec((1..50u32, 1..20u32, 1..4u32), 2..6),
        split in 0..6usize,
        gaps in prop::collection::vec(prop_oneof![Just(0u64), 0..SECOND / 5], 1..150),
    ) {
        let limits: Vec<_> = limits
            .into_iter()
            .enumerate()
            .map(|(i, (rate, burst, cost))| per_second(&format!("limit-{i}"), rate, burst).cost(cost).unwrap())
            .collect();
        let (ours, theirs) = limits.split_at(split.min(limits.len()));
        let limiter = LocalLimiter::new();
        let client = Client::of(OrganizationId::new(), ours, theirs);
        // The model: what is left of each limit, in exact time, touched only when all of them fit.
        let mut arrivals = vec![0u64; limits.len()];
        let mut now = START;
        for gap in gaps {
            now += gap;
            let next: Vec<_> = limits.iter().zip(&arrivals).map(|(limit, arrival)| {
                let interval = limit.interval().as_nanos() as u64;
                let next = now.max(*arrival) + interval * u64::from(limit.cost_per_request().get());
                (next, next <= now + interval * u64::from(limit.burst_size().get()))
            }).collect();
            let violated: Vec<_> = (0..limits.len()).filter(|i| !next[*i].1).collect();
            match client.take(&limiter, now) {
                Ok(_) => {
                    prop_assert_eq!(violated, Vec::<usize>::new());
                    arrivals = next.iter().map(|(next, _)| *next).collect();
                }
                Err(limited) => prop_assert_eq!(limited.violated, violated),
            }
        }
    }
}
