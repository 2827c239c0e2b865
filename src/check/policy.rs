//! What a verified key may do. Judged for every request, on cached entries too, and never shared between requests.

use super::entry::Entry;
use super::presented::PresentedKey;
use super::rejection::{Rejection, RejectionKind};
use crate::clock::{Clock, Monotonic};

/// The state of the key first, then what this request asks for.
pub(super) fn permit(entry: &Entry, presented: &PresentedKey<'_>, now: Monotonic) -> Result<(), Rejection> {
    if let Err(kind) = state(entry, now) {
        return Err(entry.rejection(Rejection::new(kind)));
    }
    if let Some(environment) = presented.environment()
        && entry.environment() != Some(environment)
    {
        return Err(entry.rejection(Rejection::new(RejectionKind::EnvironmentNotAllowed)));
    }
    if let Some(networks) = entry.networks()
        && !presented
            .client()
            .address()
            .is_some_and(|address| networks.contains(address))
    {
        return Err(entry.rejection(Rejection::new(RejectionKind::NetworkNotAllowed)));
    }
    if let Some(scope) = presented.scope()
        && !entry.scopes().allows(scope)
    {
        return Err(entry.rejection(Rejection::insufficient_scope(Box::new([scope.clone()]), false)));
    }
    Ok(())
}

/// Whether the key is valid at all at this time.
pub(super) fn state(entry: &Entry, now: Monotonic) -> Result<(), RejectionKind> {
    if let Some(barrier) = entry.barrier {
        return Err(RejectionKind::of_barrier(barrier));
    }
    if now >= entry.deadline {
        return Err(RejectionKind::KeyExpired);
    }
    Ok(())
}

/// Whether the key has expired by the clock as it is now. Its deadline was computed when the record was read, and the system's
/// clock may have been wrong then.
pub(super) fn is_over(entry: &Entry, clock: &Clock) -> bool {
    entry.expires_at().is_none_or(|end| clock.is_over(end))
}
