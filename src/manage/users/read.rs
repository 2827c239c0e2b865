//! Reading users.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{InOrganization, OfUser, place};
use crate::key::{OrganizationId, UserId};
use crate::manage::acting::Acting;
use crate::manage::organization::{PARAMETER, one};
use crate::manage::paging::{Page, PageQuery, Params};
use crate::manage::path::InPath;
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::READ_USERS;
use crate::manage::target::visible;
use crate::manage::wire::user::{Ability, User};
use crate::store::query::Users;

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Which {
    /// The organization. The caller's if it is left out.
    #[param(value_type = Option<uuid::Uuid>)]
    organization: Option<OrganizationId>,
    #[param(value_type = Option<Ability>)]
    status: Option<Ability>,
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Lists users.
#[utoipa::path(
    get, path = "/users", tag = "users", operation_id = "list_users",
    params(Which),
    description = "Lists the users of an organization that have a row. Scope `api-keys.users:read`.",
    responses((status = 200, body = Page<User>)),
)]
pub(in crate::manage) async fn list(acting: Acting, which: Params<Which>) -> Result<Json<Page<User>>, Problem> {
    acting.require(READ_USERS)?;
    let which = which.get()?;
    let mut rows = Users::of(one(&acting, which.organization, PARAMETER).await?);
    if let Some(status) = which.status {
        rows = rows.status(status.into());
    }
    let page = PageQuery::new(which.limit, which.after).of(rows)?;
    Ok(Page::new(acting.issuer.users(page).await?, User::from))
}

/// Shows a user.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users", operation_id = "show_user",
    params(OfUser, InOrganization),
    description = "Shows a user that has a row. Scope `api-keys.users:read`.",
    responses((status = 200, body = User, headers(("ETag" = String, description = "The revision, for If-Match.")))),
)]
pub(in crate::manage) async fn show(
    acting: Acting,
    id: InPath<UserId>,
    query: Params<InOrganization>,
) -> Result<Row<User>, Problem> {
    acting.require(READ_USERS)?;
    let user = place(&acting, id, query).await?;
    Ok(Row(visible(&acting, &user).await?.into()))
}
