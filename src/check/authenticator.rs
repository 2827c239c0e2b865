//! Checks keys: the face of this folder.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::attempt::{Attempt, OwnedAttempt};
use super::builder::AuthenticatorBuilder;
use super::context::AuthContext;
use super::core::Core;
use super::rejection::Rejection;
use crate::client::Origin;
use crate::store::KeyStore;

/// Checks keys against a store, for any protocol. Cheap to clone; clones share cache, flights and limits.
///
/// [`ApiKeyLayer`](crate::ApiKeyLayer) is built on it; where there is no HTTP, call it directly.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Attempt, Authenticator, IssueRequest, Issuer, RejectionKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let issuer = Issuer::new(store.clone())?;
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
///
/// let authenticator = Authenticator::new(store);
/// let attempt = Attempt::new(issued.key.expose_secret().as_bytes());
/// let context = authenticator.check(attempt.into_owned()).await?;
/// assert_eq!(context.organization().name, "acme");
///
/// // Now it is known, and is decided without waiting.
/// let attempt = Attempt::new(issued.key.expose_secret().as_bytes());
/// assert!(matches!(authenticator.try_check(&attempt), Some(Ok(_))));
///
/// let refused = authenticator.check(Attempt::new(b"key_live_wrong").into_owned()).await;
/// assert_eq!(refused.unwrap_err().kind(), RejectionKind::MalformedKey);
/// # Ok(())
/// # }
/// ```
pub struct Authenticator<S> {
    core: Arc<Core<S>>,
}

impl<S: KeyStore> Authenticator<S> {
    /// An authenticator with the default settings: keys of the default format, checked answers reused for up to five
    /// minutes, limits kept in memory.
    pub fn new(store: S) -> Self {
        Self::builder(store).build()
    }

    /// For other settings.
    pub fn builder(store: S) -> AuthenticatorBuilder<S> {
        AuthenticatorBuilder::new(store)
    }

    pub(super) fn from_core(core: Arc<Core<S>>) -> Self {
        Self { core }
    }

    /// The protection space that challenges name (RFC 9110, section 11.5).
    pub fn realm(&self) -> &str {
        &self.core.home.realm
    }

    /// Decides at once when nothing has to be waited for: a key that is known and unchanged, limits decided in memory, or
    /// a key that cannot be one. `None` means that [`check`](Self::check) has to be awaited, with the same attempt.
    pub fn try_check(&self, attempt: &Attempt<'_>) -> Option<Result<AuthContext, Rejection>> {
        self.core.decide_now(attempt)
    }

    /// Decides, reading and hashing as needed, within bounded time.
    ///
    /// Dropping the future at any point leaves nothing behind: a load or a hash that nobody waits for any more is dropped.
    /// It must be polled on a tokio runtime, with its timers enabled.
    ///
    /// # Errors
    /// A [`Rejection`] when the request must not go on. What was returned as `Ok` was confirmed as the very last step:
    /// nothing may be awaited between it and what it lets through.
    pub fn check(
        &self,
        attempt: OwnedAttempt,
    ) -> impl Future<Output = Result<AuthContext, Rejection>> + Send + 'static + use<S> {
        let this = self.clone();
        async move {
            let client = attempt.terms().client;
            let decided = this.core.clone().decide(attempt).await;
            if let Err(rejection) = &decided {
                this.record_refusal(rejection, client);
            }
            decided
        }
    }

    /// Keys in the cache now.
    pub fn cached_keys(&self) -> usize {
        self.core.cache.len()
    }

    /// Loads under way now.
    pub fn loads_in_flight(&self) -> usize {
        self.core.flights.len()
    }

    /// Records a refusal; from outside, one that was decided without a check.
    pub(crate) fn record_refusal(&self, rejection: &Rejection, client: Origin) {
        self.core.outcomes.refused(rejection, client, self.core.clock.now());
    }
}

// By hand: deriving would ask `S: Clone`.
impl<S> Clone for Authenticator<S> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
        }
    }
}

impl<S> fmt::Debug for Authenticator<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}
