//! How much passes one limit.

use std::time::Duration;

use governor::Quota;
use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::*;

#[test]
fn two_per_second_with_burst_five() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("requests", 2, 5)]);
    for left in (0..5).rev() {
        let allowance = client.take(&limiter, START).unwrap();
        let next_unit = Duration::from_millis(500);
        assert_eq!(allowance.states(), [LimitState::new(left, next_unit)]);
    }
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_millis(500));
    assert_eq!(limited.violated, [0]);
    assert_eq!(limited.limits.len(), 1);
    assert_eq!(limited.limits[0].0, client.key_limits[0]);
    assert_eq!(limited.limits[0].1, LimitState::new(0, Duration::from_millis(500)));

    for round in 1..=20 {
        let due = START + round * SECOND / 2;
        let early = client.take(&limiter, due - 1).unwrap_err();
        assert_eq!(early.retry_after, Duration::from_nanos(1));
        assert!(client.passes(&limiter, due));
        assert!(!client.passes(&limiter, due));
    }
}

#[test]
fn allowed_request_reports_time_to_the_next_unit() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("requests", 2, 5)]);
    client.take(&limiter, START).unwrap();
    client.take(&limiter, START).unwrap();
    let states = client.take(&limiter, START + SECOND / 5).unwrap();
    assert_eq!(states.states(), [LimitState::new(2, Duration::from_millis(300))]);
}

#[test]
fn refused_request_reports_full_limits_as_full() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("a", 1, 1), per_second("b", 10, 10).cost(11).unwrap()]);
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.limits[0].1, LimitState::new(1, Duration::ZERO));
    assert_eq!(limited.limits[1].1, LimitState::new(10, Duration::ZERO));
}

fn rates() -> impl Strategy<Value = RateLimit> {
    (1..2_000u32, prop_oneof![Just(1u64), 2..120u64], 1..40u32, 1..6u32).prop_map(|(count, seconds, burst, cost)| {
        limit("requests", count, Duration::from_secs(seconds), burst)
            .cost(cost)
            .unwrap()
    })
}

/// Gaps between arrivals around the limit's interval, so that neither everything nor nothing passes.
fn arrivals() -> impl Strategy<Value = (RateLimit, Vec<u64>)> {
    rates().prop_flat_map(|limit| {
        let interval = limit.interval().as_nanos() as u64;
        let gap = prop_oneof![
            4 => Just(0u64),
            4 => 0..interval.saturating_mul(2),
            1 => Just(interval),
            1 => Just(interval - 1),
            1 => 0..interval.saturating_mul(u64::from(limit.burst_size().get()) * 2),
        ];
        (Just(limit), prop::collection::vec(gap, 1..200))
    })
}

