//! Floor 1: how a request is charged against its limits.
//!
//! 1. A [`RateLimit`](crate::key::RateLimit) says how often; a [`RateLimiter`] keeps what was consumed. Limits travel
//!    with every [`Charge`], so a changed limit acts on the next request.
//! 2. All limits of a request are charged together, or none is.
//! 3. [`LocalLimiter`] keeps its state in this process. Several processes behind one load balancer each admit the full
//!    rate then.
//! 4. [`Unlimited`] ignores limits, for services whose gateway enforces them already.

mod allowance;
mod cells;
mod charge;
mod local;
mod unlimited;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use self::allowance::{Allowance, LimitState, Limited};
pub use self::cells::Cells;
pub use self::charge::Charge;
pub use self::local::LocalLimiter;
pub use self::unlimited::Unlimited;

/// Decides whether a request still fits the limits of its key and of its organization.
///
/// All limits of a request are charged together or not at all: a refused request ends up having consumed nothing.
/// The caller charges a request at most once, whatever it retries. Limits come with the charge, so a changed limit acts
/// at once; the limiter keeps only what was consumed.
///
/// An implementation must bound its memory, must not lose what was consumed before it has been refilled (that would be
/// a reset, which whoever makes many requests could provoke), and answers [`Decision::Unavailable`] rather than guess.
pub trait RateLimiter: Send + Sync + 'static {
    /// Charges one request.
    fn take(&self, charge: &Charge<'_>) -> Take;

    /// Whether [`take`](Self::take) always answers [`Take::Now`]. Only then can a request be decided without a future.
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

/// A limiter's answer, now or when some server has been asked.
#[must_use]
pub enum Take {
    /// Decided.
    Now(Decision),
    /// To be awaited; it owns all it needs. After the time that a check may take to load a record (1 s unless set otherwise)
    /// it is dropped, and counts as [`Decision::Unavailable`].
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
    /// It was charged.
    Allowed(Allowance),
    /// It was not charged: at least one limit is exhausted.
    Limited(Box<Limited>),
    /// The limiter cannot tell, and its policy is to refuse then.
    Unavailable,
}
