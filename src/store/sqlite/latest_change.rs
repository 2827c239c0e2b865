//! Whether the database still has the latest change of this process, or was set back to an older state: `.restore` of SQLite's
//! own program puts a backup in through SQLite, so the files stay as they are.
//!
//! A fence that goes on as before would contradict for good: it has announced revisions that no record has any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use uuid::Uuid;

use super::connection::Location;
use super::fault::Unusable;
use super::history::{Journaling, is_there, latest, realm};
use crate::fence::Fence;
use crate::store::journal::Journaled;
use crate::store::sql::migration::{Outgrown, SQLITE};
use crate::store::sql::{Place, Statements};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// The latest row of the change log that this process has seen.
pub(super) struct LatestChange {
    fence: Fence,
    realm: Mutex<Uuid>,
    seen: Mutex<Option<Place>>,
    journal: Option<Arc<Journaled>>,
    location: Location,
    /// Whether it is still to be copied into.
    is_awaited: AtomicBool,
    pub(super) outgrown: Outgrown,
}

impl LatestChange {
    pub(super) fn of(
        connection: &Connection,
        sql: &Statements,
        fence: Fence,
        journal: Option<Arc<Journaled>>,
        location: &Location,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            journal,
            location: location.clone(),
            fence,
            realm: Mutex::new(realm(connection, sql)?),
            seen: Mutex::new(latest(connection, sql)?),
            is_awaited: AtomicBool::new(false),
            outgrown: Outgrown::by(SQLITE),
        })
    }

    /// Of a file that is copied into before it serves anybody.
    pub(super) fn until_copied(self, is_awaited: bool) -> Self {
        let is_awaited = AtomicBool::new(is_awaited);
        Self { is_awaited, ..self }
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Acquire)
    }

    /// The file has been copied into, and is what the source is.
    pub(super) fn is_copied(&self, connection: &Connection, sql: &Statements) -> Result<(), StoreError> {
        *unpoisoned(self.realm.lock()) = realm(connection, sql)?;
        *unpoisoned(self.seen.lock()) = latest(connection, sql)?;
        self.fence.set_back();
        self.is_awaited.store(false, Ordering::Release);
        Ok(())
    }

    /// # Errors
    /// When nobody is to be answered from this database by this program.
    fn serves(&self) -> Result<(), StoreError> {
        match self.is_awaited() {
            true => Err(Unusable::NotCopied.into()),
            false => Ok(self.outgrown.check()?),
        }
    }

    /// Looks whether the change is still there, before something is read; if it is not, every cached answer is read again, and no
    /// revision counts as the least.
    ///
    /// # Errors
    /// When the database is another one. Its keys, and its secrets, are not those of this process.
    pub(super) fn check(&self, connection: &Connection, sql: &Statements) -> Result<(), StoreError> {
        self.serves()?;
        // Before the statement that looks for it, which sees all that was committed by then.
        let seen = *unpoisoned(self.seen.lock());
        match self.is_there(connection, sql, seen)? {
            true => Ok(()),
            false => self.start_over(connection, sql, seen),
        }
    }

    /// Whether the change is there, within a transaction that writes.
    ///
    /// # Errors
    /// When it was set back: what is to be written was decided over rows that are gone. [`check`](Self::check) does what follows,
    /// once the transaction has ended.
    pub(super) fn check_write(&self, connection: &Connection, sql: &Statements) -> Result<(), StoreError> {
        self.serves()?;
        let seen = *unpoisoned(self.seen.lock());
        if self.is_there(connection, sql, seen)? {
            return Ok(());
        }
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
        is_there(connection, sql, seen)
    }

    fn start_over(&self, connection: &Connection, sql: &Statements, missing: Option<Place>) -> Result<(), StoreError> {
        if realm(connection, sql)? != *unpoisoned(self.realm.lock()) {
            return Err(Unusable::OtherRealm.into());
        }
        // Before anything of it is answered.
        if let Some(journal) = &self.journal {
            let connection = self.location.existing_writer()?;
            journal.catch_up(&Journaling {
                connection: &connection,
                sql,
            })?;
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
            has_journal = self.journal.is_some(),
            "the database was set back to an older state: keys that were issued since are unknown, and keys that were revoked since \
             are valid again, unless the revocation journal knows of them"
        );
        self.fence.set_back();
        Ok(())
    }
}
