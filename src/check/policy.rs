//! Whether a verified key may do what it asks for. Judged for every request, on cache hits too, and never shared.

use super::attempt::Terms;
use super::entry::Entry;
use super::rejection::{Rejection, RejectionKind};
use crate::clock::Monotonic;
use crate::key::{KeyStatus, OrganizationStatus};

/// The state of the key, then the terms of this request.
#[inline(always)]
pub(super) fn admit(entry: &Entry, terms: Terms<'_>, now: Monotonic) -> Result<(), Rejection> {
    if let Err(kind) = state(entry, now) {
        return Err(refuse(entry, kind));
    }
    if let Some(networks) = entry.networks()
        && !terms.client.address().is_some_and(|address| networks.contains(address))
    {
        return Err(refuse(entry, RejectionKind::NetworkNotAllowed));
    }
    if let Some(scope) = terms.scope
        && !entry.scopes().allows(scope)
    {
        return Err(of_key(
            entry,
            Rejection::insufficient_scope(Box::new([scope.clone()]), false),
        ));
    }
    Ok(())
}

// Cold, as all that makes a refusal: it stays out of the code that admitted requests come by.
#[cold]
fn refuse(entry: &Entry, kind: RejectionKind) -> Rejection {
    of_key(entry, Rejection::new(kind))
}

#[cold]
fn of_key(entry: &Entry, rejection: Rejection) -> Rejection {
    rejection.of_key(entry.key_id(), entry.organization().id, entry.user())
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
