//! A store over maps, as a sketch of what another backend has to write. It has no change log, and passes the kit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tower_api_key::Fence;
use tower_api_key::key::{KeyId, KeyStatus, Lookup, Organization, OrganizationId};
use tower_api_key::store::StoreErrorKind::{self, AlreadyExists, Conflict, NotFound, Unsupported};
use tower_api_key::store::query::{Answer, Count, Query};
use tower_api_key::store::*;

#[derive(Clone)]
pub(super) struct Toy(pub(super) Arc<Mutex<Rows>>, pub(super) Fence);

#[derive(Clone, Default)]
pub(super) struct Rows {
    organizations: BTreeMap<OrganizationId, Organization>,
    keys: BTreeMap<KeyId, StoredKey>,
    audit: AuditLog,
    realm: RealmRows,
}

impl KeyStore for Toy {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let rows = self.0.lock().unwrap();
        let organization = |key: &StoredKey| &rows.organizations[&key.record.organization_id];
        let mut keys = rows.keys.values();
        Ok(keys.find_map(|key| key.candidate(lookup, organization(key))))
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.1)
    }
}

impl ManagedStore for Toy {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        commit.check()?;
        let mut stored = self.0.lock().unwrap();
        // On a copy: all of it is stored, or nothing.
        let mut rows = stored.clone();
        let changes = rows.make(commit).map_err(StoreError::new)?;
        *stored = rows;
        drop(stored);
        self.1.announce(&changes);
        Ok(Committed::new(changes))
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let rows = &*self.0.lock().unwrap();
        let organizations = rows.organizations.values();
        Ok(match query {
            Query::Organization(id) => Answer::Organization(rows.organizations.get(&id).cloned()),
            Query::OrganizationBySlug(slug) => Answer::Organization(rows.by_slug(&slug).cloned()),
            Query::Organizations(filter, page) => Answer::Organizations(page.cut(&filter, organizations)?),
            Query::CountOrganizations(filter) => Answer::Count(Count::of_rows(&filter, organizations)),
            Query::Key(id) => Answer::Key(rows.keys.get(&id).cloned()),
            Query::Keys(filter, page) => Answer::Keys(page.cut(&filter, rows.keys.values())?),
            Query::CountKeys(filter) => Answer::Count(Count::of_rows(&filter, rows.keys.values())),
            query if query.is_of_audit() => rows.audit.read(query)?,
            Query::CountKeysOfForm { form, at } => Answer::Count(Count::of_form(rows.keys.values(), form, at)),
            other => rows.realm.read(other).map_err(StoreError::new)?,
        })
    }
}

impl Rows {
    fn make(&mut self, mut commit: Commit) -> Result<Vec<Change>, StoreErrorKind> {
        for guard in &commit.guards {
            check(self.holds(guard)?, guard.failure())?;
        }
        let mut changes = Vec::new();
        for write in std::mem::take(&mut commit.writes) {
            changes.extend(self.write(write)?);
        }
        tower_api_key::audit::emit(&self.audit.link(&commit));
        Ok(changes)
    }

    fn holds(&self, guard: &Guard) -> Result<bool, StoreErrorKind> {
        let key = |id| self.keys.get(id).map(|key| key.record.revision);
        let organization = |id| self.organizations.get(id).map(|row| row.revision);
        let keys_of = |id| self.keys.values().filter(move |key| key.record.organization_id == id);
        let is_live = |key: &&StoredKey| key.record.status != KeyStatus::Revoked;
        match guard {
            Guard::KeyRevision(id, revision) => Ok(key(id) == Some(*revision)),
            Guard::OrganizationRevision(id, revision) => Ok(organization(id) == Some(*revision)),
            Guard::LiveKeysBelow(id, limit) => Ok(keys_of(*id).filter(is_live).count() < *limit as usize),
            _ => Err(Unsupported),
        }
    }

    fn write(&mut self, write: Write) -> Result<Option<Change>, StoreErrorKind> {
        Ok(Some(match write {
            Write::InsertOrganization(row) => {
                let is_taken = self.organizations.contains_key(&row.id) || self.by_slug(&row.slug).is_some();
                check(!is_taken, AlreadyExists)?;
                let row = self.organizations.entry(row.id).or_insert(row);
                Change::new(row.id, row.revision)
            }
            Write::UpdateOrganization(row) => {
                let owner = self.by_slug(&row.slug).map(|owner| owner.id);
                check(owner.is_none_or(|id| id == row.id), AlreadyExists)?;
                replace_organization(self.organizations.get_mut(&row.id).ok_or(NotFound)?, row)?
            }
            Write::DeleteOrganization(id) => {
                check(self.keys.values().all(|key| key.record.organization_id != id), Conflict)?;
                Change::new(id, self.organizations.remove(&id).ok_or(NotFound)?.revision + 1)
            }
            Write::InsertKey(row) => {
                check(self.organizations.contains_key(&row.organization_id), NotFound)?;
                check(!self.keys.contains_key(&row.id), AlreadyExists)?;
                let key = self.keys.entry(row.id).or_insert(StoredKey::new(row, Vec::new()));
                Change::new(key.record.id, key.record.revision)
            }
            Write::UpdateKey(row) => self.keys.get_mut(&row.id).ok_or(NotFound)?.replace_record(row)?,
            Write::DeleteKey(id) => Change::new(id, self.keys.remove(&id).ok_or(NotFound)?.record.revision + 1),
            realm if realm.is_of_realm() => self.realm.write(realm)?,
            audit if audit.is_of_audit() => {
                self.audit.write(&audit)?;
                return Ok(None);
            }
            secret => {
                let id = match &secret {
                    Write::InsertSecret(_, new) if self.owner(&new.lookup).is_some() => return Err(AlreadyExists),
                    Write::ReplaceHash { lookup, .. } => self.owner(lookup).ok_or(Conflict)?,
                    other => other.key().ok_or(Unsupported)?,
                };
                self.keys.get_mut(&id).ok_or(NotFound)?.write_secret(secret)?;
                return Ok(None);
            }
        }))
    }

    fn by_slug(&self, slug: &str) -> Option<&Organization> {
        self.organizations.values().find(|row| row.slug == slug)
    }

    fn owner(&self, lookup: &Lookup) -> Option<KeyId> {
        let key = self.keys.values().find(|key| key.secret(lookup).is_some())?;
        Some(key.record.id)
    }
}

fn check(holds: bool, otherwise: StoreErrorKind) -> Result<(), StoreErrorKind> {
    holds.then_some(()).ok_or(otherwise)
}
