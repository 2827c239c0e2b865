//! Makes a commit, within a transaction.

mod again;
mod audit;
mod guard;
mod idempotency;
mod state;
mod taken;
mod uses;
mod write;

use std::time::Duration;

use uuid::Uuid;

use super::database::{Database, all, first};
use super::dialect::Statement;
use super::{MOST_ROWS, Statements, Value, key_values, organization_values, revision_value, server_secret_values};
use crate::audit::AuditEntry;
use crate::fence::Change;
use crate::key::{KeyRecord, Lookup, Organization, OrganizationId, SecretHash, ServerSecretRecord, Subject, Timestamp};
use crate::store::journal::Narrowed;
use crate::store::{Commit, Committed, StoreError, StoreErrorKind};

/// How many of the first columns of a server secret identify it.
const PLACE: usize = 3;

/// What makes a commit: a transaction of a database, and the statements that it runs.
pub(in crate::store) struct Command<'c, D> {
    database: &'c D,
    sql: &'c Statements,
    /// How much of the change log is in the journal of what is taken from keys, if there is one.
    journaled: Option<u64>,
}

/// A commit that was made, uncommitted.
pub(in crate::store) struct Made {
    pub(in crate::store) committed: Committed,
    /// The events that were linked.
    pub(in crate::store) entries: Vec<AuditEntry>,
    /// What the journal gets.
    pub(in crate::store) narrowed: Vec<Narrowed>,
}

impl<'c, D: Database> Command<'c, D> {
    pub(in crate::store) fn new(database: &'c D, sql: &'c Statements, journaled: Option<u64>) -> Self {
        Self {
            database,
            sql,
            journaled,
        }
    }

    /// Makes the commit, uncommitted. After an error the caller rolls back what was written of it.
    pub(in crate::store) async fn make(&self, commit: &Commit) -> Result<Made, StoreError> {
        commit.check()?;
        // First, in the order of their ids: where several can write at once, these rows are the lock of every change of an
        // organization.
        let mut heads = self.audit_heads(commit).await?;
        self.check(commit, false).await?;
        let (mut changes, mut narrowed) = (Vec::new(), Vec::new());
        for write in &commit.writes {
            if self.journaled.is_some() {
                narrowed.extend(self.taken(write).await?);
            }
            changes.extend(self.write(write).await?);
        }
        self.check(commit, true).await?;
        let entries = self.audit(commit, &mut heads).await?;
        Ok(Made {
            committed: Committed::new(changes),
            entries,
            narrowed,
        })
    }

    /// Whether the guards hold: those of the outcome, or all others.
    async fn check(&self, commit: &Commit, of_outcome: bool) -> Result<(), StoreError> {
        for guard in commit.guards.iter().filter(|guard| guard.is_of_outcome() == of_outcome) {
            if !self.holds(guard).await? {
                return Err(guard.failure().into());
            }
        }
        Ok(())
    }

    async fn purge_changes(&self, older_than: Duration) -> Result<Option<Change>, StoreError> {
        let most = Value::Integer(MOST_ROWS as i64);
        let rows = all(self.database, &self.sql.oldest_changes, &[most], |row| {
            // A time that someone has written by hand is none.
            Ok((row.count("key_changes.seq")?, row.time("key_changes.at").ok()))
        })
        .await?;
        let last = first(self.database, &self.sql.last_change, &[], |row| row.place()).await?;
        let now = self.database.now().await?;
        // Up to the last old one: a gap would look like a lost row, and one whose clock was ahead by years is no younger than those
        // after it. What the journal lacks, it is given from the log.
        let is_journaled = |seq| self.journaled.is_none_or(|through| seq <= through);
        let old = |(seq, at): &&(u64, Option<Timestamp>)| {
            at.is_some_and(|at| now.since(at) > older_than)
                && last.is_some_and(|last| *seq < last.seq)
                && is_journaled(*seq)
        };
        if let Some((seq, _)) = rows.iter().rfind(old) {
            self.execute(&self.sql.delete_changes, &[revision_value(*seq)?]).await?;
        }
        Ok(None)
    }

