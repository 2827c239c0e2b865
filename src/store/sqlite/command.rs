//! Makes a commit, within a transaction of the writer's.

mod again;
mod audit;
mod guard;
mod state;
mod taken;
mod uses;

use std::time::Duration;

use rusqlite::Connection;
use uuid::Uuid;

use super::value::{all, execute, first};
use crate::audit::AuditEntry;
use crate::fence::Change;
use crate::key::{KeyRecord, Lookup, Organization, OrganizationId, SecretHash, ServerSecretRecord, Subject, Timestamp};
use crate::store::journal::Narrowed;
use crate::store::sql::{
    MOST_ROWS, Statements, Value, key_values, known_scope_values, organization_values, plan_values, realm_values,
    refusal_count_values, refusal_values, revision_value, role_values, secret_values, server_secret_values,
    user_values,
};
use crate::store::{Commit, Committed, StoreError, StoreErrorKind, Write};

/// How many of the first columns of a server secret identify it.
const PLACE: usize = 3;

/// What makes a commit: a connection, and the statements that it runs.
pub(super) struct Command<'c> {
    connection: &'c Connection,
    sql: &'c Statements,
    /// How much of the change log is in the journal of what is taken from keys, if there is one.
    journaled: Option<u64>,
}

/// A commit that was made, uncommitted.
pub(super) struct Made {
    pub(super) committed: Committed,
    /// The events that were linked.
    pub(super) entries: Vec<AuditEntry>,
    /// What the journal gets.
    pub(super) narrowed: Vec<Narrowed>,
}

impl<'c> Command<'c> {
    pub(super) fn new(connection: &'c Connection, sql: &'c Statements, journaled: Option<u64>) -> Self {
        Self {
            connection,
            sql,
            journaled,
        }
    }

    /// Makes the commit, uncommitted. After an error the caller rolls back what was written of it.
    pub(super) fn make(&self, commit: &Commit) -> Result<Made, StoreError> {
        commit.check()?;
        // First, in the order of their ids: where several can write at once, these rows are the lock of every change of an
        // organization.
        let mut heads = self.audit_heads(commit)?;
        commit.check_guards(|guard| self.holds(guard))?;
        let (mut changes, mut narrowed) = (Vec::new(), Vec::new());
        for write in &commit.writes {
            if self.journaled.is_some() {
                narrowed.extend(self.taken(write)?);
            }
            changes.extend(self.write(write)?);
        }
        commit.check_outcome(|guard| self.holds(guard))?;
        let entries = self.audit(commit, &mut heads)?;
        Ok(Made {
            committed: Committed::new(changes),
            entries,
            narrowed,
        })
    }

