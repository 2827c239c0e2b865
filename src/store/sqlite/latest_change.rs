//! Whether the database still has the latest change of this process, or was set back to an older state: `.restore` of SQLite's
//! own program puts a backup in through SQLite, so the files stay as they are.
//!
//! A fence that goes on as before would contradict for good: it has announced revisions that no record has any more.

use std::sync::Mutex;

use rusqlite::Connection;
use uuid::Uuid;

use super::fault::Unusable;
use super::value::first;
use crate::fence::Fence;
use crate::store::sql::{Place, Statements, Value, revision_value};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// The latest row of the change log that this process has seen.
pub(super) struct LatestChange {
    fence: Fence,
    realm: Uuid,
    seen: Mutex<Option<Place>>,
}

impl LatestChange {
    pub(super) fn of(connection: &Connection, sql: &Statements, fence: Fence) -> Result<Self, StoreError> {
        Ok(Self {
            fence,
            realm: realm(connection, sql)?,
            seen: Mutex::new(latest(connection, sql)?),
        })
    }

    /// Looks whether the change is still there, before something is read; if it is not, every cached answer is read again, and no
    /// revision counts as the least.
    ///
    /// # Errors
    /// When the database is another one. Its keys, and its secrets, are not those of this process.
    pub(super) fn check(&self, connection: &Connection, sql: &Statements) -> Result<(), StoreError> {
        // Before the statement that looks for it, which sees all that was committed by then.
        let seen = *unpoisoned(self.seen.lock());
        match self.is_there(connection, sql, seen)? {
            true => Ok(()),
            false => self.start_over(connection, sql, seen),
        }
    }

    /// The same within a transaction that writes.
    ///
    /// # Errors
    /// Also when it was set back: what is to be written was decided over rows that are gone.
    pub(super) fn check_write(&self, connection: &Connection, sql: &Statements) -> Result<(), StoreError> {
        let seen = *unpoisoned(self.seen.lock());
        if self.is_there(connection, sql, seen)? {
            return Ok(());
        }
        self.start_over(connection, sql, seen)?;
        Err(StoreError::with_source(
            StoreErrorKind::Unavailable,
            "the database was set back to an older state, as by a restored backup; try again",
        ))
    }

    /// This row was committed, or seen in the log.
    pub(super) fn saw(&self, row: Place) {
        let mut seen = unpoisoned(self.seen.lock());
        if seen.is_none_or(|seen| seen.seq < row.seq) {
            *seen = Some(row);
        }
    }

    fn is_there(&self, connection: &Connection, sql: &Statements, seen: Option<Place>) -> Result<bool, StoreError> {
        let Some(seen) = seen else {
            return Ok(true);
        };
        let there = first(connection, &sql.change, &[revision_value(seen.seq)?], |row| row.place())?;
        if let Some(there) = there {
            return Ok(there == seen);
        }
        // Old rows are deleted in time, up to one that is kept.
        let oldest = first(connection, &sql.oldest_changes, &[Value::Integer(1)], |row| {
            row.count("key_changes.seq")
        })?;
        Ok(oldest.is_some_and(|oldest| oldest > seen.seq))
    }

    fn start_over(&self, connection: &Connection, sql: &Statements, missing: Option<Place>) -> Result<(), StoreError> {
        if realm(connection, sql)? != self.realm {
            return Err(Unusable::OtherRealm.into());
        }
        let now = latest(connection, sql)?;
        {
            let mut seen = unpoisoned(self.seen.lock());
            if *seen != missing {
                return Ok(());
            }
            *seen = now;
        }
        tracing::warn!(
            "the database was set back to an older state: keys that were revoked since are valid again, and keys that were \
             issued since are unknown"
        );
        self.fence.set_back();
        Ok(())
    }
}

/// The last row of the change log.
fn latest(connection: &Connection, sql: &Statements) -> Result<Option<Place>, StoreError> {
    first(connection, &sql.last_change, &[], |row| row.place())
}

fn realm(connection: &Connection, sql: &Statements) -> Result<Uuid, StoreError> {
    let realm = first(connection, &sql.realm, &[], |row| row.realm())?;
    let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
    Ok(realm.ok_or_else(missing)?.id.as_uuid())
}
