//! What a principal may read: keys of its user, or of its organization; its organization and that one's plan; its user's row; and
//! of the realm what its keys are given. To it, all else is not there.

use std::collections::BTreeSet;

use super::login::Principal;
use super::standing::PrincipalAuthority;
use crate::issue::authority::forbidden;
use crate::issue::sight::{nothing, own_descendants};
use crate::key::{KeyId, KeyRecord};
use crate::last_use::UseOfKey;
use crate::store::query::{Answer, DescendantsOf, Keys, Query};
use crate::store::{ManagedStore, StoreError, StoreExt};

/// What of an answer a principal gets.
enum Sight {
    /// All of it.
    Whole,
    /// What it may see of it.
    Some,
    /// None: the query is about rows of others, which may not be there at all.
    Nothing,
    /// An error.
    Refused,
}

/// Answers a query, as far as the principal may know.
///
/// # Errors
/// Those of the store; [`Forbidden`](crate::store::StoreErrorKind::Forbidden) for what is not for users.
pub(in crate::issue) async fn read<S: ManagedStore>(
    store: &S,
    authority: &PrincipalAuthority,
    query: Query,
) -> Result<Answer, StoreError> {
    match sight(&query, authority.principal()) {
        Sight::Whole => store.read(query).await,
        Sight::Some => some(store, authority, query).await,
        Sight::Nothing => nothing(query),
        Sight::Refused => Err(refused()),
    }
}

/// Whether it sees this key.
pub(in crate::issue) async fn sees<S: ManagedStore>(
    store: &S,
    authority: &PrincipalAuthority,
    record: &KeyRecord,
) -> Result<bool, StoreError> {
    let principal = authority.principal();
    let is_near = record.organization_id == principal.organization();
    Ok(principal.owns(record) || (is_near && authority.sees_all(store).await?))
}

/// Every query is named, so that a new one is not forgotten.
fn sight(query: &Query, principal: &Principal) -> Sight {
    let own = principal.organization();
    let whole_if = |is_own: bool| match is_own {
        true => Sight::Whole,
        false => Sight::Nothing,
    };
    match query {
        Query::Organization(id) => whole_if(*id == own),
        Query::User(id, user) => whole_if(*id == own && user == principal.user()),
        Query::Idempotency(id, caller, _) => whole_if(*id == own && *caller == principal.actor()),
        Query::Keys(filter, _) | Query::CountKeys(filter) => match filter.organization {
            Some(id) if id == own => Sight::Some,
            Some(_) => Sight::Nothing,
            None => Sight::Refused,
        },
        Query::OrganizationBySlug(_)
        | Query::OrganizationByEmail(_)
        | Query::Key(_)
        | Query::KeyByHash(_)
        | Query::KeyUses(_)
        | Query::DescendantsOf(_)
        | Query::Plan(_) => Sight::Some,
        // Whether a key with this role manages others, and which scopes there are to choose from.
        Query::Roles(filter, _) if filter.name.is_some() => Sight::Whole,
        Query::KnownScopes(..) => Sight::Whole,
        Query::Organizations(..)
        | Query::CountOrganizations(_)
        | Query::EndedKeys(_)
        | Query::AuditEvents(..)
        | Query::AuditRows(_)
        | Query::AuditChains(_)
        | Query::FirstAudited(_)
        | Query::RefusalCounts(_)
        | Query::Refusals(_)
        | Query::Commit(_)
        | Query::Changes { .. }
        | Query::Realm
        | Query::ServerSecrets(_)
        | Query::CountKeysOfForm { .. }
        | Query::Plans(..)
        | Query::Users(..)
        | Query::CountUsers(_)
        | Query::Roles(..)
        | Query::Statistics(_) => Sight::Refused,
    }
}

