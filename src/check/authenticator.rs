//! Checks keys.

use std::future::Future;

use super::{Attempt, AuthContext, OwnedAttempt, Rejection};
use crate::store::KeyStore;

/// Checks keys against a store. Cheap to clone; clones share everything.
pub struct Authenticator<S> {
    store: std::sync::Arc<S>,
}

impl<S> Clone for Authenticator<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
        }
    }
}

#[allow(clippy::todo)]
impl<S: KeyStore> Authenticator<S> {
    /// stub
    pub fn new(store: S) -> Self {
        Self { store: store.into() }
    }

    /// stub
    pub fn realm(&self) -> &str {
        "api"
    }

    /// stub
    pub fn try_check(&self, _attempt: &Attempt<'_>) -> Option<Result<AuthContext, Rejection>> {
        None
    }

    /// stub
    pub fn check(
        &self,
        _attempt: OwnedAttempt,
    ) -> impl Future<Output = Result<AuthContext, Rejection>> + Send + 'static + use<S> {
        async { Err(Rejection::new(super::RejectionKind::Busy)) }
    }

    /// stub: records a refusal that did not come out of a check (no credential, two credentials, a missing scope)
    pub(crate) fn record_refusal(&self, _rejection: &Rejection) {}
}
