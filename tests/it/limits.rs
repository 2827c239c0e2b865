//! The crate's limiters and a custom one through the public API. Unit tests cover how much the local limiter lets through.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::StatusCode;
use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
use tower_api_key::limit::{Charge, Decision, LimitState, Limited, LocalLimiter, RateLimiter, Take, Unlimited};
use tower_api_key::{ApiKeyLayer, Authenticator, Monotonic, RejectionKind};

use crate::support::audit::Audit;
use crate::support::{House, ask, bearer, field, json, text};

const START: u64 = 1_000_000_000_000;

/// One request of this key.
fn take(limiter: &impl RateLimiter, key: KeyId, limits: &[RateLimit], now: u64) -> Take {
    let now = Monotonic::from_nanos(now);
    limiter.take(&Charge::new(key, OrganizationId::new(), limits, &[], now))
}

fn passes(taken: Take) -> bool {
    matches!(taken, Take::Now(Decision::Allowed(_)))
}

#[test]
fn overflow_warns_once_a_minute() {
    let (audit, _guard) = Audit::start();
    let warnings = || audit.all_of_level(tracing::Level::WARN).len();
    let limiter = LocalLimiter::with_capacity(NonZeroUsize::MIN);
    let daily = [RateLimit::per_day("day", 10).unwrap()];
    assert!(passes(take(&limiter, KeyId::new(), &daily, START)));
    assert_eq!(warnings(), 0);
    for second in 0..121 {
        let _ = take(&limiter, KeyId::new(), &daily, START + second * 1_000_000_000);
    }
    assert_eq!(warnings(), 3);
}

#[test]
fn key_without_limits_takes_no_bucket() {
    let limiter = LocalLimiter::new();
    match take(&limiter, KeyId::new(), &[], START) {
        Take::Now(Decision::Allowed(allowance)) => assert!(allowance.states().is_empty()),
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(limiter.buckets(), 0);
    assert!(limiter.is_immediate());
}

#[test]
fn unlimited_allows_everything() {
    let (key, once) = (KeyId::new(), [RateLimit::per_second("requests", 1).unwrap()]);
    assert!((0..100_000).all(|_| passes(take(&Unlimited, key, &once, START))));
    assert!(Unlimited.is_immediate());
}

/// A limiter that uses only the public API. It refuses, and names these positions as exhausted.
struct Refusing(Vec<usize>);

impl RateLimiter for Refusing {
    fn take(&self, charge: &Charge<'_>) -> Take {
        let wait = Duration::from_millis(41_500);
        let limits = charge
            .limits()
            .map(|limit| (limit.clone(), LimitState::new(0, wait)))
            .collect();
        Take::Now(Decision::Limited(Box::new(Limited::new(limits, self.0.clone(), wait))))
    }
}

#[tokio::test]
async fn limiter_of_a_user_refuses_with_429() {
    let house = House::new().await;
    let limits = [("first", 5), ("second", 7)].map(|(name, limit)| RateLimit::per_second(name, limit).unwrap());
    let request = limits
        .into_iter()
        .fold(house.request(), |request, limit| request.limit(limit));
    let issued = house.issue(request).await;
    // Missing and impossible positions do not change the refusal.
    for (told, violated) in [
        (vec![1], vec!["second"]),
        (vec![usize::MAX, 1, 2, 0, 1], vec!["first", "second"]),
        (vec![2], vec![]),
        (vec![], vec![]),
    ] {
        let authenticator = Authenticator::builder(house.store.clone())
            .limiter(Refusing(told))
            .build();
        let presented = tower_api_key::PresentedKey::new(issued.key.expose_secret().as_bytes());
        let rejection = authenticator.check(presented).await.unwrap_err();
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
