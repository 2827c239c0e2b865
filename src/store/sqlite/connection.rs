//! Connections to one file, set up alike.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::{Unusable, is_busy};
use crate::store::StoreError;
use crate::store::migrations;

/// More than there are statements, so that none is ever prepared twice.
const STATEMENTS: usize = 32;
const RETRY: Duration = Duration::from_millis(5);

/// Where the file is, and how long to wait for a lock that another process holds.
#[derive(Clone)]
pub(super) struct Location {
    path: PathBuf,
    busy_timeout: Duration,
}

impl Location {
    pub(super) fn new(path: &Path, busy_timeout: Duration) -> Result<Self, Unusable> {
        let text = path.to_string_lossy();
        let is_url = text.starts_with("file:") || text.starts_with("sqlite:");
        if text.is_empty() || text.starts_with(":memory:") || is_url {
            return Err(Unusable::NotAPath(path.into()));
        }
        Ok(Self {
            path: path.into(),
            busy_timeout,
        })
    }

    /// Creates the file where there is none, and brings its schema up to date.
    pub(super) fn prepare(&self) -> Result<Connection, StoreError> {
        let mut connection = self.writer()?;
        migrations::upgrade(&mut connection, migrations::SQLITE)?;
        Ok(connection)
    }

    /// For a file that there is already.
    pub(super) fn existing_writer(&self) -> Result<Connection, StoreError> {
        match self.path.is_file() {
            true => self.writer(),
            false => Err(Unusable::Missing(self.path.clone()).into()),
        }
    }

    pub(super) fn writer(&self) -> Result<Connection, StoreError> {
        self.create_for_the_owner_alone();
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // SQLite opens a file that it may not write for reading, without a word.
        if connection.is_readonly(c"main")? {
            return Err(Unusable::ReadOnly(self.path.clone()).into());
        }
        // A file of somebody else's stays as it is, down to its journal.
        let taken = migrations::name_taken(&connection, migrations::SQLITE).map_err(|error| self.unusable(error))?;
        if let Some(name) = taken {
            return Err(Unusable::NameTaken(name).into());
        }
        self.log_ahead(&connection)?;
        // A key that was revoked stays revoked when the power fails: NORMAL would lose the last commits.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    }

    /// What SQLite creates is as open as the process's mask has it, which is often readable to all; hashes and names of keys
    /// are nobody else's business. The files beside it get its mode. One that is there keeps what its owner gave it.
    #[cfg(unix)]
    fn create_for_the_owner_alone(&self) {
        use std::os::unix::fs::OpenOptionsExt;

        let mut options = std::fs::OpenOptions::new();
        // What stands in the way is told better by SQLite, which comes next.
        let _ = options.write(true).create_new(true).mode(0o600).open(&self.path);
    }

    #[cfg(not(unix))]
    fn create_for_the_owner_alone(&self) {}

    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, StoreError> {
        // One thread has each connection, so SQLite need not lock it. No URLs: a path is a path.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|source| Unusable::Open {
            path: self.path.clone(),
            source,
        })?;
        connection.busy_timeout(self.busy_timeout)?;
        // Else SQLite, as it is bundled, plans a prepared statement again for every value that it is asked with, which takes
        // longer than to run it. All of ours search by a whole key: there is one good plan, whatever the value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    /// While another process writes a file that is not switched over yet (another one that opens it for the first time),
    /// SQLite answers "locked" at once, whatever the timeout: so this comes again.
    fn log_ahead(&self, connection: &Connection) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            let switched: rusqlite::Result<String> =
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
            match switched {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => return Err(Unusable::NoWriteAheadLog(mode).into()),
                Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(RETRY),
                Err(error) => return Err(self.unusable(error)),
            }
        }
    }

    /// The first statement is what reads the file: here shows that it is no database, or not writable.
    fn unusable(&self, source: rusqlite::Error) -> StoreError {
        if is_busy(&source) {
            return source.into();
        }
        let path = self.path.clone();
        Unusable::Open { path, source }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    fn pragma(connection: &Connection, name: &str) -> String {
        let value: rusqlite::types::Value = connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn connections_are_set_up_for_what_they_do() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::new(&folder.path().join("keys.sqlite"), Duration::from_millis(1234)).unwrap();
        let writer = location.prepare().unwrap();
        let reader = location.reader().unwrap();
        for (name, value) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("foreign_keys", "1"),
            ("busy_timeout", "1234"),
        ] {
            assert_eq!(pragma(&writer, name), value, "{name}");
        }
        assert_eq!(pragma(&reader, "busy_timeout"), "1234");
        assert!(reader.execute("DELETE FROM keys", []).is_err());
    }

    #[test]
    fn a_file_that_someone_writes_before_it_is_switched_over_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sqlite");
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch("CREATE TABLE other (a INTEGER); BEGIN IMMEDIATE")
            .unwrap();
        let location = Location::new(&path, Duration::from_secs(60)).unwrap();
        let opening = thread::spawn(move || location.writer().map(drop));
        // Not a proof that it waits by now, but time enough to be sent away.
        for _ in 0..10_000 {
            thread::yield_now();
        }
        other.execute_batch("COMMIT").unwrap();
        opening.join().unwrap().unwrap();

        other.close().unwrap();
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE")
            .unwrap();
        let impatient = Location::new(&path, Duration::ZERO).unwrap();
        let error = impatient.writer().map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
}
