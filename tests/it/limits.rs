//! The local limiter through its public face: how much it lets through, when, and what it forgets.

use std::num::NonZeroUsize;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use governor::Quota;
use governor::clock::FakeRelativeClock;
use http::StatusCode;
use proptest::prelude::*;
use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
use tower_api_key::limit::{
    Allowance, Cells, Charge, Decision, LimitState, Limited, LocalLimiter, RateLimiter, Take, Unlimited,
};
use tower_api_key::{ApiKeyLayer, Authenticator, Monotonic, RejectionKind};

use crate::support::audit::Audit;
use crate::support::{House, ask, bearer, field, json, text};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;
const DAY: Duration = Duration::from_secs(86_400);

/// One key of one organization, as a cached entry would hold it.
struct Client {
    key: KeyId,
    organization: OrganizationId,
    key_limits: Vec<RateLimit>,
    organization_limits: Vec<RateLimit>,
    cells: Cells,
}

impl Client {
    fn new(key_limits: impl Into<Vec<RateLimit>>) -> Self {
        Self::of(OrganizationId::new(), key_limits, [])
    }

    fn of(
        organization: OrganizationId,
        key_limits: impl Into<Vec<RateLimit>>,
        organization_limits: impl Into<Vec<RateLimit>>,
    ) -> Self {
        Self {
            key: KeyId::new(),
            organization,
            key_limits: key_limits.into(),
            organization_limits: organization_limits.into(),
            cells: Cells::new(),
        }
    }

    /// The same key after the cache has read it again.
    fn reloaded(&self) -> Self {
        Self {
            key: self.key,
            organization: self.organization,
            key_limits: self.key_limits.clone(),
            organization_limits: self.organization_limits.clone(),
            cells: Cells::new(),
        }
    }

    fn take(&self, limiter: &impl RateLimiter, now: u64) -> Result<Allowance, Box<Limited>> {
        let charge = Charge::new(
            self.key,
            self.organization,
            &self.key_limits,
            &self.organization_limits,
            Monotonic::from_nanos(now),
            &self.cells,
        );
        match limiter.take(&charge) {
            Take::Now(Decision::Allowed(allowance)) => Ok(allowance),
            Take::Now(Decision::Limited(limited)) => Err(limited),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn passes(&self, limiter: &impl RateLimiter, now: u64) -> bool {
        self.take(limiter, now).is_ok()
    }

    /// How many of these pass at one point in time, until the first that does not.
    fn drain(&self, limiter: &impl RateLimiter, now: u64) -> u32 {
        (0..100_000).take_while(|_| self.passes(limiter, now)).count() as u32
    }
}

fn limit(name: &str, limit: u32, per: Duration, burst: u32) -> RateLimit {
    RateLimit::new(name, limit, per).unwrap().burst(burst).unwrap()
}

fn per_second(name: &str, rate: u32, burst: u32) -> RateLimit {
    limit(name, rate, Duration::from_secs(1), burst)
}

fn with_capacity(buckets: usize) -> LocalLimiter {
    LocalLimiter::with_capacity(NonZeroUsize::new(buckets).unwrap())
}

fn remaining(states: &[LimitState]) -> Vec<u32> {
    states.iter().map(|state| state.remaining()).collect()
}

// How much passes

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
fn the_next_unit_is_told_while_some_are_left() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("requests", 2, 5)]);
    client.take(&limiter, START).unwrap();
    client.take(&limiter, START).unwrap();
    let states = client.take(&limiter, START + SECOND / 5).unwrap();
    assert_eq!(states.states(), [LimitState::new(2, Duration::from_millis(300))]);
}

