//! Issues keys and changes them.

use std::fmt;
use std::time::Duration;

use super::bounds::{check_limits, check_name, shortened};
use super::error::{IssueError, IssueErrorKind};
use super::request::IssueRequest;
use super::rotate;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::hash::{HashPolicy, HashPool};
use crate::key::{
    ApiKey, KeyFormat, KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Organization, OrganizationId, Revocation,
};
use crate::store::{ManageKeys, StoreErrorKind, StoredKey};

/// How often a change is tried anew when others changed the row in the meantime, or a random lookup was taken.
const ATTEMPTS: usize = 8;
/// The same for what stops a key: of many writers of one row only one wins each time, and whoever keeps a key busy with
/// changes of its own must not keep it alive by that.
const ATTEMPTS_TO_STOP: usize = 256;

/// Issues keys and changes them, against any writable store that owns a fence.
///
/// When a method returns `Ok`, the change is committed and announced: on this node no request passes whose check ends
/// after a [`revoke`](Self::revoke) has returned. A caller that goes away in the middle skips no announcement.
///
/// ```
/// use std::time::Duration;
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
/// issuer.revoke(first.record.id, "laptop lost", "alice").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Issuer<S> {
    store: S,
    format: KeyFormat,
    policy: HashPolicy,
    pool: HashPool,
    clock: Clock,
}

/// A key that was just issued: the only time its text exists here.
#[derive(Debug)]
#[must_use = "the key is shown once and stored nowhere"]
#[non_exhaustive]
pub struct IssuedKey {
    /// The whole key, for its owner.
    pub key: ApiKey,
    /// The key's record.
    pub record: KeyRecord,
    /// What the key is found by; safe to log and show.
    pub lookup: Lookup,
}

impl<S: ManageKeys> Issuer<S> {
    /// An issuer of keys of the default format, hashed with Argon2id.
    ///
    /// # Errors
    /// When the store owns no fence: nobody would hear of a revoke then.
    pub fn new(store: S) -> Result<Self, ConfigError> {
        if store.fence().is_none() {
            return Err(ConfigError::new(
                "store",
                "owns no fence: issuing needs one, or caches would never hear of a change",
            ));
        }
        Ok(Self {
            store,
            format: KeyFormat::default(),
            policy: HashPolicy::default(),
            pool: HashPool::global(),
            clock: Clock::system(),
        })
    }

    /// The format of new keys. Whoever checks them has to be told as well.
    #[must_use]
    pub fn format(mut self, format: KeyFormat) -> Self {
        self.format = format;
        self
    }

