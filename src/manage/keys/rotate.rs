//! Rotations.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::OfKey;
use super::change::{answer, writable};
use super::create::issued_answer;
use crate::issue::IfUsed;
use crate::key::KeyId;
use crate::manage::acting::Acting;
use crate::manage::body::OptionalJson;
use crate::manage::path::InPath;
use crate::manage::precondition::{IfMatch, IfMatchHeader};
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::state::ManageState;
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
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
    body: OptionalJson<Rotate>,
) -> Result<impl IntoResponse, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    let body = body.get()?;
    let issued = acting.issuer.rotate(id, Duration::from_secs(body.grace)).await?;
    issued_answer(&acting, &state, StatusCode::OK, &issued).await
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
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
    body: OptionalJson<Finish>,
) -> Result<Row<Key>, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    let body = body.get()?;
    acting.issuer.finish(id, Duration::from_secs(body.unused_for)).await?;
    answer(&acting, &state, id).await
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
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
    body: OptionalJson<TakeBack>,
) -> Result<Row<Key>, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    let body = body.get()?;
    let if_used = match body.even_if_used {
        true => IfUsed::Override,
        false => IfUsed::Refuse,
    };
    acting.issuer.take_back(id, if_used).await?;
    answer(&acting, &state, id).await
}

impl Default for Rotate {
    fn default() -> Self {
        Self { grace: a_day() }
    }
}

fn a_day() -> u64 {
    86_400
}
