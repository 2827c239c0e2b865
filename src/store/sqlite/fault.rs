//! What can go wrong with a database file, in words and as errors of the store.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::{StoreError, StoreErrorKind};

/// Why a file cannot serve as a key store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(
        "{0:?} is not the path of a file: `:memory:` and the empty path mean a database per connection, and URLs are not \
         accepted; give a path such as `keys.sqlite`"
    )]
    NotAPath(PathBuf),
    #[error("cannot open the file for reading and writing")]
    Open(#[source] SqliteError),
    #[error("the file is read-only; it and its folder must be writable")]
    ReadOnly,
    #[error("the file is a symbolic link to a file that does not exist; create that file, or remove the link")]
    Dangling,
    #[error("cannot switch to write-ahead logging: journal mode is {0:?}; the file must not be on a network share")]
    NoWriteAheadLog(String),
    #[error(
        "the file was written by a version of this crate before its first release, whose schema is no longer read; move the \
         file away and issue new keys"
    )]
    Unreleased,
    #[error(
        "the file is another program's database; give the keys a file of their own, or allow tables beside others with \
         `SqliteStoreBuilder::beside_other_tables`"
    )]
    Foreign,
    #[error("the file has a table or an index `{0}` of another program; give the keys a file of their own")]
    NameTaken(String),
    #[error("the table `api_keys_schema_migrations` of this file was not made by this crate")]
    NoLedger(#[source] SqliteError),
    #[error("file not found")]
    Missing,
    #[error("must be a file, and is a folder, a pipe or a device")]
    NotAFile,
    #[error(
        "the file has {0} hard links, and SQLite keeps a log for each, so commits under one name are lost under another; keep \
         one name, and use symbolic links for others"
    )]
    HardLinks(u64),
    #[error("a store of this process has the file open")]
    InUse,
    #[error(
        "the file {0:?} is no longer the one that was opened; what is at its path now was put there while it was in use"
    )]
    Replaced(PathBuf),
    #[error("the file {0:?} was deleted or renamed while it was in use")]
    Gone(PathBuf, #[source] std::io::Error),
    #[error("the file {0:?} was emptied, or cut, while it was in use")]
    Emptied(PathBuf),
    #[error(
        "the file {0:?} was written over while it was in use, and not by SQLite; stop all programs that have it open, delete the \
         files `-wal` and `-shm` beside it, and only then put the backup in its place"
    )]
    WrittenOver(PathBuf),
    #[error(
        "the file has another realm than when it was opened: another database was restored into it while it was in use"
    )]
    OtherRealm,
    #[error(
        "the file was opened with `SqliteStoreBuilder::copy_target`, and no store has been copied into it yet, so it serves nobody"
    )]
    NotCopied,
    #[error("cannot find the file that was just opened")]
    Lost(#[source] std::io::Error),
    #[error("readers must be at most 64, got {0}")]
    TooManyReaders(NonZeroUsize),
    #[error("busy_timeout must be at most one hour, got {0:?}")]
    BusyTimeout(Duration),
    #[error(
        "another process has the file open; `SqliteStoreBuilder::exclusive` is for a file that one process has alone, so stop \
         the other one, or open the file in both without it"
    )]
    OpenElsewhere,
    #[error("this process has the file open already, without `SqliteStoreBuilder::exclusive`")]
    NotExclusive,
    #[error("cannot lock the file that ends in `-lock` beside the database, which says which processes have it open")]
    Lock(#[source] std::io::Error),
    #[error("max_staleness must be between 50 ms and one hour, got {0:?}")]
    MaxStaleness(Duration),
    #[error("cannot write the backup {0:?}; give a path in a folder of yours at which nothing is yet")]
    Backup(PathBuf, #[source] std::io::Error),
    #[error("cannot read the backup {0:?}")]
    NoBackup(PathBuf, #[source] std::io::Error),
    #[error("{0:?} is no backup of keys: it has none of the tables of this crate, or cannot be read")]
    NotABackup(PathBuf, #[source] Option<SqliteError>),
    #[error("the backup {0:?} is damaged: {1}")]
    DamagedBackup(PathBuf, String),
    #[error(
        "{0:?} was copied while it was in use: its latest changes are in the file that ends in `-wal` beside it; make a backup with \
         `SqliteStore::backup` or `VACUUM INTO`"
    )]
    BackupHasLog(PathBuf),
    #[error("cannot put the backup in place of the database")]
    Restore(#[source] std::io::Error),
    #[error("cannot start a thread for the database")]
    Thread(#[source] std::io::Error),
}

/// What SQLite says. Its own cause is left out, which says the same with a number.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", code(.error))]
pub(super) struct SqliteError {
    error: Error,
}

fn code(error: &Error) -> String {
    match error {
        Error::SqliteFailure(failure, _) => format!(" (SQLite code {})", failure.extended_code),
        _ => String::new(),
    }
}

impl From<Error> for SqliteError {
    fn from(error: Error) -> Self {
        Self { error }
    }
}

/// Which file an error is of.
#[derive(Debug, thiserror::Error)]
#[error("file {path:?}{}", folder(.path))]
pub(super) struct AtFile {
    pub(super) path: PathBuf,
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a relative path is relative to.
fn folder(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(folder) if path.is_relative() => format!(" in folder {folder:?}"),
        _ => String::new(),
    }
}

impl From<Unusable> for StoreError {
    fn from(unusable: Unusable) -> Self {
        StoreError::with_source(StoreErrorKind::Unusable, unusable)
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        StoreError::with_source(kind(&error), SqliteError { error })
    }
}

fn kind(error: &Error) -> StoreErrorKind {
    let Error::SqliteFailure(failure, _) = error else {
        return StoreErrorKind::Unavailable;
    };
    match failure.extended_code {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE => StoreErrorKind::AlreadyExists,
        // A new row's owner: the organization of a key, or the key of a secret.
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StoreErrorKind::NotFound,
        _ => StoreErrorKind::Unavailable,
    }
}

/// Whether what failed can be asked again on the same connection.
pub(super) fn is_busy_error(error: &StoreError) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<SqliteError>())
        .is_some_and(|source| is_busy(&source.error))
}

pub(super) fn is_busy(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
