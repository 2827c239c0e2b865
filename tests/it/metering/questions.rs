//! Sums are those of the events, whatever order batches came in and how often.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tower_api_key::key::{KeyId, OrganizationId, Timestamp};
use tower_api_key::usage::{
    By, Consumers, ErrorClass, Grain, MemoryUsage, UsageBatch, UsageErrorKind, UsageEvent, UsageExt, UsageOf,
    UsageQuery, UsageRange, UsageSink, UsageSource, UsageStatus, UsageSums,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const ALL: NonZeroU32 = NonZeroU32::MAX;

/// Three organizations with three keys each.
fn key(organization: usize, key: usize) -> (OrganizationId, KeyId) {
    let id = |number: usize| uuid::Uuid::from_u128(number as u128 + 1);
    (id(organization).into(), id(10 + 3 * organization + key).into())
}

fn events() -> impl Strategy<Value = Vec<UsageEvent>> {
    let status = prop_oneof![
        4 => Just(UsageStatus::http(200)),
        1 => Just(UsageStatus::http(404)),
        1 => Just(UsageStatus::http(503)),
        1 => Just(UsageStatus::grpc(0)),
        1 => Just(UsageStatus::grpc(14)),
    ];
    let times = prop_oneof![-40 * DAY..40 * DAY, -2 * HOUR..2 * HOUR];
    let event = (
        (0..3usize, 0..3usize, times, 0..4usize),
        (status, 0..200_000_000u64, any::<u32>(), any::<u32>()),
        (
            prop_oneof![Just(u64::MAX), 0..1000u64],
            0..3usize,
            0..3usize,
            any::<bool>(),
            0..3usize,
        ),
    );
    let event = event.prop_map(|(whose, how, more)| {
        let (organization, own, at, route) = whose;
        let (status, micros, bytes_in, bytes_out) = how;
        let (tokens, scope, tag, is_cancelled, user) = more;
        let (organization, id) = key(organization, own);
        // Keys change hands.
        let user = [None, Some("alice"), Some("bob")][user].map(|user| user.parse().unwrap());
        let mut event = UsageEvent::new(organization, id, Timestamp::from_millis(1_780_000_000_000 + at));
        event = event
            .route(["", "/orders", "/orders/{id}", "/invoices"][route])
            .user(user);
        event = event.latency(Duration::from_micros(micros));
        event.method = ["GET", "POST"][route % 2];
        event.status = status;
        event.error = match is_cancelled {
            true => Some(ErrorClass::Cancelled),
            false => ErrorClass::of(status),
        };
        (event.bytes_in, event.bytes_out) = (bytes_in.into(), bytes_out.into());
        event.tokens = tokens;
        event.scope = [None, Some("orders:read"), Some("orders:write")][scope].map(|scope| scope.parse().unwrap());
        if let Some(value) = [None, Some("large"), Some("small")][tag] {
            event.tags.set("model", value).unwrap();
        }
        event
    });
    prop::collection::vec(event, 0..120)
}

fn summed<K: Ord>(events: impl Iterator<Item = (K, UsageEvent)>) -> BTreeMap<K, UsageSums> {
    let mut sums: BTreeMap<K, UsageSums> = BTreeMap::new();
    for (name, event) in events {
        *sums.entry(name).or_default() += UsageSums::of(&event);
    }
    sums
}

async fn agrees(usage: &impl UsageQuery, events: &[UsageEvent], range: UsageRange) {
    let is_whose = |event: &UsageEvent| match range.of() {
        UsageOf::Everyone => true,
        UsageOf::Organization(id) => event.organization == *id,
        UsageOf::User(id, user) => event.organization == *id && event.user.as_ref() == Some(user),
        UsageOf::Key(id, key) => event.organization == *id && event.key == *key,
        other => panic!("{other:?}"),
    };
    let is_meant = |event: &UsageEvent| (range.from()..range.until()).contains(&event.at) && is_whose(event);
    let meant: Vec<UsageEvent> = events.iter().filter(|event| is_meant(event)).cloned().collect();
    let all = || meant.iter().cloned();
    let total: UsageSums = meant.iter().map(UsageSums::of).sum();
    assert_eq!(usage.summary(range.clone()).await.unwrap(), total);

    let hours = usage.periods(range.clone(), Grain::Hour).await.unwrap();
    let expected = summed(all().map(|event| (Grain::Hour.start(event.at), event)));
    assert_eq!(hours, expected.into_iter().collect::<Vec<_>>());
    // Days are whole, whatever hours the range has of them.
    let is_in_day = |event: &&UsageEvent| {
        let day = Grain::Day.start(event.at);
        day.after(Duration::from_secs(86_400)) > range.from() && day < range.until()
    };
    let days = usage.periods(range.clone(), Grain::Day).await.unwrap();
    let of_days = events.iter().filter(|event| is_whose(event)).filter(is_in_day).cloned();
    let expected = summed(of_days.map(|event| (Grain::Day.start(event.at), event)));
    if range.from() < range.until() {
        assert_eq!(days, expected.into_iter().collect::<Vec<_>>());
    }

    let endpoints = usage.endpoints(range.clone(), ALL).await.unwrap();
    let expected = summed(all().map(|event| ((event.route.to_string(), event.method.to_owned()), event)));
    assert!(endpoints.is_sorted_by(|one, next| one.sums.requests >= next.sums.requests));
    let seen: BTreeMap<_, _> = endpoints
        .into_iter()
        .map(|one| ((one.route, one.method), one.sums))
        .collect();
    assert_eq!(seen, expected);

    let errors = usage.errors(range.clone(), ALL).await.unwrap();
    let expected = summed(all().filter_map(|event| Some(((event.status, event.error?), event))));
    let seen: BTreeMap<_, _> = errors
        .into_iter()
        .map(|one| ((one.status, one.class), one.requests))
        .collect();
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(of, sums)| (of, sums.requests)).collect();
    assert_eq!(seen, expected);

    let keys = usage.top(range.clone(), Consumers::Keys, ALL).await.unwrap();
    let expected = summed(all().map(|event| (event.key, event)));
    let seen: BTreeMap<_, _> = keys.into_iter().map(|one| (one.key.unwrap(), one.sums)).collect();
    assert_eq!(seen, expected);
    let users = usage.top(range.clone(), Consumers::Users, ALL).await.unwrap();
    let expected = summed(all().filter_map(|event| Some(((event.organization, event.user.clone()?), event))));
    let seen: BTreeMap<_, _> = users
        .into_iter()
        .map(|one| ((one.organization, one.user.unwrap()), one.sums))
        .collect();
    assert_eq!(seen, expected);

    if matches!(range.of(), UsageOf::Everyone | UsageOf::Organization(_)) {
        let scopes = usage.values(range.clone(), By::Scope, ALL).await.unwrap();
        let expected = summed(all().filter_map(|event| Some((event.scope.as_ref()?.to_string(), event))));
        assert_eq!(scopes.into_iter().collect::<BTreeMap<_, _>>(), expected);
        let models = usage.values(range.clone(), By::Tag("model".into()), ALL).await.unwrap();
        let expected = summed(all().filter_map(|event| Some((event.tags.get("model")?.to_owned(), event))));
        assert_eq!(models.into_iter().collect::<BTreeMap<_, _>>(), expected);
    } else {
        let refused = usage.values(range.clone(), By::Scope, ALL).await.unwrap_err();
        assert_eq!(refused.kind(), UsageErrorKind::OfOrganizations);
    }

    let latencies = usage.latencies(range).await.unwrap();
    assert_eq!(latencies.requests, total.requests);
    assert_eq!(latencies.p50.is_some(), total.requests > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_are_those_of_the_events(
        events in events(),
        sizes in prop::collection::vec(1..40usize, 1..8),
        order in any::<prop::sample::Index>(),
        repeats in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        (from, length) in (-45 * DAY..45 * DAY, 0..80 * DAY),
    ) {
        let source = UsageSource::new();
        let (mut batches, mut first) = (Vec::new(), 0);
        for size in sizes.iter().cycle() {
            let rest = &events[first.min(events.len())..];
            if rest.is_empty() {
                break;
            }
            let batch = rest[..(*size).min(rest.len())].to_vec();
            first += batch.len();
            batches.push(Arc::new(UsageBatch::new(source, (first - batch.len()) as u64, batch)));
        }
        if !batches.is_empty() {
            let middle = order.index(batches.len());
            batches.rotate_left(middle);
            for again in &repeats {
                let batch = batches[again.index(batches.len())].clone();
                batches.push(batch);
            }
        }
        let usage = MemoryUsage::new();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            for batch in batches {
                usage.write(batch).await.unwrap();
            }
            let from = Timestamp::from_millis(1_780_000_000_000 + from);
            let until = from.after(Duration::from_millis(length as u64));
            let (acme, first) = key(0, 0);
            for of in [
                UsageOf::Everyone,
                UsageOf::Organization(acme),
                UsageOf::User(acme, "alice".parse().unwrap()),
                UsageOf::Key(acme, first),
                // A key of another organization.
                UsageOf::Key(key(1, 0).0, first),
            ] {
                agrees(&usage, &events, UsageRange::new(of, from, until).unwrap()).await;
            }
        });
    }
}

