//! Issuing a key.

use super::bounds::{check_limits, check_name};
use super::difference;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::{ATTEMPTS, Issuer};
use super::request::IssueRequest;
use crate::audit::AuditAction;
use crate::error::{ConfigError, quoted};
use crate::key::{ApiKey, GenerateError, GenerateErrorKind, KeyId, KeyRecord, KeySecret, KeyStatus, Lookup};
use crate::store::{Commit, Guard, ManagedStore, StoreErrorKind, StoreExt, Write};

/// A key that was just issued. Its text exists nowhere else.
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

impl<S: ManagedStore> Issuer<S> {
    /// Issues a new key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the organization does not exist, the [user is disabled](IssueErrorKind::UserDisabled), a part of the request is not
    /// valid or asks for a key that has expired already, too many keys are being hashed, or the store fails.
    pub async fn issue(&self, request: IssueRequest) -> Result<IssuedKey, IssueError> {
        let Some(organization) = self.store.get(request.organization).await? else {
            return Err(IssueError::new(IssueErrorKind::NotFound));
        };
        check_limits(&request.limits, &organization.limits)?;
        check_name(&request.name)?;
        self.check_user(organization.id, request.user.as_ref()).await?;
        let now = self.clock.wall();
        let expires_at = request.expiry.resolve(&self.clock, now)?;
        let mut record = KeyRecord::new(organization.id, request.name, now);
        record.user = request.user;
        record.ends_with_user = request.ends_with_user;
        record.labels = request.labels;
        record.scopes = request.scopes;
        record.networks = request.networks;
        record.limits = request.limits;
        record.metadata = request.metadata;
        record.expires_at = expires_at;
        record.created_by = self.actor.clone();
        record.created_by_key = self.acting_key().or(request.created_by_key);
        for _ in 0..ATTEMPTS {
            let creator = match record.created_by_key {
                // The key that acts is guarded by its authority.
                Some(id) if self.acting_key().is_none() => Some(self.working(id).await?),
                _ => None,
            };
            let environment = request.environment.as_deref();
            let (key, secret) = self.generate_secret(environment, &mut record).await?;
            let lookup = secret.lookup.clone();
            let event = difference::of_key(self.key_event(&record, AuditAction::KEY_ISSUED), None, &record);
            let mut commit = Commit::new()
                .write(Write::InsertKey(record.clone()))
                .write(Write::InsertSecret(record.id, secret))
                .audit(event.detail("lookup", lookup.to_string()));
            if let Some(user) = &record.user {
                commit = commit.guard(Guard::UserIsActive(record.organization_id, user.clone()));
            }
            if let Some(creator) = creator {
                commit = commit.guard(Guard::KeyRevision(creator.id, creator.revision));
            }
            match self.commit(commit).await {
                Ok(_) => return Ok(IssuedKey { key, record, lookup }),
                // Ids and lookups are random; a taken one is drawn anew.
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => record.id = KeyId::new(),
                // The user was disabled meanwhile. Enabled again since then, it gets the key.
                Err(error) if error.kind() == StoreErrorKind::Conflict => {
                    self.check_user(record.organization_id, record.user.as_ref()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    /// A creator that works. Guarded until the commit, so that a revoked key makes no other.
    async fn working(&self, id: KeyId) -> Result<KeyRecord, IssueError> {
        let record = self.stored(id).await?.record;
        match record.status {
            KeyStatus::Active => Ok(record),
            _ => Err(ConfigError::new("created_by_key", "does not work any more").into()),
        }
    }

    /// A new key text for this record, and what is stored of it.
    pub(super) async fn generate_secret(
        &self,
        environment: Option<&str>,
        record: &mut KeyRecord,
    ) -> Result<(ApiKey, KeySecret), IssueError> {
        let environment = environment.or_else(|| self.format.environments().next());
        let format = self.format_of_realm().await?;
        let generated = format
            .generate_at(environment, self.clock.wall())
            .map_err(|error| self.not_generated(error, environment))?;
        let form = generated.form();
        let (key, lookup) = generated.into_parts();
        record.prefix = self.format.prefix().into();
        record.environment = environment.map(Into::into);
        if let Some(fence) = self.store.fence() {
            fence.issues(&record.prefix, environment);
        }
        let hash = self.pool.hash(&self.policy, &key).await?;
        let mut secret = KeySecret::new(lookup, hash, self.clock.wall());
        secret.form = form;
        Ok((key, secret))
    }

    fn not_generated(&self, error: GenerateError, environment: Option<&str>) -> IssueError {
        if error.kind() != GenerateErrorKind::UnknownEnvironment {
            return error.into();
        }
        let known: Vec<&str> = self.format.environments().collect();
        let problem = match (known.as_slice(), environment) {
            ([], _) => "the key format has none".to_owned(),
            (_, Some(environment)) => format!("must be one of {}, got {}", known.join(", "), quoted(environment)),
            (_, None) => format!("must be one of {}", known.join(", ")),
        };
        ConfigError::new("environment", problem).into()
    }
}
