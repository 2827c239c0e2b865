//! Connections to one file, with the same settings.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault::{AtFile, Unusable, is_busy};
use super::file_id::FileId;
use super::files::check_names;
use super::migrate::{self, Contents};
use crate::store::StoreError;
use crate::store::sql::Statements;
use crate::store::sql::migration::SQLITE;

/// As many as there are, and those of the writer's transactions, so that none is ever prepared twice.
const STATEMENTS: usize = Statements::COUNT + 4;
/// Takes the lock of the one who writes, and gives it back.
const LOCK: &str = "BEGIN IMMEDIATE; ROLLBACK";
/// Of each connection at most, in the unit that makes the number negative. The default of 2 MiB holds little more than the upper
/// pages of the indices of a million keys.
///
/// No memory-mapped reads (`mmap_size`): when someone writes over the file with `cp`, a read beyond its new end would end the
/// process with SIGBUS, where it is an error now.
const CACHE_KIB: i64 = -65_536;
const RETRY: Duration = Duration::from_millis(5);

/// Where the file is, and how connections to it are opened.
#[derive(Clone)]
pub(super) struct Location {
    /// As it was given, for errors.
    given: PathBuf,
    /// The process may change its working directory.
    path: PathBuf,
    busy_timeout: Duration,
    beside_other_tables: bool,
    is_copy_target: bool,
}

impl Location {
    pub(super) fn new(path: &Path, busy_timeout: Duration, beside_other_tables: bool) -> Result<Self, Unusable> {
        let text = path.to_string_lossy();
        let is_url = text.starts_with("file:") || text.starts_with("sqlite:");
        if text.is_empty() || text.starts_with(":memory:") || is_url {
            return Err(Unusable::NotAPath(path.into()));
        }
        Ok(Self {
            given: path.into(),
            path: std::path::absolute(path).map_err(|_| Unusable::NotAPath(path.into()))?,
            busy_timeout,
            beside_other_tables,
            is_copy_target: false,
        })
    }

    /// For a file into which a copy may have been begun.
    pub(super) fn of_copy_target(self, is_copy_target: bool) -> Self {
        Self { is_copy_target, ..self }
    }

    pub(super) fn is_copy_target(&self) -> bool {
        self.is_copy_target
    }