/// Latencies as services have them: most are short, some are very long.
#[tokio::test]
async fn percentiles_are_those_of_hdrhistogram() {
    use rand::{RngExt as _, SeedableRng as _};

    let mut random = rand::rngs::StdRng::seed_from_u64(14);
    for spread in [0.4, 1.0, 2.0] {
        let usage = MemoryUsage::new();
        let mut oracle = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 30, 3).unwrap();
        let (organization, id) = key(0, 0);
        let now = Timestamp::from_millis(1_780_000_000_000);
        let mut events = Vec::new();
        for _ in 0..20_000 {
            // The sum of twelve is nearly normal; its power has a long tail.
            let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            let micros = (8_000.0 * (normal * spread).exp()).clamp(100.0, 119_000_000.0) as u64;
            oracle.record(micros).unwrap();
            events.push(UsageEvent::new(organization, id, now).latency(Duration::from_micros(micros)));
        }
        for (number, piece) in events.chunks(500).enumerate() {
            let batch = UsageBatch::new(UsageSource::new(), number as u64 * 500, piece.to_vec());
            usage.write(Arc::new(batch)).await.unwrap();
        }
        let range = UsageRange::new(UsageOf::Key(organization, id), now, now.after(Duration::from_secs(1))).unwrap();
        let latencies = usage.latencies(range).await.unwrap();
        for (own, part) in [(latencies.p50, 0.5), (latencies.p90, 0.9), (latencies.p99, 0.99)] {
            let (own, oracle) = (own.unwrap().as_micros() as f64, oracle.value_at_quantile(part) as f64);
            // Its own values are exact to a thousandth.
            assert!(
                (own - oracle).abs() <= oracle * (0.0625 + 0.001),
                "{spread} {part}: {own} {oracle}"
            );
        }
    }
}

