//! Changes of keys.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{OfKey, changed};
use crate::issue::{Descendants, Issuer};
use crate::key::KeyId;
use crate::manage::acting::Acting;
use crate::manage::body::{Json, OptionalJson};
use crate::manage::precondition::IfMatchHeader;
use crate::manage::problem::Problem;
use crate::manage::row::Row;
use crate::manage::scopes::WRITE_KEYS;
use crate::manage::state::ManageState;
use crate::manage::target::Change;
use crate::manage::wire::key::{Key, UpdateKey};
use crate::store::DynStore;

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
    key: Change<KeyId>,
    State(state): State<ManageState>,
    patch: Json<UpdateKey>,
) -> Result<Row<Key>, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    let patch = patch.get()?;
    patch.check(&key.row.record)?;
    key.issuer.update(key.id, |record| patch.change(record)).await?;
    changed(&key.acting, &state, key.id).await
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
    key: Change<KeyId>,
    State(state): State<ManageState>,
    body: OptionalJson<Revoke>,
) -> Result<Row<Key>, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    body.get()?.revoke(&key.issuer, key.id).await?;
    changed(&key.acting, &state, key.id).await
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
    body.get()?.revoke(&acting.issuer, id).await?;
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
    key: Change<KeyId>,
    State(state): State<ManageState>,
) -> Result<Row<Key>, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    key.issuer.enable(key.id).await?;
    changed(&key.acting, &state, key.id).await
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
    key: Change<KeyId>,
    State(state): State<ManageState>,
) -> Result<Row<Key>, Problem> {
    let key = key.with(WRITE_KEYS).await?;
    key.issuer.disable(key.id).await?;
    changed(&key.acting, &state, key.id).await
}

impl Revoke {
    async fn revoke(&self, issuer: &Issuer<DynStore>, id: KeyId) -> Result<(), Problem> {
        let descendants = match self.descendants {
            None | Some(DescendantsForm::DisableOfManaging) => Descendants::DisableOfManaging,
            Some(DescendantsForm::None) => Descendants::None,
            Some(DescendantsForm::Disable) => Descendants::Disable,
            Some(DescendantsForm::Revoke) => Descendants::Revoke,
        };
        let revoked = issuer.revoke_with_descendants(id, descendants, &self.reason).await;
        Ok(revoked.map(drop)?)
    }
}
