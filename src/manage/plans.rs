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
use super::precondition::IfMatchHeader;
use super::problem::Problem;
use super::row::{Made, Row};
use super::scopes::{READ_PLANS, WRITE_PLANS};
use super::state::ManageState;
use super::target::{Change, visible};
use super::wire::plan::{CreatePlan, Plan, UpdatePlan};
use crate::key::PlanId;
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
    acting.require_as_operator(WRITE_PLANS)?;
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
    Ok(Row(visible(&acting, &id.get()?).await?.into()))
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
async fn update(plan: Change<PlanId>, patch: Json<UpdatePlan>) -> Result<Row<Plan>, Problem> {
    let plan = plan.by_operator(WRITE_PLANS).await?;
    let patch = patch.get()?;
    let changed = plan.issuer.update_plan(plan.id, |row| patch.change(row)).await?;
    Ok(Row(changed.into()))
}

/// Deletes a plan.
#[utoipa::path(
    delete, path = "/plans/{id}", tag = "plans", operation_id = "delete_plan",
    params(OfPlan, IfMatchHeader),
    description = "Deletes a plan that no organization has. For operators. Scope `api-keys.plans:write`.",
    responses((status = 204)),
)]
async fn delete(plan: Change<PlanId>) -> Result<StatusCode, Problem> {
    let plan = plan.by_operator(WRITE_PLANS).await?;
    plan.issuer.delete_plan(plan.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
