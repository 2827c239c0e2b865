//! How the rows are changed: all of a commit, or nothing of it.

use std::time::Duration;

use super::tables::Tables;
use crate::audit::AuditEntry;
use crate::fence::Change;
use crate::key::{KeyId, Lookup, Organization, OrganizationId, folded};
use crate::store::{
    Commit, Committed, Guard, SharedRow, StoreError, StoreErrorKind, StoredKey, Write, replace_organization,
};

impl Tables {
    /// Makes a commit; with the events that were linked.
    pub(super) fn commit(&mut self, mut commit: Commit) -> Result<(Committed, Vec<AuditEntry>), StoreError> {
        commit.check()?;
        commit
            .check_guards(|guard| Ok(self.holds(guard)))
            .map_err(StoreError::new)?;
        let mut transaction = Transaction {
            tables: self,
            before: Vec::new(),
            changes: Vec::new(),
            logged: Vec::new(),
            purge: None,
            last: Vec::new(),
        };
        for write in std::mem::take(&mut commit.writes) {
            if let Err(kind) = transaction.write(write) {
                transaction.roll_back();
                return Err(StoreError::new(kind));
            }
        }
        if let Err(kind) = commit.check_outcome(|guard| Ok(transaction.tables.holds(guard))) {
            transaction.roll_back();
            return Err(StoreError::new(kind));
        }
        let Transaction {
            changes,
            logged,
            purge,
            last,
            before,
            ..
        } = transaction;
        for row in &before {
            match row {
                Before::Key(id, Some(_)) => self.uses.keep(*id, self.keys.get(id)),
                Before::Organization(id, Some(_)) if !self.organizations.contains_key(id) => {
                    self.idempotency.delete_of(*id)
                }
                _ => {}
            }
        }
        if let Some(older_than) = purge {
            self.purge_log(older_than);
        }
        for change in logged {
            self.log(change);
        }
        for write in &last {
            // It was looked whether it can be made, and nothing came in between but another one of its kind.
            let _ = self.audit.write(write, &self.keys);
            let _ = self.uses.write(write, &self.keys);
            let _ = self.idempotency.write(write);
        }
        let entries = self.audit.link(&commit);
        Ok((Committed::new(changes), entries))
    }

    fn holds(&self, guard: &Guard) -> bool {
        self.shared.holds(guard, &self.organizations, &self.keys)
    }
}

/// A commit under way. Keys and organizations change through `set_key` and `set_organization`, which keep what was before.
struct Transaction<'t> {
    tables: &'t mut Tables,
    before: Vec<Before>,
    changes: Vec<Change>,
    /// Those that the change log gets: inserts are not among them.
    logged: Vec<Change>,
    /// Done at the end, since nothing puts the rows back.
    purge: Option<Duration>,
    /// Writes of the audit trail, of uses and of idempotency keys, made last, since they cannot be undone.
    last: Vec<Write>,
}

/// A row before a write; `None` if it did not exist.
#[allow(
    clippy::large_enum_variant,
    reason = "keys are the usual case, and it lives as long as a commit"
)]
enum Before {
    Organization(OrganizationId, Option<Organization>),
    Key(KeyId, Option<StoredKey>),
    Shared(SharedRow),
}

