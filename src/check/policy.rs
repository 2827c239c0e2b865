//! Whether a verified key may do what it asks for. Judged for every request, on cache hits too, and never shared.

use super::attempt::Terms;
use super::entry::Entry;
use super::rejection::{Rejection, RejectionKind};
use crate::clock::Monotonic;
use crate::key::{KeyStatus, OrganizationStatus};

/// The state of the key, then the terms of this request.
#[inline]
pub(super) fn admit(entry: &Entry, terms: Terms<'_>, now: Monotonic) -> Result<(), Rejection> {
    let of_key = |rejection: Rejection| rejection.of_key(entry.key_id(), entry.organization().id, entry.user());
    if let Err(kind) = state(entry, now) {
        return Err(of_key(Rejection::new(kind)));
    }
    if let Some(networks) = entry.networks()
        && !terms.client_address.is_some_and(|address| networks.contains(address))
    {
        return Err(of_key(Rejection::new(RejectionKind::NetworkNotAllowed)));
    }
    if let Some(scope) = terms.scope
        && !entry.scopes().allows(scope)
    {
        return Err(of_key(Rejection::insufficient_scope(scope.clone())));
    }
    Ok(())
}

/// Whether the key works at all at this time.
#[inline]
pub(super) fn state(entry: &Entry, now: Monotonic) -> Result<(), RejectionKind> {
    match entry.status {
        KeyStatus::Active => {}
        KeyStatus::Disabled => return Err(RejectionKind::KeyDisabled),
        KeyStatus::Revoked => return Err(RejectionKind::KeyRevoked),
    }
    if entry.organization().status != OrganizationStatus::Active {
        return Err(RejectionKind::OrganizationInactive);
    }
    if now >= entry.deadline {
        return Err(RejectionKind::KeyExpired);
    }
    Ok(())
}
