//! Routes of organizations.

mod change;
mod delete;
mod plan;
mod policy;
mod read;

use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::ManageState;

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