    /// An error of opening the file, with its path.
    pub(super) fn named(&self, error: StoreError) -> StoreError {
        let path = self.given.clone();
        error.within(|source| AtFile { path, source })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn busy_timeout(&self) -> Duration {
        self.busy_timeout
    }

    /// Which file is there now.
    pub(super) fn id(&self) -> std::io::Result<FileId> {
        FileId::of(&self.path)
    }

    /// Creates an empty file where there is none.
    pub(super) fn create(&self) -> Result<(), Unusable> {
        // SQLite would create the file that the link names, readable by everyone.
        if self.path.is_symlink() && !self.path.exists() {
            return Err(Unusable::Dangling);
        }
        self.create_for_the_owner_alone();
        Ok(())
    }

    /// Creates the file where there is none, and brings its schema up to date.
    #[cfg(test)]
    pub(super) fn prepare(&self) -> Result<Connection, StoreError> {
        let mut connection = self.writer()?;
        migrate::upgrade(&mut connection, SQLITE, self.is_copy_target)?;
        Ok(connection)
    }

    /// For a file that must exist.
    pub(super) fn existing_writer(&self) -> Result<Connection, StoreError> {
        match std::fs::metadata(&self.path) {
            Ok(found) if found.is_file() => self.writer(),
            Ok(_) => Err(Unusable::NotAFile.into()),
            Err(_) => Err(Unusable::Missing.into()),
        }
    }

    pub(super) fn writer(&self) -> Result<Connection, StoreError> {
        self.create()?;
        check_names(&self.path)?;
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // SQLite opens a file that it may not write for reading, without an error. A transaction that writes nothing leaves no
        // trace in it.
        connection.execute_batch(LOCK).map_err(read_only)?;
        // A file of another program or of a newer version stays as it is, down to its journal.
        match migrate::contents(&connection, SQLITE).map_err(unusable)? {
            Contents::Room { is_shared: true } if !self.beside_other_tables => return Err(Unusable::Foreign.into()),
            Contents::Room { .. } => {}
            Contents::Ours => migrate::check_ledger(&connection, SQLITE, self.is_copy_target)?,
            Contents::Unreleased => return Err(Unusable::Unreleased.into()),
            Contents::NameTaken(name) => return Err(Unusable::NameTaken(name).into()),
        }
        self.log_ahead(&connection)?;
        // In a folder that may not be written, this is the first statement that fails.
        connection.execute_batch(LOCK).map_err(unusable)?;
        // A key that was revoked stays revoked when the power fails: NORMAL would lose the last commits.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What a sealed secret replaces, or a deleted row, does not stay in the file.
        connection.pragma_update(None, "secure_delete", true)?;
        enlarge_cache(&connection)?;
        Ok(connection)
    }

    /// A file that SQLite creates is often readable by everyone, as the process's mask has it; hashes and names of keys must
    /// not be. The files beside it get its mode. An existing file keeps its mode.
    #[cfg(unix)]
    fn create_for_the_owner_alone(&self) {
        use std::os::unix::fs::OpenOptionsExt;

        let mut options = std::fs::OpenOptions::new();
        // SQLite, which comes next, reports a problem better.
        let _ = options.write(true).create_new(true).mode(0o600).open(&self.path);
    }

    #[cfg(not(unix))]
    fn create_for_the_owner_alone(&self) {
        let mut options = std::fs::OpenOptions::new();
        let _ = options.write(true).create_new(true).open(&self.path);
    }

    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, StoreError> {
        // One thread has each connection, so SQLite need not lock it. No URLs: a path is a path.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| Unusable::Open(error.into()))?;
        connection.busy_timeout(self.busy_timeout)?;
        // Otherwise the bundled SQLite plans a prepared statement again for every value, which takes longer than running it.
        // Ours have one good plan, whatever the value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    /// While another process writes a file that is not switched over yet (because it opens the file for the first time too),
    /// SQLite answers "locked" at once, whatever the timeout: so this retries.
    fn log_ahead(&self, connection: &Connection) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            let switched: rusqlite::Result<String> =
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
            match switched {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => return Err(Unusable::NoWriteAheadLog(mode).into()),
                Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(RETRY),
                Err(error) => return Err(unusable(error)),
            }
        }
    }
}

/// For a connection that has read already: SQLite reads the schema for it, and a connection that reads nothing leaves no trace.
pub(super) fn enlarge_cache(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", CACHE_KIB)
}

fn read_only(source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => Unusable::ReadOnly.into(),
        _ => unusable(source),
    }
}

/// The first statements fail if the file is no database, or not writable.
fn unusable(source: rusqlite::Error) -> StoreError {
    match is_busy(&source) {
        true => source.into(),
        false => Unusable::Open(source.into()).into(),
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
    fn connections_have_their_settings() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::new(&folder.path().join("keys.sqlite"), Duration::from_millis(1234), false).unwrap();
        let writer = location.prepare().unwrap();
        let reader = location.reader().unwrap();
        for (name, value) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("foreign_keys", "1"),
            ("secure_delete", "1"),
            ("cache_size", "-65536"),
            ("mmap_size", "0"),
            ("busy_timeout", "1234"),
        ] {
            assert_eq!(pragma(&writer, name), value, "{name}");
        }
        assert_eq!(pragma(&reader, "busy_timeout"), "1234");
        assert!(reader.execute("DELETE FROM api_keys_keys", []).is_err());
    }

    #[test]
    fn locked_file_is_waited_for_before_the_switch_to_wal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sqlite");
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch("CREATE TABLE other (a INTEGER); BEGIN IMMEDIATE")
            .unwrap();
        let location = Location::new(&path, Duration::from_secs(60), true).unwrap();
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
        let impatient = Location::new(&path, Duration::ZERO, true).unwrap();
        let error = impatient.writer().map(drop).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
}
