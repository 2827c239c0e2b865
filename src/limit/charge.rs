//! One request, as a limiter sees it.

use crate::clock::Monotonic;
use crate::key::{KeyId, OrganizationId, RateLimit};
use crate::limit::KnownBuckets;

/// One request to be charged: its key, its organization and the limits of both.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Charge<'a> {
    /// The key that [`key_limits`](Self::key_limits) belong to.
    pub key: KeyId,
    /// The organization that [`organization_limits`](Self::organization_limits) belong to.
    pub organization: OrganizationId,
    /// The limits of the key.
    pub key_limits: &'a [RateLimit],
    /// The limits that all keys of the organization share.
    pub organization_limits: &'a [RateLimit],
    /// The time of the request.
    pub now: Monotonic,
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

    /// All limits in the order in which they are reported: those of the key first.
    pub fn limits(&self) -> impl Iterator<Item = &'a RateLimit> + use<'a> {
        self.key_limits.iter().chain(self.organization_limits)
    }

    /// Lets [`LocalLimiter`](crate::limit::LocalLimiter) keep the buckets that it looks up for this key.
    ///
    /// `known` belongs to one cached key and goes with it. If it is used for another key or after a change of the limits,
    /// the limiter notices and looks the buckets up again.
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

    /// The limit at this position of [`limits`](Self::limits).
    pub(super) fn limit(&self, position: usize) -> Option<&'a RateLimit> {
        match position.checked_sub(self.key_limits.len()) {
            None => self.key_limits.get(position),
            Some(position) => self.organization_limits.get(position),
        }
    }
}
