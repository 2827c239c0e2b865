//! Routes of keys.

mod change;
mod create;
mod list;
mod rotate;
mod show;

use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting::Acting;
use super::problem::Problem;
use super::row::Row;
use super::scopes::{READ_KEYS, READ_OWN_KEYS};
use super::state::ManageState;
use super::target::visible;
use super::wire::key::Key;
use crate::key::KeyId;
use crate::store::StoredKey;
use crate::store::query::KeyUses;

pub(super) fn routes() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(list::list, create::create))
        .routes(routes!(show::show, change::update, change::revoke))
        .routes(routes!(change::enable))
        .routes(routes!(change::disable))
        .routes(routes!(rotate::rotate))
        .routes(routes!(rotate::finish))
        .routes(routes!(rotate::take_back))
        .routes(routes!(change::revoke_self))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what is read elsewhere")]
struct OfKey {
    /// The key.
    id: uuid::Uuid,
}

/// The key, as far as the caller may see it.
async fn readable(acting: &Acting, id: KeyId) -> Result<StoredKey, Problem> {
    let stored = visible(acting, &id).await?;
    match is_visible(acting, &stored) {
        true => Ok(stored),
        false => Err(Problem::missing("key")),
    }
}

/// Without the scope for all keys, a key sees itself and the keys of its user.
fn is_visible(acting: &Acting, stored: &StoredKey) -> bool {
    let Some(context) = acting.key() else { return true };
    if acting.may(READ_KEYS) {
        return true;
    }
    let (record, user) = (&stored.record, context.user());
    let is_of_user = user.is_some() && record.user.as_ref().map(|user| user.as_str()) == user;
    let is_own = record.organization_id == context.organization().id && is_of_user;
    acting.may(READ_OWN_KEYS) && (record.id == context.key_id() || is_own)
}

/// With its last use.
async fn shown(acting: &Acting, state: &ManageState, stored: StoredKey) -> Result<Key, Problem> {
    let uses = acting.issuer.read(KeyUses::of(stored.record.id)).await?;
    Ok(Key::new(stored, uses.first(), state.now()))
}

/// The key as it is after a change.
async fn changed(acting: &Acting, state: &ManageState, id: KeyId) -> Result<Row<Key>, Problem> {
    let stored = visible(acting, &id).await?;
    shown(acting, state, stored).await.map(Row)
}