    /// How new keys are hashed. Default: Argon2id with 64 MiB.
    #[must_use]
    pub fn hash_policy(mut self, policy: HashPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The pool that runs slow hashes. Default: one for the process.
    #[must_use]
    pub fn pool(mut self, pool: HashPool) -> Self {
        self.pool = pool;
        self
    }

    /// The clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// A new, active organization without limits.
    ///
    /// # Errors
    /// When the name is empty or longer than 255 bytes, or the store fails.
    pub async fn create_organization(&self, name: impl Into<String>) -> Result<Organization, IssueError> {
        let name = name.into();
        check_name(&name)?;
        let organization = Organization::new(name);
        self.store.insert_organization(organization.clone()).await?;
        Ok(organization)
    }

    /// Changes an organization: deactivates it, gives it limits, renames it. Its id and revision stay the store's. The
    /// closure may run more than once, when others change the same row.
    ///
    /// Give its limits names that its keys' limits do not have: the keys are not read here, and two limits of one name are
    /// both enforced but cannot be told apart in answers.
    ///
    /// # Errors
    /// When there is no such organization, the change contradicts itself, or the store fails;
    /// [`Conflict`](IssueErrorKind::Conflict) when others got in before 8 times.
    pub async fn update_organization(
        &self,
        id: OrganizationId,
        change: impl Fn(&mut Organization) + Send + Sync,
    ) -> Result<Organization, IssueError> {
        for _ in 0..ATTEMPTS {
            let Some(mut organization) = self.store.organization(id).await? else {
                return Err(IssueError::new(IssueErrorKind::NotFound));
            };
            let before = organization.clone();
            change(&mut organization);
            (organization.id, organization.revision) = (id, before.revision);
            // Only what is new: an imported organization that would be refused here must not be impossible to deactivate.
            if organization.name != before.name {
                check_name(&organization.name)?;
            }
            if organization.limits != before.limits {
                check_limits(&organization.limits, &[])?;
            }
            match self.store.update_organization(organization).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                done => return Ok(done?),
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    /// A new key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the organization does not exist, the request contradicts itself or asks for a key that has expired already, too
    /// many keys are being hashed, or the store fails.
    pub async fn issue(&self, request: IssueRequest) -> Result<IssuedKey, IssueError> {
        let Some(organization) = self.store.organization(request.organization).await? else {
            return Err(IssueError::new(IssueErrorKind::NotFound));
        };
        check_limits(&request.limits, &organization.limits)?;
        let now = self.clock.wall();
        request.check_expiry(now)?;
        check_name(&request.name)?;
        let mut record = KeyRecord::new(organization.id, request.name, now);
        record.user = request.user;
        record.scopes = request.scopes;
        record.networks = request.networks;
        record.limits = request.limits;
        record.metadata = request.metadata;
        record.expires_at = request.expires_at;
        for _ in 0..ATTEMPTS {
            let (key, secret) = self.born(request.environment.as_deref(), &mut record).await?;
            let lookup = secret.lookup.clone();
            match self.store.insert_key(record.clone(), secret).await {
                Ok(()) => return Ok(IssuedKey { key, record, lookup }),
                // Ids and lookups are random; a taken one is drawn anew.
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => record.id = KeyId::new(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    /// A second secret for the same key. The old one works until the end of the grace, or its own end if that comes first;
    /// a grace of zero ends every older secret at once.
    ///
    /// # Errors
    /// [`RotationInProgress`](IssueErrorKind::RotationInProgress) when two secrets are live already and the grace is not
    /// zero; `Revoked` and `Expired` for a key that no longer works; `Conflict` when others got in before with a change 8
    /// times; otherwise as [`issue`](Self::issue).
    pub async fn rotate(&self, id: KeyId, grace: Duration) -> Result<IssuedKey, IssueError> {
        for _ in 0..ATTEMPTS {
            let mut stored = self.stored(id).await?;
            let now = self.clock.wall();
            rotate::check_rotatable(&stored, &self.format, now, grace)?;
            let environment = stored.record.environment.clone();
            let (key, secret) = self.born(environment.as_deref(), &mut stored.record).await?;
            let lookup = secret.lookup.clone();
            stored.secrets = rotate::secrets_after(stored.secrets, secret, self.clock.wall(), grace);
            match self.store.update_key(stored).await {
                Ok(record) => return Ok(IssuedKey { key, record, lookup }),
                Err(error) if is_worth_a_retry(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    /// Stops a key until it is [enabled](Self::enable) again. Disabling a disabled key changes nothing.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when others got
    /// in before with a change 256 times.
    pub async fn disable(&self, id: KeyId) -> Result<KeyRecord, IssueError> {
        self.change(id, ATTEMPTS_TO_STOP, |record| record.status = KeyStatus::Disabled)
            .await
    }

    /// Lets a disabled key work again.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when others got
    /// in before with a change 8 times.
    pub async fn enable(&self, id: KeyId) -> Result<KeyRecord, IssueError> {
        self.change(id, ATTEMPTS, |record| record.status = KeyStatus::Active)
            .await
    }

    /// Ends a key for ever. Revoking a revoked key changes nothing: who was first, and why, stays. Of reason and actor the
    /// first 1,024 bytes are kept: too long a reason is none to let a key go on working.
    ///
    /// # Errors
    /// When there is no such key, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when others got in before with a
    /// change 256 times. The key works on then.
    pub async fn revoke(&self, id: KeyId, reason: &str, actor: &str) -> Result<KeyRecord, IssueError> {
        let revocation = Revocation::new(self.clock.wall(), shortened(reason), shortened(actor));
        let revoked = self.change(id, ATTEMPTS_TO_STOP, |record| {
            record.status = KeyStatus::Revoked;
            record.revocation = Some(revocation.clone());
        });
        match revoked.await {
            Err(error) if error.kind() == IssueErrorKind::Revoked => {
                let record = self.stored(id).await?.record;
                self.announce_again(&record);
                Ok(record)
            }
            done => done,
        }
    }

    /// Changes what a key may do: scopes, networks, limits, expiry, name, metadata. Id, organization, prefix, environment,
    /// revision and the time of its making stay, and so does its status: for that there are [`disable`](Self::disable),
    /// [`enable`](Self::enable) and [`revoke`](Self::revoke). The closure may run more than once, when others change the
    /// same row.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, the change contradicts itself, or the store fails;
    /// [`Conflict`](IssueErrorKind::Conflict) when others got in before 8 times.
    pub async fn update(
        &self,
        id: KeyId,
        change: impl Fn(&mut KeyRecord) + Send + Sync,
    ) -> Result<KeyRecord, IssueError> {
        let keeping_status = |record: &mut KeyRecord| {
            let (status, revocation) = (record.status, record.revocation.take());
            change(record);
            (record.status, record.revocation) = (status, revocation);
        };
        self.change(id, ATTEMPTS, keeping_status).await
    }

    async fn change(
        &self,
        id: KeyId,
        attempts: usize,
        change: impl Fn(&mut KeyRecord) + Send + Sync,
    ) -> Result<KeyRecord, IssueError> {
        for _ in 0..attempts {
            let mut stored = self.stored(id).await?;
            if stored.record.status == KeyStatus::Revoked {
                return Err(IssueError::new(IssueErrorKind::Revoked));
            }
            let before = stored.record.clone();
            change(&mut stored.record);
            keep_identity(&mut stored.record, &before);
            if stored.record == before {
                self.announce_again(&before);
                return Ok(before);
            }
            // Only what is new: an imported key that would be refused here must not be impossible to revoke.
            if stored.record.name != before.name {
                check_name(&stored.record.name)?;
            }
            if stored.record.limits != before.limits {
                let organization = self.store.organization(before.organization_id).await?;
                check_limits(&stored.record.limits, organization.as_ref().map_or(&[], |o| &o.limits))?;
            }
            match self.store.update_key(stored).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                done => return Ok(done?),
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    async fn stored(&self, id: KeyId) -> Result<StoredKey, IssueError> {
        let stored = self.store.key(id).await?;
        stored.ok_or_else(|| IssueError::new(IssueErrorKind::NotFound))
    }

    /// What was found done already may have been committed by someone else a moment ago, and not been announced yet. Who is
    /// told "done" relies on it from now on, not from when the other one has returned.
    fn announce_again(&self, record: &KeyRecord) {
        if let Some(fence) = self.store.fence() {
            fence.key_changed(record.id, record.revision);
        }
    }

    /// A secret of this record, and what is stored of it.
    async fn born(&self, environment: Option<&str>, record: &mut KeyRecord) -> Result<(ApiKey, KeySecret), IssueError> {
        let environment = environment.or_else(|| self.format.environments().next());
        let (key, lookup) = self.format.generate_at(environment, self.clock.wall())?.into_parts();
        record.prefix = self.format.prefix().into();
        record.environment = environment.map(Into::into);
        let hash = self.pool.hash(&self.policy, &key).await?;
        Ok((key, KeySecret::new(lookup, hash, self.clock.wall())))
    }
}

fn is_worth_a_retry(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Conflict | StoreErrorKind::AlreadyExists)
}

fn keep_identity(record: &mut KeyRecord, before: &KeyRecord) {
    record.id = before.id;
    record.organization_id = before.organization_id;
    record.prefix.clone_from(&before.prefix);
    record.environment.clone_from(&before.environment);
    record.created_at = before.created_at;
    record.revision = before.revision;
}

impl<S> fmt::Debug for Issuer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}
