//! One handle for a store of keys: the layer, the authenticator and the issuer come from it.

mod layers;
mod presented;
mod secrets;
mod upkeep;

use std::fmt;
use std::sync::Arc;

use crate::check::{ApiKeysBuilder, AuthContext, Authenticator};
use crate::issue::{
    Adopt, AuditTrail, Ensured, IssueError, Issuer, MaintenanceSettings, NoActor, OrganizationRequest, Principal,
};
use crate::key::{Actor, KeyFormats, OrganizationId};
use crate::middleware::defaults::LayerDefaults;
use crate::store::query::TypedQuery;
use crate::store::{DynStore, KeyStore, ManagedStore, StoreError, StoreErrorKind, StoreExt};

/// The handle of a service for its API keys, over one store. Cheap to clone.
///
/// Formats, hash policy, pool, clock, cache and limits are set once, in the [builder](Self::builder). So what the
/// [issuer](Self::issuer) issues, the [layer](Self::layer) and the [authenticator](Self::authenticator) accept; all of them
/// share one cache and one set of limits.
///
/// ```
/// use tower_api_key::key::{Actor, KeyFormat};
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::store::query::Keys;
/// use tower_api_key::{ApiKeys, IssueRequest, PresentedKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = ApiKeys::builder(MemoryStore::new()).formats(KeyFormat::new("acme")?).open().await?;
/// let issuer = keys.issuer().acting_as(Actor::user("alice"));
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
/// assert!(issued.key.expose_secret().starts_with("acme_live_"));
///
/// let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
/// let context = keys.authenticator().check(key).await?;
/// assert_eq!(context.organization().name, "acme");
///
/// let page = keys.read(Keys::of(acme.id).page(50)).await?;
/// assert_eq!(page.items[0].record.name, "nightly export");
/// # Ok(())
/// # }
/// ```
pub struct ApiKeys<S = DynStore> {
    authenticator: Authenticator<S>,
    layers: Option<Arc<LayerDefaults>>,
    maintenance: Option<Arc<MaintenanceSettings>>,
}

impl ApiKeys {
    /// Opens the store that a URL names, brings its tables up to date, and uses default settings. For other settings, give
    /// [`DynStore::open`] to the [builder](ApiKeys::builder).
    ///
    /// | URL | store |
    /// |---|---|
    /// | `sqlite:keys.db`, `sqlite:/var/lib/keys.db` | `SqliteStore` (feature `sqlite`) |
    /// | `postgres://user@host/database` | `PostgresStore` (feature `postgres`) |
    /// | `file:keys.toml`, `file:/etc/keys.json` | `FileStore` (feature `file`), for checking alone |
    /// | `memory:` | [`MemoryStore`](crate::store::MemoryStore) |
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = tower_api_key::ApiKeys::open("memory:").await?;
    /// let layer = keys.layer();
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`DynStore::open`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        ApiKeys::builder(DynStore::open(url).await?).open().await
    }
}

impl<S: KeyStore> ApiKeys<S> {
    /// A handle with default settings that only checks keys: for any [`KeyStore`], without I/O.
    ///
    /// It has no secret of the realm, so it does not verify keyed checksums: an invented key costs a read of the store.
    pub fn checking(store: S) -> Self {
        Self::of(Authenticator::new(store))
    }

    /// The check without HTTP.
    pub fn authenticator(&self) -> Authenticator<S> {
        self.authenticator.clone()
    }

    /// The formats of its keys. Of an [opened](ApiKeysBuilder::open) handle they know the secrets of the realm, as they were when it
    /// was opened: [`KeyFormats::parse`] takes no text for a key whose keyed checksum is of none of them. A key may parse and have no
    /// record any more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (keys, others) = (tower_api_key::ApiKeys::open("memory:").await?, tower_api_key::ApiKeys::open("memory:").await?);
    /// let key = keys.ensure("acme", "my first key").await?.key.unwrap();
    /// assert!(keys.formats().parse(key.expose_secret().as_bytes()).is_ok());
    /// assert!(others.formats().parse(key.expose_secret().as_bytes()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn formats(&self) -> &KeyFormats {
        self.authenticator.formats()
    }

    #[cfg(feature = "manage")]
    pub(crate) fn clock(&self) -> &crate::clock::Clock {
        self.authenticator.clock()
    }

    pub(crate) fn of(authenticator: Authenticator<S>) -> Self {
        Self {
            authenticator,
            layers: None,
            maintenance: None,
        }
    }
}

