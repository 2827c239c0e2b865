//! Rotations.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::create::issued_answer;
use super::{OfKey, changed};
use crate::issue::IfUsed;
use crate::key::KeyId;
use crate::manage::body::OptionalJson;
use crate::manage::precondition::IfMatchHeader;
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::state::ManageState;
use crate::manage::target::Change;
use crate::manage::wire::key::{IssuedKey, Key};

/// How a key is rotated.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Rotate {
    /// For so many seconds the old secret works too. A day if it is left out.
    #[serde(default = "a_day")]
    #[schema(minimum = 0)]
    grace: u64,
}

/// Gives a key a new secret.
#[utoipa::path(
    post, path = "/keys/{id}/rotate", tag = "keys", operation_id = "rotate_key",
    params(OfKey, IfMatchHeader),
    request_body = Option<Rotate>,
    description = "Gives a key a new secret. It is in the answer, once; the old one works until the grace period ends. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = IssuedKey, headers(("ETag" = String, description = "The revision, for If-Match."))),
    ),
)]
pub(in crate::manage) async fn rotate(
    key: Change<KeyId>,
    State(state): State<ManageState>,
    body: OptionalJson<Rotate>,
) -> Result<impl IntoResponse, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    let grace = Duration::from_secs(body.get()?.grace);
    let issued = key.issuer.rotate(key.id, grace).await?;
    issued_answer(&key.acting, &state, StatusCode::OK, &issued).await
}

/// How a rotation is finished.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Finish {
    /// Refused if the old secret was used within so many seconds. 0: never refused.
    #[serde(default)]
    #[schema(minimum = 0)]
    unused_for: u64,
}

/// Ends the old secret now.
#[utoipa::path(
    post, path = "/keys/{id}/rotate/finish", tag = "keys", operation_id = "finish_rotation",
    params(OfKey, IfMatchHeader),
    request_body = Option<Finish>,
    description = "Ends the old secret before its grace period does. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
    ),
)]
pub(in crate::manage) async fn finish(
    key: Change<KeyId>,
    State(state): State<ManageState>,
    body: OptionalJson<Finish>,
) -> Result<Row<Key>, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    let unused_for = Duration::from_secs(body.get()?.unused_for);
    key.issuer.finish(key.id, unused_for).await?;
    changed(&key.acting, &state, key.id).await
}

/// How a rotation is taken back.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct TakeBack {
    /// Also if the new secret has been used.
    #[serde(default)]
    even_if_used: bool,
}

/// Ends the new secret.
#[utoipa::path(
    post, path = "/keys/{id}/rotate/take-back", tag = "keys", operation_id = "take_rotation_back",
    params(OfKey, IfMatchHeader),
    request_body = Option<TakeBack>,
    description = "Ends the new secret, and keeps the old one. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
    ),
)]
pub(in crate::manage) async fn take_back(
    key: Change<KeyId>,
    State(state): State<ManageState>,
    body: OptionalJson<TakeBack>,
) -> Result<Row<Key>, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    let if_used = match body.get()?.even_if_used {
        true => IfUsed::Override,
        false => IfUsed::Refuse,
    };
    key.issuer.take_back(key.id, if_used).await?;
    changed(&key.acting, &state, key.id).await
}

impl Default for Rotate {
    fn default() -> Self {
        Self { grace: a_day() }
    }
}

fn a_day() -> u64 {
    86_400
}
