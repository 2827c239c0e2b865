//! Deleting organizations.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::OfOrganization;
use crate::key::OrganizationId;
use crate::manage::acting::Acting;
use crate::manage::body::OptionalJson;
use crate::manage::paging::Params;
use crate::manage::path::InPath;
use crate::manage::precondition::IfMatchHeader;
use crate::manage::problem::Problem;
use crate::manage::scopes::{READ_ORGANIZATIONS, WRITE_ORGANIZATIONS};
use crate::manage::target::{Change, visible};
use crate::manage::wire::organization::Deletion;
use crate::manage::wire::reason::Reason;

/// That it is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Confirmation {
    /// The slug of the organization, so that no other one is deleted by a wrong id.
    #[param(required, max_length = 64)]
    confirm: Option<String>,
}

/// Previews the deletion of an organization.
#[utoipa::path(
    get, path = "/organizations/{id}/deletion", tag = "organizations", operation_id = "preview_organization_deletion",
    params(OfOrganization),
    description = "What deleting an organization would delete now. For operators. Scope `api-keys.organizations:read`.",
    responses((status = 200, body = Deletion)),
)]
pub(in crate::manage) async fn preview(acting: Acting, id: InPath<OrganizationId>) -> Result<Json<Deletion>, Problem> {
    acting.require_as_operator(READ_ORGANIZATIONS)?;
    let id = id.get()?;
    visible(&acting, &id).await?;
    Ok(Json(acting.issuer.preview_organization_deletion(id).await?.into()))
}

/// Deletes an organization.
#[utoipa::path(
    delete, path = "/organizations/{id}", tag = "organizations", operation_id = "delete_organization",
    params(OfOrganization, Confirmation, IfMatchHeader),
    request_body = Option<Reason>,
    description = "Deletes an organization for good, with its keys and users. The audit trail stays. `confirm` is its slug. For \
                   operators. Scope `api-keys.organizations:write`.",
    responses((status = 200, body = Deletion)),
)]
pub(in crate::manage) async fn delete(
    organization: Change<OrganizationId>,
    confirmation: Params<Confirmation>,
    body: OptionalJson<Reason>,
) -> Result<Json<Deletion>, Problem> {
    let organization = organization.by_operator(WRITE_ORGANIZATIONS).await?;
    let confirm = confirmation.get()?.confirm;
    if confirm.as_deref() != Some(&*organization.row.slug) {
        let sentence = "confirm must be the slug of the organization, as in ?confirm=acme";
        return Err(Problem::invalid("confirm", sentence));
    }
    let reason = body.get()?.reason;
    let issuer = &organization.issuer;
    Ok(Json(issuer.delete_organization(organization.id, &reason).await?.into()))
}
