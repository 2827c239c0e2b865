//! Reading organizations.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::OfOrganization;
use crate::key::{OrganizationId, PlanId};
use crate::manage::acting::Acting;
use crate::manage::paging::{Page, PageQuery, Params};
use crate::manage::path::InPath;
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::READ_ORGANIZATIONS;
use crate::manage::target::visible;
use crate::manage::wire::organization::{Organization, Standing};
use crate::store::query::Organizations;

/// Which organizations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Which {
    /// The start of the name. Letter case does not count.
    name: Option<String>,
    /// The whole slug, which one organization has at most. Beside it, nothing else.
    slug: Option<String>,
    #[param(value_type = Option<Standing>)]
    status: Option<Standing>,
    /// The id of their plan.
    #[param(value_type = Option<uuid::Uuid>)]
    plan: Option<PlanId>,
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Lists organizations.
#[utoipa::path(
    get, path = "/organizations", tag = "organizations", operation_id = "list_organizations",
    params(Which),
    description = "Lists organizations. For operators. Scope `api-keys.organizations:read`.",
    responses((status = 200, body = Page<Organization>)),
)]
pub(in crate::manage) async fn list(acting: Acting, which: Params<Which>) -> Result<Json<Page<Organization>>, Problem> {
    acting.require_as_operator(READ_ORGANIZATIONS)?;
    let which = which.get()?;
    if let Some(slug) = &which.slug {
        let found = acting.issuer.organization_by_slug(slug).await?;
        return Ok(Json(Page {
            items: found.into_iter().map(Organization::from).collect(),
            next: None,
        }));
    }
    let mut rows = Organizations::all();
    if let Some(name) = &which.name {
        rows = rows.name_starts_with(name);
    }
    if let Some(status) = which.status {
        rows = rows.status(status.into());
    }
    if let Some(plan) = which.plan {
        rows = rows.plan(plan);
    }
    let page = PageQuery::new(which.limit, which.after).of(rows)?;
    Ok(Page::new(acting.issuer.organizations(page).await?, Organization::from))
}

/// Shows an organization.
#[utoipa::path(
    get, path = "/organizations/{id}", tag = "organizations", operation_id = "show_organization",
    params(OfOrganization),
    description = "Shows an organization: any to operators, and the caller's own. Scope `api-keys.organizations:read`.",
    responses((status = 200, body = Organization, headers(("ETag" = String, description = "The revision, for If-Match.")))),
)]
pub(in crate::manage) async fn show(acting: Acting, id: InPath<OrganizationId>) -> Result<Row<Organization>, Problem> {
    acting.require(READ_ORGANIZATIONS)?;
    let row = visible(&acting, &id.get()?).await?;
    Ok(Row(row.into()))
}
