//! Routes of the catalogue of scopes. Its rows have no revision.

use axum::Json as Answer;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::LOCATION;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::body::Json;
use super::paging::{Page, PageQuery, Params};
use super::path::{InPath, in_path};
use super::problem::Problem;
use super::scopes::{READ_SCOPES, WRITE_SCOPES};
use super::state::ManageState;
use super::wire::patch::Patch;
use super::wire::role::{CreateScope, KnownScope, UpdateScope};
use crate::key::Scope;
use crate::store::query::KnownScopes;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(update, delete))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct OfScope {
    /// The scope, such as `orders:read`.
    #[param(min_length = 1, max_length = 255)]
    scope: String,
}

/// Which page.
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

/// Lists the catalogue of scopes.
#[utoipa::path(
    get, path = "/scopes", tag = "scopes", operation_id = "list_scopes",
    params(Which),
    description = "Lists the scopes that keys and roles can be given; any, if there are none. Scope `api-keys.scopes:read`.",
    responses((status = 200, body = Page<KnownScope>)),
)]
async fn list(acting: Acting, which: Params<Which>) -> Result<Answer<Page<KnownScope>>, Problem> {
    acting.require(READ_SCOPES)?;
    let which = which.get()?;
    let page = PageQuery::new(which.limit, which.after).of(KnownScopes::all())?;
    Ok(Page::new(acting.issuer.known_scopes(page).await?, KnownScope::from))
}

/// Adds a scope to the catalogue.
#[utoipa::path(
    post, path = "/scopes", tag = "scopes", operation_id = "create_scope",
    request_body = CreateScope,
    description = "Adds a scope to the catalogue. For operators. Scope `api-keys.scopes:write`.",
    responses((status = 201, body = KnownScope, headers(
        ("Location" = String, description = "The path of the scope, relative to this one."),
    ))),
)]
async fn create(acting: Acting, body: Json<CreateScope>) -> Result<impl IntoResponse, Problem> {
    acting.require_as_operator(WRITE_SCOPES)?;
    let made = acting.issuer.create_scope(body.get()?.into()).await?;
    let location = [(LOCATION, format!("scopes/{}", in_path(made.scope.as_str())))];
    Ok((StatusCode::CREATED, location, Answer(KnownScope::from(made))))
}

/// Describes a scope of the catalogue.
#[utoipa::path(
    patch, path = "/scopes/{scope}", tag = "scopes", operation_id = "update_scope",
    params(OfScope),
    request_body(content(
        (UpdateScope = "application/json"),
        (UpdateScope = "application/merge-patch+json"),
    )),
    description = "Changes the description of a scope (RFC 7396). For operators. Scope `api-keys.scopes:write`.",
    responses((status = 200, body = KnownScope)),
)]
async fn update(acting: Acting, scope: InPath<Scope>, patch: Json<UpdateScope>) -> Result<Answer<KnownScope>, Problem> {
    acting.require_as_operator(WRITE_SCOPES)?;
    let scope = scope.get()?;
    let row = acting.issuer.known_scope(&scope).await?;
    let description = match patch.get()?.description {
        Patch::Keep => row.description,
        Patch::Remove => String::new(),
        Patch::Set(text) => text,
    };
    let changed = acting.issuer.update_scope(&scope, &description).await?;
    Ok(Answer(changed.into()))
}

/// Takes a scope out of the catalogue.
#[utoipa::path(
    delete, path = "/scopes/{scope}", tag = "scopes", operation_id = "delete_scope",
    params(OfScope),
    description = "Takes a scope out of the catalogue. Keys and roles that have it keep it. For operators. Scope \
                   `api-keys.scopes:write`.",
    responses((status = 204)),
)]
async fn delete(acting: Acting, scope: InPath<Scope>) -> Result<StatusCode, Problem> {
    acting.require_as_operator(WRITE_SCOPES)?;
    acting.issuer.delete_scope(&scope.get()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
