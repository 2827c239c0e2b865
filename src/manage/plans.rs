//! Routes of plans.

use axum::Json as Answer;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::body::Json;
use super::paging::{Page, PageQuery, Params};
use super::path::InPath;
use super::precondition::{IfMatch, IfMatchHeader};
use super::problem::Problem;
use super::row::{Made, Row};
use super::scopes::{READ_PLANS, WRITE_PLANS};
use super::state::ManageState;
use super::wire::plan::{CreatePlan, Plan, UpdatePlan};
use crate::key::{Plan as Stored, PlanId};
use crate::store::query::Plans;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct OfPlan {
    /// The plan.
    id: uuid::Uuid,
}

/// Which plans.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The one with this name.
    name: Option<String>,
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Lists plans.
#[utoipa::path(
    get, path = "/plans", tag = "plans", operation_id = "list_plans",
    params(Which),
    description = "Lists plans: all to operators, and that of its organization to another key. Scope `api-keys.plans:read`.",
    responses((status = 200, body = Page<Plan>)),
)]
async fn list(acting: Acting, which: Params<Which>) -> Result<Answer<Page<Plan>>, Problem> {
    acting.require(READ_PLANS)?;
    let which = which.get()?;
    let rows = which.name.map_or_else(Plans::all, Plans::named);
    let page = PageQuery::new(which.limit, which.after).of(rows)?;
    Ok(Page::new(acting.issuer.plans(page).await?, Plan::from))
}

/// Creates a plan.
#[utoipa::path(
    post, path = "/plans", tag = "plans", operation_id = "create_plan",
    request_body = CreatePlan,
    description = "Creates a plan. For operators. Scope `api-keys.plans:write`.",
    responses((status = 201, body = Plan, headers(
        ("Location" = String, description = "The path of the plan, relative to this one."),
        ("ETag" = String, description = "The revision, for If-Match."),
    ))),
)]
async fn create(acting: Acting, body: Json<CreatePlan>) -> Result<Made<Plan>, Problem> {
    acting.require(WRITE_PLANS)?;
    acting.require_operator()?;
    let made = acting.issuer.create_plan(body.get()?.into()).await?;
    Ok(Made(format!("plans/{}", made.id), made.into()))
}

/// Shows a plan.
#[utoipa::path(
    get, path = "/plans/{id}", tag = "plans", operation_id = "show_plan",
    params(OfPlan),
    description = "Shows a plan. Scope `api-keys.plans:read`.",
    responses((status = 200, body = Plan, headers(("ETag" = String, description = "The revision, for If-Match.")))),
)]
async fn show(acting: Acting, id: InPath<PlanId>) -> Result<Row<Plan>, Problem> {
    acting.require(READ_PLANS)?;
    Ok(Row(visible(&acting, id.get()?).await?.into()))
}

/// Changes a plan.
#[utoipa::path(
    patch, path = "/plans/{id}", tag = "plans", operation_id = "update_plan",
    params(OfPlan, IfMatchHeader),
    request_body(content(
        (UpdatePlan = "application/json"),
        (UpdatePlan = "application/merge-patch+json"),
    )),
    description = "Changes a plan by a merge patch (RFC 7396), for all organizations that have it. For operators. Scope \
                   `api-keys.plans:write`.",
    responses((status = 200, body = Plan, headers(("ETag" = String, description = "The new revision.")))),
)]
async fn update(
    acting: Acting,
    id: InPath<PlanId>,
    if_match: IfMatch,
    patch: Json<UpdatePlan>,
) -> Result<Row<Plan>, Problem> {
    acting.require(WRITE_PLANS)?;
    acting.require_operator()?;
    let id = id.get()?;
    if_match.check(visible(&acting, id).await?.revision)?;
    let patch = patch.get()?;
    let exactly = if_match.exactly();
    let change = |row: &mut Stored| exactly.change(row.revision, || patch.change(row));
    let changed = acting.issuer.update_plan(id, change).await?;
    exactly.done()?;
    Ok(Row(changed.into()))
}

/// Deletes a plan.
#[utoipa::path(
    delete, path = "/plans/{id}", tag = "plans", operation_id = "delete_plan",
    params(OfPlan, IfMatchHeader),
    description = "Deletes a plan that no organization has. For operators. Scope `api-keys.plans:write`.",
    responses((status = 204)),
)]
async fn delete(acting: Acting, id: InPath<PlanId>, if_match: IfMatch) -> Result<StatusCode, Problem> {
    acting.require(WRITE_PLANS)?;
    acting.require_operator()?;
    let id = id.get()?;
    if_match.check(visible(&acting, id).await?.revision)?;
    acting.issuer.delete_plan(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn visible(acting: &Acting, id: PlanId) -> Result<Stored, Problem> {
    let found = acting.issuer.plan(id).await?;
    found.ok_or_else(|| Problem::missing("plan"))
}
