//! Creating and changing organizations.

use super::bounds::{check_limits, check_name};
use super::error::{IssueError, IssueErrorKind};
use super::issuer::{ATTEMPTS, Issuer};
use crate::audit::AuditAction;
use crate::key::{Organization, OrganizationId};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Creates an active organization without limits.
    ///
    /// # Errors
    /// When the name is empty, longer than 255 bytes or has control characters, or the store fails.
    pub async fn create_organization(&self, name: impl Into<String>) -> Result<Organization, IssueError> {
        let name = name.into();
        check_name(&name)?;
        let organization = Organization::new(name);
        let commit = Commit::new()
            .write(Write::InsertOrganization(organization.clone()))
            .audit(self.event(organization.id, AuditAction::ORGANIZATION_CREATED));
        self.commit(commit).await?;
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
            // Only what is new: an imported organization that would be refused here must not be impossible to deactivate.
            if organization.name != before.name {
                check_name(&organization.name)?;
            }
            if organization.limits != before.limits {
                check_limits(&organization.limits, &[])?;
            }
            let event = self.event(id, AuditAction::ORGANIZATION_UPDATED);
            let commit = Commit::new()
                .write(Write::UpdateOrganization(organization.clone()))
                .audit(event.detail("changed", changed_fields(&before, &organization)));
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

/// The names of the fields that differ. Their values are not audited: names of organizations may be those of people.
fn changed_fields(before: &Organization, after: &Organization) -> String {
    let fields = [
        ("name", before.name != after.name),
        ("status", before.status != after.status),
        ("limits", before.limits != after.limits),
    ];
    super::change::names(&fields)
}
