//! Issuing a key.

use super::difference;
use super::error::IssueError;
use super::issuer::Issuer;
use super::policy::too_many_keys;
use super::request::IssueRequest;
use super::retry::{ATTEMPTS, conflict_if, retried};
use crate::audit::AuditAction;
use crate::error::{ConfigError, quoted};
use crate::key::{ApiKey, GenerateError, GenerateErrorKind, KeyId, KeyRecord, KeySecret, Lookup, Timestamp};
use crate::store::{Commit, KeyStore, ManagedStore, StoreErrorKind, StoreExt, Write};

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

/// A key that is asked for, and what attempts to make it have left.
pub(super) struct Wanted {
    record: KeyRecord,
    /// A secret that was made, and not stored.
    unused: Option<(ApiKey, KeySecret)>,
}

impl<S: ManagedStore> Issuer<S> {
    /// Issues a new key. Its text is in the answer and nowhere else. A client that may lose the answer and ask again wants
    /// [`issue_once`](Self::issue_once).
    ///
    /// # Errors
    /// - [`NotFound`](crate::IssueErrorKind::NotFound) when the organization does not exist.
    /// - [`InvalidRequest`](crate::IssueErrorKind::InvalidRequest) when a part of the request is not valid: it asks for a key that has
    ///   expired already, for a role that does not exist, or for a scope that the realm does not know.
    /// - [`UserDisabled`](crate::IssueErrorKind::UserDisabled) when its user is.
    /// - [`NotAllowed`](crate::IssueErrorKind::NotAllowed) when the organization's policy forbids it, the organization is inactive, or it
    ///   is more than the creator key has.
    /// - [`LimitReached`](crate::IssueErrorKind::LimitReached) when the organization has as many keys as it may have.
    /// - [`Conflict`](crate::IssueErrorKind::Conflict) when other changes came first 8 times.
    /// - Others when too many keys are being hashed, or the store fails.
    pub async fn issue(&self, request: IssueRequest) -> Result<IssuedKey, IssueError> {
        let mut wanted = self.wanted(&request)?;
        retried!(ATTEMPTS, self.issue_now(&mut wanted, |_| None))
    }

    /// What is asked for, as far as it shows by itself that it can be had.
    pub(super) fn wanted(&self, request: &IssueRequest) -> Result<Wanted, IssueError> {
        let mut record = request.record(&self.clock, self.actor.clone())?;
        self.complete(request, &mut record);
        self.check_environment(record.environment.as_deref())?;
        Ok(Wanted { record, unused: None })
    }

    /// What the issuer adds to a record that is asked for.
    pub(super) fn complete(&self, request: &IssueRequest, record: &mut KeyRecord) {
        if let Some(principal) = self.store.principal() {
            record.user.get_or_insert_with(|| principal.user().clone());
        }
        // A key that acts cannot name another one: what it makes must be found when it leaks.
        record.created_by_key = self.acting_key().or(record.created_by_key);
        record.environment = self.environment(request.environment.as_deref()).map(Into::into);
    }

