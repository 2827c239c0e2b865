//! Creating and changing organizations.

use super::bounds::{check_limits, check_name};
use super::difference;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::{ATTEMPTS, Issuer};
use crate::audit::{AuditAction, AuditEvent};
use crate::error::ConfigError;
use crate::key::{Organization, OrganizationId, check_slug, is_same_name, numbered, slug_of};
use crate::store::query::OrganizationBySlug;
use crate::store::{Change, Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

/// A request for a new organization: its name, and its slug if that is not to be made from the name.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Issuer, OrganizationRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let first = issuer.create_organization("Acme Inc.").await?;
/// let second = issuer.create_organization("Acme Inc.").await?;
/// assert_eq!((&*first.slug, &*second.slug), ("acme-inc", "acme-inc-2"));
///
/// let third = issuer.create_organization(OrganizationRequest::new("Acme Inc.").slug("acme")).await?;
/// assert_eq!(issuer.organization_by_slug("acme").await?, Some(third));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OrganizationRequest {
    name: String,
    slug: Option<String>,
}

impl OrganizationRequest {
    /// An organization with a display name of 1 to 255 bytes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            slug: None,
        }
    }

    /// The slug: 1 to 63 bytes of `a-z`, `0-9` and `-`, which is at neither end. Default: made from the name, with `-2`, `-3`
    /// and so on behind it if that is taken.
    pub fn slug(mut self, slug: impl Into<String>) -> Self {
        self.slug = Some(slug.into());
        self
    }

    /// The slug that is asked for, or else the one that the name makes.
    pub(super) fn wanted_slug(&self) -> Result<String, ConfigError> {
        check_name(&self.name)?;
        match &self.slug {
            Some(slug) => check_slug(slug).map(|()| slug.clone()),
            None => Ok(slug_of(&self.name)),
        }
    }

    /// Whether this organization, which has the wanted slug, is the one that is meant.
    pub(super) fn is_for(&self, organization: &Organization) -> bool {
        self.slug.is_some() || is_same_name(&organization.name, &self.name)
    }

    pub(super) fn organization(&self, slug: &str) -> Organization {
        let mut organization = Organization::new(&*self.name);
        organization.slug = slug.to_owned();
        organization
    }
}

/// For requests that are only a name.
impl<T: Into<String>> From<T> for OrganizationRequest {
    fn from(name: T) -> Self {
        Self::new(name)
    }
}

impl<S: ManagedStore> Issuer<S> {
    /// Creates an active organization without limits, of a name or an [`OrganizationRequest`].
    ///
    /// # Errors
    /// When the name is empty, longer than 255 bytes or has control characters, the slug is not valid, or the store fails;
    /// [`AlreadyExists`](IssueErrorKind::AlreadyExists) when another organization has the requested slug.
    pub async fn create_organization(
        &self,
        request: impl Into<OrganizationRequest>,
    ) -> Result<Organization, IssueError> {
        self.create(request.into()).await
    }

    async fn create(&self, request: OrganizationRequest) -> Result<Organization, IssueError> {
        let slug = request.wanted_slug()?;
        let mut organization = request.organization(&slug);
        for _ in 0..ATTEMPTS {
            if request.slug.is_none() {
                organization.slug = self.free_slug(&slug).await?;
            }
            let commit = Commit::new()
                .write(Write::InsertOrganization(organization.clone()))
                .audit(self.organization_created(&organization));
            match self.commit(commit).await {
                // Someone else took it in between, and there are more.
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists && request.slug.is_none() => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(organization),
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    pub(super) fn organization_created(&self, organization: &Organization) -> AuditEvent {
        let event = self.event(organization.id, AuditAction::ORGANIZATION_CREATED);
        difference::of_organization(event, None, organization)
    }

    /// This slug or, if it is taken, the next one with a number. Of many organizations of one name few are read: those with
    /// doubled numbers until one is free, and then those halfway between.
    async fn free_slug(&self, slug: &str) -> Result<String, IssueError> {
        if self.is_free(slug).await? {
            return Ok(slug.to_owned());
        }
        let (mut taken, mut free) = (1, 2);
        while !self.is_free(&numbered(slug, free)).await? {
            if free == u32::MAX {
                return Err(IssueError::new(IssueErrorKind::AlreadyExists));
            }
            (taken, free) = (free, free.saturating_mul(2));
        }
        while free - taken > 1 {
            let between = taken + (free - taken) / 2;
            match self.is_free(&numbered(slug, between)).await? {
                true => free = between,
                false => taken = between,
            }
        }
        Ok(numbered(slug, free))
    }

    async fn is_free(&self, slug: &str) -> Result<bool, IssueError> {
        Ok(self.store.get(OrganizationBySlug(slug.to_owned())).await?.is_none())
    }

    /// Changes an organization: deactivates it, gives it limits, renames it. Its id and revision stay the store's. The
    /// closure may run more than once, when others change the same row. What changes nothing is not written.
    ///
    /// Give its limits names that its keys' limits do not have: the keys are not read here, and two limits of one name are
    /// both enforced but cannot be told apart in answers.
    ///
    /// # Errors
    /// When there is no such organization, a part of the change is not valid, or the store fails;
    /// [`AlreadyExists`](IssueErrorKind::AlreadyExists) when another organization has the new slug;
    /// [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update_organization(
        &self,
        id: OrganizationId,
        change: impl Fn(&mut Organization) + Send + Sync,
    ) -> Result<Organization, IssueError> {
        for _ in 0..ATTEMPTS {
            let Some(mut organization) = self.store.get(id).await? else {
                return Err(IssueError::new(IssueErrorKind::NotFound));
            };
            let before = organization.clone();
            change(&mut organization);
            (organization.id, organization.revision) = (id, before.revision);
            if organization == before {
                self.announce_again(Change::new(id, before.revision));
                return Ok(before);
            }
            // Only what is new: an imported organization that would be refused here must not be impossible to deactivate.
            if organization.name != before.name {
                check_name(&organization.name)?;
            }
            if organization.slug != before.slug {
                check_slug(&organization.slug)?;
            }
            if organization.limits != before.limits {
                check_limits(&organization.limits, &[])?;
            }
            let event = self.event(id, AuditAction::ORGANIZATION_UPDATED);
            let commit = Commit::new()
                .write(Write::UpdateOrganization(organization.clone()))
                .audit(difference::of_organization(
                    event.detail("changed", changed_fields(&before, &organization)),
                    Some(&before),
                    &organization,
                ));
            match self.commit(commit).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
                Ok(committed) => {
                    organization.revision = committed.revision_of(id).unwrap_or(organization.revision);
                    return Ok(organization);
                }
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }
}

/// The names of the fields that differ.
fn changed_fields(before: &Organization, after: &Organization) -> String {
    let fields = [
        ("slug", before.slug != after.slug),
        ("name", before.name != after.name),
        ("status", before.status != after.status),
        ("limits", before.limits != after.limits),
    ];
    super::change::names(&fields)
}
