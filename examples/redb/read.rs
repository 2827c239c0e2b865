//! Reads: of one transaction, so that all rows of an answer are of one point in time.

use std::collections::BTreeMap;

use tower_api_key::key::{KeyId, Lookup, Organization, OrganizationId, Realm};
use tower_api_key::store::query::{Answer, Count, Query, Statistics};
use tower_api_key::store::{Candidate, SharedRows, StoreError, StoreErrorKind, StoredKey, Write};
use uuid::Uuid;

use crate::rows::{self, SharedForm};
use crate::tables::{self as place};
use crate::tables::{EMAILS, KEYS, LOOKUPS, ORGANIZATIONS, OWNED, Read, SHARED, SLUGS};
use crate::{audit, idempotency, uses};

pub fn find(transaction: &impl Read, shared: &SharedRows, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
    let Some(id) = owner(transaction, lookup)? else {
        return Ok(None);
    };
    let damaged = |what| StoreError::with_source(StoreErrorKind::InvalidRecord, what);
    let key = key(transaction, id)?.ok_or_else(|| damaged("the key of a lookup is gone"))?;
    let organization = organization(transaction, key.record.organization_id)?;
    let organization = organization.ok_or_else(|| damaged("the organization of a key is gone"))?;
    let candidate = key.candidate(lookup, &organization);
    let candidate = candidate.ok_or_else(|| damaged("the secret of a lookup is gone"))?;
    Ok(Some(shared.complete(candidate)))
}

pub fn answer(transaction: &impl Read, shared: &SharedRows, query: Query) -> Result<Answer, StoreError> {
    Ok(match query {
        Query::Organization(id) => Answer::Organization(organization(transaction, id)?),
        Query::OrganizationBySlug(slug) => {
            let id = transaction.get(SLUGS, slug.as_bytes())?;
            Answer::Organization(by_index(transaction, id)?)
        }
        Query::OrganizationByEmail(email) => {
            let id = transaction.get(EMAILS, email.as_bytes())?;
            Answer::Organization(by_index(transaction, id)?)
        }
        Query::Organizations(filter, page) => Answer::Organizations(page.cut(&filter, &organizations(transaction)?)?),
        Query::CountOrganizations(filter) => Answer::Count(Count::of_rows(&filter, &organizations(transaction)?)),
        Query::Key(id) => Answer::Key(key(transaction, id)?),
        Query::KeyByHash(hash) => Answer::Key(keys(transaction)?.into_iter().find(|key| key.has_hash(&hash))),
        Query::EndedKeys(ended) => Answer::KeyRecords(ended.among(&keys(transaction)?)),
        Query::Keys(filter, page) => Answer::Keys(page.cut(&filter, &candidates(transaction, filter.organization)?)?),
        Query::DescendantsOf(of) => Answer::KeyRecords(of.among(keys(transaction)?.iter())),
        Query::CountKeys(filter) => {
            Answer::Count(Count::of_rows(&filter, &candidates(transaction, filter.organization)?))
        }
        Query::CountKeysOfForm { form, at } => Answer::Count(Count::of_form(&keys(transaction)?, form, at)),
        Query::KeyUses(ids) => uses::read(transaction, &ids)?,
        Query::Statistics(query) => {
            let mut statistics = Statistics::default();
            for key in candidates(transaction, query.organization)? {
                query.count(&mut statistics, &key.record, &uses::of_key(transaction, key.record.id)?);
            }
            Answer::Statistics(statistics)
        }
        Query::Idempotency(organization, actor, key) => {
            Answer::Idempotency(idempotency::read(transaction, organization, &actor, &key)?)
        }
        query if query.is_of_audit() => audit::read(transaction, query)?,
        query => shared.read(query)?,
    })
}

/// What many keys share, as it is stored.
pub fn shared(transaction: &impl Read) -> Result<SharedRows, StoreError> {
    let forms = transaction.all(SHARED)?;
    let forms = forms.iter().map(|(_, row)| rows::read_form::<SharedForm>(row));
    let (mut realm, mut inserts) = (None, Vec::new());
    for form in forms.collect::<Result<Vec<_>, _>>()? {
        inserts.extend(match form {
            SharedForm::Realm(form) => {
                realm = Some(rows::of_form::<Realm>(form)?);
                None
            }
            SharedForm::Secret(form) => Some(Write::InsertServerSecret(rows::of_form(form)?)),
            SharedForm::User(form) => Some(Write::InsertUser(rows::of_form(form)?)),
            SharedForm::Plan(row) => Some(Write::InsertPlan(row)),
            SharedForm::Role(row) => Some(Write::InsertRole(row)),
            SharedForm::Scope(row) => Some(Write::InsertScope(row)),
        });
    }
    let no_realm = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
    let mut shared = SharedRows::of(realm.ok_or_else(no_realm)?);
    let organizations = organizations(transaction)?.into_iter().map(|row| (row.id, row));
    let organizations = BTreeMap::from_iter(organizations);
    for insert in inserts {
        // A row comes back with the revision that it has.
        let inserted = shared.write(insert, &organizations, &BTreeMap::new());
        inserted.map_err(|kind| StoreError::with_source(StoreErrorKind::InvalidRecord, StoreError::new(kind)))?;
    }
    Ok(shared)
}

pub fn organization(transaction: &impl Read, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
    let row = transaction.get(ORGANIZATIONS, &place::organization(id))?;
    row.map(|row| rows::read(&row)).transpose()
}

pub fn organizations(transaction: &impl Read) -> Result<Vec<Organization>, StoreError> {
    let found = transaction.all(ORGANIZATIONS)?;
    found.iter().map(|(_, row)| rows::read(row)).collect()
}

pub fn key(transaction: &impl Read, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
    let row = transaction.get(KEYS, &place::key(id))?;
    row.map(|row| rows::read(&row)).transpose()
}

pub fn keys_of(transaction: &impl Read, id: OrganizationId) -> Result<Vec<StoredKey>, StoreError> {
    let mut keys = Vec::new();
    for (place, _) in transaction.starting_with(OWNED, &place::organization(id))? {
        keys.extend(key(transaction, id_at(&place[16..])?.into())?);
    }
    Ok(keys)
}

/// Which key has a lookup.
pub fn owner(transaction: &impl Read, lookup: &Lookup) -> Result<Option<KeyId>, StoreError> {
    let id = transaction.get(LOOKUPS, lookup.as_str().as_bytes())?;
    Ok(id.map(|id| id_at(&id)).transpose()?.map(KeyId::from))
}

fn keys(transaction: &impl Read) -> Result<Vec<StoredKey>, StoreError> {
    let found = transaction.all(KEYS)?;
    found.iter().map(|(_, row)| rows::read(row)).collect()
}

/// The keys among which those of a list are: the page is cut out of them in memory.
fn candidates(transaction: &impl Read, organization: Option<OrganizationId>) -> Result<Vec<StoredKey>, StoreError> {
    match organization {
        Some(id) => keys_of(transaction, id),
        None => keys(transaction),
    }
}

/// The organization whose id an index has.
pub fn by_index(transaction: &impl Read, id: Option<Vec<u8>>) -> Result<Option<Organization>, StoreError> {
    match id {
        Some(id) => organization(transaction, id_at(&id)?.into()),
        None => Ok(None),
    }
}

fn id_at(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|error| StoreError::with_source(StoreErrorKind::InvalidRecord, error))
}
