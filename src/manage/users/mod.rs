//! Routes of users.

mod change;
mod read;

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::organization::{PARAMETER, one};
use super::paging::Params;
use super::path::InPath;
use super::problem::Problem;
use super::state::ManageState;
use super::target::UserOf;
use crate::key::{OrganizationId, UserId};

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(read::list, change::create))
        .routes(routes!(read::show, change::update, change::delete))
        .routes(routes!(change::disable))
        .routes(routes!(change::enable))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct OfUser {
    /// The user: the id that the service uses, percent-encoded.
    #[param(min_length = 1, max_length = 255)]
    id: String,
}

/// Whose user.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct InOrganization {
    /// The organization. The caller's if it is left out.
    #[param(value_type = Option<uuid::Uuid>)]
    organization: Option<OrganizationId>,
}

/// Which user a path and a query are about, if the caller may know of the organization.
async fn place(acting: &Acting, id: InPath<UserId>, query: Params<InOrganization>) -> Result<UserOf, Problem> {
    let organization = one(acting, query.get()?.organization, PARAMETER).await?;
    Ok((organization, id.get()?))
}
