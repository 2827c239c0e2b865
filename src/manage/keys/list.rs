//! Lists of keys.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::key::{KeyLife, UserId};
use crate::manage::acting::Acting;
use crate::manage::organization::Whose;
use crate::manage::paging::{Page, PageQuery, Params};
use crate::manage::problem::Problem;
use crate::manage::scopes::{READ_KEYS, READ_OWN_KEYS};
use crate::manage::state::ManageState;
use crate::manage::wire::key::{Key, Life};
use crate::manage::wire::text::{UserText, WhoseText};
use crate::store::query::{KeyUses, Keys};

/// Which keys.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::manage) struct Which {
    /// The id of an organization, or `all` for operators. The caller's if it is left out.
    #[param(value_type = Option<WhoseText>)]
    organization: Option<Whose>,
    #[param(value_type = Option<UserText>)]
    user: Option<UserId>,
    #[param(value_type = Option<Life>)]
    status: Option<Life>,
    /// The start of the name. Letter case does not count.
    name: Option<String>,
    /// The start of the lookup, as keys show it.
    lookup: Option<String>,
    label: Option<String>,
    environment: Option<String>,
    /// How many rows at most. 50 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Lists keys.
#[utoipa::path(
    get, path = "/keys", tag = "keys", operation_id = "list_keys",
    params(Which),
    description = "Lists keys. Scope `api-keys.keys:read`; with `api-keys.keys:read-own`, keys of the caller's user, or the caller alone.",
    responses(
        (status = 200, body = Page<Key>),
    ),
)]
pub(in crate::manage) async fn list(
    acting: Acting,
    State(state): State<ManageState>,
    which: Params<Which>,
) -> Result<Json<Page<Key>>, Problem> {
    if !acting.may(READ_OWN_KEYS) {
        acting.require(READ_KEYS)?;
    }
    let which = which.get()?;
    let own = acting.key().filter(|_| !acting.may(READ_KEYS));
    let own_user = own.and_then(|context| context.user()).map(str::parse::<UserId>);
    let whose = Whose::of(&acting, which.organization).await?;
    // Users of other organizations may have the same id.
    if own.is_some_and(|context| whose != Whose::Of(context.organization().id)) {
        return Err(Problem::forbidden(
            "the caller may list keys of its own organization only",
        ));
    }
    let mut keys = whose.id().map_or_else(Keys::all, Keys::of);
    if let Some(user) = which.user.clone() {
        keys = keys.user(user);
    }
    if let Some(life) = which.status {
        keys = keys.life(life.into(), state.now());
    }
    if let Some(name) = &which.name {
        keys = keys.name_starts_with(name);
    }
    if let Some(lookup) = &which.lookup {
        keys = keys.lookup_starts_with(lookup);
    }
    if let Some(label) = &which.label {
        keys = keys.label(label);
    }
    if let Some(environment) = &which.environment {
        keys = keys.environment(environment);
    }
    // One that sees its own keys alone, and has no user, is its only one.
    let only = match (own, own_user) {
        (Some(_), Some(Ok(user))) => {
            if which.user.as_ref().is_some_and(|asked| *asked != user) {
                return Err(Problem::forbidden("the caller may list keys of its own user only"));
            }
            keys = keys.user(user);
            None
        }
        (Some(context), _) => Some(context.key_id()),
        (None, _) => None,
    };
    let page = PageQuery::new(which.limit, which.after.clone()).of(keys)?;
    let (stored, next) = match only {
        Some(id) => (acting.issuer.key(id).await?.into_iter().collect(), None),
        None => {
            let paged = acting.issuer.keys(page).await?;
            (paged.items, paged.next)
        }
    };
    let mut uses = HashMap::new();
    for some in stored.chunks(KeyUses::MOST) {
        let read = acting
            .issuer
            .read(KeyUses::of_all(some.iter().map(|key| key.record.id)))
            .await?;
        uses.extend(read.into_iter().map(|uses| (uses.key_id, uses)));
    }
    let now = state.now();
    let items = stored.into_iter().map(|stored| {
        let uses = uses.get(&stored.record.id);
        Key::new(stored, uses, now)
    });
    Ok(Json(Page {
        items: items.collect(),
        next: next.map(|cursor| cursor.to_string()),
    }))
}

impl From<Life> for KeyLife {
    fn from(life: Life) -> Self {
        match life {
            Life::Active => Self::Active,
            Life::Disabled => Self::Disabled,
            Life::Revoked => Self::Revoked,
            Life::Expired => Self::Expired,
        }
    }
}
