//! One key.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;

use super::{OfKey, PathId, shown, visible};
use crate::manage::acting::Acting;
use crate::manage::manage::ManageState;
use crate::manage::precondition::etag;
use crate::manage::problem::Problem;
use crate::manage::scopes::{READ_KEYS, READ_OWN_KEYS};
use crate::manage::wire::key::Key;
use crate::manage::wire::problem::Problems;

/// Shows a key.
#[utoipa::path(
    get, path = "/keys/{id}", tag = "keys", operation_id = "show_key",
    params(OfKey),
    description = "Shows a key. Scope `api-keys.keys:read`, or `api-keys.keys:read-own` for the caller and keys of its user.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The revision, for If-Match."))),
        Problems,
    ),
)]
pub(in crate::manage) async fn show(
    acting: Acting,
    State(state): State<ManageState>,
    PathId(id): PathId,
) -> Result<impl IntoResponse, Problem> {
    if !acting.may(READ_OWN_KEYS) {
        acting.require(READ_KEYS)?;
    }
    let stored = visible(&acting, id).await?;
    let key = shown(&acting, &state, stored).await?;
    Ok((etag(key.revision()), Json(key)))
}
