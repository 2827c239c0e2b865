//! Changes of keys.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{OfKey, changed};
use crate::issue::Descendants;
use crate::key::{KeyId, KeyRecord};
use crate::manage::acting::Acting;
use crate::manage::body::{Json, OptionalJson};
use crate::manage::path::InPath;
use crate::manage::precondition::{IfMatch, IfMatchHeader};
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::state::ManageState;
use crate::manage::wire::key::{Key, UpdateKey};

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
    ),
)]
pub(in crate::manage) async fn update(
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
    patch: Json<UpdateKey>,
) -> Result<Row<Key>, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
    let stored = writable(&acting, id, &if_match).await?;
    let patch = patch.get()?;
    patch.check(&stored.record)?;
    let exactly = if_match.exactly();
    let change = |record: &mut KeyRecord| exactly.change(record.revision, || patch.change(record));
    acting.issuer.update(id, change).await?;
    exactly.done()?;
    answer(&acting, &state, id).await
}

/// Why a key is revoked.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Revoke {
    /// Of it, the first 1,024 bytes are kept.
    #[serde(default)]
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
    ),
)]
pub(in crate::manage) async fn revoke(
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
    body: OptionalJson<Revoke>,
) -> Result<Row<Key>, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    let body = body.get()?;
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
    ),
)]
pub(in crate::manage) async fn revoke_self(acting: Acting, body: OptionalJson<Revoke>) -> Result<StatusCode, Problem> {
    let own = acting.key().map(|context| context.key_id());
    let id = own.ok_or_else(|| Problem::missing("key of the caller"))?;
    let body = body.get()?;
    revoke_now(&acting, id, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enables a key.
#[utoipa::path(
    post, path = "/keys/{id}/enable", tag = "keys", operation_id = "enable_key",
    params(OfKey, IfMatchHeader),
    description = "Enables a key that was disabled. Scope `api-keys.keys:write`.",
    responses(
        (status = 200, body = Key, headers(("ETag" = String, description = "The new revision."))),
    ),
)]
pub(in crate::manage) async fn enable(
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
) -> Result<Row<Key>, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
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
    ),
)]
pub(in crate::manage) async fn disable(
    acting: Acting,
    State(state): State<ManageState>,
    id: InPath<KeyId>,
    if_match: IfMatch,
) -> Result<Row<Key>, Problem> {
    acting.require(WRITE_KEYS)?;
    let id = id.get()?;
    writable(&acting, id, &if_match).await?;
    acting.issuer.disable(id).await?;
    answer(&acting, &state, id).await
}

/// Whose it is comes before what revision it has: a foreign id is always the same 404.
pub(super) async fn writable(
    acting: &Acting,
    id: KeyId,
    if_match: &IfMatch,
) -> Result<crate::store::StoredKey, Problem> {
    let stored = acting.issuer.key(id).await?.ok_or_else(|| Problem::missing("key"))?;
    if_match.check(stored.record.revision)?;
    Ok(stored)
}

async fn revoke_now(acting: &Acting, id: KeyId, body: &Revoke) -> Result<(), Problem> {
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

pub(super) async fn answer(acting: &Acting, state: &ManageState, id: KeyId) -> Result<Row<Key>, Problem> {
    changed(acting, state, id).await.map(Row)
}
