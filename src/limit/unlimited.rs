//! A limiter that allows everything.

use crate::limit::{Allowance, Charge, Decision, RateLimiter, Take};

/// Allows every request and reports no limits, also for keys that have some.
///
/// For services whose gateway enforces the limits, and for tests. Keys without limits do not need it.
///
/// ```
/// use tower_api_key::Clock;
/// use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
/// use tower_api_key::limit::{Charge, Decision, RateLimiter, Take, Unlimited};
///
/// let once = [RateLimit::per_minute("requests", 1)?];
/// let charge = Charge::new(KeyId::new(), OrganizationId::new(), &once, &[], Clock::system().now());
/// for _ in 0..10 {
///     assert!(matches!(Unlimited.take(&charge), Take::Now(Decision::Allowed(_))));
/// }
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl RateLimiter for Unlimited {
    fn take(&self, _: &Charge<'_>) -> Take {
        Take::Now(Decision::Allowed(Allowance::default()))
    }

    fn is_immediate(&self) -> bool {
        true
    }
}
