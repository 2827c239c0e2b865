//! Which stores can be copied.

#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresEnd;
#[cfg(feature = "sqlite")]
use crate::store::sqlite::SqliteEnd;

/// A store that can be copied, and copied into: `SqliteStore` and `PostgresStore`. It cannot be implemented for others.
pub trait Copyable: AsEnd {}

/// Not to be named outside of this crate.
pub trait AsEnd {
    #[doc(hidden)]
    fn as_end(&self) -> AnyEnd;
}

/// An end of a copy.
pub struct AnyEnd(pub(super) Either);

/// Of either database.
pub(super) enum Either {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteEnd),
    #[cfg(feature = "postgres")]
    Postgres(PostgresEnd),
}

impl Either {
    pub(super) fn is_copy_target(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(end) => end.is_copy_target(),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.is_copy_target(),
        }
    }
}

#[cfg(feature = "sqlite")]
impl Copyable for SqliteStore {}

#[cfg(feature = "sqlite")]
impl AsEnd for SqliteStore {
    fn as_end(&self) -> AnyEnd {
        AnyEnd(Either::Sqlite(SqliteStore::as_end(self)))
    }
}

#[cfg(feature = "postgres")]
impl Copyable for PostgresStore {}

#[cfg(feature = "postgres")]
impl AsEnd for PostgresStore {
    fn as_end(&self) -> AnyEnd {
        AnyEnd(Either::Postgres(PostgresStore::as_end(self)))
    }
}
