//! One key.

use axum::extract::State;

use super::{OfKey, readable, shown};
use crate::key::KeyId;
use crate::manage::acting::Acting;
use crate::manage::path::InPath;
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::{READ_KEYS, READ_OWN_KEYS};
use crate::manage::state::ManageState;
use crate::manage::wire::key::Key;

/// Shows a key.
#[utoipa::path(
    get, path = "/keys/{id}", tag = "keys", operation_id = "show_key",
    params(OfKey),
    description = "Shows a key. Scope `api-keys.keys:read`, or `api-keys.keys:read-own` for the caller and keys of its user.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The revision, for If-Match."))),
    ),
)]
pub(in crate::manage) async fn show(
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
) -> Result<Row<Key>, Problem> {
    if !acting.may(READ_OWN_KEYS) {
        acting.require(READ_KEYS)?;
    }
    let stored = readable(&acting, id.get()?).await?;
    shown(&acting, &state, stored).await.map(Row)
}
