//! A store over maps, as a sketch of what another backend has to write. It has no change log, and passes the kit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tower_api_key::Fence;
use tower_api_key::key::{KeyId, Lookup, Organization, OrganizationId};
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
    shared: SharedRows,
    uses: UseRows,
    idempotency: IdempotencyRows,
}

impl KeyStore for Toy {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let rows = self.0.lock().unwrap();
        let mut keys = rows.keys.values();
        let found = keys.find_map(|key| key.candidate(lookup, &rows.organizations[&key.record.organization_id]));
        Ok(found.map(|candidate| rows.shared.complete(candidate)))
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
        let mut all = rows.organizations.values();
        Ok(match query {
            Query::Organization(id) => Answer::Organization(rows.organizations.get(&id).cloned()),
            Query::OrganizationBySlug(slug) => Answer::Organization(all.find(|row| row.slug == slug).cloned()),
            Query::OrganizationByEmail(of) => Answer::Organization(all.find(|row| row.has_email(&of)).cloned()),
            Query::Organizations(filter, page) => Answer::Organizations(page.cut(&filter, all)?),
            Query::CountOrganizations(filter) => Answer::Count(Count::of_rows(&filter, all)),
            Query::Key(id) => Answer::Key(rows.keys.get(&id).cloned()),
            Query::KeyByHash(hash) => Answer::Key(rows.keys.values().find(|key| key.has_hash(&hash)).cloned()),
            Query::EndedKeys(ended) => Answer::KeyRecords(ended.among(rows.keys.values())),
            Query::Keys(filter, page) => Answer::Keys(page.cut(&filter, rows.keys.values())?),
            Query::DescendantsOf(of) => Answer::KeyRecords(of.among(rows.keys.values())),
            Query::CountKeys(filter) => Answer::Count(Count::of_rows(&filter, rows.keys.values())),
            query if query.is_of_use() => rows.uses.read(query, &rows.keys)?,
            query if query.is_of_idempotency() => rows.idempotency.read(query)?,
            query if query.is_of_audit() => rows.audit.read(query)?,
            Query::CountKeysOfForm { form, at } => Answer::Count(Count::of_form(rows.keys.values(), form, at)),
            other => rows.shared.read(other)?,
        })
    }
}

impl Rows {
    fn make(&mut self, mut commit: Commit) -> Result<Vec<Change>, StoreErrorKind> {
        commit.check_guards(|guard| self.holds(guard))?;
        let writes = std::mem::take(&mut commit.writes).into_iter();
        let changes = writes.filter_map(|write| self.write(write).transpose());
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        commit.check_outcome(|guard| self.holds(guard))?;
        self.uses.retain(&self.keys);
        tower_api_key::audit::emit(&self.audit.link(&commit));
        Ok(changes)
    }

    fn holds(&self, guard: &Guard) -> Result<bool, StoreErrorKind> {
        Ok(self.shared.holds(guard, &self.organizations, &self.keys))
    }

    fn write(&mut self, write: Write) -> Result<Option<Change>, StoreErrorKind> {
        Ok(Some(match write {
            Write::InsertOrganization(row) => {
                check(!self.organizations.contains_key(&row.id), AlreadyExists)?;
                self.shared.check_organization(&row, &self.organizations)?;
                let row = self.organizations.entry(row.id).or_insert(row);
                Change::new(row.id, row.revision)
            }
            Write::UpdateOrganization(row) => {
                self.shared.check_organization(&row, &self.organizations)?;
                replace_organization(self.organizations.get_mut(&row.id).ok_or(NotFound)?, row)?
            }
            Write::DeleteOrganization(id) => {
                let has_keys = self.keys.values().any(|key| key.record.organization_id == id);
                check(!has_keys && !self.shared.has_users(id), Conflict)?;
                self.idempotency.delete_of(id);
                Change::new(id, self.organizations.remove(&id).ok_or(NotFound)?.revision + 1)
            }
            Write::InsertKey(row) => {
                check(self.organizations.contains_key(&row.organization_id), NotFound)?;
                check(!self.keys.contains_key(&row.id), AlreadyExists)?;
                let key = self.keys.entry(row.id).or_insert(StoredKey::new(row, Vec::new()));
                Change::new(key.record.id, key.record.revision)
            }
            Write::UpdateKey(row) => self.keys.get_mut(&row.id).ok_or(NotFound)?.replace_record(row)?,
            Write::SetKeyState(change) => self.keys.get_mut(&change.key).ok_or(NotFound)?.set_state(change)?,
            Write::DeleteKey(id) => Change::new(id, self.keys.remove(&id).ok_or(NotFound)?.record.revision + 1),
            row if row.is_shared() => self.shared.write(row, &self.organizations, &self.keys)?,
            other if other.is_of_idempotency() => return self.idempotency.write(&other).map(|()| None),
            other if other.is_of_audit() || other.is_of_use() => {
                if other.is_of_audit() {
                    self.audit.write(&other, &self.keys)?;
                }
                if matches!(other, Write::ForgetPersonal(_)) {
                    self.idempotency.write(&other)?;
                }
                self.uses.write(&other, &self.keys)?;
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

    fn owner(&self, lookup: &Lookup) -> Option<KeyId> {
        Some(self.keys.values().find(|key| key.secret(lookup).is_some())?.record.id)
    }
}

fn check(holds: bool, otherwise: StoreErrorKind) -> Result<(), StoreErrorKind> {
    holds.then_some(()).ok_or(otherwise)
}
