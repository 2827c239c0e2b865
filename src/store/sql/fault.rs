//! What can be wrong with a schema or a row, in words.

use crate::store::{StoreError, StoreErrorKind};

/// Why the schema of a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum MigrationError {
    #[error(
        "the database needs a newer version of this crate: its schema is {found}, this version knows up to {known}; upgrade \
         the crate"
    )]
    Newer { found: u32, known: u32 },
    #[error("migration {version} ({name}) is not the one that was applied to this database: the checksums differ")]
    Altered { version: u32, name: String },
    #[error("migration {version} is missing from this database, though later ones were applied")]
    Gap { version: u32 },
    #[error("there is no migration {version}; the last one is {known}")]
    NoSuchVersion { version: u32, known: u32 },
    #[error(
        "a copy into this database was begun and is not finished, so it serves nobody; run the copy again, which goes on where it \
         stopped"
    )]
    UnfinishedCopy,
    #[error("the database's schema is {found}; there is no way down to {version}")]
    NotThatFar { version: u32, found: u32 },
}

impl From<MigrationError> for StoreError {
    fn from(error: MigrationError) -> Self {
        StoreError::with_source(StoreErrorKind::Unusable, error)
    }
}

/// A stored row that cannot be understood. Names the column, never its content.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}`: {problem}")]
pub(in crate::store) struct InvalidColumn {
    pub(in crate::store) column: &'static str,
    pub(in crate::store) problem: &'static str,
}

impl From<InvalidColumn> for StoreError {
    fn from(invalid: InvalidColumn) -> Self {
        StoreError::with_source(StoreErrorKind::InvalidRecord, invalid)
    }
}
