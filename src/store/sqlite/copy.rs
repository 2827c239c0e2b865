//! A SQLite file as one end of a copy.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::MutexGuard;

use super::history::Journaling;
use super::{Inner, SCHEMA, SqliteStore};
use crate::store::StoreError;
use crate::store::sql::copy::{End, Filled};
use crate::store::sql::migration::SQLITE;
use crate::store::sql::{Dialect, at_once};

/// A store that is copied, or copied into.
pub(in crate::store) struct SqliteEnd(Arc<Inner>);

impl SqliteStore {
    pub(in crate::store) fn as_end(&self) -> SqliteEnd {
        SqliteEnd(self.0.clone())
    }
}

impl SqliteEnd {
    pub(in crate::store) fn is_copy_target(&self) -> bool {
        self.0.location.is_copy_target()
    }

    /// Waits for another copy into this store, which a caller may have left.
    pub(in crate::store) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.0.copying.lock().await
    }

    /// A transaction in which nothing changes.
    pub(in crate::store) fn source(&self) -> Result<End<Connection>, StoreError> {
        let end = self.target()?;
        at_once(end.freeze())?;
        self.check()?;
        self.0.latest_change.check(&end.database, &self.0.sql)?;
        Ok(end)
    }

    pub(in crate::store) fn target(&self) -> Result<End<Connection>, StoreError> {
        self.check()?;
        let connection = self.0.location.existing_writer()?;
        Ok(End::new(connection, &Dialect::sqlite(SCHEMA), SQLITE))
    }

    /// Whether the file is still the one that was opened.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        Ok(self.0.files.check()?)
    }

    /// Before the commit: after it the file serves, whatever becomes of this process.
    pub(in crate::store) fn begin_journal(&self, target: &End<Connection>, filled: &Filled) -> Result<(), StoreError> {
        match &self.0.journal {
            Some(journal) if filled.is_open => at_once(target.begin_journal(journal, &self.0.sql)),
            _ => Ok(()),
        }
    }

    /// Commits what makes the file what the source is; from then on this store answers.
    pub(in crate::store) fn finish(&self, target: &End<Connection>, filled: &Filled) -> Result<(), StoreError> {
        if filled.is_open {
            self.check()?;
            at_once(target.commit())?;
            self.check()?;
        }
        if !self.0.latest_change.is_awaited() {
            return Ok(());
        }
        if let Some(journal) = &self.0.journal {
            journal.catch_up(&Journaling {
                connection: &target.database,
                sql: &self.0.sql,
            })?;
        }
        self.0.latest_change.is_copied(&target.database, &self.0.sql)
    }
}