    /// One attempt to make the key, with what `beside` adds to its commit. A conflict is worth another one.
    pub(super) async fn issue_now(
        &self,
        wanted: &mut Wanted,
        beside: impl FnOnce(&KeyRecord) -> Option<Write>,
    ) -> Result<IssuedKey, IssueError> {
        self.store.check_active().await?;
        let Some(organization) = self.store.get(wanted.record.organization_id).await? else {
            return Err(IssueError::missing("organization"));
        };
        let permission = self.may_issue(&wanted.record, &organization).await?;
        self.may_make(&wanted.record, permission.expires_at).await?;
        let (key, secret) = match wanted.unused.take() {
            Some(unused) => unused,
            None => {
                let environment = wanted.record.environment.clone();
                self.generate_secret(environment.as_deref(), &mut wanted.record).await?
            }
        };
        let mut record = wanted.record.clone();
        record.expires_at = permission.expires_at;
        let lookup = secret.lookup.clone();
        let event = difference::of_key(self.key_event(&record, AuditAction::KEY_ISSUED), None, &record);
        let mut commit = Commit::new()
            .write(Write::InsertKey(record.clone()))
            .write(Write::InsertSecret(record.id, secret.clone()))
            .audit(event.detail("lookup", lookup.to_string()));
        commit.guards = permission.guards;
        commit.writes.extend(beside(&record));
        let Err(error) = self.commit(commit).await else {
            return Ok(IssuedKey { key, record, lookup });
        };
        match (error.kind(), permission.most_keys) {
            // Ids and lookups are random; a taken one is drawn anew.
            (StoreErrorKind::AlreadyExists, _) => wanted.record.id = KeyId::new(),
            // Something that was judged has changed. The secret is as good as before, and cost a hash.
            (StoreErrorKind::Conflict, _) => wanted.unused = Some((key, secret)),
            (StoreErrorKind::LimitReached, Some(most)) => return Err(too_many_keys(most)),
            _ => {}
        }
        Err(conflict_if(StoreErrorKind::AlreadyExists)(error))
    }

    /// Before its secret is made, which costs a hash: whether the one that acts may make this key.
    async fn may_make(&self, record: &KeyRecord, expires_at: Option<Timestamp>) -> Result<(), IssueError> {
        let mut record = record.clone();
        record.expires_at = expires_at;
        Ok(self.store.judge(&Commit::new().write(Write::InsertKey(record))).await?)
    }

    /// The environment that is asked for, or the first one of the format.
    pub(super) fn environment<'a>(&'a self, asked: Option<&'a str>) -> Option<&'a str> {
        asked.or_else(|| self.format.environments().next())
    }

    /// A new key text for this record, and what is stored of it.
    pub(super) async fn generate_secret(
        &self,
        environment: Option<&str>,
        record: &mut KeyRecord,
    ) -> Result<(ApiKey, KeySecret), IssueError> {
        let environment = self.environment(environment);
        let format = self.format_of_realm().await?;
        let generated = format
            .generate_at(environment, self.clock.wall())
            .map_err(|error| self.not_generated(error, environment))?;
        let form = generated.form();
        let hint = format.may_show_hints().then(|| generated.hint().to_owned());
        let (key, lookup) = generated.into_parts();
        record.prefix = self.format.prefix().into();
        record.environment = environment.map(Into::into);
        if let Some(fence) = self.store.fence() {
            fence.issues(&record.prefix, environment);
        }
        let hash = self.pool.hash(&self.policy, &key).await?;
        let mut secret = KeySecret::new(lookup, hash, self.clock.wall());
        (secret.form, secret.hint) = (form, hint);
        Ok((key, secret))
    }

    /// Whether keys of the format can be of this environment, before anything else is asked about the key.
    fn check_environment(&self, environment: Option<&str>) -> Result<(), IssueError> {
        let mut known = self.format.environments().peekable();
        let is_known = match environment {
            Some(environment) => known.any(|one| one == environment),
            None => known.peek().is_none(),
        };
        match is_known {
            true => Ok(()),
            false => Err(self.unknown_environment(environment)),
        }
    }

    fn not_generated(&self, error: GenerateError, environment: Option<&str>) -> IssueError {
        match error.kind() {
            GenerateErrorKind::UnknownEnvironment => self.unknown_environment(environment),
            _ => error.into(),
        }
    }

    fn unknown_environment(&self, environment: Option<&str>) -> IssueError {
        let known: Vec<&str> = self.format.environments().collect();
        let problem = match (known.as_slice(), environment) {
            ([], _) => "the key format has none".to_owned(),
            (_, Some(environment)) => format!("must be one of {}, got {}", known.join(", "), quoted(environment)),
            (_, None) => format!("must be one of {}", known.join(", ")),
        };
        ConfigError::new("environment", problem).into()
    }
}
