//! The issuer: its store, its settings, and whom it acts for.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::authority::Authority;
use super::authorized_store::AuthorizedStore;
use super::on_behalf::OnBehalf;
use super::principal::{Principal, PrincipalAuthority};
use super::unchanged::{RowRevision, Unchanged};
use crate::audit::{AuditAction, AuditEvent, Caller};
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::hash::{HashPolicy, HashPool};
use crate::key::{Actor, KeyFormat, KeyId, KeyRecord, Lookup, OrganizationId};
use crate::secrets::{RealmSecrets, SecretSettings};
use crate::store::{Commit, Committed, KeyStore, ManagedStore, StoreError, StoreErrorKind};

/// Issues keys and changes them, in any managed store that owns a fence.
///
/// When a method returns `Ok`, the change is committed and announced: on this node no request passes whose check ends
/// after a [`revoke`](Self::revoke) has returned. A caller that goes away in the middle skips no announcement.
///
/// Every change writes an audit event in its own transaction. The event names the issuer's actor: the one given to
/// [`acting_as`](Self::acting_as), or the service itself.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::key::Actor;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{IssueRequest, Issuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization("acme").await?;
/// let first = issuer.issue(IssueRequest::new(acme.id, "nightly export").scopes("orders:read".parse()?)).await?;
/// assert!(first.key.expose_secret().starts_with("key_live_"));
///
/// // A second secret for the same key; the first one works for another day.
/// let second = issuer.rotate(first.record.id, Duration::from_secs(86_400)).await?;
/// assert_eq!(second.record.id, first.record.id);
///
/// let alice = issuer.acting_as(Actor::user("alice"));
/// let revoked = alice.revoke(first.record.id, "laptop lost").await?;
/// assert_eq!(revoked.revocation.unwrap().actor, Actor::user("alice"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Issuer<S, A = Actor> {
    /// All that the issuer reads and writes goes through it.
    pub(super) store: AuthorizedStore<S>,
    pub(super) format: KeyFormat,
    pub(super) policy: HashPolicy,
    pub(super) pool: HashPool,
    pub(super) clock: Clock,
    pub(super) secrets: Arc<RealmSecrets>,
    pub(super) actor: A,
    /// Where the actor acts from.
    caller: Option<Caller>,
}

/// Marks an [`Issuer`] that has no actor yet and can change nothing: first comes [`acting_as`](Issuer::acting_as).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NoActor;

impl<S: ManagedStore> Issuer<S> {
    /// An issuer of keys of the default format, hashed with Argon2id. Acts as [`Actor::service`]. For other settings, take
    /// the issuer of an [`ApiKeys`](crate::ApiKeys) handle, which checks keys by the same settings.
    ///
    /// # Errors
    /// When the store owns no fence: no cache would learn of a revoke.
    pub fn new(store: S) -> Result<Self, ConfigError> {
        if store.fence().is_none() {
            return Err(ConfigError::new(
                "store",
                "has no fence; issuing needs one, so that caches learn of changes",
            ));
        }
        Ok(Issuer::over(store).with_caller(Actor::service().into()))
    }
}

impl<S: ManagedStore> Issuer<S, NoActor> {
    /// An issuer with default settings, for a store that owns a fence or takes no commits.
    pub(crate) fn over(store: S) -> Self {
        Self {
            store: AuthorizedStore::of_host(store),
            format: KeyFormat::default(),
            policy: HashPolicy::default(),
            pool: HashPool::global(),
            clock: Clock::system(),
            secrets: Arc::new(RealmSecrets::new(SecretSettings::default())),
            actor: NoActor,
            caller: None,
        }
    }
}

impl<S, A> Issuer<S, A> {
    pub(crate) fn format(mut self, format: KeyFormat) -> Self {
        self.format = format;
        self
    }

    pub(crate) fn hash_policy(mut self, policy: HashPolicy) -> Self {
        self.policy = policy;
        self
    }

