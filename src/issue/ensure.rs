//! A first key, made once.

use super::bounds::check_name;
use super::difference;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::organization::OrganizationRequest;
use super::retry::{ATTEMPTS, retried};
use crate::audit::AuditAction;
use crate::key::{ApiKey, KeyRecord, KeyStatus, Organization, OrganizationId, SecretForm, earlier, folded};
use crate::store::query::{Keys, TheRealm};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

/// What [`Issuer::ensure`] found or made.
#[derive(Debug)]
#[must_use = "a key that was made now is shown once and stored nowhere"]
#[non_exhaustive]
pub struct Ensured {
    /// The whole key, if it was made now. Its text exists nowhere else.
    pub key: Option<ApiKey>,
    /// The key's record. A disabled key is returned as it is.
    pub record: KeyRecord,
    /// The organization that owns the key.
    pub organization: Organization,
}

impl<S: ManagedStore> Issuer<S> {
    /// Makes an organization and a key of it, each unless it is there: for services that start with an empty store, and for
    /// development. The key is found by its name, the organization by its slug: the one that its name makes, or the one of
    /// an [`OrganizationRequest`].
    ///
    /// A new key is of the environment `test` if the format has it, and otherwise of the first one. It has no scopes, and no end but
    /// one that the organization's policy gives it. Of several processes that do this at once, one makes the key, and the others find it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = tower_api_key::testing::api_keys().open().await?;
    /// let first = keys.ensure("acme", "my first key").await?;
    /// if let Some(key) = &first.key {
    ///     println!("{}", key.expose_secret()); // the only time
    /// }
    /// let again = keys.ensure("acme", "my first key").await?;
    /// assert!(again.key.is_none());
    /// assert_eq!(again.record.id, first.record.id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`Revoked`](IssueErrorKind::Revoked) or [`Expired`](IssueErrorKind::Expired) when keys of this name are there and none
    ///   of them works any more: a key that was taken away is not replaced by itself. One has expired also when the policy ends it,
    ///   or when it has a CRC-32 and those are [ended](Self::end_crc_keys).
    /// - [`AlreadyExists`](IssueErrorKind::AlreadyExists) when the slug was made from the name, and is that of an organization
    ///   with another name: `C++` and `C#` both make `c`. Letter case does not count. A request with a slug finds its
    ///   organization whatever the name is.
    /// - Otherwise as for [`issue`](Self::issue).
    pub async fn ensure(
        &self,
        organization: impl Into<OrganizationRequest>,
        name: &str,
    ) -> Result<Ensured, IssueError> {
        let request = organization.into();
        check_name(name)?;
        let slug = request.wanted_slug()?;
        retried!(ATTEMPTS, async {
            let found = self.organization_by_slug(&slug).await?;
            if let Some(organization) = &found {
                // Different names can make one slug. The key would be that of another tenant.
                if !request.is_for(organization) {
                    return Err(IssueError::taken("slug", "organization"));
                }
                if let Some(record) = self.named(organization.id, name).await? {
                    return Ok(Ensured {
                        key: None,
                        record,
                        organization: organization.clone(),
                    });
                }
            }
            let new = match &found {
                Some(organization) => organization.clone(),
                None => self.new_organization(&request, &slug).await?,
            };
            match self.first_key(found, new, name).await {
                // Someone else has made it. A taken address is that of another organization.
                Err(error) if error.kind() == IssueErrorKind::AlreadyExists && error.field() != Some("email") => {
                    Err(IssueError::new(IssueErrorKind::Conflict))
                }
                made => made,
            }
        })
    }

