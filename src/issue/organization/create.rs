//! Creating organizations.

use super::fields::of_organization;
use super::request::OrganizationRequest;
use crate::audit::{AuditAction, AuditEvent};
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::Issuer;
use crate::issue::retry::{ATTEMPTS, retried};
use crate::key::{Organization, numbered};
use crate::store::query::OrganizationBySlug;
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Creates an active organization, of a name or an [`OrganizationRequest`].
    ///
    /// # Errors
    /// When a part of the request is not valid, there is no such plan, or the store fails;
    /// [`AlreadyExists`](IssueErrorKind::AlreadyExists) when another organization has the requested slug or the address, and
    /// [`field`](IssueError::field) says which.
    pub async fn create_organization(
        &self,
        request: impl Into<OrganizationRequest>,
    ) -> Result<Organization, IssueError> {
        self.create(request.into()).await
    }

    async fn create(&self, request: OrganizationRequest) -> Result<Organization, IssueError> {
        let slug = request.wanted_slug()?;
        let mut organization = self.new_organization(&request, &slug).await?;
        retried!(ATTEMPTS, async {
            if !request.has_slug() {
                organization.slug = self.free_slug(&slug).await?;
            }
            let commit = Commit::new()
                .write(Write::InsertOrganization(organization.clone()))
                .audit(self.organization_created(&organization));
            let Err(error) = self.commit(commit).await else {
                return Ok(organization.clone());
            };
            let was_taken = error.kind() == StoreErrorKind::AlreadyExists;
            let error = self.why_refused(error, &organization).await;
            match was_taken && !request.has_slug() && error.field() != Some("email") {
                // Someone else took the slug in between, and there are more.
                true => Err(IssueError::new(IssueErrorKind::Conflict)),
                false => Err(error),
            }
        })
    }

    /// The row that is asked for, with this slug and the plan's id.
    pub(in crate::issue) async fn new_organization(
        &self,
        request: &OrganizationRequest,
        slug: &str,
    ) -> Result<Organization, IssueError> {
        let plan = match &request.plan_name {
            Some(name) => {
                let plan = self.plan_named(name).await?;
                Some(plan.ok_or_else(|| IssueError::missing("plan"))?.id)
            }
            None => request.plan_id(),
        };
        Ok(request.organization(slug, plan, self.clock.wall()))
    }

    pub(in crate::issue) fn organization_created(&self, organization: &Organization) -> AuditEvent {
        let event = self.event(organization.id, AuditAction::ORGANIZATION_CREATED);
        of_organization(event, None, organization)
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
                return Err(IssueError::taken("slug", "organization"));
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
}