impl<S: ManagedStore + Clone> ApiKeys<S> {
    /// Sets formats, hash policy, pool, clock, cache and limits, for a store that is open already.
    pub fn builder(store: S) -> ApiKeysBuilder<S> {
        Authenticator::builder(store)
    }

    /// The issuer. It changes nothing until it knows for whom: [`acting_as`](Issuer::acting_as).
    pub fn issuer(&self) -> Issuer<S, NoActor> {
        let checks = &self.authenticator;
        Issuer::over(checks.store().clone())
            .format(checks.format_of_new_keys())
            .hash_policy(checks.hash_policy())
            .pool(checks.pool().clone())
            .clock(checks.clock().clone())
            .secrets(checks.secrets().clone())
    }

    /// The issuer for a request with a key: it reads and changes what that key may, whatever the caller asks it to.
    ///
    /// | who acts | what it may change | what it may read |
    /// |---|---|---|
    /// | [`issuer`](Self::issuer)`.acting_as(..)` | everything: this is the host | everything |
    /// | a key of the operator's organization | other organizations, plans, roles, scopes and secrets of the realm; keys and users of every organization | everything |
    /// | a key of another organization | keys and users of its organization; its name, e-mail address and metadata | its organization, with its plan and its audit trail; roles and known scopes |
    ///
    /// Other organizations are not there for a key that is not the operator's: the answers are those of ids that nobody has. Lists of
    /// all organizations are [`Forbidden`](crate::IssueErrorKind::Forbidden). The methods of `ApiKeys` itself, such as
    /// [`read`](Self::read), [`statistics`](Self::statistics) and [`audit`](Self::audit), are those of the host: the issuer has the same
    /// ones for requests, and [`find_key_for`](Self::find_key_for) finds presented keys.
    ///
    /// In its organization a key makes, widens, wakes and rotates no key that has a role that it does not have, looser limits or a later
    /// end, opens from more networks, or is of another environment, other than `test`. Labels of keys are not taken off, and users that
    /// were disabled are enabled by keys that have all that the users' keys may do. The operator's keys are not bound by their own roles,
    /// limits, networks and ends where they act in other organizations, but by their scopes and environment: an operator needs a key of each
    /// environment other than `test`.
    ///
    /// No key grants scopes that it does not have, widens itself, or changes what bounds its own organization: status, plan, limits,
    /// number of keys, policy. It has to hold each scope that begins with `api-keys.` by its exact name to grant it. The last working
    /// key of the operator that has such a scope is revoked, disabled, narrowed or deleted on the host only.
    ///
    /// What is refused is [`Forbidden`](crate::IssueErrorKind::Forbidden), or
    /// [`LastOperatorKey`](crate::IssueErrorKind::LastOperatorKey). Whether the key has the scope for the call at hand is for the
    /// route to ask.
    ///
    /// ```
    /// use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, PresentedKey};
    /// use tower_api_key::key::Actor;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// let host = keys.issuer().acting_as(Actor::operator("alice"));
    /// let acme = host.create_organization("acme").await?;
    /// let request = IssueRequest::new(acme.id, "admin").scopes("orders:read api-keys.keys:write".parse()?);
    /// let admin = host.issue(request).await?;
    ///
    /// let presented = PresentedKey::new(admin.key.expose_secret().as_bytes());
    /// let context = keys.authenticator().check(presented).await?;
    /// let issuer = keys.issuer_for(&context);
    /// issuer.issue(IssueRequest::new(acme.id, "reader").scopes("orders:read".parse()?)).await?;
    /// let error = issuer.issue(IssueRequest::new(acme.id, "all").scopes("*".parse()?)).await.unwrap_err();
    /// assert_eq!(error.kind(), IssueErrorKind::Forbidden);
    /// assert_eq!(error.to_string(), "the key that acts does not have all of these scopes; nothing was changed");
    /// # Ok(())
    /// # }
    /// ```
    pub fn issuer_for(&self, context: &AuthContext) -> Issuer<S> {
        let (key, lookup) = (context.key_id(), context.lookup().clone());
        self.issuer().acting_with(key, lookup, context.client_address())
    }

