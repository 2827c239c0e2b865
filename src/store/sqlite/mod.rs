//! Keys in one SQLite file.

mod builder;
mod column;
mod connection;
mod fault;
mod pending;
mod queue;
mod reader;
mod row;
mod statement;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use self::builder::SqliteStoreBuilder;
pub(super) use self::fault::Unusable;
use self::pending::Written;
use self::reader::Readers;
use self::writer::Writer;
use crate::fence::Fence;
use crate::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, SecretHash};
use crate::store::{Candidate, Change, KeyStore, ManageKeys, Sharing, StoreError, StoredKey};

/// Keys in one SQLite file beside the service (feature `sqlite`).
///
/// The file is in write-ahead-log mode, with `synchronous=FULL`: a change that returned survives a power failure. All SQL
/// runs on threads of the store: one writes, gathering the changes that wait into one transaction; a few read. Their
/// queues are bounded, and a full one is answered with [`Overloaded`](crate::store::StoreErrorKind::Overloaded). The
/// threads end when the last clone is dropped.
///
/// **One process per file, one open store per process.** It is [`Sharing::Exclusive`]: what another process writes, or
/// another store opened on the same file, is read correctly but not announced, so a key that is revoked there goes on
/// working here until its cached answer's time to live is over. Open it once and clone it. After a change by hand, call
/// [`Fence::everything_changed`].
///
/// ```
/// use tower_api_key::key::Organization;
/// use tower_api_key::store::{ManageKeys, SqliteStore};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("keys.sqlite");
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = SqliteStore::open(&path).await?;
/// let acme = Organization::new("Acme");
/// store.insert_organization(acme.clone()).await?;
/// drop(store);
///
/// let store = SqliteStore::open(&path).await?;
/// assert_eq!(store.organization(acme.id).await?, Some(acme));
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Security
///
/// Who can write the file has every key, who can read it has the hashes: give it to the service's user alone. The files
/// with `-wal` and `-shm` at the end belong to it; a backup is made by SQLite (`VACUUM INTO`), not by copying one of them.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    readers: Readers,
    writer: Writer,
    fence: Fence,
}

impl SqliteStore {
    /// Opens the file, creates it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Unusable`](crate::store::StoreErrorKind::Unusable), with the reason as its source: not a path (`:memory:` is a
    /// database per connection, URLs are not read), not openable or not writable, no database, written by a newer version
    /// of this crate. [`Unavailable`](crate::store::StoreErrorKind::Unavailable) when another process held its lock for
    /// too long.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder().open(path).await
    }

    /// For other numbers of threads, queue lengths and timeouts.
    pub fn builder() -> SqliteStoreBuilder {
        SqliteStoreBuilder::default()
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<Written<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.writer.write(work).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl KeyStore for SqliteStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let lookup = lookup.clone();
        self.0
            .readers
            .read(move |connection| statement::find(connection, &lookup))
            .await
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.0.fence)
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

impl ManageKeys for SqliteStore {
    async fn insert_organization(&self, organization: Organization) -> Result<(), StoreError> {
        self.write(move |connection| {
            statement::insert_organization(connection, &organization)?;
            Ok(Written {
                value: (),
                change: Some(Change::organization(organization.id, organization.revision)),
            })
        })
        .await
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        self.0
            .readers
            .read(move |connection| statement::organization(connection, id))
            .await
    }

    async fn update_organization(&self, organization: Organization) -> Result<Organization, StoreError> {
        self.write(move |connection| {
            let organization = statement::update_organization(connection, organization)?;
            let change = Change::organization(organization.id, organization.revision);
            Ok(Written {
                value: organization,
                change: Some(change),
            })
        })
        .await
    }

    async fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> Result<(), StoreError> {
        self.write(move |connection| {
            statement::insert_key(connection, &record, &secret)?;
            Ok(Written {
                value: (),
                change: Some(Change::key(record.id, record.revision)),
            })
        })
        .await
    }

    async fn key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.0
            .readers
            .read(move |connection| statement::key(connection, id))
            .await
    }

    async fn update_key(&self, key: StoredKey) -> Result<KeyRecord, StoreError> {
        self.write(move |connection| {
            let record = statement::update_key(connection, key)?;
            let change = Change::key(record.id, record.revision);
            Ok(Written {
                value: record,
                change: Some(change),
            })
        })
        .await
    }

    async fn replace_hash(&self, lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Result<bool, StoreError> {
        let (lookup, old, new) = (lookup.clone(), old.clone(), new.clone());
        self.write(move |connection| {
            let replaced = statement::replace_hash(connection, &lookup, &old, &new)?;
            Ok(Written {
                value: replaced,
                change: None,
            })
        })
        .await
    }
}
