//! What a context can ask its authenticator for, without knowing the store's type.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use super::context::AuthContext;

/// The authenticator behind a context.
pub(crate) struct Home {
    pub(super) realm: Box<str>,
    // Weak: the cache inside the authenticator holds entries that hold this.
    pub(super) authenticator: Weak<dyn Watch>,
}

/// Waiting for the end of a key.
pub(super) trait Watch: Send + Sync {
    fn revoked(self: Arc<Self>, context: AuthContext) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
