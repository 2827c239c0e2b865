//! What an admitted request carries on: proof of the check, and who it acts for.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use crate::client::ClientOrigin;
use crate::key::{KeyId, Lookup, Metadata, Organization, RateLimit, Scope, ScopeSet, Timestamp, User};
use crate::limit::{Allowance, LimitState};
use crate::usage::Running;

/// Proof that a request's key was verified and admitted, and who it acts for.
///
/// Only a check makes one. Handlers take it from the request's extensions, or as an argument (feature `axum`).
#[derive(Clone)]
pub struct AuthContext {
    entry: Arc<Entry>,
    client: ClientOrigin,
    allowance: Allowance,
    /// What the layer that admitted the request needs later. Its type belongs to a higher floor.
    attachment: Option<Arc<dyn Any + Send + Sync>>,
    /// The request, where it is metered.
    running: Option<Arc<dyn Running>>,
}

impl AuthContext {
    pub(super) fn new(entry: Arc<Entry>, client: ClientOrigin, allowance: Allowance) -> Self {
        Self {
            entry,
            client,
            allowance,
            attachment: None,
            running: None,
        }
    }

    /// A context that no check made, for tests of what comes after one. All limits are left.
    #[cfg(feature = "testing")]
    pub(crate) fn fabricate(
        candidate: crate::store::Candidate,
        authenticator: std::sync::Weak<dyn super::entry::AnyAuthenticator>,
    ) -> Self {
        use super::entry::{AuthenticatorHandle, fingerprint};
        use super::presented::TaggedKey;
        use crate::clock::{Clock, Monotonic};
        use crate::compact::Interner;
        use crate::fence::Fence;

        let handle = AuthenticatorHandle {
            clock: Clock::system(),
            authenticator,
            uses: None,
        };
        let interner = Interner::new(Arc::new(handle), 0);
        let fence = Fence::new();
        let stripes = fence.stripes(candidate.record.id, candidate.organization.id);
        let mark = fence.protocol().mark(stripes);
        let limits = candidate.record.limits.iter().chain(&candidate.organization.limits);
        let left = |limit: &RateLimit| LimitState::new(limit.burst_size().get(), Duration::ZERO);
        let allowance = limits.map(left).collect();
        let proven_by = fingerprint(&candidate.secret.hash);
        let (now, never) = (Monotonic::from_nanos(0), Monotonic::from_nanos(u64::MAX));
        let tagged = TaggedKey::of_no_key(candidate.secret.lookup.clone(), candidate.secret.form);
        let entry = Entry::new(candidate, &interner, &tagged, proven_by, mark, now, never);
        Self::new(Arc::new(entry), ClientOrigin::UNKNOWN, allowance)
    }

    /// Attaches what the layer that admitted the request needs later.
    pub(crate) fn attach(&mut self, attachment: Arc<dyn Any + Send + Sync>) {
        self.attachment = Some(attachment);
    }

