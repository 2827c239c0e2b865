//! Making and changing organizations.

use super::OfOrganization;
use crate::key::{Organization as Stored, OrganizationId};
use crate::manage::acting::Acting;
use crate::manage::body::{Json, OptionalJson};
use crate::manage::precondition::IfMatchHeader;
use crate::manage::problem::Problem;
use crate::manage::row::{Made, Row};
use crate::manage::scopes::WRITE_ORGANIZATIONS;
use crate::manage::target::Change;
use crate::manage::wire::organization::{CreateOrganization, Organization, UpdateOrganization};
use crate::manage::wire::reason::Reason;

/// Creates an organization.
#[utoipa::path(
    post, path = "/organizations", tag = "organizations", operation_id = "create_organization",
    request_body = CreateOrganization,
    description = "Creates an organization. For operators. Scope `api-keys.organizations:write`.",
    responses((status = 201, body = Organization, headers(
        ("Location" = String, description = "The path of the organization, relative to this one."),
        ("ETag" = String, description = "The revision, for If-Match."),
    ))),
)]
pub(in crate::manage) async fn create(
    acting: Acting,
    body: Json<CreateOrganization>,
) -> Result<Made<Organization>, Problem> {
    acting.require_as_operator(WRITE_ORGANIZATIONS)?;
    let made = acting.issuer.create_organization(body.get()?.request()?).await?;
    Ok(Made(format!("organizations/{}", made.id), made.into()))
}

/// Changes an organization.
#[utoipa::path(
    patch, path = "/organizations/{id}", tag = "organizations", operation_id = "update_organization",
    params(OfOrganization, IfMatchHeader),
    request_body(content(
        (UpdateOrganization = "application/json"),
        (UpdateOrganization = "application/merge-patch+json"),
    )),
    description = "Changes an organization by a merge patch (RFC 7396). Of its own organization, a key changes name, address and \
                   metadata; the rest is for operators. Scope `api-keys.organizations:write`.",
    responses((status = 200, body = Organization, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn update(
    organization: Change<OrganizationId>,
    patch: Json<UpdateOrganization>,
) -> Result<Row<Organization>, Problem> {
    let organization = organization.with(WRITE_ORGANIZATIONS).await?;
    let patch = patch.get()?;
    patch.check(&organization.row)?;
    let change = |row: &mut Stored| patch.change(row);
    let changed = organization.issuer.update_organization(organization.id, change).await?;
    Ok(Row(changed.into()))
}

/// Activates an organization.
#[utoipa::path(
    post, path = "/organizations/{id}/activate", tag = "organizations", operation_id = "activate_organization",
    params(OfOrganization, IfMatchHeader),
    description = "Lets the keys of an inactive organization work again. For operators. Scope `api-keys.organizations:write`.",
    responses((status = 200, body = Organization, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn activate(organization: Change<OrganizationId>) -> Result<Row<Organization>, Problem> {
    let organization = organization.by_operator(WRITE_ORGANIZATIONS).await?;
    let changed = organization.issuer.activate_organization(organization.id).await?;
    Ok(Row(changed.into()))
}

/// Deactivates an organization.
#[utoipa::path(
    post, path = "/organizations/{id}/deactivate", tag = "organizations", operation_id = "deactivate_organization",
    params(OfOrganization, IfMatchHeader),
    request_body = Option<Reason>,
    description = "Stops all keys of an organization until it is activated again. For operators. Scope \
                   `api-keys.organizations:write`.",
    responses((status = 200, body = Organization, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn deactivate(
    organization: Change<OrganizationId>,
    body: OptionalJson<Reason>,
) -> Result<Row<Organization>, Problem> {
    let organization = organization.by_operator(WRITE_ORGANIZATIONS).await?;
    let reason = body.get()?.reason;
    let issuer = &organization.issuer;
    let changed = issuer.deactivate_organization(organization.id, &reason).await?;
    Ok(Row(changed.into()))
}
