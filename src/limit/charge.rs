//! One request, as a limiter sees it.

use crate::clock::Monotonic;
use crate::key::{KeyId, OrganizationId, RateLimit};
use crate::limit::KnownBuckets;

/// One request to be charged: its key, its organization and the limits of both.
///
/// It cannot be changed, because the buckets that were looked up for a cached key are used for every charge that comes with
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    key: KeyId,
    organization: OrganizationId,
    key_limits: &'a [RateLimit],
    organization_limits: &'a [RateLimit],
    now: Monotonic,
    known: Option<&'a KnownBuckets>,
}

impl<'a> Charge<'a> {
    /// A charge for one request at the time `now`.
    pub fn new(
        key: KeyId,
        organization: OrganizationId,
        key_limits: &'a [RateLimit],
        organization_limits: &'a [RateLimit],
        now: Monotonic,
    ) -> Self {
        Self {
            key,
            organization,
            key_limits,
            organization_limits,
            now,
            known: None,
        }
    }

    /// The key that [`key_limits`](Self::key_limits) belong to.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The organization that [`organization_limits`](Self::organization_limits) belong to.
    pub fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The limits of the key.
    pub fn key_limits(&self) -> &'a [RateLimit] {
        self.key_limits
    }

    /// The limits that all keys of the organization share.
    pub fn organization_limits(&self) -> &'a [RateLimit] {
        self.organization_limits
    }

    /// The time of the request.
    pub fn now(&self) -> Monotonic {
        self.now
    }

    /// All limits in the order in which they are reported: those of the key first.
    pub fn limits(&self) -> impl Iterator<Item = &'a RateLimit> + use<'a> {
        self.key_limits.iter().chain(self.organization_limits)
    }

    /// The same in two lists.
    pub(super) fn lists(&self) -> [&'a [RateLimit]; 2] {
        [self.key_limits, self.organization_limits]
    }

    /// Lets [`LocalLimiter`](crate::limit::LocalLimiter) keep the buckets that it looks up for this key.
    ///
    /// `known` belongs to one cached key with its limits, and goes with it.
    pub(crate) fn with_known_buckets(self, known: &'a KnownBuckets) -> Self {
        Self {
            known: Some(known),
            ..self
        }
    }

    pub(super) fn known_buckets(&self) -> Option<&'a KnownBuckets> {
        self.known
    }

    /// The number of limits.
    pub(super) fn len(&self) -> usize {
        self.key_limits.len() + self.organization_limits.len()
    }
}