    /// What was attached, if it is a `T`.
    pub(crate) fn attached<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.attachment.clone()?.downcast().ok()
    }

    /// Where the request came from.
    pub(crate) fn client(&self) -> ClientOrigin {
        self.client
    }

    /// Notes that these scopes decided about the request.
    pub(crate) fn scopes_used(&self, scopes: &[Scope]) {
        self.entry.scopes_used(scopes);
        if let Some(running) = &self.running {
            running.slot().scope(scopes.first(), false);
        }
    }

    /// Notes that the key lacks what a route asks for.
    pub(crate) fn lacks_scopes(&self, scopes: &[Scope]) {
        if let Some(running) = &self.running {
            running.slot().scope(scopes.first(), true);
        }
    }

    /// The request is metered.
    pub(crate) fn metered(&mut self, running: Arc<dyn Running>) {
        self.running = Some(running);
    }

    /// Whether a layer meters the request already.
    pub(crate) fn is_metered(&self) -> bool {
        self.running.is_some()
    }

    /// The request, if it is metered.
    pub(super) fn running(&self) -> Option<&Arc<dyn Running>> {
        self.running.as_ref()
    }

    /// The organization that owns the key.
    pub fn organization(&self) -> &Organization {
        self.entry.organization()
    }

    /// The id of the user that the key acts for.
    pub fn user(&self) -> Option<&str> {
        self.entry.user()
    }

    /// What is stored about that user, read together with the key: display name, e-mail address, metadata. `None` for a user
    /// without a row.
    pub fn user_row(&self) -> Option<&User> {
        self.entry.user_row()
    }

    /// The key's id, safe to log.
    pub fn key_id(&self) -> KeyId {
        self.entry.key_id()
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        self.entry.name()
    }

    /// The non-secret start of the presented key, safe to log.
    pub fn lookup(&self) -> &Lookup {
        &self.entry.lookup
    }

    /// The client's address, if the check knew it.
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

    /// What the service stores about the key.
    pub fn metadata(&self) -> &Metadata {
        self.entry.metadata()
    }

    /// When the key ends: its expiry, or the end of a rotation's grace period.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.entry.expires_at()
    }

    /// What is left of every limit after this request: those of the key first, then those of its organization.
    pub fn allowance(&self) -> impl ExactSizeIterator<Item = (&RateLimit, LimitState)> + Clone {
        let (own, shared) = (self.entry.limits(), &self.entry.organization().limits);
        // By state, not by limit: a limiter need not report states.
        let states = self.allowance.states();
        let count = states.len().min(own.len() + shared.len());
        (0..count).map(move |place| {
            let limit = own.get(place).unwrap_or_else(|| &shared[place - own.len()]);
            (limit, states[place])
        })
    }

    /// Resolves when the key stops being valid: it is revoked, disabled or expired, its organization is deactivated, or the
    /// store could not say. For long responses: streams, sockets. The future borrows nothing, so it can go into the response.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::time::Duration;
    ///
    /// use axum::response::sse::{Event, Sse};
    /// use futures_util::{Stream, StreamExt};
    /// use tower_api_key::AuthContext;
    ///
    /// /// Server-sent events that end with the key.
    /// async fn ticks(auth: AuthContext) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    ///     let interval = tokio::time::interval(Duration::from_secs(1));
    ///     let ticks = futures_util::stream::unfold(interval, async |mut interval| {
    ///         interval.tick().await;
    ///         Some((Ok(Event::default().data("tick")), interval))
    ///     });
    ///     Sse::new(ticks.take_until(auth.revoked()))
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use axum::{Router, body::Body, routing::get};
    /// # use tower::ServiceExt;
    /// # use tower_api_key::key::Actor;
    /// # use tower_api_key::{ApiKeys, IssueRequest};
    /// # let keys = ApiKeys::open("memory:").await?;
    /// # let issuer = keys.issuer().acting_as(Actor::service());
    /// # let acme = issuer.create_organization("acme").await?;
    /// # let issued = issuer.issue(IssueRequest::new(acme.id, "ticks")).await?;
    /// # let app: Router = Router::new().route("/ticks", get(ticks)).route_layer(keys.layer());
    /// # let request = http::Request::get("/ticks").header("x-api-key", issued.key.expose_secret()).body(Body::empty())?;
    /// # let mut events = app.oneshot(request).await?.into_body().into_data_stream();
    /// # assert_eq!(events.next().await.unwrap()?, "data: tick\n\n");
    /// # issuer.revoke(issued.record.id, "the end").await?;
    /// # assert!(events.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where the store announces changes, the change itself wakes it. Poll it on a tokio runtime with timers: it waits by
    /// tokio's clock, whatever [`Clock`](crate::Clock) the authenticator has, so a test that moves a manual clock to the end
    /// of a key has to let tokio's time pass as well.
    ///
    /// At most 64 waiting contexts read their record at once, so that a change that wakes thousands of them leaves the store
    /// to requests as well. One that does not get its turn within 5 seconds, or a longer
    /// [`max_staleness`](crate::ApiKeysBuilder::max_staleness), resolves.
    ///
    /// It resolves at once if the authenticator is gone when it is first polled. From then on it keeps the authenticator, its
    /// store and its cache alive, so that a stream is watched to its end while the service around it shuts down.
    pub fn revoked(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let entry = self.entry.clone();
        async move {
            let authenticator = entry.handle().authenticator.upgrade();
            if let Some(authenticator) = authenticator {
                authenticator.revoked(entry).await;
            }
        }
    }

    /// Whether the key ends within this time. Reads the clock, so it is for keys that have an end.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        self.entry.deadline.since(self.entry.handle().clock.now()) <= time
    }

    /// Whether a rotation replaced the presented secret, which ends with the grace period.
    pub(crate) fn is_superseded(&self) -> bool {
        self.entry.is_superseded()
    }
}

impl fmt::Debug for AuthContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthContext")
            .field("key_id", &self.key_id())
            .field("organization", &self.organization().id)
            .field("user", &self.user())
            .field("name", &self.name())
            .field("lookup", self.lookup())
            .field("scopes", self.scopes())
            .finish_non_exhaustive()
    }
}
