//! Making and changing users.

use http::StatusCode;

use super::{InOrganization, OfUser, place};
use crate::key::{User as Stored, UserId};
use crate::manage::acting::Acting;
use crate::manage::body::{Json, OptionalJson};
use crate::manage::organization::{PARAMETER, one};
use crate::manage::paging::Params;
use crate::manage::path::{InPath, in_path};
use crate::manage::precondition::{IfMatch, IfMatchHeader};
use crate::manage::problem::Problem;
use crate::manage::row::{Made, Row};
use crate::manage::scopes::WRITE_USERS;
use crate::manage::target::writable;
use crate::manage::wire::reason::Reason;
use crate::manage::wire::user::{CreateUser, UpdateUser, User};

/// Creates the row of a user.
#[utoipa::path(
    post, path = "/users", tag = "users", operation_id = "create_user",
    params(InOrganization),
    request_body = CreateUser,
    description = "Makes the row of a user. Scope `api-keys.users:write`.",
    responses((status = 201, body = User, headers(
        ("Location" = String, description = "The path of the user, relative to this one."),
        ("ETag" = String, description = "The revision, for If-Match."),
    ))),
)]
pub(in crate::manage) async fn create(
    acting: Acting,
    query: Params<InOrganization>,
    body: Json<CreateUser>,
) -> Result<Made<User>, Problem> {
    acting.require(WRITE_USERS)?;
    let organization = one(&acting, query.get()?.organization, PARAMETER).await?;
    let made = acting.issuer.create_user(body.get()?.request(organization)).await?;
    Ok(Made(format!("users/{}", in_path(made.id.as_str())), made.into()))
}

/// Changes a user.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", operation_id = "update_user",
    params(OfUser, InOrganization, IfMatchHeader),
    request_body(content(
        (UpdateUser = "application/json"),
        (UpdateUser = "application/merge-patch+json"),
    )),
    description = "Changes a user by a merge patch (RFC 7396). Scope `api-keys.users:write`.",
    responses((status = 200, body = User, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn update(
    acting: Acting,
    id: InPath<UserId>,
    query: Params<InOrganization>,
    if_match: IfMatch,
    patch: Json<UpdateUser>,
) -> Result<Row<User>, Problem> {
    acting.require(WRITE_USERS)?;
    let place = place(&acting, id, query).await?;
    let user = writable(acting, place, if_match).await?;
    let patch = patch.get()?;
    patch.check(&user.row)?;
    let (organization, id) = &user.id;
    let change = |row: &mut Stored| patch.change(row);
    let changed = user.issuer.update_user(*organization, id, change).await?;
    Ok(Row(changed.into()))
}

/// Deletes the row of a user.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", operation_id = "delete_user",
    params(OfUser, InOrganization, IfMatchHeader),
    description = "Deletes the row of a user, and revokes the keys that end with the user. Refused while the user has others: revoke \
                   them first. Scope `api-keys.users:write`.",
    responses((status = 204)),
)]
pub(in crate::manage) async fn delete(
    acting: Acting,
    id: InPath<UserId>,
    query: Params<InOrganization>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    acting.require(WRITE_USERS)?;
    let place = place(&acting, id, query).await?;
    let user = writable(acting, place, if_match).await?;
    let (organization, id) = &user.id;
    user.issuer.delete_user(*organization, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Disables a user.
#[utoipa::path(
    post, path = "/users/{id}/disable", tag = "users", operation_id = "disable_user",
    params(OfUser, InOrganization, IfMatchHeader),
    request_body = Option<Reason>,
    description = "Stops all keys of a user, and refuses new ones, until the user is enabled. A user without a row gets one. Scope \
                   `api-keys.users:write`.",
    responses((status = 200, body = User, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn disable(
    acting: Acting,
    id: InPath<UserId>,
    query: Params<InOrganization>,
    if_match: IfMatch,
    body: OptionalJson<Reason>,
) -> Result<Row<User>, Problem> {
    acting.require(WRITE_USERS)?;
    let (organization, id) = place(&acting, id, query).await?;
    let row = acting.issuer.user(organization, &id).await?;
    let issuer = if_match.issuer(&acting.issuer, row.as_ref())?;
    let reason = body.get()?.reason;
    let disabled = issuer.disable_user(organization, &id, &reason).await?;
    Ok(Row(disabled.into()))
}

/// Enables a user.
#[utoipa::path(
    post, path = "/users/{id}/enable", tag = "users", operation_id = "enable_user",
    params(OfUser, InOrganization, IfMatchHeader),
    description = "Lets the keys of a disabled user work again, except for those that were stopped by themselves. Scope \
                   `api-keys.users:write`.",
    responses((status = 200, body = User, headers(("ETag" = String, description = "The new revision.")))),
)]
pub(in crate::manage) async fn enable(
    acting: Acting,
    id: InPath<UserId>,
    query: Params<InOrganization>,
    if_match: IfMatch,
) -> Result<Row<User>, Problem> {
    acting.require(WRITE_USERS)?;
    let place = place(&acting, id, query).await?;
    let user = writable(acting, place, if_match).await?;
    let (organization, id) = &user.id;
    Ok(Row(user.issuer.enable_user(*organization, id).await?.into()))
}
