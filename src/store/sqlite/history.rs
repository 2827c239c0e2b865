//! Where a database stands in its own history: its identity, and the rows of its change log.

use rusqlite::Connection;
use uuid::Uuid;

use super::value::all;
use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::journal::{History, JournalDatabase, Narrowed, RowName, TakenAgain};
use crate::store::sql::{self, Command, LogEntry, Place, Statements, Value, at_once, revision_value};

/// A row of the change log that no cached answer depends on.
pub(super) const QUIET: &str = "INSERT INTO api_keys_key_changes (tag, kind, id, revision, at) VALUES (randomblob(16), 0, zeroblob(16), 0, \
     CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))";

pub(super) fn is_there(connection: &Connection, sql: &Statements, place: Place) -> Result<bool, StoreError> {
    at_once(sql::is_there(connection, sql, place))
}

pub(super) fn latest(connection: &Connection, sql: &Statements) -> Result<Option<Place>, StoreError> {
    at_once(sql::latest(connection, sql))
}

pub(super) fn realm(connection: &Connection, sql: &Statements) -> Result<Uuid, StoreError> {
    at_once(sql::realm(connection, sql))
}

/// A connection, for the revocation journal.
pub(super) struct Journaling<'c> {
    pub(super) connection: &'c Connection,
    pub(super) sql: &'c Statements,
}

impl JournalDatabase for Journaling<'_> {
    fn realm(&self) -> Result<Uuid, StoreError> {
        realm(self.connection, self.sql)
    }

    fn is_there(&self, place: Place) -> Result<bool, StoreError> {
        is_there(self.connection, self.sql, place)
    }

    fn latest(&self) -> Result<Option<Place>, StoreError> {
        latest(self.connection, self.sql)
    }

    fn logged_after(&self, seq: u64, most: i64) -> Result<Vec<LogEntry>, StoreError> {
        let values = [revision_value(seq)?, Value::Integer(most)];
        all(self.connection, &self.sql.changes_to_journal, &values, |row| {
            row.log_entry()
        })
    }

    fn as_it_is(&self, row: &RowName, id: Uuid) -> Result<Option<Narrowed>, StoreError> {
        at_once(Command::new(self.connection, self.sql, None).as_it_is(row, id))
    }

    fn take_again(&self, realm: Uuid, history: &History) -> Result<TakenAgain, StoreError> {
        let transaction = Transaction::begin(self.connection)?;
        let before = self.latest()?;
        let lost = history.lost(realm, |place| self.is_there(place))?;
        let command = Command::new(self.connection, self.sql, None);
        let applied = at_once(command.take_all_again(&lost, Timestamp::now()))?;
        // The place from which the new history begins is in no other one: a newer backup of the old one would pass for caught up.
        self.connection.prepare_cached(QUIET)?.execute([])?;
        let now_at = self.latest()?.unwrap_or(Place::START);
        transaction.commit()?;
        Ok(TakenAgain {
            lost,
            applied,
            before,
            now_at,
        })
    }
}

/// A transaction that is rolled back unless it is committed.
struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    fn begin(connection: &'c Connection) -> Result<Self, StoreError> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }

    fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.execute_batch("COMMIT")?)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // The next transaction says why it cannot begin.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}