    /// Updates a row that names its revision. Its first `id` values identify it.
    async fn replace(
        &self,
        sql: &Statement,
        values: &[Value<'_>],
        exists: &Statement,
        id: usize,
    ) -> Result<(), StoreError> {
        if self.execute(sql, values).await? == 0 {
            let id: Vec<Value<'_>> = values.iter().take(id).cloned().collect();
            return Err(missed(self.exists(exists, &id).await?));
        }
        Ok(())
    }

    /// A change of a user is one of its organization, whose revision stays.
    async fn of_owner(&self, id: OrganizationId) -> Result<Change, StoreError> {
        let revision = self.number(&self.sql.organization_revision, id.as_uuid()).await?;
        let revision = revision.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?;
        Ok(Change::new(id, revision))
    }

    async fn update_server_secret(
        &self,
        was: &ServerSecretRecord,
        row: &ServerSecretRecord,
    ) -> Result<Change, StoreError> {
        let mut values = server_secret_values(row).to_vec();
        let place: Vec<Value<'_>> = values.iter().take(PLACE).cloned().collect();
        values.extend(server_secret_values(was).into_iter().skip(PLACE));
        if self.execute(&self.sql.update_server_secret, &values).await? == 0 {
            return Err(missed(self.exists(&self.sql.server_secret_exists, &place).await?));
        }
        Ok(realm_changed())
    }

    async fn update_organization(&self, row: &Organization) -> Result<Change, StoreError> {
        let revision = next_revision(row.revision)?;
        if self
            .execute(&self.sql.update_organization, &organization_values(row)?)
            .await?
            == 0
        {
            let exists = self
                .number(&self.sql.organization_revision, row.id.as_uuid())
                .await?
                .is_some();
            return Err(missed(exists));
        }
        Ok(Change::new(row.id, revision))
    }

    async fn update_key(&self, record: &KeyRecord) -> Result<Change, StoreError> {
        let revision = next_revision(record.revision)?;
        if self.execute(&self.sql.update_key, &key_values(record)?).await? == 0 {
            let values = [record.id.as_uuid().into(), record.organization_id.as_uuid().into()];
            return Err(missed(self.exists(&self.sql.owned_key_exists, &values).await?));
        }
        Ok(Change::new(record.id, revision))
    }

    async fn update_secret(
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
            .await
    }

    async fn replace_hash(
        &self,
        lookup: &Lookup,
        old: &SecretHash,
        new: &SecretHash,
    ) -> Result<Option<Change>, StoreError> {
        let values = [lookup.as_str(), old.as_str(), new.as_str()].map(Value::from);
        self.one(&self.sql.replace_hash, &values, StoreErrorKind::Conflict)
            .await
    }

    /// Deletes a row by its id; the revision of its deletion.
    async fn delete(&self, sql: &Statement, id: Uuid) -> Result<u64, StoreError> {
        // All rows are read, so that the statement runs to its end.
        let revisions = all(self.database, sql, &[id.into()], |row| row.count("revision")).await?;
        let revision = revisions
            .first()
            .ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))?;
        Ok(revision.saturating_add(1))
    }

    /// Writes one row that the fence is not told of by itself.
    async fn one(
        &self,
        sql: &Statement,
        values: &[Value<'_>],
        otherwise: StoreErrorKind,
    ) -> Result<Option<Change>, StoreError> {
        match self.execute(sql, values).await? {
            0 => Err(StoreError::new(otherwise)),
            _ => Ok(None),
        }
    }

    /// Inserts one row. A trigger of someone else's may skip it without an error.
    async fn insert(&self, sql: &Statement, values: &[Value<'_>]) -> Result<(), StoreError> {
        match self.execute(sql, values).await? {
            0 => Err(StoreError::with_source(
                StoreErrorKind::Unavailable,
                "an insert was skipped",
            )),
            _ => Ok(()),
        }
    }

    async fn execute(&self, sql: &Statement, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.database.execute(sql, values).await
    }

    async fn exists(&self, sql: &Statement, values: &[Value<'_>]) -> Result<bool, StoreError> {
        Ok(first(self.database, sql, values, |_| Ok(())).await?.is_some())
    }

    async fn number(&self, sql: &Statement, id: Uuid) -> Result<Option<u64>, StoreError> {
        first(self.database, sql, &[id.into()], |row| row.count("revision")).await
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
