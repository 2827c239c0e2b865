//! How checks ended: an audit event each, and exact counts.

use std::future::Future;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::entry::Entry;
use super::rejection::Rejection;
use super::sampler::Sampler;
use crate::client::Origin;
use crate::clock::{Clock, Monotonic};
use crate::key::Lookup;

/// Records outcomes. Admitted requests are DEBUG events, refusals INFO events (sampled), all of target
/// `tower_api_key::audit`; both are counted exactly (feature `metrics`).
#[derive(Default)]
pub(crate) struct Outcomes {
    refusals: Sampler,
    /// Of keys that were verified: revoked, over their limit. Requests without a right key, of which anyone can send any
    /// number, must not crowd their lines out.
    refusals_of_keys: Sampler,
    #[cfg(feature = "metrics")]
    counters: super::metrics::Counters,
}

impl Outcomes {
    /// By the parts of what becomes the context, which is made in its place after this.
    #[inline]
    pub(super) fn admitted(&self, entry: &Entry, lookup: &Lookup, client: Origin) {
        #[cfg(feature = "metrics")]
        self.counters.admitted();
        // The event asks as well. Here it keeps the rest of it away from the code of every request. Without any subscriber
        // it may be one for the `log` crate.
        let level = LevelFilter::current();
        if level >= Level::DEBUG || level == LevelFilter::OFF {
            write_admitted(entry, lookup, client);
        }
    }

    pub(crate) fn refused(&self, rejection: &Rejection, client: Origin, now: Monotonic) {
        #[cfg(feature = "metrics")]
        self.counters.refused(rejection.kind());
        if !tracing::enabled!(target: "tower_api_key::audit", Level::INFO) {
            return;
        }
        let sampler = match rejection.key_id() {
            Some(_) => &self.refusals_of_keys,
            None => &self.refusals,
        };
        let Some(left_out) = sampler.may_write(now) else {
            return;
        };
        tracing::info!(
            target: "tower_api_key::audit",
            outcome = "refused",
            reason = rejection.kind().as_str(),
            key = rejection.key_id().map(tracing::field::display),
            organization = rejection.organization_id().map(tracing::field::display),
            user = rejection.user(),
            lookup = rejection.lookup().map(tracing::field::display),
            client = client.address().map(tracing::field::display),
            left_out,
        );
    }

    /// A check was decided by what was in the cache.
    #[inline]
    pub(super) fn hit(&self) {
        #[cfg(feature = "metrics")]
        self.counters.hit();
    }

    /// A check has to read the record: of a key that was seen before, or not.
    #[inline]
    pub(super) fn read(&self, _was_seen: bool) {
        #[cfg(feature = "metrics")]
        match _was_seen {
            true => self.counters.stale(),
            false => self.counters.miss(),
        }
    }

    /// Waits for a hash.
    pub(super) async fn hash<T>(&self, _clock: &Clock, hash: impl Future<Output = T>) -> T {
        #[cfg(feature = "metrics")]
        return self.counters.hash(_clock, hash).await;
        #[cfg(not(feature = "metrics"))]
        hash.await
    }

    #[cfg(feature = "metrics")]
    pub(super) fn counters(&self) -> &super::metrics::Counters {
        &self.counters
    }
}

#[cold]
fn write_admitted(entry: &Entry, lookup: &Lookup, client: Origin) {
    tracing::debug!(
        target: "tower_api_key::audit",
        outcome = "admitted",
        key = %entry.key_id(),
        organization = %entry.organization().id,
        user = entry.user(),
        lookup = %lookup,
        client = client.address().map(tracing::field::display),
    );
}
