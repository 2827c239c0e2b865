//! Changes of keys.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json as Answer;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{OfKey, PathId, changed};
use crate::issue::Descendants;
use crate::manage::acting::Acting;
use crate::manage::body::{Json, OptionalJson};
use crate::manage::manage::ManageState;
use crate::manage::precondition::{IfMatch, IfMatchHeader, etag};
use crate::manage::problem::Problem;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::wire::key::{Key, UpdateKey};
use crate::manage::wire::problem::Problems;

/// Changes a key.
#[utoipa::path(
    patch, path = "/keys/{id}", tag = "keys", operation_id = "update_key",
    params(OfKey, IfMatchHeader),
    request_body(content(
        (UpdateKey = "application/json"),
        (UpdateKey = "application/merge-patch+json"),
    )),
    description = "Changes a key by a merge patch (RFC 7396). Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
        Problems,
    ),
)]
pub(in crate::manage) async fn update(
    acting: Acting,
    State(state): State<ManageState>,
    PathId(id): PathId,
    if_match: IfMatch,
    Json(patch): Json<UpdateKey>,
) -> Result<impl IntoResponse, Problem> {
    acting.require(WRITE_KEYS)?;
    let stored = writable(&acting, id, &if_match).await?;
    patch.check(&stored.record)?;
    // The row may have changed since: the change is made to the one that it is for, or not at all.
    let is_other = AtomicBool::new(false);
    acting
        .issuer
        .update(id, |record| match if_match.admits(record.revision) {
            true => {
                is_other.store(false, Ordering::Relaxed);
                patch.change(record);
            }
            false => is_other.store(true, Ordering::Relaxed),
        })
        .await?;
    if is_other.into_inner() {
        return Err(IfMatch::failed());
    }
    answer(&acting, &state, id).await
}

/// Why a key is revoked.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Revoke {
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: String,
    /// What becomes of the keys that were made with it, and with those. `disable-of-managing` if it is left out: they are disabled if
    /// the key could manage keys.
    descendants: Option<DescendantsForm>,
}

/// What becomes of keys that were made with a key.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Descendants)]
enum DescendantsForm {
    DisableOfManaging,
    None,
    Disable,
    Revoke,
}

/// Revokes a key.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "keys", operation_id = "revoke_key",
    params(OfKey, IfMatchHeader),
    request_body = Option<Revoke>,
    description = "Revokes a key, for good. The record stays. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
        Problems,
    ),
)]
pub(in crate::manage) async fn revoke(
    acting: Acting,
    State(state): State<ManageState>,
    PathId(id): PathId,
    if_match: IfMatch,
    OptionalJson(body): OptionalJson<Revoke>,
) -> Result<impl IntoResponse, Problem> {
    acting.require(WRITE_KEYS)?;
    writable(&acting, id, &if_match).await?;
    revoke_now(&acting, id, &body).await?;
    answer(&acting, &state, id).await
}

/// Revokes the key of the caller.
#[utoipa::path(
    post, path = "/self/revoke", tag = "keys", operation_id = "revoke_self",
    request_body = Option<Revoke>,
    description = "Revokes the key that the request comes with, for good. Any key may do this; it needs no scope.",
    responses(
        (status = 204),
        Problems,
    ),
)]
pub(in crate::manage) async fn revoke_self(
    acting: Acting,
    OptionalJson(body): OptionalJson<Revoke>,
) -> Result<impl IntoResponse, Problem> {
    let own = acting.key().map(|context| context.key_id());
    let id = own.ok_or_else(|| Problem::missing("key of the caller"))?;
    revoke_now(&acting, id, &body).await?;
    Ok(http::StatusCode::NO_CONTENT)
}

/// Enables a key.
#[utoipa::path(
    post, path = "/keys/{id}/enable", tag = "keys", operation_id = "enable_key",
    params(OfKey, IfMatchHeader),
    description = "Enables a key that was disabled. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
        Problems,
    ),
)]
pub(in crate::manage) async fn enable(
    acting: Acting,
    State(state): State<ManageState>,
    PathId(id): PathId,
    if_match: IfMatch,
) -> Result<impl IntoResponse, Problem> {
    acting.require(WRITE_KEYS)?;
    writable(&acting, id, &if_match).await?;
    acting.issuer.enable(id).await?;
    answer(&acting, &state, id).await
}

/// Disables a key.
#[utoipa::path(
    post, path = "/keys/{id}/disable", tag = "keys", operation_id = "disable_key",
    params(OfKey, IfMatchHeader),
    description = "Disables a key until it is enabled again. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
        Problems,
    ),
)]
pub(in crate::manage) async fn disable(
    acting: Acting,
    State(state): State<ManageState>,
    PathId(id): PathId,
    if_match: IfMatch,
) -> Result<impl IntoResponse, Problem> {
    acting.require(WRITE_KEYS)?;
    writable(&acting, id, &if_match).await?;
    acting.issuer.disable(id).await?;
    answer(&acting, &state, id).await
}

/// Whose it is comes before what revision it has: a foreign id is always the same 404.
pub(super) async fn writable(
    acting: &Acting,
    id: crate::key::KeyId,
    if_match: &IfMatch,
) -> Result<crate::store::StoredKey, Problem> {
    let stored = acting.issuer.key(id).await?.ok_or_else(|| Problem::missing("key"))?;
    if_match.check(stored.record.revision)?;
    Ok(stored)
}

async fn revoke_now(acting: &Acting, id: crate::key::KeyId, body: &Revoke) -> Result<(), Problem> {
    let descendants = match body.descendants {
        None | Some(DescendantsForm::DisableOfManaging) => Descendants::DisableOfManaging,
        Some(DescendantsForm::None) => Descendants::None,
        Some(DescendantsForm::Disable) => Descendants::Disable,
        Some(DescendantsForm::Revoke) => Descendants::Revoke,
    };
    acting
        .issuer
        .revoke_with_descendants(id, descendants, &body.reason)
        .await?;
    Ok(())
}

pub(super) async fn answer(
    acting: &Acting,
    state: &ManageState,
    id: crate::key::KeyId,
) -> Result<impl IntoResponse + use<>, Problem> {
    let key = changed(acting, state, id).await?;
    Ok((etag(key.revision()), Answer(key)))
}
