//! Routes of roles.

use axum::Json as Answer;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::body::Json;
use super::paging::{Page, PageQuery, Params};
use super::path::{InPath, RoleName, in_path};
use super::precondition::IfMatchHeader;
use super::problem::Problem;
use super::row::{Made, Row};
use super::scopes::{READ_ROLES, WRITE_ROLES};
use super::state::ManageState;
use super::target::{Change, visible};
use super::wire::role::{CreateRole, Role, UpdateRole};
use crate::store::query::Roles;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct OfRole {
    /// The name of the role, percent-encoded.
    #[param(min_length = 1, max_length = 64)]
    name: String,
}

/// Which roles.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Lists roles.
#[utoipa::path(
    get, path = "/roles", tag = "roles", operation_id = "list_roles",
    params(Which),
    description = "Lists roles. Scope `api-keys.roles:read`.",
    responses((status = 200, body = Page<Role>)),
)]
async fn list(acting: Acting, which: Params<Which>) -> Result<Answer<Page<Role>>, Problem> {
    acting.require(READ_ROLES)?;
    let which = which.get()?;
    let page = PageQuery::new(which.limit, which.after).of(Roles::all())?;
    Ok(Page::new(acting.issuer.roles(page).await?, Role::from))
}

/// Creates a role.
#[utoipa::path(
    post, path = "/roles", tag = "roles", operation_id = "create_role",
    request_body = CreateRole,
    description = "Creates a role, with scopes that the caller has. For operators. Scope `api-keys.roles:write`.",
    responses((status = 201, body = Role, headers(
        ("Location" = String, description = "The path of the role, relative to this one."),
        ("ETag" = String, description = "The revision, for If-Match."),
    ))),
)]
async fn create(acting: Acting, body: Json<CreateRole>) -> Result<Made<Role>, Problem> {
    acting.require_as_operator(WRITE_ROLES)?;
    let made = acting.issuer.create_role(body.get()?.into()).await?;
    Ok(Made(format!("roles/{}", in_path(&made.name)), made.into()))
}

/// Shows a role.
#[utoipa::path(
    get, path = "/roles/{name}", tag = "roles", operation_id = "show_role",
    params(OfRole),
    description = "Shows a role. Scope `api-keys.roles:read`.",
    responses((status = 200, body = Role, headers(("ETag" = String, description = "The revision, for If-Match.")))),
)]
async fn show(acting: Acting, name: InPath<RoleName>) -> Result<Row<Role>, Problem> {
    acting.require(READ_ROLES)?;
    Ok(Row(visible(&acting, &name.get()?).await?.into()))
}

/// Changes a role.
#[utoipa::path(
    patch, path = "/roles/{name}", tag = "roles", operation_id = "update_role",
    params(OfRole, IfMatchHeader),
    request_body(content(
        (UpdateRole = "application/json"),
        (UpdateRole = "application/merge-patch+json"),
    )),
    description = "Changes a role by a merge patch (RFC 7396), for all keys that have it. For operators. Scope \
                   `api-keys.roles:write`.",
    responses((status = 200, body = Role, headers(("ETag" = String, description = "The new revision.")))),
)]
async fn update(role: Change<RoleName>, patch: Json<UpdateRole>) -> Result<Row<Role>, Problem> {
    let role = role.by_operator(WRITE_ROLES).await?;
    let patch = patch.get()?;
    let changed = role.issuer.update_role(&role.id.0, |row| patch.change(row)).await?;
    Ok(Row(changed.into()))
}

/// Deletes a role.
#[utoipa::path(
    delete, path = "/roles/{name}", tag = "roles", operation_id = "delete_role",
    params(OfRole, IfMatchHeader),
    description = "Deletes a role. Keys that have it lose its scopes, and keep the name. For operators. Scope `api-keys.roles:write`.",
    responses((status = 204)),
)]
async fn delete(role: Change<RoleName>) -> Result<StatusCode, Problem> {
    let role = role.by_operator(WRITE_ROLES).await?;
    role.issuer.delete_role(&role.id.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
