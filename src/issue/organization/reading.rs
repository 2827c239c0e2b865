//! Reading organizations, and how many keys they have and may have.

use crate::issue::error::IssueError;
use crate::issue::issuer::Issuer;
use crate::key::{KeyStatus, Organization, OrganizationId};
use crate::store::query::{Count, Keys, OrganizationByEmail, OrganizationBySlug, Organizations, Paged};
use crate::store::{Commit, Guard, ManagedStore, StoreError, StoreErrorKind, StoreExt};

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// An organization; `None` if there is no such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, IssueError> {
        Ok(self.store.get(id).await?)
    }

    /// The organization with this slug; `None` if there is no such. Letter case counts, and slugs are in lower case.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn organization_by_slug(&self, slug: &str) -> Result<Option<Organization>, IssueError> {
        Ok(self.store.get(OrganizationBySlug(slug.to_owned())).await?)
    }

    /// The organization with this e-mail address, regardless of letter case; `None` if there is no such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn organization_by_email(&self, address: &str) -> Result<Option<Organization>, IssueError> {
        Ok(self.store.get(OrganizationByEmail(address.to_owned())).await?)
    }

    /// A page of organizations.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list.
    pub async fn organizations(&self, organizations: Organizations) -> Result<Paged<Organization>, IssueError> {
        self.page(organizations).await
    }

    /// How many organizations a list has, whatever its page.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_organizations(&self, organizations: Organizations) -> Result<Count, IssueError> {
        Ok(self.store.get(organizations.count()).await?)
    }

    /// How many keys of an organization work: those that are active and have not expired by their own end. A deactivated
    /// organization has as many, and none of them opens; one that does not exist has none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_active_keys(&self, organization: OrganizationId) -> Result<Count, IssueError> {
        let active = Keys::of(organization)
            .status(KeyStatus::Active)
            .ends_after(self.clock.wall());
        Ok(self.store.get(active.count()).await?)
    }

    /// How many keys an organization may have that are not revoked: its own number, or else that of its plan. `None` is any number.
    ///
    /// # Errors
    /// When there is no such organization, or the store fails.
    pub async fn max_keys(&self, organization: OrganizationId) -> Result<Option<u32>, IssueError> {
        let organization = self.store.get(organization).await?;
        let organization = organization.ok_or_else(|| IssueError::missing("organization"))?;
        self.max_keys_of(&organization).await
    }

    /// Whether an organization has fewer keys that are not revoked than it [may have](Self::max_keys). It says how things stand now:
    /// another process may create a key at any time, so a key is judged again in the commit that stores it.
    ///
    /// ```
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{IssueRequest, Issuer, OrganizationRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// let acme = issuer.create_organization(OrganizationRequest::new("acme").max_keys(1)).await?;
    /// assert!(issuer.may_create_key(acme.id).await?);
    /// issuer.issue(IssueRequest::new(acme.id, "the only one")).await?;
    /// assert!(!issuer.may_create_key(acme.id).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such organization, or the store fails.
    pub async fn may_create_key(&self, organization: OrganizationId) -> Result<bool, IssueError> {
        let Some(max) = self.max_keys(organization).await? else {
            return Ok(true);
        };
        let keys = Keys::of(organization);
        let (mut number, mut is_exact) = (0, true);
        for status in [KeyStatus::Active, KeyStatus::Disabled] {
            let count = self.store.get(keys.clone().status(status).count()).await?;
            number += count.number;
            is_exact &= count.is_exact;
        }
        if is_exact || number >= max.into() {
            return Ok(number < max.into());
        }
        // Counts are exact to 10,000. A guard is exact whatever the number is.
        match self
            .store
            .commit(Commit::new().guard(Guard::LiveKeysBelow(organization, max)))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == StoreErrorKind::LimitReached => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(in crate::issue) async fn max_keys_of(&self, organization: &Organization) -> Result<Option<u32>, IssueError> {
        match (organization.max_keys, organization.plan) {
            (Some(own), _) => Ok(Some(own)),
            (None, Some(plan)) => match self.store.get(plan).await? {
                Some(plan) => Ok(plan.max_keys),
                // It may have been what bounds the organization.
                None => Err(StoreError::with_source(
                    StoreErrorKind::InvalidRecord,
                    "the organization's plan is missing",
                )
                .into()),
            },
            (None, None) => Ok(None),
        }
    }
}
