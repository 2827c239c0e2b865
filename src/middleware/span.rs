//! Names the key of a request on the caller's span.

use tracing::Span;
use tracing::field::display;

use crate::check::{AuthContext, Rejection};
use crate::key::{KeyId, OrganizationId};

pub(super) fn record_admitted(context: &AuthContext) {
    record(context.key_id(), context.organization().id, context.user());
}

/// Nothing if the key is not known, or its secret was not verified.
pub(super) fn record_refused(rejection: &Rejection) {
    if let (Some(key), Some(organization)) = (rejection.key_id(), rejection.organization_id()) {
        record(key, organization, rejection.user());
    }
}

/// Fields that the span does not have are left out.
fn record(key: KeyId, organization: OrganizationId, user: Option<&str>) {
    let span = Span::current();
    span.record("api_key.id", display(key));
    span.record("api_key.organization", display(organization));
    if let Some(user) = user {
        span.record("api_key.user", user);
    }
}
