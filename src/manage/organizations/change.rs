//! Making and changing organizations.

use super::{OfOrganization, writable};
use crate::key::{Organization as Stored, OrganizationId};
use crate::manage::acting::Acting;
use crate::manage::body::{Json, OptionalJson};
use crate::manage::path::InPath;
use crate::manage::precondition::{IfMatch, IfMatchHeader};
use crate::manage::problem::Problem;
use crate::manage::row::{Made, Row};
use crate::manage::scopes::WRITE_ORGANIZATIONS;
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
    acting.require(WRITE_ORGANIZATIONS)?;
    acting.require_operator()?;
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
    acting: Acting,
    id: InPath<OrganizationId>,
    if_match: IfMatch,
    patch: Json<UpdateOrganization>,
) -> Result<Row<Organization>, Problem> {
    acting.require(WRITE_ORGANIZATIONS)?;
    let id = id.get()?;
    let row = writable(&acting, id, &if_match).await?;
    let patch = patch.get()?;
    patch.check(&row)?;
    let exactly = if_match.exactly();
    let change = |row: &mut Stored| exactly.change(row.revision, || patch.change(row));
    let changed = acting.issuer.update_organization(id, change).await?;
    exactly.done()?;
    Ok(Row(changed.into()))
}

/// Activates an organization.
#[utoipa::path(
    post, path = "/organizations/{id}/activate", tag = "organizations", operation_id = "activate_organization",
    params(OfOrganization, IfMatchHeader),
    description = "Lets the keys of an inactive organization work again. For operators. Scope `api-keys.organizations:write`.",
    responses((status = 200, body = Organization, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn activate(
    acting: Acting,
    id: InPath<OrganizationId>,
    if_match: IfMatch,
) -> Result<Row<Organization>, Problem> {
    acting.require(WRITE_ORGANIZATIONS)?;
    acting.require_operator()?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    Ok(Row(acting.issuer.activate_organization(id).await?.into()))
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
    acting: Acting,
    id: InPath<OrganizationId>,
    if_match: IfMatch,
    body: OptionalJson<Reason>,
) -> Result<Row<Organization>, Problem> {
    acting.require(WRITE_ORGANIZATIONS)?;
    acting.require_operator()?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    let reason = body.get()?.reason;
    Ok(Row(acting.issuer.deactivate_organization(id, &reason).await?.into()))
}