    pub(crate) fn pool(mut self, pool: HashPool) -> Self {
        self.pool = pool;
        self
    }

    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn secrets(mut self, secrets: Arc<RealmSecrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// An issuer with the same store and settings that acts as someone else: an [`Actor`], or a [`Caller`] that also says from
    /// where. Audit events and revocations name the actor.
    ///
    /// # Security
    /// The actor is a name for the audit trail and bounds nothing: the issuer may make every change, as anyone with a shell on the
    /// host may. For a request with a key, take [`ApiKeys::issuer_for`](crate::ApiKeys::issuer_for), and for a user who is logged in
    /// [`issuer_for_principal`](crate::ApiKeys::issuer_for_principal). Of those, `acting_as` changes the name alone, and not what they
    /// may do.
    #[must_use]
    pub fn acting_as(&self, caller: impl Into<Caller>) -> Issuer<S>
    where
        S: Clone,
        A: Clone,
    {
        self.clone().with_caller(caller.into())
    }

    /// An issuer that may read and change what this key may, and acts from this address.
    pub(crate) fn acting_with(&self, key: KeyId, lookup: Lookup, address: Option<IpAddr>) -> Issuer<S>
    where
        S: Clone,
        A: Clone,
    {
        let mut caller = Caller::new(Actor::key(key));
        if let Some(address) = address {
            caller = caller.address(address);
        }
        let mut issuer = self.clone().with_caller(caller);
        let authority = Authority::new(key, lookup, issuer.clock.clone());
        issuer.store = issuer.store.acting(OnBehalf::Key(authority));
        issuer
    }

    /// An issuer that may read and change what this principal may, and acts in the name of its user.
    pub(crate) fn acting_for(&self, principal: &Principal) -> Issuer<S>
    where
        S: Clone,
        A: Clone,
    {
        let mut issuer = self.clone().with_caller(principal.caller());
        let authority = PrincipalAuthority::new(principal.clone(), issuer.clock.clone());
        issuer.store = issuer.store.acting(OnBehalf::Principal(authority));
        issuer
    }

    fn with_caller(self, caller: Caller) -> Issuer<S> {
        Issuer {
            store: self.store,
            format: self.format,
            policy: self.policy,
            pool: self.pool,
            clock: self.clock,
            secrets: self.secrets,
            actor: caller.actor().clone(),
            caller: Some(caller),
        }
    }
}

impl<S: ManagedStore> Issuer<S> {
    /// Makes a commit of the service's own, with its audit events linked under the audit key. Every change goes through here.
    ///
    /// # Errors
    /// Those of the store; [`ReadOnly`](StoreErrorKind::ReadOnly) for a handle that only checks keys. Of an issuer that acts with a
    /// key or for a principal: [`Forbidden`](StoreErrorKind::Forbidden), [`LastOperatorKey`](StoreErrorKind::LastOperatorKey), and
    /// [`NotFound`](StoreErrorKind::NotFound) for keys that it may not see.
    pub async fn commit(&self, mut commit: Commit) -> Result<Committed, StoreError> {
        self.require_fence()?;
        if !commit.audit.is_empty() {
            let keys = self.secrets.audit_keys(self.store.unbounded(), &self.clock).await?;
            commit.audit_key = keys.current().cloned();
        }
        self.store.commit(commit).await
    }

    /// A handle that only checks keys needs no fence, and gives an issuer all the same.
    pub(super) fn require_fence(&self) -> Result<(), StoreError> {
        if self.store.fence().is_some() {
            return Ok(());
        }
        let problem = "it has no fence; issuing needs one, so that caches learn of changes";
        Err(StoreError::with_source(StoreErrorKind::ReadOnly, problem))
    }
}

impl<S> Issuer<S> {
    /// An issuer whose next change is made only if this row still has the revision with which it was read. It is for that one
    /// change: a key to be rotated, disabled, revoked or updated, a user, an organization, a plan or a role to be changed or deleted.
    ///
    /// Without it, a change is made to the row as it is then: calls that change nothing else, such as [`disable`](Self::disable),
    /// are made anew when another change came first. Of several changes that are for one revision, exactly one is made.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{IssueErrorKind, IssueRequest, Issuer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// let acme = issuer.create_organization("acme").await?;
    /// let seen = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?.record;
    /// issuer.disable(seen.id).await?; // by somebody else
    ///
    /// let rotated = issuer.if_unchanged(&seen).rotate(seen.id, Duration::ZERO).await;
    /// assert_eq!(rotated.unwrap_err().kind(), IssueErrorKind::RowChanged);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The change fails with [`RowChanged`](crate::IssueErrorKind::RowChanged) when the row has another revision or is gone, also if
    /// there would be nothing to do. One that is made in several commits, as the deletion of a large organization, holds it for
    /// the first.
    #[must_use]
    pub fn if_unchanged(&self, row: impl Into<RowRevision>) -> Self
    where
        S: Clone,
    {
        let mut issuer = self.clone();
        issuer.store = issuer.store.if_unchanged(Unchanged::new(row.into()));
        issuer
    }

    pub(super) fn event(&self, organization: OrganizationId, action: AuditAction) -> AuditEvent {
        self.described(AuditEvent::new(
            organization,
            self.clock.wall(),
            self.actor.clone(),
            action,
        ))
    }

    /// The key that the issuer acts with, if it acts with one.
    pub(super) fn acting_key(&self) -> Option<KeyId> {
        self.store.acting_key()
    }

    /// The event, with what is known of where the actor acts from.
    pub(super) fn described(&self, event: AuditEvent) -> AuditEvent {
        match &self.caller {
            Some(caller) => caller.describe(event),
            None => event,
        }
    }

    pub(super) fn key_event(&self, record: &KeyRecord, action: AuditAction) -> AuditEvent {
        let event = self.event(record.organization_id, action);
        event.key(record.id).user(record.user.clone())
    }
}

impl<S, A> fmt::Debug for Issuer<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}