    fn write(&self, write: &Write) -> Result<Option<Change>, StoreError> {
        match write {
            Write::InsertOrganization(row) => {
                self.insert(&self.sql.insert_organization, &organization_values(row)?)?;
                Ok(Some(Change::new(row.id, row.revision)))
            }
            Write::UpdateOrganization(row) => self.update_organization(row).map(Some),
            Write::DeleteOrganization(id) => {
                if self.exists(&self.sql.organization_is_used, &[id.as_uuid().into()])? {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
                let revision = self.delete(&self.sql.delete_organization, id.as_uuid())?;
                Ok(Some(Change::new(*id, revision)))
            }
            Write::InsertKey(record) => {
                self.insert(&self.sql.insert_key, &key_values(record)?)?;
                Ok(Some(Change::new(record.id, record.revision)))
            }
            Write::UpdateKey(record) => self.update_key(record).map(Some),
            Write::SetKeyState(change) => self.set_key_state(change).map(Some),
            Write::DeleteKey(id) => {
                self.execute(&self.sql.delete_secrets, &[id.as_uuid().into()])?;
                let revision = self.delete(&self.sql.delete_key, id.as_uuid())?;
                Ok(Some(Change::new(*id, revision)))
            }
            Write::InsertSecret(key, secret) => {
                self.insert(&self.sql.insert_secret, &secret_values(key.as_uuid(), secret))?;
                Ok(None)
            }
            Write::UpdateSecret {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => self.update_secret(key.as_uuid(), lookup, *expires_at, *grace_ends_at),
            Write::DeleteSecret { key, lookup } => {
                let values = [lookup.as_str().into(), key.as_uuid().into()];
                self.one(&self.sql.delete_secret, &values, StoreErrorKind::NotFound)
            }
            Write::ReplaceHash { lookup, old, new } => self.replace_hash(lookup, old, new),
            Write::UpdateRealm { was, row } => {
                let values = realm_values(row, was);
                self.one(&self.sql.update_realm, &values, StoreErrorKind::Conflict)?;
                Ok(Some(realm_changed()))
            }
            Write::AdoptRealm { was, row } => {
                let values = [row.id.as_uuid().into(), was.id.as_uuid().into()];
                self.one(&self.sql.adopt_realm, &values, StoreErrorKind::Conflict)?;
                Ok(Some(realm_changed()))
            }
            Write::InsertServerSecret(row) => {
                self.insert(&self.sql.insert_server_secret, &server_secret_values(row))?;
                Ok(Some(realm_changed()))
            }
            Write::UpdateServerSecret { was, row } => self.update_server_secret(was, row).map(Some),
            Write::PurgeChanges { older_than } => self.purge_changes(*older_than),
            Write::DeleteServerSecret { purpose, id, number } => {
                let values = [
                    purpose.as_str().into(),
                    Value::from(&**id),
                    Value::Integer((*number).into()),
                ];
                self.one(&self.sql.delete_server_secret, &values, StoreErrorKind::NotFound)?;
                Ok(Some(realm_changed()))
            }
            Write::CountRefusals(count) => {
                self.insert(&self.sql.audit.count_refusals, &refusal_count_values(count)?)?;
                Ok(None)
            }
            Write::InsertRefusal(sample) => {
                self.insert(&self.sql.audit.insert_refusal, &refusal_values(sample))?;
                Ok(None)
            }
            Write::PruneRefusals { before } => {
                for statement in [&self.sql.audit.prune_refusal_counts, &self.sql.audit.prune_refusals] {
                    self.execute(statement, &[(*before).into()])?;
                }
                Ok(None)
            }
            Write::ForgetOrigins { before } => {
                for statement in [&self.sql.audit.forget_origins, &self.sql.uses.forget_old_addresses] {
                    self.execute(statement, &[(*before).into()])?;
                }
                Ok(None)
            }
            Write::ForgetPersonal(forget) => self.forget(forget).map(|()| None),
            Write::PruneAudit { organization, through } => self.prune(*organization, *through).map(|()| None),
            Write::AddUses(batch) => self.add_uses(batch).map(|()| None),
            Write::PruneUseSources { before } => {
                self.execute(&self.sql.uses.prune_sources, &[(*before).into()])?;
                Ok(None)
            }
            Write::HoldLease { task, holder, lasts } => self.hold_lease(task, *holder, *lasts).map(|()| None),
            Write::InsertPlan(row) => {
                self.insert(&self.sql.insert_plan, &plan_values(row)?)?;
                Ok(Some(Change::new(row.id, row.revision)))
            }
            Write::UpdatePlan(row) => {
                let revision = next_revision(row.revision)?;
                self.replace(&self.sql.update_plan, &plan_values(row)?, &self.sql.plan_exists, 1)?;
                Ok(Some(Change::new(row.id, revision)))
            }
            Write::DeletePlan(id) => {
                if self.exists(&self.sql.plan_is_used, &[id.as_uuid().into()])? {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
                let revision = self.delete(&self.sql.delete_plan, id.as_uuid())?;
                Ok(Some(Change::new(*id, revision)))
            }
            Write::InsertUser(row) => {
                self.insert(&self.sql.insert_user, &user_values(row)?)?;
                self.of_owner(row.organization_id).map(Some)
            }
            Write::UpdateUser(row) => {
                next_revision(row.revision)?;
                self.replace(&self.sql.update_user, &user_values(row)?, &self.sql.user_exists, 2)?;
                self.of_owner(row.organization_id).map(Some)
            }
            Write::DeleteUser(organization, user) => {
                let values = [organization.as_uuid().into(), user.as_str().into()];
                if self.exists(&self.sql.user_is_used, &values)? && self.exists(&self.sql.user_exists, &values)? {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
                self.one(&self.sql.delete_user, &values, StoreErrorKind::NotFound)?;
                self.of_owner(*organization).map(Some)
            }
            Write::InsertRole(row) => {
                self.insert(&self.sql.insert_role, &role_values(row)?)?;
                Ok(Some(realm_changed()))
            }
            Write::UpdateRole(row) => {
                next_revision(row.revision)?;
                self.replace(&self.sql.update_role, &role_values(row)?, &self.sql.role_exists, 1)?;
                Ok(Some(realm_changed()))
            }
            Write::DeleteRole(name) => {
                self.one(&self.sql.delete_role, &[Value::from(&**name)], StoreErrorKind::NotFound)?;
                Ok(Some(realm_changed()))
            }
            Write::InsertScope(row) => {
                self.insert(&self.sql.insert_scope, &known_scope_values(row))?;
                Ok(Some(realm_changed()))
            }
            Write::DeleteScope(scope) => {
                self.one(
                    &self.sql.delete_scope,
                    &[scope.as_str().into()],
                    StoreErrorKind::NotFound,
                )?;
                Ok(Some(realm_changed()))
            }
        }
    }

    fn purge_changes(&self, older_than: Duration) -> Result<Option<Change>, StoreError> {
        let most = Value::Integer(MOST_ROWS as i64);
        let rows = all(self.connection, &self.sql.oldest_changes, &[most], |row| {
            // A time that someone has written by hand is none.
            Ok((row.count("key_changes.seq")?, row.time("key_changes.at").ok()))
        })?;
        let last = first(self.connection, &self.sql.last_change, &[], |row| row.place())?;
        let now = Timestamp::now();
        // Up to the last old one: a gap would look like a lost row, and one whose clock was ahead by years is no younger than those
        // after it. What the journal lacks, it is given from the log.
        let is_journaled = |seq| self.journaled.is_none_or(|through| seq <= through);
        let old = |(seq, at): &&(u64, Option<Timestamp>)| {
            at.is_some_and(|at| now.since(at) > older_than)
                && last.is_some_and(|last| *seq < last.seq)
                && is_journaled(*seq)
        };
        if let Some((seq, _)) = rows.iter().rfind(old) {
            self.execute(&self.sql.delete_changes, &[revision_value(*seq)?])?;
        }
        Ok(None)
    }

    /// Updates a row that names its revision. Its first `id` values identify it.
    fn replace(&self, sql: &str, values: &[Value<'_>], exists: &str, id: usize) -> Result<(), StoreError> {
        if self.execute(sql, values)? == 0 {
            let id: Vec<Value<'_>> = values.iter().take(id).cloned().collect();
            return Err(missed(self.exists(exists, &id)?));
        }
        Ok(())
    }

    /// A change of a user is one of its organization, whose revision stays.
    fn of_owner(&self, id: OrganizationId) -> Result<Change, StoreError> {
        let revision = self.number(&self.sql.organization_revision, id.as_uuid())?;
        let revision = revision.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?;
        Ok(Change::new(id, revision))
    }

    fn update_server_secret(&self, was: &ServerSecretRecord, row: &ServerSecretRecord) -> Result<Change, StoreError> {
        let mut values = server_secret_values(row).to_vec();
        let place: Vec<Value<'_>> = values.iter().take(PLACE).cloned().collect();
        values.extend(server_secret_values(was).into_iter().skip(PLACE));
        if self.execute(&self.sql.update_server_secret, &values)? == 0 {
            return Err(missed(self.exists(&self.sql.server_secret_exists, &place)?));
        }
        Ok(realm_changed())
    }

    fn update_organization(&self, row: &Organization) -> Result<Change, StoreError> {
        let revision = next_revision(row.revision)?;
        if self.execute(&self.sql.update_organization, &organization_values(row)?)? == 0 {
            let exists = self
                .number(&self.sql.organization_revision, row.id.as_uuid())?
                .is_some();
            return Err(missed(exists));
        }
        Ok(Change::new(row.id, revision))
    }

    fn update_key(&self, record: &KeyRecord) -> Result<Change, StoreError> {
        let revision = next_revision(record.revision)?;
        if self.execute(&self.sql.update_key, &key_values(record)?)? == 0 {
            let values = [record.id.as_uuid().into(), record.organization_id.as_uuid().into()];
            return Err(missed(self.exists(&self.sql.owned_key_exists, &values)?));
        }
        Ok(Change::new(record.id, revision))
    }

    fn update_secret(
        &self,
        key: Uuid,
        lookup: &Lookup,
        expires_at: Option<Timestamp>,
        grace_ends_at: Option<Timestamp>,
    ) -> Result<Option<Change>, StoreError> {
        let values = [
            lookup.as_str().into(),
            key.into(),
            expires_at.into(),
            grace_ends_at.into(),
        ];
        self.one(&self.sql.update_secret, &values, StoreErrorKind::NotFound)
    }

    fn replace_hash(&self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Result<Option<Change>, StoreError> {
        let values = [lookup.as_str(), old.as_str(), new.as_str()].map(Value::from);
        self.one(&self.sql.replace_hash, &values, StoreErrorKind::Conflict)
    }

    /// Deletes a row by its id; the revision of its deletion.
    fn delete(&self, sql: &str, id: Uuid) -> Result<u64, StoreError> {
        // All rows are read, so that the statement runs to its end.
        let revisions = all(self.connection, sql, &[id.into()], |row| row.count("revision"))?;
        let revision = revisions
            .first()
            .ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?;
        Ok(revision.saturating_add(1))
    }

    /// Writes one row that the fence is not told of by itself.
    fn one(&self, sql: &str, values: &[Value<'_>], otherwise: StoreErrorKind) -> Result<Option<Change>, StoreError> {
        match self.execute(sql, values)? {
            0 => Err(StoreError::new(otherwise)),
            _ => Ok(None),
        }
    }

    /// Inserts one row. A trigger of someone else's may skip it without an error.
    fn insert(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        match self.execute(sql, values)? {
            0 => Err(StoreError::with_source(
                StoreErrorKind::Unavailable,
                "an insert was skipped",
            )),
            _ => Ok(()),
        }
    }

    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
        execute(self.connection, sql, values)
    }

    fn exists(&self, sql: &str, values: &[Value<'_>]) -> Result<bool, StoreError> {
        Ok(first(self.connection, sql, values, |_| Ok(()))?.is_some())
    }

    fn number(&self, sql: &str, id: Uuid) -> Result<Option<u64>, StoreError> {
        first(self.connection, sql, &[id.into()], |row| row.count("revision"))
    }
}

/// The realm has no revision.
fn realm_changed() -> Change {
    Change::new(Subject::Realm, 0)
}

/// The revision after an update, if the database can count to it.
fn next_revision(revision: u64) -> Result<u64, StoreError> {
    let next = revision.saturating_add(1);
    revision_value(next)?;
    Ok(next)
}

/// Why an update met no row.
fn missed(exists: bool) -> StoreError {
    StoreError::new(match exists {
        true => StoreErrorKind::Conflict,
        false => StoreErrorKind::NotFound,
    })
}
