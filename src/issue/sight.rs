//! What a key that acts may read: its organization, and of the realm what its keys are given. To it, other organizations are not
//! there.

use super::authority::forbidden;
use crate::key::{Actor, KeyRecord, OrganizationId};
use crate::store::query::{Answer, Count, DescendantsOf, Query, Statistics};
use crate::store::{Candidate, ManagedStore, StoreError, StoreExt};

/// What of an answer a key of an organization gets.
enum Sight {
    /// All: it is of the organization, or of nobody.
    Whole,
    /// The rows of the organization.
    Own,
    /// None: the query is about another organization, which may not be there at all.
    Nothing,
    /// An error: the query is about all organizations, or the realm.
    Refused,
}

/// Answers a query, as far as the acting key may know.
///
/// # Errors
/// Those of the store; [`Forbidden`](crate::store::StoreErrorKind::Forbidden) for what is the operator's.
pub(super) async fn read<S: ManagedStore>(store: &S, acting: &Candidate, query: Query) -> Result<Answer, StoreError> {
    if acting.organization.is_operator {
        return store.read(query).await;
    }
    match sight(&query, acting) {
        Sight::Whole => store.read(query).await,
        Sight::Own => own_rows(store, acting, query).await,
        Sight::Nothing => nothing(query),
        Sight::Refused => Err(refused()),
    }
}

/// Every query is named, so that a new one is not forgotten.
fn sight(query: &Query, acting: &Candidate) -> Sight {
    let own = acting.organization.id;
    let of = |organization: OrganizationId| match organization == own {
        true => Sight::Whole,
        false => Sight::Nothing,
    };
    let of_one = |organization: Option<OrganizationId>| organization.map_or(Sight::Refused, of);
    match query {
        Query::Organization(id) | Query::User(id, _) => of(*id),
        Query::Users(filter, _) | Query::CountUsers(filter) => of(filter.organization),
        Query::AuditRows(rows) => of(rows.organization),
        Query::Keys(filter, _) | Query::CountKeys(filter) => of_one(filter.organization),
        Query::AuditEvents(filter, _) => of_one(filter.organization),
        Query::RefusalCounts(query) => of_one(query.organization),
        Query::Refusals(query) => of_one(query.organization),
        Query::Statistics(query) => of_one(query.organization),
        // What others have asked for is not there.
        Query::Idempotency(organization, caller, _) => match *caller == Actor::key(acting.record.id) {
            true => of(*organization),
            false => Sight::Nothing,
        },
        // Of one that has no chain, the answer is that of the next one.
        Query::AuditChains(chains) if chains.most == 1 => match of(chains.from) {
            Sight::Whole => Sight::Own,
            other => other,
        },
        Query::OrganizationBySlug(_)
        | Query::OrganizationByEmail(_)
        | Query::Key(_)
        | Query::KeyByHash(_)
        | Query::KeyUses(_)
        | Query::DescendantsOf(_)
        | Query::Plan(_)
        | Query::Plans(..) => Sight::Own,
        // What keys are given, and until when those with a CRC-32 are accepted.
        Query::Roles(..) | Query::KnownScopes(..) | Query::Realm => Sight::Whole,
        Query::Organizations(..)
        | Query::CountOrganizations(_)
        | Query::EndedKeys(_)
        | Query::FirstAudited(_)
        | Query::AuditChains(_)
        | Query::Commit(_)
        | Query::Changes { .. }
        | Query::ServerSecrets(_)
        | Query::CountKeysOfForm { .. } => Sight::Refused,
    }
}

async fn own_rows<S: ManagedStore>(store: &S, acting: &Candidate, query: Query) -> Result<Answer, StoreError> {
    let (organization, plan) = (&acting.organization, &acting.plan);
    let own = organization.id;
    // Not read, so that the time says nothing of others either.
    match query {
        Query::OrganizationBySlug(slug) => {
            let is_own = organization.slug == slug;
            return Ok(Answer::Organization(is_own.then(|| organization.clone())));
        }
        Query::OrganizationByEmail(email) => {
            let is_own = organization.has_email(&email);
            return Ok(Answer::Organization(is_own.then(|| organization.clone())));
        }
        Query::Plan(id) => return Ok(Answer::Plan(plan.clone().filter(|plan| plan.id == id))),
        Query::Plans(filter, page) => return Ok(Answer::Plans(page.cut(&filter, plan)?)),
        Query::DescendantsOf(of) => {
            let root = store.get(of.key).await?;
            let is_own = root.is_some_and(|root| root.record.organization_id == own);
            let found = if is_own {
                own_descendants(store, |record| record.organization_id == own, of).await?
            } else {
                Vec::new()
            };
            return Ok(Answer::KeyRecords(found));
        }
        _ => {}
    }
    Ok(match store.read(query).await? {
        Answer::Key(key) => Answer::Key(key.filter(|key| key.record.organization_id == own)),
        Answer::KeyRecords(mut records) => {
            records.retain(|record| record.organization_id == own);
            Answer::KeyRecords(records)
        }
        Answer::KeyUses(mut uses) => {
            // Whose a key is that has no secrets, they do not say.
            uses.retain(|of_key| {
                of_key
                    .secrets
                    .first()
                    .is_some_and(|secret| secret.organization_id == own)
            });
            Answer::KeyUses(uses)
        }
        Answer::AuditChains(mut chains) => {
            chains.retain(|chain| chain.organization_id == own);
            Answer::AuditChains(chains)
        }
        _ => return Err(refused()),
    })
}

/// As many of its keys as an answer has: one with fewer is the last.
pub(super) async fn own_descendants<S: ManagedStore>(
    store: &S,
    is_own: impl Fn(&KeyRecord) -> bool,
    of: DescendantsOf,
) -> Result<Vec<KeyRecord>, StoreError> {
    let (mut found, mut next) = (Vec::new(), Some(of));
    while let Some(query) = next.take() {
        let page = store.get(query).await?;
        let last = page.last().filter(|_| page.len() >= DescendantsOf::MOST);
        next = last.map(|last| query.after(last.id));
        found.extend(page.into_iter().filter(&is_own));
        if found.len() >= DescendantsOf::MOST {
            break;
        }
    }
    found.truncate(DescendantsOf::MOST);
    Ok(found)
}

/// The answer where there is no such organization.
pub(super) fn nothing(query: Query) -> Result<Answer, StoreError> {
    Ok(match query {
        Query::Organization(_) => Answer::Organization(None),
        Query::User(..) => Answer::User(None),
        Query::Users(filter, page) => Answer::Users(page.cut(&filter, None)?),
        Query::Keys(filter, page) => Answer::Keys(page.cut(&filter, None)?),
        Query::AuditEvents(filter, page) => Answer::AuditEvents(page.cut(&filter, None)?),
        Query::CountUsers(_) | Query::CountKeys(_) => Answer::Count(Count::of(0)),
        Query::AuditRows(_) => Answer::AuditRows(Vec::new()),
        Query::AuditChains(_) => Answer::AuditChains(Vec::new()),
        Query::RefusalCounts(_) => Answer::RefusalCounts(Vec::new()),
        Query::Refusals(_) => Answer::Refusals(Vec::new()),
        Query::Statistics(_) => Answer::Statistics(Statistics::default()),
        Query::Idempotency(..) => Answer::Idempotency(None),
        _ => return Err(refused()),
    })
}

fn refused() -> StoreError {
    forbidden(
        "lists of all organizations, and what is the realm's, are for keys of the operator; name the own organization",
    )
}