impl Transaction<'_> {
    fn write(&mut self, write: Write) -> Result<(), StoreErrorKind> {
        match write {
            Write::InsertOrganization(row) => {
                if self.tables.organizations.contains_key(&row.id) {
                    return Err(StoreErrorKind::AlreadyExists);
                }
                self.check_organization(&row)?;
                self.changes.push(Change::new(row.id, row.revision));
                self.set_organization(row.id, Some(row));
            }
            Write::UpdateOrganization(row) => {
                let stored = self.tables.organizations.get(&row.id);
                let mut stored = stored.cloned().ok_or(StoreErrorKind::NotFound)?;
                let change = replace_organization(&mut stored, row)?;
                self.check_organization(&stored)?;
                self.changed(change);
                self.set_organization(stored.id, Some(stored));
            }
            Write::DeleteOrganization(id) => {
                let stored = self.tables.organizations.get(&id).ok_or(StoreErrorKind::NotFound)?;
                let mut keys = self.tables.keys.values();
                if keys.any(|key| key.record.organization_id == id) || self.tables.shared.has_users(id) {
                    return Err(StoreErrorKind::Conflict);
                }
                self.changed(Change::new(id, stored.revision.saturating_add(1)));
                self.set_organization(id, None);
            }
            Write::InsertKey(record) => {
                if !self.tables.organizations.contains_key(&record.organization_id) {
                    return Err(StoreErrorKind::NotFound);
                }
                if self.tables.keys.contains_key(&record.id) {
                    return Err(StoreErrorKind::AlreadyExists);
                }
                self.changes.push(Change::new(record.id, record.revision));
                self.set_key(record.id, Some(StoredKey::new(record, Vec::new())));
            }
            Write::UpdateKey(record) => {
                let mut key = self.key(record.id)?;
                let change = key.replace_record(record)?;
                self.changed(change);
                self.set_key(key.record.id, Some(key));
            }
            Write::SetKeyState(change) => {
                let mut key = self.key(change.key)?;
                let change = key.set_state(change)?;
                self.changed(change);
                self.set_key(key.record.id, Some(key));
            }
            Write::DeleteKey(id) => {
                let revision = self.key(id)?.record.revision.saturating_add(1);
                self.changed(Change::new(id, revision));
                self.set_key(id, None);
            }
            Write::PurgeChanges { older_than } => self.purge = Some(older_than),
            write if write.is_of_audit() => {
                self.tables.audit.check(&write)?;
                self.last.push(write);
            }
            write if write.is_of_use() => {
                self.tables.uses.check(&write)?;
                self.last.push(write);
            }
            write if write.is_of_idempotency() => {
                self.tables.idempotency.check(&write)?;
                self.last.push(write);
            }
            write if write.is_shared() => {
                // No key is of a plan that is new.
                let is_logged = !matches!(write, Write::InsertPlan(_));
                let tables = &mut *self.tables;
                let (change, row) = tables.shared.prepare(write, &tables.organizations, &tables.keys)?;
                self.before.push(Before::Shared(tables.shared.put(row)));
                match is_logged {
                    true => self.changed(change),
                    false => self.changes.push(change),
                }
            }
            write => self.write_secret(write)?,
        }
        Ok(())
    }

    /// A change of a secret is one of its key, which the same commit writes.
    fn write_secret(&mut self, write: Write) -> Result<(), StoreErrorKind> {
        let id = match &write {
            Write::InsertSecret(_, secret) if self.tables.lookups.contains_key(&secret.lookup) => {
                return Err(StoreErrorKind::AlreadyExists);
            }
            Write::ReplaceHash { lookup, .. } => {
                let owner = self.tables.lookups.get(lookup);
                *owner.ok_or(StoreErrorKind::Conflict)?
            }
            write => write.key().ok_or(StoreErrorKind::Unsupported)?,
        };
        let mut key = self.key(id)?;
        key.write_secret(write)?;
        self.set_key(id, Some(key));
        Ok(())
    }

    /// Whether slug and e-mail address are free, and the plan is there.
    fn check_organization(&self, row: &Organization) -> Result<(), StoreErrorKind> {
        let tables = &self.tables;
        let is_another = |owner: &OrganizationId| *owner != row.id;
        let email = row.email.as_deref().map(folded);
        let is_another_operator = |other: &Organization| other.is_operator && other.id != row.id;
        if tables.slugs.get(&row.slug).is_some_and(is_another)
            || (row.is_operator && tables.organizations.values().any(is_another_operator))
            || email.is_some_and(|email| tables.emails.get(&email).is_some_and(is_another))
        {
            return Err(StoreErrorKind::AlreadyExists);
        }
        tables.shared.check_plan(row)
    }

    fn key(&self, id: KeyId) -> Result<StoredKey, StoreErrorKind> {
        self.tables.keys.get(&id).cloned().ok_or(StoreErrorKind::NotFound)
    }

    fn changed(&mut self, change: Change) {
        self.changes.push(change);
        self.logged.push(change);
    }

    fn set_organization(&mut self, id: OrganizationId, row: Option<Organization>) {
        let before = put_organization(self.tables, id, row);
        self.before.push(Before::Organization(id, before));
    }

    fn set_key(&mut self, id: KeyId, key: Option<StoredKey>) {
        let before = put_key(self.tables, id, key);
        self.before.push(Before::Key(id, before));
    }

    fn roll_back(self) {
        for before in self.before.into_iter().rev() {
            match before {
                Before::Organization(id, row) => drop(put_organization(self.tables, id, row)),
                Before::Key(id, key) => drop(put_key(self.tables, id, key)),
                Before::Shared(row) => drop(self.tables.shared.put(row)),
            }
        }
    }
}

/// Puts a row with its slug and address, or takes it away; returns the one before.
fn put_organization(tables: &mut Tables, id: OrganizationId, row: Option<Organization>) -> Option<Organization> {
    let slug = row.as_ref().map(|row| row.slug.clone());
    let email = row.as_ref().and_then(|row| row.email.as_deref()).map(folded);
    let before = match row {
        Some(row) => tables.organizations.insert(id, row),
        None => tables.organizations.remove(&id),
    };
    if let Some(before) = &before {
        tables.slugs.remove(&before.slug);
        let email = before.email.as_deref().map(folded);
        email.and_then(|email| tables.emails.remove(&email));
    }
    tables.slugs.extend(slug.map(|slug| (slug, id)));
    tables.emails.extend(email.map(|email| (email, id)));
    before
}

/// The same for a key, with its lookups.
fn put_key(tables: &mut Tables, id: KeyId, key: Option<StoredKey>) -> Option<StoredKey> {
    let new: Vec<Lookup> = key
        .iter()
        .flat_map(|key| &key.secrets)
        .map(|secret| secret.lookup.clone())
        .collect();
    let before = match key {
        Some(key) => tables.keys.insert(id, key),
        None => tables.keys.remove(&id),
    };
    for secret in before.iter().flat_map(|key| &key.secrets) {
        tables.lookups.remove(&secret.lookup);
    }
    tables.lookups.extend(new.into_iter().map(|lookup| (lookup, id)));
    before
}
