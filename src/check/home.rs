//! What a context can ask its authenticator for, without knowing the store's type.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use super::context::AuthContext;
use super::rejection::Rejection;
use crate::client::Origin;
use crate::clock::Clock;

/// The authenticator behind a context.
pub(crate) struct Home {
    pub(super) realm: Box<str>,
    /// By which the authenticator judges whether keys have ended.
    pub(super) clock: Clock,
    // Weak: the cache inside the authenticator holds entries that hold this.
    pub(super) authenticator: Weak<dyn Watch>,
}

/// What contexts ask for after the check: the end of their key, and a record of what was decided on it.
pub(super) trait Watch: Send + Sync {
    fn revoked(self: Arc<Self>, context: AuthContext) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Records a refusal that was decided after the check.
    fn record_refusal(&self, rejection: &Rejection, client: Origin);
}
