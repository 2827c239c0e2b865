//! The OpenAPI document.

use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::state::ManageState;
use super::wire::problem::{ProblemDetails, Problems};
use super::{audit, bulk, catalogue, keys, logins, organizations, overview, plans, roles, users};

/// All routes, with the parts of the document that are no route's.
pub(super) fn of() -> OpenApiRouter<ManageState> {
    let mut routes = OpenApiRouter::with_openapi(Document::openapi())
        .merge(keys::routes())
        .merge(organizations::routes())
        .merge(users::routes())
        .merge(plans::routes())
        .merge(roles::routes())
        .merge(catalogue::routes())
        .merge(bulk::routes())
        .merge(audit::routes())
        .merge(overview::routes())
        .merge(logins::routes());
    complete(routes.get_openapi_mut());
    refer(routes.get_openapi_mut());
    routes
}

/// Rows of a page are those of their own schema, and not a copy of it.
fn refer(document: &mut utoipa::openapi::OpenApi) {
    let schemas = document
        .components
        .iter_mut()
        .flat_map(|components| &mut components.schemas);
    for (name, schema) in schemas {
        let Some(row) = name.strip_prefix("Page_") else {
            continue;
        };
        let RefOr::T(Schema::Object(page)) = schema else {
            continue;
        };
        let items = page.properties.get_mut("items");
        if let Some(RefOr::T(Schema::Array(items))) = items {
            items.items = ArrayItems::RefOrSchema(Box::new(RefOr::Ref(Ref::from_schema_name(row))));
        }
    }
}

/// Each operation has the answers that are no success.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.extend(Problems::responses());
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "API keys",
        description = "Organizations, their API keys and all that bounds them. Errors are problem details (RFC 9457). \
                       Times are RFC 3339, windows of rate limits are seconds. A row of another organization is answered as one that \
                       does not exist. A service that takes its own logins in place of keys asks for a token with their changes: see \
                       `GET /csrf`.",
    ),
    modifiers(&Credentials),
    components(schemas(ProblemDetails)),
    security(("bearer" = []), ("x-api-key" = [])),
)]
struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let header = ApiKey::Header(ApiKeyValue::new("x-api-key"));
        components.add_security_scheme("x-api-key", SecurityScheme::ApiKey(header));
    }
}
