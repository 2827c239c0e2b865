//! Changing organizations.

use super::check::check_organization;
use super::fields::{changed_fields, keep_identity, of_organization};
use crate::audit::AuditAction;
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::Issuer;
use crate::issue::retry::{ATTEMPTS, ATTEMPTS_TO_STOP, retried};
use crate::issue::status::LONGEST_REASON;
use crate::key::{Organization, OrganizationId, OrganizationStatus, shortened};
use crate::store::query::{OrganizationByEmail, OrganizationBySlug};
use crate::store::{Change, Commit, ManagedStore, StoreError, StoreErrorKind, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Changes an organization: name, slug, address, plan, limits, policy, metadata. Its id, revision and time of creation stay
    /// the store's. Whether it is the organization of those who run the service is set on the host: no key changes it. The closure may run more than once, when others
    /// change the same row. What changes nothing is not written; what does not change is not checked anew.
    ///
    /// A change of plan, limits or policy holds for all keys at once. [`policy_preview`](Self::policy_preview) lists which keys a
    /// policy would end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::Issuer;
    /// use tower_api_key::store::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// let acme = issuer.create_organization("acme").await?;
    /// let pro = issuer.plan_named("pro").await?.ok_or("no such plan")?;
    /// let acme = issuer
    ///     .update_organization(acme.id, |acme| {
    ///         acme.plan = Some(pro.id);
    ///         acme.policy.longest_life = Some(Duration::from_secs(90 * 86_400));
    ///     })
    ///     .await?;
    /// assert_eq!(acme.revision, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such organization or plan, a part of the change is not valid, or the store fails;
    /// [`AlreadyExists`](IssueErrorKind::AlreadyExists) when another organization has the new slug or address, and
    /// [`field`](IssueError::field) says which; [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update_organization(
        &self,
        id: OrganizationId,
        change: impl Fn(&mut Organization) + Send + Sync,
    ) -> Result<Organization, IssueError> {
        self.change_organization(id, ATTEMPTS, change, AuditAction::ORGANIZATION_UPDATED, "")
            .await
    }

    /// Stops all keys of an organization until it is [activated](Self::activate_organization) again. When this returns, no
    /// request with one of them passes any more on this node. Deactivating an inactive organization changes nothing.
    ///
    /// The reason, of which 1,024 bytes are kept, is in the audit trail. Name nobody in it.
    ///
    /// # Errors
    /// When there is no such organization, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another change came
    /// first 256 times. The keys still work then.
    pub async fn deactivate_organization(&self, id: OrganizationId, reason: &str) -> Result<Organization, IssueError> {
        let stop = |organization: &mut Organization| organization.status = OrganizationStatus::Inactive;
        let action = AuditAction::ORGANIZATION_DEACTIVATED;
        self.change_organization(id, ATTEMPTS_TO_STOP, stop, action, reason)
            .await
    }

    /// Lets the keys of an inactive organization work again, apart from those that were stopped by themselves.
    ///
    /// # Errors
    /// When there is no such organization, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another change came
    /// first 8 times.
    pub async fn activate_organization(&self, id: OrganizationId) -> Result<Organization, IssueError> {
        let start = |organization: &mut Organization| organization.status = OrganizationStatus::Active;
        self.change_organization(id, ATTEMPTS, start, AuditAction::ORGANIZATION_ACTIVATED, "")
            .await
    }

    async fn change_organization(
        &self,
        id: OrganizationId,
        attempts: usize,
        change: impl Fn(&mut Organization) + Send + Sync,
        action: AuditAction,
        reason: &str,
    ) -> Result<Organization, IssueError> {
        retried!(attempts, async {
            let before = self.stored_organization(id).await?;
            let mut organization = before.clone();
            change(&mut organization);
            keep_identity(&mut organization, &before);
            if organization == before {
                self.announce_again(Change::new(id, before.revision)).await?;
                return Ok(before);
            }
            check_organization(&organization, Some(&before))?;
            let event = self
                .event(id, action.clone())
                .reason(shortened(reason, LONGEST_REASON))
                .detail("changed", changed_fields(&before, &organization));
            let commit = Commit::new()
                .write(Write::UpdateOrganization(organization.clone()))
                .audit(of_organization(event, Some(&before), &organization));
            match self.commit(commit).await {
                Err(error) => Err(self.why_refused(error, &organization).await),
                Ok(committed) => {
                    organization.revision = committed.revision_of(id).unwrap_or(organization.revision);
                    Ok(organization)
                }
            }
        })
    }

    pub(in crate::issue) async fn stored_organization(&self, id: OrganizationId) -> Result<Organization, IssueError> {
        let organization = self.store.get(id).await?;
        organization.ok_or_else(|| IssueError::missing("organization"))
    }

    /// Which field a store has refused: it says only that one of them is taken, or names what is not there.
    pub(in crate::issue) async fn why_refused(&self, error: StoreError, row: &Organization) -> IssueError {
        match self.refused_field(&error, row).await {
            Ok(Some(why)) => why,
            // Nothing is in the way any more, or it cannot be read.
            Ok(None) | Err(_) => error.into(),
        }
    }

    async fn refused_field(&self, error: &StoreError, row: &Organization) -> Result<Option<IssueError>, StoreError> {
        let is_another = |found: Option<Organization>| found.is_some_and(|other| other.id != row.id);
        if error.kind() == StoreErrorKind::AlreadyExists {
            if let Some(email) = &row.email
                && is_another(self.store.get(OrganizationByEmail(email.clone())).await?)
            {
                return Ok(Some(IssueError::taken("email", "organization")));
            }
            let by_slug = OrganizationBySlug(row.slug.clone());
            if is_another(self.store.get(by_slug).await?) {
                return Ok(Some(IssueError::taken("slug", "organization")));
            }
            // A key that does not see other organizations must not learn of that one. Of its own, it changes the address and no slug.
            if row.email.is_some() && self.store.check_operator().await.is_err() {
                return Ok(Some(IssueError::taken("email", "organization")));
            }
            // There is one.
            let sentence = "another organization is that of those who run the service";
            let kind = IssueErrorKind::AlreadyExists;
            return Ok(row
                .is_operator
                .then(|| IssueError::about(kind, "is_operator", sentence)));
        }
        if error.kind() == StoreErrorKind::NotFound {
            let is_missing = match row.plan {
                Some(plan) => self.store.get(plan).await?.is_none(),
                None => false,
            };
            let what = if is_missing { "plan" } else { "organization" };
            return Ok(Some(IssueError::missing(what)));
        }
        Ok(None)
    }
}
