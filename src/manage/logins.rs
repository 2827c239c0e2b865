//! The route of logins: what they need for their changes.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::csrf::Token;
use super::problem::Problem;
use super::state::ManageState;
use crate::key::Timestamp;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new().routes(routes!(token))
}

/// What a login sends with its changes.
#[derive(Serialize, ToSchema)]
struct CsrfToken {
    /// For the header `x-csrf-token`.
    token: String,
    /// From then on it is refused.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Gives a login the token that its changes need.
#[utoipa::path(
    get, path = "/csrf", tag = "logins", operation_id = "csrf_token",
    description = "For users who are logged in to the service, where it takes its logins in place of keys. Each request of theirs but \
                   GET needs the token in the header `x-csrf-token`, together with the cookie `__Host-api-keys-csrf` that this answer \
                   sets. It is of that user, and lasts 12 hours. Requests with a key need none, and get a 403 here.",
    responses((status = 200, body = CsrfToken, headers(("Set-Cookie" = String, description = "The cookie with the token.")))),
)]
async fn token(
    acting: Acting,
    State(state): State<ManageState>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let principal = acting.principal();
    let principal = principal.ok_or_else(|| Problem::forbidden("this is for logins: a key needs no such token"))?;
    let token = Token::of(&state, principal, &headers).await?;
    let headers = [(SET_COOKIE, token.cookie()), (CACHE_CONTROL, "no-store".to_owned())];
    let answer = CsrfToken {
        expires_at: token.expires_at,
        token: token.text,
    };
    Ok((headers, Json(answer)))
}