async fn some<S: ManagedStore>(store: &S, authority: &PrincipalAuthority, query: Query) -> Result<Answer, StoreError> {
    let principal = authority.principal();
    let own = async || store.get(principal.organization()).await;
    match query {
        // Others are not read, so that the time says nothing of them either.
        Query::OrganizationBySlug(slug) => {
            return Ok(Answer::Organization(own().await?.filter(|own| own.slug == slug)));
        }
        Query::OrganizationByEmail(email) => {
            return Ok(Answer::Organization(own().await?.filter(|own| own.has_email(&email))));
        }
        Query::Plan(id) => {
            let is_own = own().await?.is_some_and(|own| own.plan == Some(id));
            let plan = if is_own { store.get(id).await? } else { None };
            return Ok(Answer::Plan(plan));
        }
        // For changes of many keys at once: those of others are not among them.
        Query::DescendantsOf(of) => return descendants(store, principal, of).await,
        _ => {}
    }
    let sees_all = authority.sees_all(store).await?;
    match query {
        Query::Keys(mut filter, page) if !sees_all => {
            let own = principal.user();
            // As if the list were asked for by user, so that its cursors are those of that one.
            match filter.user.get_or_insert_with(|| own.clone()) == own {
                true => store.read(Query::Keys(filter, page)).await,
                false => nothing(Query::Keys(filter, page)),
            }
        }
        Query::CountKeys(filter) if !sees_all => match &filter.user {
            Some(user) if user == principal.user() => store.read(Query::CountKeys(filter)).await,
            Some(_) => nothing(Query::CountKeys(filter)),
            // The number of its own keys would be taken for that of the organization's.
            None => Err(forbidden(
                "a login that sees its own keys counts those of its user; name the user",
            )),
        },
        Query::Keys(..) | Query::CountKeys(_) => store.read(query).await,
        query => Ok(match store.read(query).await? {
            Answer::Key(key) => Answer::Key(key.filter(|key| match sees_all {
                true => key.record.organization_id == principal.organization(),
                false => principal.owns(&key.record),
            })),
            Answer::KeyUses(mut uses) if sees_all => {
                // Whose a key is that has no secrets, they do not say.
                let own = Some(principal.organization());
                uses.retain(|of_key| of_key.secrets.first().map(|secret| secret.organization_id) == own);
                Answer::KeyUses(uses)
            }
            Answer::KeyUses(mut uses) => {
                // Of whose user a key is, they do not say either. Asked behind them, since it may become another one's in between.
                let own = own_among(store, principal, &uses).await?;
                uses.retain(|of_key| own.contains(&of_key.key_id));
                Answer::KeyUses(uses)
            }
            _ => return Err(refused()),
        }),
    }
}

async fn descendants<S: ManagedStore>(
    store: &S,
    principal: &Principal,
    of: DescendantsOf,
) -> Result<Answer, StoreError> {
    let root = store.get(of.key).await?;
    let is_own = root.is_some_and(|root| principal.owns(&root.record));
    Ok(Answer::KeyRecords(match is_own {
        true => own_descendants(store, |record| principal.owns(record), of).await?,
        false => Vec::new(),
    }))
}

/// The keys of the user among these, and maybe others of the user.
async fn own_among<S: ManagedStore>(
    store: &S,
    principal: &Principal,
    uses: &[UseOfKey],
) -> Result<BTreeSet<KeyId>, StoreError> {
    let mut own = BTreeSet::new();
    if uses.len() <= FEW {
        for of_key in uses {
            let key = store.get(of_key.key_id).await?;
            own.extend(key.filter(|key| principal.owns(&key.record)).map(|key| key.record.id));
        }
        return Ok(own);
    }
    let list = Keys::of(principal.organization())
        .user(principal.user().clone())
        .page(1000);
    let mut next = Some(list.clone());
    while let Some(query) = next.take() {
        let page = store.get(query).await?;
        next = page.next.map(|cursor| list.clone().after(cursor));
        own.extend(page.items.iter().map(|key| key.record.id));
    }
    Ok(own)
}

fn refused() -> StoreError {
    forbidden("a login reads keys, and of its organization the row and the plan; the rest is not for users")
}

/// Keys that are read one by one.
const FEW: usize = 8;
