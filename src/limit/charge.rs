//! One request, as a limiter sees it.

use crate::clock::Monotonic;
use crate::key::{KeyId, OrganizationId, RateLimit};
use crate::limit::Cells;

/// One request, as a limiter sees it.
#[derive(Clone, Copy, Debug)]
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
    /// A place that lives as long as the cached key, where [`LocalLimiter`](crate::limit::LocalLimiter) keeps what it
    /// looked up. Opaque to other limiters: they find their state by [`key`](Self::key) and
    /// [`organization`](Self::organization).
    pub cells: &'a Cells,
}

impl<'a> Charge<'a> {
    /// A charge of a request that is judged `now`.
    ///
    /// `cells` belongs to this key: keep one for as long as the key is cached, and begin a new one when its record is
    /// read again. One that is shared by several keys or that has outlived a change costs speed, never correctness.
    pub fn new(
        key: KeyId,
        organization: OrganizationId,
        key_limits: &'a [RateLimit],
        organization_limits: &'a [RateLimit],
        now: Monotonic,
        cells: &'a Cells,
    ) -> Self {
        Self {
            key,
            organization,
            key_limits,
            organization_limits,
            now,
            cells,
        }
    }

    /// How many limits there are.
    pub(crate) fn len(&self) -> usize {
        self.key_limits.len() + self.organization_limits.len()
    }

    /// The limits in the order in which they are reported: those of the key first.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &'a RateLimit> + use<'a> {
        self.key_limits.iter().chain(self.organization_limits)
    }

    /// The limit at this position of [`limits`](Self::limits).
    pub(crate) fn limit(&self, position: usize) -> Option<&'a RateLimit> {
        match position.checked_sub(self.key_limits.len()) {
            None => self.key_limits.get(position),
            Some(position) => self.organization_limits.get(position),
        }
    }
}