    /// The issuer for a user who is logged in to the service, and manages keys of their own without a key. Its audit events name the
    /// user. What a [`Principal`] may:
    ///
    /// | call | for which keys |
    /// |---|---|
    /// | list, read, count | those of its user; with [`Sees::Organization`](crate::Sees::Organization) those of its organization |
    /// | `issue` | of its organization and its user, who need not be named, with scopes that it [grants](Principal::grants) |
    /// | `rotate`, `take_back` | of its user, such as it could make |
    /// | `revoke`, `disable`, `finish` | of its user, whatever they may do |
    /// | `update` | of its user: name, labels and metadata; fewer scopes and networks, an earlier end |
    /// | `enable` | of its user, such as it could make, and disabled by themselves alone |
    ///
    /// A key that it could make has no scopes but those that it grants, no roles, no lifted limits and none that are looser than those
    /// of the plan and the organization; it is no canary, requires nothing of servers and has no creator key. The environment may be
    /// any that the key format has: a service that does not want live keys from its users sets the environment of their requests.
    /// Labels are taken off such keys only.
    ///
    /// It changes no key of others. `enable` and `enable_all` undo no change of many keys at once, such as the off-boarding of the
    /// user, also not one that the principal made itself. What a key made is disabled with it as far as it is of the same user. A key
    /// that was disabled alone is enabled again by its user, even if somebody else disabled it: to stop it against its user, revoke it or
    /// disable the user.
    ///
    /// While its user is disabled or its organization inactive it makes, rotates and enables no key, and sees those of its user alone,
    /// which it may still revoke. Besides keys it reads the row of its organization, with its plan, the row of its user, known scopes,
    /// and roles by name. Everything else is [`Forbidden`](crate::IssueErrorKind::Forbidden), and what it may not see is
    /// [`NotFound`](crate::IssueErrorKind::NotFound), as are ids that nobody has.
    ///
    /// ```
    /// use tower_api_key::key::Actor;
    /// use tower_api_key::store::query::Keys;
    /// use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, Principal};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// let host = keys.issuer().acting_as(Actor::operator("bob"));
    /// let acme = host.create_organization("acme").await?;
    /// let bobs = host.issue(IssueRequest::new(acme.id, "export").user("bob".parse()?)).await?;
    ///
    /// // From the session of a request.
    /// let alice = Principal::new(acme.id, "alice".parse()?).grants("orders:read".parse()?)?;
    /// let issuer = keys.issuer_for_principal(&alice);
    /// let laptop = issuer.issue(IssueRequest::new(acme.id, "laptop").scopes("orders:read".parse()?)).await?;
    /// assert_eq!(laptop.record.created_by, Actor::user("alice"));
    /// assert_eq!(issuer.keys(Keys::of(acme.id)).await?.items.len(), 1);
    ///
    /// let error = issuer.revoke(bobs.record.id, "").await.unwrap_err();
    /// assert_eq!(error.kind(), IssueErrorKind::NotFound);
    /// let error = issuer.issue(IssueRequest::new(acme.id, "all").scopes("*".parse()?)).await.unwrap_err();
    /// assert_eq!(error.kind(), IssueErrorKind::Forbidden);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Security
    /// The principal is believed: take organization, user and scopes from the session, as [`Principal`] says. The issuer is for one
    /// request. One that is kept knows that its user was disabled, and not that the user lost scopes in the service.
    pub fn issuer_for_principal(&self, principal: &Principal) -> Issuer<S> {
        self.issuer().acting_for(principal)
    }

    /// The audit trail: verified, anchored, and cut by retention. [`read`](Self::read) lists its events, and
    /// [`Issuer::export_audit`] writes them for others.
    pub fn audit(&self) -> AuditTrail<S> {
        let checks = &self.authenticator;
        AuditTrail::over(checks.store().clone(), checks.secrets().clone(), checks.clock().clone())
    }

    /// [`Issuer::ensure`], in the name of the service: an organization and a key of it, each made unless it is there.
    ///
    /// # Errors
    /// Those of [`Issuer::ensure`].
    pub async fn ensure(
        &self,
        organization: impl Into<OrganizationRequest>,
        name: &str,
    ) -> Result<Ensured, IssueError> {
        let issuer = self.issuer().acting_as(Actor::service());
        issuer.ensure(organization, name).await
    }