/// A WebSocket is open for hours, which is no response time.
#[tokio::test]
async fn upgraded_connections_are_in_no_percentile() {
    let usage = MemoryUsage::new();
    let (organization, id) = key(0, 0);
    let now = Timestamp::from_millis(1_780_000_000_000);
    let mut socket = UsageEvent::new(organization, id, now).latency(Duration::from_secs(7200));
    socket.status = UsageStatus::http(101);
    let quick = UsageEvent::new(organization, id, now).latency(Duration::from_millis(3));
    let batch = UsageBatch::new(UsageSource::new(), 0, vec![socket, quick]);
    usage.write(Arc::new(batch)).await.unwrap();
    let range = UsageRange::new(UsageOf::Everyone, now, now.after(Duration::from_secs(1))).unwrap();
    assert_eq!(usage.summary(range.clone()).await.unwrap().requests, 2);
    let latencies = usage.latencies(range).await.unwrap();
    assert_eq!(latencies.requests, 1);
    assert!(latencies.p99.unwrap() < Duration::from_millis(4));
}

/// A handler that takes a tag from what clients send cannot fill the memory.
#[tokio::test]
async fn values_of_a_tag_are_bounded() {
    let usage = MemoryUsage::new();
    let (organization, id) = key(0, 0);
    let now = Timestamp::from_millis(1_780_000_000_000);
    let event = |number: usize| {
        let mut event = UsageEvent::new(organization, id, now);
        event.tags.set("model", &format!("model-{number}")).unwrap();
        event
    };
    for piece in 0..10 {
        let events = (0..500).map(|number| event(piece * 500 + number)).collect();
        let batch = UsageBatch::new(UsageSource::new(), 0, events);
        usage.write(Arc::new(batch)).await.unwrap();
    }
    let range = UsageRange::new(UsageOf::Everyone, now, now.after(Duration::from_secs(1))).unwrap();
    let values = usage.values(range, By::Tag("model".into()), ALL).await.unwrap();
    assert_eq!(
        (values.len(), values[0].0.as_str(), values[0].1.requests),
        (101, "other", 4900)
    );
}

/// Minutes and hours go; days stay.
#[tokio::test]
async fn old_hours_are_removed() {
    let usage = MemoryUsage::new();
    let (organization, id) = key(0, 0);
    let then = Timestamp::from_millis(1_780_000_000_000);
    for days in [0, 1, 91] {
        let at = then.after(Duration::from_secs(days * 86_400));
        let batch = UsageBatch::new(UsageSource::new(), 0, vec![UsageEvent::new(organization, id, at)]);
        usage.write(Arc::new(batch)).await.unwrap();
    }
    let until = then.after(Duration::from_secs(92 * 86_400));
    let range = UsageRange::new(UsageOf::Key(organization, id), then, until).unwrap();
    for (grain, expected) in [(Grain::Day, 3), (Grain::Hour, 2), (Grain::Minute, 1)] {
        let periods = usage.periods(range.clone(), grain).await.unwrap();
        assert_eq!(periods.len(), expected, "{grain:?}");
    }
}