#[test]
fn a_refused_limit_reports_a_full_one_as_full() {
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
    fn never_more_than_burst_and_rate_in_any_span((limit, gaps) in arrivals()) {
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
    fn exactly_what_governor_itself_admits((limit, gaps) in arrivals(), reload in any::<bool>()) {
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
    fn a_report_is_what_then_happens((limit, gaps) in arrivals()) {
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
    fn absurd_limits_and_times_do_no_harm(
        count in prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX],
        burst in prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX],
        cost in prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX],
        days in prop_oneof![Just(0u64), Just(31)],
        times in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1..10),
    ) {
        let window = if days == 0 { Duration::from_secs(1) } else { DAY * 31 };
        let extreme = limit("extreme", count, window, burst).cost(cost).unwrap();
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
fn the_end_of_time_still_limits() {
    let limiter = LocalLimiter::new();
    let client = Client::new([limit("requests", 1, DAY * 31, 3)]);
    assert_eq!(client.drain(&limiter, u64::MAX - 5), 3);
    assert_eq!(client.drain(&limiter, u64::MAX), 0);
}

#[test]
fn a_cost_above_the_burst_never_fits() {
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
fn a_request_may_cost_several_units() {
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

// Several limits

#[test]
fn a_refusal_by_one_limit_takes_nothing_from_the_others() {
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
fn the_longest_wait_of_the_violated_limits_is_told() {
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
fn keys_of_an_organization_share_its_limits_and_not_their_own() {
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
    assert_eq!(keys.each_drain(&limiter), [4, 4, 2]);

    let stranger = Client::of(
        OrganizationId::new(),
        [per_second("requests", 4, 4)],
        [per_second("all", 10, 10)],
    );
    assert_eq!(stranger.drain(&limiter, START), 4);
}

trait EachDrain {
    fn each_drain(&self, limiter: &LocalLimiter) -> Vec<u32>;
}

impl EachDrain for Vec<Client> {
    fn each_drain(&self, limiter: &LocalLimiter) -> Vec<u32> {
        self.iter().map(|client| client.drain(limiter, START)).collect()
    }
}

#[test]
fn a_key_and_an_organization_with_one_id_have_limits_of_their_own() {
    let limiter = LocalLimiter::new();
    let id = uuid::Uuid::now_v7();
    let mut client = Client::of(id.into(), [per_second("same", 1, 3)], [per_second("same", 1, 9)]);
    client.key = id.into();
    assert_eq!(remaining(client.take(&limiter, START).unwrap().states()), [2, 8]);
}

#[test]
fn limits_of_equal_name_are_not_taken_for_one() {
    let limiter = LocalLimiter::new();
    let client = Client::new([per_second("same", 1, 3), limit("same", 1, DAY, 5)]);
    assert_eq!(client.drain(&limiter, START), 3);
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.limits[1].1.remaining(), 2);
}

proptest! {
    #[test]
    fn several_limits_admit_what_each_of_them_would(
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

// Changes

#[test]
fn a_raised_limit_acts_at_once() {
    let limiter = LocalLimiter::new();
    let mut client = Client::new([limit("requests", 1, DAY, 5)]);
    assert_eq!(client.drain(&limiter, START), 5);
    // What was taken in advance of the old limit is days; of the new one it is five seconds.
    client.key_limits = vec![per_second("requests", 1, 5)];
    assert!(!client.passes(&limiter, START));
    assert!(!client.passes(&limiter, START + SECOND - 1));
    assert!(client.passes(&limiter, START + SECOND));
    assert_eq!(client.drain(&limiter, START + 10 * SECOND), 5);

    // Time is what is owed: five seconds of it are all of the fifty units, and the next comes ten times sooner.
    client.key_limits = vec![per_second("requests", 10, 50)];
    let limited = client.take(&limiter, START + 10 * SECOND).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_millis(100));
    // A greater burst alone is there at once.
    client.key_limits = vec![per_second("requests", 10, 80)];
    assert_eq!(client.drain(&limiter, START + 10 * SECOND), 30);
}

#[test]
fn a_lowered_limit_acts_at_once() {
    let limiter = LocalLimiter::new();
    let mut client = Client::new([per_second("requests", 100, 100)]);
    for _ in 0..40 {
        assert!(client.passes(&limiter, START));
    }
    client.key_limits = vec![limit("requests", 1, DAY, 2)];
    assert_eq!(client.drain(&limiter, START), 1, "a part of the other is taken");
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_millis(400));
    assert_eq!(client.drain(&limiter, START + SECOND), 1);
    assert_eq!(client.drain(&limiter, START + 3600 * SECOND), 0);
}

#[test]
fn a_changed_limit_of_the_organization_acts_under_cached_keys() {
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
    assert_eq!(clients.each_drain(&limiter), [4, 0]);
    for client in &mut clients {
        client.organization_limits = vec![per_second("all", 2, 4)];
    }
    assert!(!clients[0].passes(&limiter, START));
    assert_eq!(clients[0].drain(&limiter, START + SECOND), 2);
    assert_eq!(clients[1].drain(&limiter, START + SECOND), 0);
    assert_eq!(clients[1].drain(&limiter, START + 2 * SECOND), 2);
}

#[test]
fn limits_that_come_go_and_move_keep_their_own_state() {
    let limiter = LocalLimiter::new();
    let (day, minute) = (limit("day", 9, DAY, 9), limit("minute", 5, Duration::from_secs(60), 5));
    let mut client = Client::new([day.clone(), minute.clone()]);
    assert_eq!(client.drain(&limiter, START), 5);
    client.key_limits = vec![minute.clone(), day.clone()];
    let limited = client.take(&limiter, START).unwrap_err();
    assert_eq!(limited.violated, [0]);
    assert_eq!(limited.limits[1].1.remaining(), 4);
    client.key_limits = vec![day];
    assert_eq!(client.drain(&limiter, START), 4);
    client.key_limits = vec![minute];
    assert_eq!(client.drain(&limiter, START), 0);
}

#[test]
fn cells_of_another_key_or_limiter_are_not_trusted() {
    let limiter = LocalLimiter::new();
    let mut client = Client::new([per_second("requests", 1, 3)]);
    assert_eq!(client.drain(&limiter, START), 3);
    assert_eq!(client.drain(&LocalLimiter::new(), START), 3);
    client.key = KeyId::new();
    assert_eq!(client.drain(&limiter, START), 3);
    let organizational = Client::of(OrganizationId::new(), [], [per_second("all", 1, 3)]);
    assert_eq!(organizational.drain(&limiter, START), 3);
    let elsewhere = Client {
        organization: OrganizationId::new(),
        ..organizational
    };
    assert_eq!(elsewhere.drain(&limiter, START), 3);
}

// Memory

#[test]
fn an_exhausted_key_stays_exhausted_while_a_million_others_pass_by() {
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
fn room_that_is_made_disturbs_nobody_else() {
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
fn at_the_bound_live_buckets_stay_and_newcomers_share() {
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
fn two_limits_that_overflow_into_one_bucket_are_both_charged() {
    let limiter = with_capacity(1);
    assert!(Client::new([limit("day", 1, DAY, 1)]).passes(&limiter, START));
    let twins = Client::of(OrganizationId::new(), [per_second("a", 5, 5)], [per_second("b", 5, 5)]);
    assert_eq!(twins.drain(&limiter, START), 2);
    assert_eq!(twins.drain(&limiter, START + SECOND), 2);
}

#[test]
fn rates_without_end_in_the_overflow_are_refused() {
    let limiter = with_capacity(1);
    assert!(Client::new([limit("day", 1, DAY, 1)]).passes(&limiter, START));
    let client = |burst| Client::new([limit("day", 1, DAY, burst)]);
    for burst in 1..=1024 {
        assert!(client(burst).passes(&limiter, START));
    }
    let beyond = client(1025);
    let charge = Charge::new(
        beyond.key,
        beyond.organization,
        &beyond.key_limits,
        &[],
        Monotonic::from_nanos(START),
        &beyond.cells,
    );
    assert!(matches!(limiter.take(&charge), Take::Now(Decision::Unavailable)));
}

#[test]
fn a_newcomer_gets_a_bucket_of_its_own_once_there_is_room() {
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
fn a_bucket_that_a_cached_key_holds_is_never_doubled() {
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
fn full_buckets_are_let_go_below_the_bound() {
    let limiter = LocalLimiter::new();
    for i in 0..10_000 {
        assert!(Client::new([per_second("requests", 1000, 1)]).passes(&limiter, START + i * SECOND));
    }
    assert!(limiter.buckets() <= 200, "{}", limiter.buckets());
}

#[test]
fn a_warm_charge_allocates_nothing() {
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
fn a_bucket_takes_few_bytes() {
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

#[test]
fn the_overflow_is_warned_about_once_a_minute() {
    let (audit, _guard) = Audit::start();
    let warnings = || audit.all_of_level(tracing::Level::WARN).len();
    let limiter = with_capacity(1);
    let daily = || Client::new([limit("day", 10, DAY, 10)]);
    assert!(daily().passes(&limiter, START));
    assert_eq!(warnings(), 0);
    for second in 0..121 {
        let _ = daily().take(&limiter, START + second * SECOND);
    }
    assert_eq!(warnings(), 3);
}

// Threads

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
fn threads_on_one_limit_admit_exactly_the_burst() {
    for _ in 0..20 {
        let limiter = LocalLimiter::new();
        let client = Client::new([limit("day", 10_000, DAY, 10_000)]);
        assert_eq!(storm(&limiter, &[client], 5_000), 10_000);
    }
}

#[test]
fn threads_on_crossing_limits_admit_exactly_what_fits_all() {
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
        // Who was refused by the organization's limit has kept its own units.
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
fn threads_that_see_limits_in_another_order_do_not_wait_for_each_other() {
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
fn threads_that_meet_a_new_key_find_one_bucket() {
    for _ in 0..200 {
        let limiter = LocalLimiter::new();
        let first = Client::new([limit("day", 50, DAY, 50)]);
        let clients = [first.reloaded(), first.reloaded(), first.reloaded(), first];
        assert_eq!(storm(&limiter, &clients, 100), 50);
    }
}

#[test]
fn without_limits_everything_passes() {
    let limiter = LocalLimiter::new();
    let client = Client::new([]);
    assert!(client.take(&limiter, START).unwrap().states().is_empty());
    assert_eq!(limiter.buckets(), 0);
    let limited = Client::new([per_second("requests", 1, 1)]);
    assert_eq!(limited.drain(&Unlimited, START), 100_000);
    assert!(limiter.is_immediate() && Unlimited.is_immediate());
}

// Limiters of others

/// A limiter that was written without a look into the crate: it says no, and names these positions.
struct Refusing(Vec<usize>);

impl RateLimiter for Refusing {
    fn take(&self, charge: &Charge<'_>) -> Take {
        let wait = Duration::from_millis(41_500);
        let limits = charge.key_limits.iter().chain(charge.organization_limits);
        let limits = limits.map(|limit| (limit.clone(), LimitState::new(0, wait))).collect();
        Take::Now(Decision::Limited(Box::new(Limited::new(limits, self.0.clone(), wait))))
    }
}

#[tokio::test]
async fn a_limiter_from_elsewhere_can_refuse() {
    let house = House::new().await;
    let limits = [per_second("first", 5, 5), per_second("second", 7, 7)];
    let request = limits
        .into_iter()
        .fold(house.request(), |request, limit| request.limit(limit));
    let issued = house.issue(request).await;
    // No position, or one that there is not, makes neither an admission nor a failure out of a refusal.
    for (told, violated) in [
        (vec![1], vec!["second"]),
        (vec![usize::MAX, 1, 2, 0, 1], vec!["first", "second"]),
        (vec![2], vec![]),
        (vec![], vec![]),
    ] {
        let authenticator = Authenticator::builder(house.store.clone())
            .limiter(Refusing(told))
            .build();
        let attempt = tower_api_key::Attempt::new(issued.key.expose_secret().as_bytes());
        let rejection = authenticator.check(attempt.into_owned()).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::RateLimited);
        assert_eq!(rejection.retry_after(), Some(Duration::from_millis(41_500)));
        let limited = rejection.limits().unwrap();
        assert_eq!(limited.limits.len(), 2);
        let names = limited.violated.iter().map(|place| limited.limits[*place].0.name());
        assert_eq!(names.collect::<Vec<_>>(), violated);

        let layer = ApiKeyLayer::from(authenticator);
        let response = ask(&layer, bearer(&text(&issued))).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = field(&response, "retry-after").unwrap().parse().unwrap();
        assert!(seconds >= 42, "{seconds}");
        assert_eq!(json(&response)["violated-policies"], serde_json::json!(violated));
    }
}