    /// Answers a query: a [`KeyId`](crate::key::KeyId), an [`OrganizationId`], or one of
    /// [`store::query`](crate::store::query).
    ///
    /// # Errors
    /// Those of the store; [`InvalidCursor`](StoreErrorKind::InvalidCursor) for a cursor of another query.
    pub async fn read<Q: TypedQuery>(&self, query: Q) -> Result<Q::Output, StoreError> {
        self.issuer().get(query).await
    }

    /// A MAC for something that the servers of the realm make and verify, and nobody else. Each use has a domain of its own.
    #[cfg(feature = "manage")]
    pub(crate) async fn mac_of_realm(&self, domain: &[u8]) -> Result<hmac::Hmac<sha2::Sha256>, StoreError> {
        let checks = &self.authenticator;
        let key = checks.secrets().cursor_key(checks.store(), checks.clock()).await?;
        Ok(key.mac_of(domain))
    }

    /// The same handle without the store's type, for code that is not generic over it. It shares the store, its fence, the
    /// hash pool, the limits and the settings of [layers](Self::layers), but has a cache of its own.
    pub fn erased(&self) -> ApiKeys {
        let store = DynStore::new(self.authenticator.store().clone());
        ApiKeys {
            authenticator: self.authenticator.over(store),
            layers: self.layers.clone(),
            maintenance: self.maintenance.clone(),
        }
    }
}

impl<S: KeyStore> ApiKeysBuilder<S> {
    /// The handle, without I/O: for a store that only checks keys, or one whose first read may wait.
    pub fn checking(self) -> ApiKeys<S> {
        ApiKeys::of(self.build())
    }
}

impl<S: ManagedStore + Clone> ApiKeysBuilder<S> {
    /// The handle over a copy of another database, such as a staging system's of production, which becomes one of its own first:
    /// it gets a new identity and new secrets, of checksums and of the audit trail, and the keys of the operator's organization are
    /// revoked, in one transaction with one event `realm.adopted`. Call it once, while nothing else has the copy open; use [`open`](Self::open) from
    /// then on.
    ///
    /// Keys of customers work as before, unless [`Adopt`] revokes them: the checksum secrets that they were made with stay, retired, as
    /// do those that the audit trail of before verifies under.
    /// For that, give the root key of the other database as the [former](crate::secrets::RootKeys::former) one. Without it, its
    /// secrets are deleted: keys with keyed checksums are refused, and entries of the audit trail from before do not verify.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Conflict`](StoreErrorKind::Conflict) when the database is changed at the same time.
    pub async fn adopt(mut self, adopt: Adopt) -> Result<ApiKeys<S>, StoreError> {
        let settings = self.secret_settings().clone();
        adopt.run(self.store(), settings, self.clock_to_be()).await?;
        self.open().await
    }

    /// The handle. Reads the realm's secrets from the store, and makes the first one of a new store. Of several processes that
    /// open a new store at once, one makes it.
    ///
    /// # Errors
    /// Those of the store. [`Unusable`](StoreErrorKind::Unusable) when it owns no fence, since no cache would learn of a
    /// revoke; when its secrets are sealed under a root key that is not given; or when it has keys with keyed checksums and
    /// not their secret, which [`realm_secret`](Self::realm_secret) gives. A store that only checks
    /// ([`DynStore::find_only`]) needs no fence, and its keyed checksums are verified under a given secret only.
    pub async fn open(self) -> Result<ApiKeys<S>, StoreError> {
        let store = self.store();
        let takes_commits = match store.get(OrganizationId::new()).await {
            Err(error) if error.kind() == StoreErrorKind::Unsupported => false,
            Err(error) => return Err(error),
            Ok(_) if store.fence().is_none() => {
                let problem = "it has no fence; issuing needs one, so that caches learn of changes";
                return Err(StoreError::with_source(StoreErrorKind::Unusable, problem));
            }
            Ok(_) => true,
        };
        let opened = self.open_secrets().await?;
        if !takes_commits {
            return Ok(ApiKeys::of(opened.build()));
        }
        let keys = ApiKeys::of(opened.note_attempts().build());
        keys.flush_every_minute();
        Ok(keys)
    }
}

// By hand: deriving would ask `S: Clone`.
impl<S> Clone for ApiKeys<S> {
    fn clone(&self) -> Self {
        Self {
            authenticator: self.authenticator.clone(),
            layers: self.layers.clone(),
            maintenance: self.maintenance.clone(),
        }
    }
}

impl<S> fmt::Debug for ApiKeys<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}
