//! What can go wrong with a database file, in words, and as the store's errors.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::{StoreError, StoreErrorKind};

/// Why a file cannot serve as a key store.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Unusable {
    #[error(
        "{0:?} is not the path of a file: `:memory:` and the empty path are a database per connection, and URLs are not \
         read; give a path such as `keys.sqlite`"
    )]
    NotAPath(PathBuf),
    #[error("{path:?} cannot be opened for reading and writing")]
    Open { path: PathBuf, source: Error },
    #[error("{0:?} can be read but not written; changes of keys need a writable file in a writable directory")]
    ReadOnly(PathBuf),
    #[error("write-ahead logging is not possible here, journal mode stayed {0:?}; is the file on a network share?")]
    NoWriteAheadLog(String),
    #[error(
        "the file was written by a newer version of this crate: its schema is {found}, this version knows up to {known}"
    )]
    Newer { found: u32, known: u32 },
    #[error("migration {version} ({name}) is not the one that was applied to this file: its checksum is another")]
    Altered { version: u32, name: String },
    #[error("migration {version} is missing from this file, though later ones were applied")]
    Gap { version: u32 },
    #[error("there is no migration {version}; the last one is {known}")]
    NoSuchVersion { version: u32, known: u32 },
    #[error("the file's schema is {found}, from which there is no way down to {version}")]
    NotThatFar { version: u32, found: u32 },
    #[error("the file has a table or an index `{0}` that is not of this store; keep the keys in a file of their own")]
    NameTaken(String),
    #[error("the table `key_store_migrations` of this file is not of this store")]
    NoLedger(#[source] Error),
    #[error("{0:?} is not there")]
    Missing(PathBuf),
    #[error("{0} threads that read are too many; at most 64 are allowed")]
    TooManyReaders(NonZeroUsize),
    #[error("a busy timeout of {0:?} is too long; at most an hour is allowed")]
    BusyTimeout(Duration),
    #[error("a thread for the database cannot be started")]
    Thread(#[source] std::io::Error),
}

impl From<Unusable> for StoreError {
    fn from(unusable: Unusable) -> Self {
        StoreError::with_source(StoreErrorKind::Unusable, unusable)
    }
}

/// A stored row that cannot be understood. Names the column, never its content.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}` holds {problem}")]
pub(super) struct InvalidColumn {
    pub(super) column: &'static str,
    pub(super) problem: &'static str,
}

impl From<InvalidColumn> for StoreError {
    fn from(invalid: InvalidColumn) -> Self {
        StoreError::with_source(StoreErrorKind::InvalidRecord, invalid)
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        StoreError::with_source(kind(&error), error)
    }
}

fn kind(error: &Error) -> StoreErrorKind {
    let Error::SqliteFailure(failure, _) = error else {
        return StoreErrorKind::Unavailable;
    };
    match failure.extended_code {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE => StoreErrorKind::AlreadyExists,
        // The only row that a statement of ours refers to without having read it is a new key's organization.
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StoreErrorKind::NotFound,
        _ => StoreErrorKind::Unavailable,
    }
}

pub(super) fn is_busy(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