    /// Makes the key, and the organization if none was found. Fails if someone else does the same.
    async fn first_key(
        &self,
        found: Option<Organization>,
        new: Organization,
        name: &str,
    ) -> Result<Ensured, IssueError> {
        let is_new = found.is_none();
        let mut organization = found.unwrap_or(new);
        let mut record = KeyRecord::new(organization.id, name, self.clock.wall());
        record.created_by = self.actor.clone();
        record.created_by_key = self.acting_key();
        let of_tests = self.format.environments().find(|environment| *environment == "test");
        let environment = self.environment(of_tests);
        record.environment = environment.map(Into::into);
        let permission = self.may_issue(&record, &organization).await?;
        record.expires_at = permission.expires_at;
        let of_organization = match is_new {
            true => Write::InsertOrganization(organization.clone()),
            // Names of keys are not unique, so the organization's revision decides who is first.
            false => Write::UpdateOrganization(organization.clone()),
        };
        // Before a secret is made, which costs a hash.
        let judged = Commit::new().write(of_organization.clone());
        self.store
            .judge(&judged.write(Write::InsertKey(record.clone())))
            .await?;
        let (key, secret) = self.generate_secret(environment, &mut record).await?;
        let mut commit = Commit::new().write(of_organization);
        match is_new {
            true => commit.audit.push(self.organization_created(&organization)),
            false => commit.guards = permission.guards,
        }
        let event = difference::of_key(self.key_event(&record, AuditAction::KEY_ISSUED), None, &record);
        let commit = commit
            .write(Write::InsertKey(record.clone()))
            .audit(event.detail("lookup", secret.lookup.to_string()))
            .write(Write::InsertSecret(record.id, secret));
        let committed = match self.commit(commit).await {
            Ok(committed) => committed,
            Err(error) if is_new => return Err(self.why_refused(error, &organization).await),
            Err(error) => return Err(error.into()),
        };
        organization.revision = committed.revision_of(organization.id).unwrap_or(organization.revision);
        Ok(Ensured {
            key: Some(key),
            record,
            organization,
        })
    }

    /// A key of this name that has not ended. An error if there are only others.
    async fn named(&self, organization: OrganizationId, name: &str) -> Result<Option<KeyRecord>, IssueError> {
        let folded_name = folded(name);
        let query = Keys::of(organization).name_starts_with(name).page(100);
        let mut page = self.page(query.clone()).await?;
        let mut ended = None;
        loop {
            for stored in page.items {
                // Ordered by name: what only begins so comes after all that are called so. Another name is that of a key that was
                // renamed by hand, and is found under the one before.
                match folded(&stored.record.name) {
                    found if found == folded_name => {}
                    found if found.starts_with(&folded_name) => {
                        return ended.map_or(Ok(None), |kind| Err(IssueError::new(kind)));
                    }
                    _ => continue,
                }
                if stored.record.name == name {
                    match self.end_of(&stored).await? {
                        None => return Ok(Some(stored.record)),
                        kind => ended = kind,
                    }
                }
            }
            match page.next {
                Some(next) => page = self.page(query.clone().after(next)).await?,
                None => return ended.map_or(Ok(None), |kind| Err(IssueError::new(kind))),
            }
        }
    }

    async fn end_of(&self, stored: &StoredKey) -> Result<Option<IssueErrorKind>, IssueError> {
        let is_over = |end| self.clock.is_over(end);
        if stored.record.status == KeyStatus::Revoked {
            return Ok(Some(IssueErrorKind::Revoked));
        }
        let mut forms = Vec::new();
        for secret in &stored.secrets {
            if !secret.ends_at().is_some_and(is_over) {
                forms.push(secret.form);
            }
        }
        // Only then it depends on the realm.
        if forms.iter().all(|form| *form == SecretForm::Crc32) && self.has_crc_ended(&stored.record.prefix).await? {
            forms.clear();
        }
        let end = earlier(stored.record.expires_at, self.end_of_policy(&stored.record).await?);
        let has_expired = end.is_some_and(is_over);
        Ok((has_expired || forms.is_empty()).then_some(IssueErrorKind::Expired))
    }

    /// Whether every check refuses keys of this prefix that have a CRC-32.
    async fn has_crc_ended(&self, prefix: &str) -> Result<bool, IssueError> {
        if !self.format.needs_realm() || self.format.prefix() != prefix {
            return Ok(false);
        }
        match self.store.get(TheRealm).await {
            Ok(realm) => Ok(!realm.accepts_crc(self.clock.wall())),
            Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