proptest! {
    #[test]
    fn any_span_passes_at_most_burst_and_rate((limit, gaps) in arrivals()) {
        let limiter = LocalLimiter::new();
        let client = Client::new([limit.clone()]);
        let mut now = START;
        let mut admitted = Vec::new();
        for gap in gaps {
            now += gap;
            if client.passes(&limiter, now) {
                admitted.push(now);
            }
        }
        let (burst, count) = (u128::from(limit.burst_size().get()), u128::from(limit.limit().get()));
        for (from, start) in admitted.iter().enumerate() {
            for (passed, end) in admitted[from..].iter().enumerate() {
                let units = (passed as u128 + 1) * u128::from(limit.cost_per_request().get());
                let span = u128::from(end - start);
                prop_assert!(units * limit.per().as_nanos() <= burst * limit.per().as_nanos() + span * count);
            }
        }
    }

    #[test]
    fn same_requests_pass_as_with_governor_alone((limit, gaps) in arrivals(), reload in any::<bool>()) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(limit.interval()).unwrap().allow_burst(limit.burst_size());
        let governor = governor::RateLimiter::direct_with_clock(quota, clock.clone());
        let limiter = LocalLimiter::new();
        let mut client = Client::new([limit.clone()]);
        let mut now = START;
        for gap in gaps {
            now += gap;
            clock.advance(Duration::from_nanos(gap));
            let theirs = matches!(governor.check_n(limit.cost_per_request()), Ok(Ok(())));
            prop_assert_eq!(client.passes(&limiter, now), theirs);
            if reload {
                client = client.reloaded();
            }
        }
    }

    #[test]
    fn reported_state_is_what_the_next_request_meets((limit, gaps) in arrivals()) {
        let limiter = LocalLimiter::new();
        let client = Client::new([limit.clone()]);
        let cost = limit.cost_per_request().get();
        let mut now = START;
        let mut fits = None;
        for gap in gaps {
            now += gap;
            let taken = client.take(&limiter, now);
            if gap == 0 && let Some(fits) = fits {
                prop_assert_eq!(taken.is_ok(), fits);
            }
            let state = match &taken {
                Ok(allowance) => allowance.states()[0],
                Err(limited) => {
                    let retry = now + limited.retry_after.as_nanos() as u64;
                    if cost <= limit.burst_size().get() {
                        // Another limiter in the same state: this one must not be charged for the probe.
                        prop_assert!(limited.limits[0].1.remaining() < cost);
                        prop_assert!(retry > now);
                    }
                    limited.limits[0].1
                }
            };
            prop_assert!(state.remaining() <= limit.burst_size().get());
            prop_assert_eq!(state.next_unit().is_zero(), state.remaining() == limit.burst_size().get());
            fits = Some(state.remaining() >= cost);
        }
    }

    #[test]
    fn retry_after_is_exact((limit, gaps) in arrivals()) {
        prop_assume!(limit.cost_per_request() <= limit.burst_size());
        let limiter = LocalLimiter::new();
        let client = Client::new([limit]);
        let mut now = START;
        for gap in gaps {
            now += gap;
            if let Err(limited) = client.take(&limiter, now) {
                let wait = limited.retry_after.as_nanos() as u64;
                prop_assert!(!client.passes(&limiter, now + wait - 1));
                prop_assert!(client.passes(&limiter, now + wait));
                now += wait;
            }
        }
    }

    #[test]
    fn extreme_limits_and_times_neither_panic_nor_overflow(
        count in prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX],
        burst in prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX],
        cost in prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX],
        days in prop_oneof![Just(0u64), Just(31)],
        times in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1..10),
    ) {
        let window = if days == 0 { Duration::from_secs(1) } else { DAY * 31 };
        let rate = RateLimit::new("extreme", count, window).unwrap();
        let most = (1u128 << 61) / rate.interval().as_nanos();
        let burst = burst.min(u32::try_from(most).unwrap_or(u32::MAX));
        let extreme = rate.burst(burst).unwrap().cost(cost).unwrap();
        let limiter = LocalLimiter::new();
        let one = Client::new([extreme.clone()]);
        let several = Client::new([extreme.clone(), per_second("other", 1, 1)]);
        for now in times {
            for client in [&one, &several] {
                let states = match client.take(&limiter, now) {
                    Ok(allowance) => allowance.states().to_vec(),
                    Err(limited) => limited.limits.iter().map(|(_, state)| *state).collect(),
                };
                prop_assert!(states[0].remaining() <= burst);
                prop_assert!(cost <= burst || states.len() == client.key_limits.len());
            }
        }
    }
}

#[test]
fn largest_burst_passes_whole() {
    for (count, window, burst) in [(1, DAY * 31, 860), (7, DAY, 186_000), (1_000, DAY, 90_000)] {
        let limiter = LocalLimiter::new();
        let client = Client::new([limit("requests", count, window, burst)]);
        let passed = (0..=burst).take_while(|_| client.passes(&limiter, START)).count();
        assert_eq!(passed, burst as usize);
        assert!(!client.passes(&limiter, START + SECOND));
    }
}

#[test]
fn latest_time_still_limits() {
    let limiter = LocalLimiter::new();
    let client = Client::new([limit("requests", 1, DAY * 31, 3)]);
    assert_eq!(client.drain(&limiter, u64::MAX - 5), 3);
    assert_eq!(client.drain(&limiter, u64::MAX), 0);
}

#[test]
fn cost_above_the_burst_never_fits() {
    let limiter = LocalLimiter::new();
    for cost in [6, u32::MAX] {
        let client = Client::new([per_second("requests", 2, 5).cost(cost).unwrap()]);
        for now in [0, START, START + 1_000 * SECOND, u64::MAX] {
            let limited = client.take(&limiter, now).unwrap_err();
            assert_eq!(limited.violated, [0]);
            assert_eq!(limited.retry_after, DAY * 31);
            assert_eq!(limited.limits[0].1.remaining(), 5);
        }
    }
}

#[test]
fn request_takes_as_many_units_as_it_costs() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("tokens", 10, 25).cost(10).unwrap()]);
    assert_eq!(remaining(client.take(&limiter, START).unwrap().states()), [15]);
    assert_eq!(remaining(client.take(&limiter, START).unwrap().states()), [5]);
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_millis(500));
    assert_eq!(limited.limits[0].1.remaining(), 5);
}

#[test]
fn time_that_goes_back_gives_nothing_back() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("requests", 2, 5)]);
    assert_eq!(client.drain(&limiter, START), 5);
    let limited = client.take(&limiter, START - 700 * SECOND).unwrap_err();
    assert_eq!(limited.limits[0].1.remaining(), 0);
    assert_eq!(limited.retry_after, Duration::from_millis(700_500));
    assert_eq!(client.drain(&limiter, START), 0);
    assert_eq!(client.drain(&limiter, START + SECOND), 2);

    let several = Client::new([per_second("a", 2, 5), per_second("b", 2, 5)]);
    assert_eq!(several.drain(&limiter, START), 5);
    assert_eq!(several.drain(&limiter, START - 700 * SECOND), 0);
    assert_eq!(several.drain(&limiter, START), 0);
    assert_eq!(several.drain(&limiter, START + SECOND), 2);
}
