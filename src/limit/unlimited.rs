//! The limiter that limits nothing.

use crate::limit::{Allowance, Charge, Decision, RateLimiter, Take};

/// Admits every request and reports no limit, whatever the records say.
///
/// For services whose gateway enforces the limits already, and for tests. It is the only way to switch limits off; a
/// key without limits needs no such limiter.
///
/// ```
/// use tower_api_key::key::{KeyId, OrganizationId, RateLimit};
/// use tower_api_key::limit::{Cells, Charge, Decision, RateLimiter, Take, Unlimited};
/// use tower_api_key::Monotonic;
///
/// let once = [RateLimit::per_minute("requests", 1)?];
/// let cells = Cells::new();
/// let charge = Charge::new(KeyId::new(), OrganizationId::new(), &once, &[], Monotonic::from_nanos(0), &cells);
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
