//! Routes of organizations.

mod change;
mod delete;
mod plan;
mod policy;
mod read;

use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::precondition::IfMatch;
use super::problem::Problem;
use super::state::ManageState;
use crate::key::{Organization, OrganizationId};

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(read::list, change::create))
        .routes(routes!(read::show, change::update, delete::delete))
        .routes(routes!(delete::preview))
        .routes(routes!(change::activate))
        .routes(routes!(change::deactivate))
        .routes(routes!(policy::show, policy::set))
        .routes(routes!(policy::preview))
        .routes(routes!(plan::set))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct OfOrganization {
    /// The organization.
    id: uuid::Uuid,
}

/// The organization, if the caller may know of it.
async fn visible(acting: &Acting, id: OrganizationId) -> Result<Organization, Problem> {
    let found = acting.issuer.organization(id).await?;
    found.ok_or_else(|| Problem::missing("organization"))
}

/// Whose it is comes before what revision it has: a foreign id is always the same 404.
async fn writable(acting: &Acting, id: OrganizationId, if_match: &IfMatch) -> Result<Organization, Problem> {
    let row = visible(acting, id).await?;
    if_match.check(row.revision)?;
    Ok(row)
}
