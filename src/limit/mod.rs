//! Rate limiters: the trait, the limiter of this process, and what they report.
//!
//! 1. A [`RateLimit`](crate::key::RateLimit) is a setting of a key or an organization. A [`RateLimiter`] keeps what was
//!    taken of it. Limits come with every [`Charge`], so a changed limit applies to the next request.
//! 2. A request is charged to all of its limits or to none.
//! 3. [`LocalLimiter`] keeps its state in this process. Several processes behind one load balancer each allow the full
//!    rate.
//! 4. [`Unlimited`] ignores limits, for services whose gateway enforces them.

mod allowance;
mod charge;
mod failure_budget;
mod known_buckets;
mod local;
mod turns;
mod unlimited;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use self::allowance::{Allowance, LimitState, Limited};
pub use self::charge::Charge;
pub(crate) use self::failure_budget::FailureBudget;
pub(crate) use self::known_buckets::KnownBuckets;
pub use self::local::LocalLimiter;
pub(crate) use self::turns::{Most, ReadingPlace, Turns};
pub use self::unlimited::Unlimited;

/// Decides whether a request fits the limits of its key and its organization.
///
/// A request is charged to all of its limits or to none: a refused request takes nothing. The caller charges each request
/// at most once, also when it retries. Limits come with the charge, so the limiter keeps only what was taken.
///
/// An implementation
/// - bounds its memory,
/// - keeps what was taken until it has come back: forgetting it earlier would be a reset, and many requests could
///   provoke one,
/// - answers [`Decision::Unavailable`] when it does not know.
///
/// A limiter that asks a server answers [`Take::Later`]:
///
/// ```
/// use tower_api_key::limit::{Charge, Decision, RateLimiter, Take};
///
/// struct Remote;
///
/// impl RateLimiter for Remote {
///     fn take(&self, charge: &Charge<'_>) -> Take {
///         // The future owns what it needs, since the charge is only lent.
///         let names: Vec<String> = charge.limits().map(|limit| format!("{}/{}", charge.key(), limit.name())).collect();
///         Take::Later(Box::pin(async move { ask_the_server(names).await.unwrap_or(Decision::Unavailable) }))
///     }
/// }
///
/// async fn ask_the_server(names: Vec<String>) -> Option<Decision> {
///     # let _ = names;
///     None // down
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a rate limiter",
    note = "use `LocalLimiter` or `Unlimited`, or write `fn take(&self, charge: &Charge<'_>) -> Take` in an `impl RateLimiter`"
)]
pub trait RateLimiter: Send + Sync + 'static {
    /// Charges one request.
    fn take(&self, charge: &Charge<'_>) -> Take;

    /// Whether [`take`](Self::take) always answers [`Take::Now`]. Only then can a request be decided without a future.
    /// Default: `false`.
    fn is_immediate(&self) -> bool {
        false
    }
}

impl<L: RateLimiter + ?Sized> RateLimiter for Arc<L> {
    fn take(&self, charge: &Charge<'_>) -> Take {
        (**self).take(charge)
    }

    fn is_immediate(&self) -> bool {
        (**self).is_immediate()
    }
}

/// A limiter's answer, or a future of it.
#[must_use]
pub enum Take {
    /// The answer.
    Now(Decision),
    /// A future of the answer. It is dropped after the time that loading a record may take (1 s by default), which counts
    /// as [`Decision::Unavailable`].
    Later(Pin<Box<dyn Future<Output = Decision> + Send>>),
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(decision) => f.debug_tuple("Now").field(decision).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Whether a request fits its limits.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Decision {
    /// It fits and was charged.
    Allowed(Allowance),
    /// It does not fit and was not charged: at least one limit is exhausted.
    Limited(Box<Limited>),
    /// The limiter does not know. The request is refused.
    Unavailable,
}
