//! What a checked request goes on with.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Terms;
use super::entry::Entry;
use super::rejection::Rejection;
use crate::client::Origin;
use crate::key::{KeyId, Lookup, Metadata, Organization, RateLimit, Scope, ScopeSet, Timestamp};
use crate::limit::{Allowance, LimitState};

/// Proof that a request's key was verified and admitted, and whom it acts for.
///
/// Only a check makes one. In handlers it comes out of the request's extensions, or as an argument (feature `axum`).
#[derive(Clone)]
pub struct AuthContext {
    entry: Arc<Entry>,
    lookup: Lookup,
    client: Origin,
    allowance: Allowance,
}

impl AuthContext {
    #[inline]
    pub(super) fn new(entry: Arc<Entry>, lookup: Lookup, terms: Terms<'_>, allowance: Allowance) -> Self {
        Self {
            entry,
            lookup,
            client: terms.client,
            allowance,
        }
    }

    /// The organization that owns the key.
    pub fn organization(&self) -> &Organization {
        self.entry.organization()
    }

    /// The user that the key acts for.
    pub fn user(&self) -> Option<&str> {
        self.entry.user()
    }

    /// The key's id, safe to log.
    pub fn key_id(&self) -> KeyId {
        self.entry.key_id()
    }

    /// What people call the key.
    pub fn name(&self) -> &str {
        self.entry.name()
    }

    /// The non-secret start of the presented key, safe to log.
    pub fn lookup(&self) -> &Lookup {
        &self.lookup
    }

    /// Where the request came from, as far as the check was told.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.client.address()
    }

    /// What the key may do.
    pub fn scopes(&self) -> &ScopeSet {
        self.entry.scopes()
    }

    /// Whether the key may do this.
    pub fn allows(&self, scope: &Scope) -> bool {
        self.entry.scopes().allows(scope)
    }

    /// The environment that the key names, such as `live`.
    pub fn environment(&self) -> Option<&str> {
        self.entry.environment()
    }

    /// The service's own words on the key.
    pub fn metadata(&self) -> &Metadata {
        self.entry.metadata()
    }

    /// From when on the key no longer works: its expiry, or the end of a rotation's grace.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.entry.expires_at()
    }

    /// What is left of every limit after this request: those of the key first, then those of its organization.
    pub fn allowance(&self) -> impl ExactSizeIterator<Item = (&RateLimit, LimitState)> {
        let (own, shared) = (self.entry.limits(), &self.entry.organization().limits);
        // By state, not by limit: a limiter that does not report is one with nothing to show, not a panic.
        let states = self.allowance.states();
        let count = states.len().min(own.len() + shared.len());
        (0..count).map(move |place| {
            let limit = own.get(place).unwrap_or_else(|| &shared[place - own.len()]);
            (limit, states[place])
        })
    }

    /// Resolves when the key stops being valid: it is revoked, disabled or expired, its organization is deactivated, or
    /// whether it is still valid could not be read. For answers that go on for long.
    ///
    /// It is woken by the change itself where the store announces changes. It has to be polled on a tokio runtime with
    /// timers: how long it waits goes by tokio's clock, whatever [`Clock`](crate::Clock) the authenticator has. A test that
    /// moves a manual clock to the end of a key has to let tokio's time pass as well.
    ///
    /// Those who wait read at most 64 records at once, so that a change that wakes thousands of them leaves the store to
    /// requests as well; who does not get its turn within [`max_staleness`](crate::AuthenticatorBuilder::max_staleness)
    /// resolves.
    ///
    /// If the authenticator is gone when it is first polled, it resolves at once. From then on it keeps the authenticator,
    /// its store and its cache, so that a stream is watched to its end while the service around it shuts down.
    pub fn revoked(&self) -> impl Future<Output = ()> + Send + 'static {
        let context = self.clone();
        async move {
            if let Some(authenticator) = context.entry.home().authenticator.upgrade() {
                authenticator.revoked(context).await;
            }
        }
    }

    /// Whether the key ends within this time. Reads the clock, so it is for keys that have an end.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        self.entry.deadline.since(self.entry.home().clock.now()) <= time
    }

    /// Whether the presented secret was replaced by a rotation, and works only until the end of its grace.
    pub(crate) fn is_superseded(&self) -> bool {
        self.entry.is_superseded()
    }

    /// The protection space of the authenticator that admitted the request.
    pub(crate) fn realm(&self) -> &str {
        &self.entry.home().realm
    }

    /// Records a refusal that was decided after the check, from what the context holds.
    pub(crate) fn record_refusal(&self, rejection: &Rejection) {
        if let Some(authenticator) = self.entry.home().authenticator.upgrade() {
            authenticator.record_refusal(rejection, self.client);
        }
    }

    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl fmt::Debug for AuthContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthContext")
            .field("key_id", &self.key_id())
            .field("organization", &self.organization().id)
            .field("user", &self.user())
            .field("name", &self.name())
            .field("lookup", &self.lookup)
            .field("scopes", self.scopes())
            .finish_non_exhaustive()
    }
}
