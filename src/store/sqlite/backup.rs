//! A backup of an open file, and a backup in the place of a file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;

use super::builder::off_the_runtime;
use super::connection::Location;
use super::fault::{AtFile, SqliteError, Unusable};
use super::lock::ProcessLock;
use super::migrate::{self, Contents};
use super::{Inner, SqliteStore, SqliteStoreBuilder, registry};
use crate::owner::private_file;
use crate::store::StoreError;
use crate::store::sql::migration::SQLITE;
use crate::sync::unpoisoned;

impl SqliteStore {
    /// Writes a backup into a new file, for its owner alone, while the store is in use: what was committed before the call is in it,
    /// whole, and nothing of a commit that is under way. [`SqliteStoreBuilder::restore`] puts it back.
    ///
    /// It holds up no commit and no check. It takes about a second for 100 MB, and as much space as the rows.
    ///
    /// ```
    /// use tower_api_key::ApiKeys;
    /// use tower_api_key::store::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (path, backup) = (folder.path().join("keys.sqlite"), folder.path().join("backup.sqlite"));
    /// let store = SqliteStore::open(&path).await?;
    /// let keys = ApiKeys::builder(store.clone()).open().await?;
    /// let _ = keys.ensure("acme", "orders").await?; // its key is shown once
    /// store.backup(&backup).await?;
    ///
    /// drop((store, keys)); // elsewhere, or later, while nothing has the file open
    /// SqliteStore::builder().restore(&backup, &path).await?;
    /// let keys = ApiKeys::builder(SqliteStore::open(&path).await?).open().await?;
    /// assert_eq!(keys.statistics(None).await?.total, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unusable`](crate::store::StoreErrorKind::Unusable) when there is something at the path already, also a link, or it cannot be
    /// written; then there is no file. Those of a read of the store.
    ///
    /// # Security
    /// A backup has all that the database has: hashes, and secrets as the database has them, sealed or plain. It has no revocation
    /// journal: keep that with the database.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<(), StoreError> {
        let (inner, path) = (Arc::clone(&self.0), path.as_ref().to_owned());
        off_the_runtime(move || inner.back_up(&path)).await
    }
}

impl SqliteStoreBuilder {
    /// Puts a backup in the place of a database that no process has open, or where there is none. The next
    /// [`open`](Self::open) takes from keys again what the revocation journal says, before it answers.
    ///
    /// The backup is checked first: it has the tables of this crate, this version can read them, and nothing in it is damaged. It
    /// is copied, not moved. The database that was there is gone afterwards.
    ///
    /// # Errors
    /// [`Unusable`](crate::store::StoreErrorKind::Unusable) when the backup is none, or a file that was copied while it was in use,
    /// whose latest changes are in another file; when a process has the database open with this crate; when a file cannot be
    /// written. The database is as it was then.
    pub async fn restore(self, backup: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), StoreError> {
        let (backup, path) = (backup.as_ref().to_owned(), path.as_ref().to_owned());
        off_the_runtime(move || {
            let location = self.location(&path)?;
            put_in_place(&backup, &location).map_err(|error| location.named(error))
        })
        .await
    }

    /// The version of a file's schema, which stays as it is; 0 for one that has none. [`open`](Self::open) brings it up to
    /// [`SqliteStore::SCHEMA_VERSION`].
    ///
    /// # Errors
    /// `Unusable` when there is no file, or this version of the crate cannot use it.
    pub async fn schema_version(self, path: impl AsRef<Path>) -> Result<u32, StoreError> {
        let path = path.as_ref().to_owned();
        off_the_runtime(move || {
            let location = self.location(&path)?;
            let found = location
                .existing_writer()
                .and_then(|file| migrate::version(&file, SQLITE));
            found.map_err(|error| location.named(error))
        })
        .await
    }
}

impl Inner {
    fn back_up(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::from(Unusable::Backup(path.to_owned(), error));
        self.files.check()?;
        let text = path
            .to_str()
            .ok_or_else(|| failed(io::Error::other("the path is no UTF-8")))?;
        let connection = self.location.existing_writer()?;
        // SQLite fills an empty file, and makes one that others can read where there is none.
        let file = private_file::create(path).map_err(failed)?;
        let written = connection
            .execute("VACUUM INTO ?1", [text])
            .map_err(StoreError::from)
            .and_then(|_| self.files.check().map_err(StoreError::from))
            .and_then(|()| file.sync_all().and_then(|()| sync_folder(path)).map_err(failed));
        if written.is_err() {
            let _ = fs::remove_file(path);
        }
        written
    }
}

fn put_in_place(backup: &Path, location: &Location) -> Result<(), StoreError> {
    // Held until the end, so that no store opens the file meanwhile.
    let place = location.id().ok().map(|id| registry::place(&id));
    let entry = place.as_ref().map(|place| unpoisoned(place.lock()));
    if entry.is_some_and(|entry| entry.store().is_some()) {
        return Err(Unusable::InUse.into());
    }
    let path = match location.path().is_symlink() {
        true => location.path().canonicalize().map_err(|_| Unusable::Dangling)?,
        false => location.path().to_owned(),
    };
    // What is renamed over a pipe or a device takes its place.
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(Unusable::NotAFile.into());
    }
    let _lock = match path.exists() {
        true => Some(ProcessLock::take(
            &path,
            true,
            Instant::now() + location.busy_timeout(),
        )?),
        false => None,
    };
    let beside = with_ending(&path, ".restoring");
    let restored = copy(backup, &beside).and_then(|()| {
        check(backup, &beside)?;
        let failed = |error| StoreError::from(Unusable::Restore(error));
        // The log first: SQLite would apply that of the old file to the new one.
        for ending in ["-wal", "-shm"] {
            match fs::remove_file(with_ending(&path, ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        fs::rename(&beside, &path)
            .and_then(|()| sync_folder(&path))
            .map_err(failed)
    });
    if restored.is_err() {
        for ending in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(with_ending(&beside, ending));
        }
    }
    restored
}

fn copy(backup: &Path, beside: &Path) -> Result<(), StoreError> {
    if fs::metadata(with_ending(backup, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(Unusable::BackupHasLog(backup.to_owned()).into());
    }
    let unread = |error| Unusable::NoBackup(backup.to_owned(), error);
    // Before it is opened: that would wait for a writer if it were a pipe.
    if !fs::metadata(backup).map_err(unread)?.is_file() {
        return Err(unread(io::Error::other(Unusable::NotAFile)).into());
    }
    let mut from = File::open(backup).map_err(unread)?;
    let copied = private_file::create(beside).and_then(|mut to| {
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    Ok(copied.map_err(Unusable::Restore)?)
}

/// Of the copy: what opens a file may leave others beside it.
fn check(backup: &Path, copy: &Path) -> Result<(), StoreError> {
    let not_one = |error: rusqlite::Error| Unusable::NotABackup(backup.to_owned(), Some(SqliteError::from(error)));
    let connection = Connection::open(copy).map_err(not_one)?;
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(not_one)?;
    if found != "ok" {
        return Err(Unusable::DamagedBackup(backup.to_owned(), found).into());
    }
    match migrate::contents(&connection, SQLITE).map_err(not_one)? {
        Contents::Ours => migrate::check_ledger(&connection, SQLITE, false).map_err(|error| {
            let path = backup.to_owned();
            error.within(|source| AtFile { path, source })
        }),
        _ => Err(Unusable::NotABackup(backup.to_owned(), None).into()),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

/// Without this, the file could be in no folder after a power failure.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
