//! Floor 1: how a request is charged against its limits.

mod allowance;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use self::allowance::{Allowance, LimitState, Limited};
use crate::clock::Monotonic;
use crate::key::{KeyId, OrganizationId, RateLimit};

/// Decides whether a request still fits the limits of its key and of its organization.
///
/// All limits of a request are charged together or not at all: a refused request ends up having consumed nothing.
/// The caller charges a request at most once, whatever it retries. Limits come with the charge, so a changed limit acts
/// at once; the limiter keeps only what was consumed.
pub trait RateLimiter: Send + Sync + 'static {
    /// Charges one request.
    fn take(&self, charge: &Charge<'_>) -> Take;

    /// Whether [`take`](Self::take) always answers [`Take::Now`]. Only then can a request be decided without a future.
    fn is_immediate(&self) -> bool {
        false
    }
}

/// One request, as a limiter sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Charge<'a> {
    /// Whose limits [`key_limits`](Self::key_limits) are.
    pub key: KeyId,
    /// Whose limits [`organization_limits`](Self::organization_limits) are.
    pub organization: OrganizationId,
    /// The limits of the key.
    pub key_limits: &'a [RateLimit],
    /// The limits that all keys of the organization share.
    pub organization_limits: &'a [RateLimit],
    /// When the request is judged.
    pub now: Monotonic,
    /// A place that lives as long as the cached key, where a limiter may keep what it looked up.
    pub cells: &'a Cells,
}

/// A limiter's answer, now or when some server has been asked.
#[must_use]
pub enum Take {
    /// Decided.
    Now(Decision),
    /// To be awaited; it owns all it needs.
    Later(Pin<Box<dyn Future<Output = Decision> + Send>>),
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

/// See [`Charge::cells`].
#[derive(Default)]
pub struct Cells(());

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cells")
    }
}
