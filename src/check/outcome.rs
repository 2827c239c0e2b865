//! How checks ended: an audit event each, and exact counts.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::context::AuthContext;
use super::rejection::Rejection;
use crate::clock::Monotonic;

/// Refusals written to the log per second; the rest are counted and reported with the next one that is written.
const REFUSALS_PER_SECOND: u64 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Records outcomes. Admitted requests are DEBUG events, refusals INFO events (sampled), all of target
/// `tower_api_key::audit`; both are counted exactly (feature `metrics`).
#[derive(Default)]
pub(crate) struct Outcomes {
    window_began: AtomicU64,
    written: AtomicU64,
    left_out: AtomicU64,
    #[cfg(feature = "metrics")]
    counters: super::metrics::Counters,
}

impl Outcomes {
    #[inline]
    pub(super) fn admitted(&self, context: &AuthContext) {
        #[cfg(feature = "metrics")]
        self.counters.admitted();
        tracing::debug!(
            target: "tower_api_key::audit",
            outcome = "admitted",
            key = %context.key_id(),
            organization = %context.organization().id,
            user = context.user(),
            lookup = %context.lookup(),
            client = context.client_address().map(tracing::field::display),
        );
    }

    pub(crate) fn refused(&self, rejection: &Rejection, client_address: Option<IpAddr>, now: Monotonic) {
        #[cfg(feature = "metrics")]
        self.counters.refused(rejection.kind());
        if !tracing::enabled!(target: "tower_api_key::audit", tracing::Level::INFO) {
            return;
        }
        let Some(left_out) = self.may_write(now) else {
            return;
        };
        tracing::info!(
            target: "tower_api_key::audit",
            outcome = "refused",
            reason = rejection.kind().as_str(),
            key = rejection.key_id().map(tracing::field::display),
            organization = rejection.organization_id().map(tracing::field::display),
            lookup = rejection.lookup().map(tracing::field::display),
            client = client_address.map(tracing::field::display),
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

    #[cfg(feature = "metrics")]
    pub(super) fn counters(&self) -> &super::metrics::Counters {
        &self.counters
    }

    /// Whether this refusal is written, and how many were not since the last one that was. Approximate at the edge of a
    /// second, where two threads may both open the window: a sample needs no lock.
    fn may_write(&self, now: Monotonic) -> Option<u64> {
        let began = Monotonic::from_nanos(self.window_began.load(Ordering::Relaxed));
        if now.since(began) >= SECOND {
            self.window_began.store(now.as_nanos(), Ordering::Relaxed);
            self.written.store(0, Ordering::Relaxed);
        }
        if self.written.fetch_add(1, Ordering::Relaxed) < REFUSALS_PER_SECOND {
            Some(self.left_out.swap(0, Ordering::Relaxed))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_sampled_and_what_was_left_out_is_told() {
        let outcomes = Outcomes::default();
        let now = Monotonic::from_nanos(5_000_000_000);
        let written = (0..1000).filter(|_| outcomes.may_write(now).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(outcomes.may_write(now.after(SECOND)), Some(900));
        assert_eq!(outcomes.may_write(now.after(SECOND)), Some(0));
    }
}
