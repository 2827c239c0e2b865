//! The route of changes of many keys at once.

use axum::Json as Answer;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::body::Json;
use super::organization::Whose;
use super::problem::Problem;
use super::scopes::WRITE_KEYS;
use super::state::ManageState;
use super::wire::bulk::{BulkAnswer, BulkDone, BulkPreview, SelectionForm};
use super::wire::object;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new().routes(routes!(change))
}

/// A change of many keys.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkChange {
    action: BulkAction,
    #[serde(deserialize_with = "object::one")]
    selection: SelectionForm,
    /// Why. Of it, the first 1,024 bytes are kept, in the audit trail and with keys that are revoked. Not of `enable`.
    #[serde(default)]
    reason: String,
    /// The digest of a preview. Without it nothing is changed, and the answer is a preview.
    #[schema(pattern = "^[0-9a-fA-F]{64}$", min_length = 64, max_length = 64)]
    digest: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum BulkAction {
    /// Ends them for good.
    Revoke,
    /// Stops them until the same selection is enabled.
    Disable,
    /// Undoes that, and nothing else.
    Enable,
}

/// Changes many keys.
#[utoipa::path(
    post, path = "/keys/bulk", tag = "keys", operation_id = "change_keys",
    request_body = BulkChange,
    description = "Changes all keys of a user, with a label, or made by a key. Without `digest` it is a preview, and nothing is changed; \
                   with the digest of the preview exactly the keys are changed that it named, in one transaction, or none: 409 \
                   `selection-changed`. Scope `api-keys.keys:write`.",
    responses((status = 200, body = BulkAnswer)),
)]
async fn change(acting: Acting, body: Json<BulkChange>) -> Result<Answer<BulkAnswer>, Problem> {
    acting.require(WRITE_KEYS)?;
    let body = body.get()?;
    let whose = Whose::of(&acting, body.selection.organization).await?;
    let selection = body.selection.selection(whose)?;
    let Some(digest) = body.digest else {
        let found = acting.issuer.preview(&selection).await?;
        return Ok(Answer(BulkAnswer::Preview(BulkPreview::new(&selection, &found))));
    };
    let selection = selection.exactly(digest.parse()?);
    let done = match body.action {
        BulkAction::Revoke => acting.issuer.revoke_all(&selection, &body.reason).await?,
        BulkAction::Disable => acting.issuer.disable_all(&selection, &body.reason).await?,
        BulkAction::Enable => acting.issuer.enable_all(&selection).await?,
    };
    Ok(Answer(BulkAnswer::Done(BulkDone::new(&selection, &done))))
}
