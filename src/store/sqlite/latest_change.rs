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
use crate::store::sql::{Statements, revision_value};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// The latest row of the change log that this process has seen. Its last one is never deleted.
pub(super) struct LatestChange {
    fence: Fence,
    realm: Uuid,
    seen: Mutex<Option<LogRow>>,
}

/// Number and tag, which is random: after a restore, other rows get the same numbers.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct LogRow(u64, Uuid);

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

    /// This row was committed.
    pub(super) fn committed(&self, row: Option<LogRow>) {
        *unpoisoned(self.seen.lock()) = row;
    }

    fn is_there(&self, connection: &Connection, sql: &Statements, seen: Option<LogRow>) -> Result<bool, StoreError> {
        let Some(LogRow(seq, tag)) = seen else {
            return Ok(true);
        };
        let found = first(
            connection,
            &sql.change_exists,
            &[revision_value(seq)?, tag.into()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    fn start_over(&self, connection: &Connection, sql: &Statements, missing: Option<LogRow>) -> Result<(), StoreError> {
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
pub(super) fn latest(connection: &Connection, sql: &Statements) -> Result<Option<LogRow>, StoreError> {
    first(connection, &sql.latest_change, &[], |row| {
        let (seq, tag) = row.log_row()?;
        Ok(LogRow(seq, tag))
    })
}

fn realm(connection: &Connection, sql: &Statements) -> Result<Uuid, StoreError> {
    let realm = first(connection, &sql.realm, &[], |row| row.realm())?;
    let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
    Ok(realm.ok_or_else(missing)?.id.as_uuid())
}
