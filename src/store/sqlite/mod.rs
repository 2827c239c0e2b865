//! Keys in one SQLite file.

mod backup;
mod builder;
mod connection;
mod copy;
mod fault;
mod file_id;
mod files;
mod follower;
mod foreign_writes;
mod history;
mod latest_change;
mod lock;
mod migrate;
mod pending;
#[cfg(test)]
mod plans;
mod queue;
mod reader;
mod registry;
mod value;
mod waiting;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use self::builder::SqliteStoreBuilder;
use self::connection::Location;
pub(super) use self::copy::SqliteEnd;
use self::files::OpenFiles;
use self::follower::Following;
use self::latest_change::LatestChange;
use self::reader::Readers;
use self::writer::Writer;
use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::Lookup;
use crate::store::journal::Journaled;
use crate::store::query::{Answer, Query};
use crate::store::sql::{self, Dialect, Statements, at_once};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError};

/// What the names of tables start with.
const SCHEMA: &str = "api_keys_";

fn statements() -> Statements {
    Statements::new(&Dialect::sqlite(SCHEMA))
}

/// Keys in one SQLite file beside the service (feature `sqlite`).
///
/// The file is in write-ahead-log mode with `synchronous=FULL`: a commit that returned survives a power failure. All SQL
/// runs on threads of the store: one writes and gathers the commits that wait into one transaction; a few read. Their
/// queues are bounded, and a full one is [`Overloaded`](crate::store::StoreErrorKind::Overloaded). The threads end when the
/// last clone is dropped.
///
/// A commit holds the writer while it is made, about a second for the largest. Import in commits of some 1,000 rows and
/// await each, so that a revoke waits for one of them at most.
///
/// **Several processes may have the file open**, on one machine. The store is [`Sharing::ChangeLog`]: triggers log every
/// change, by hand as well, and a thread of each process looks five times a second whether another one has committed. So a key
/// that is revoked in one process is refused in all of them within a second
/// ([`max_staleness`](SqliteStoreBuilder::max_staleness)), also if that thread does not get to look: without its confirmation
/// cached keys are read again. With [`exclusive`](SqliteStoreBuilder::exclusive), the file is for one process alone.
/// Within a process, a file that is opened again, under whatever path, is the same store with the same fence, and the options
/// of the first opening hold.
///
/// A change by hand that no trigger sees, because triggers are switched off, is noticed as a commit that left no row in the
/// log: all cached keys are read again. Where tables of another program are in the file, whose commits leave none either, or
/// beside another change within the same fifth of a second, it is seen when the cached answer's time to live ends.
///
/// **The files must stay as they are.** Before each transaction the store looks whether the file and the `-wal` and `-shm`
/// beside it are still those that it opened, and whether anything but SQLite has written them. When one was deleted, replaced,
/// renamed, emptied or written over (`cp backup keys.sqlite`), every call fails as
/// [`Unusable`](crate::store::StoreErrorKind::Unusable) from then on: what would be written then is lost with the process.
///
/// # Backups
///
/// Make a backup with [`backup`](Self::backup), or with SQLite (`VACUUM INTO`, or `.backup` of its own program). A copy of the file
/// alone lacks what is in the `-wal`, unless every process has [closed](KeyStore::close) the store. [`restore`](SqliteStoreBuilder::restore) puts one back. To restore one by hand, stop every process that has the file open, delete the `-wal` and `-shm` if they are there, and copy the
/// backup to the path. If it was copied while a process had the file open, do all of that again: at its end SQLite writes its log
/// into the copy.
///
/// Or restore it through SQLite (`.restore`) while the store is open. The store notices that at its next read or commit, which may
/// be as late as the cached answers' time to live. It logs a warning and reads every cached answer again. Keys that were issued
/// since the backup are unknown, and a commit that was prepared before fails as
/// [`Unavailable`](crate::store::StoreErrorKind::Unavailable). With the backup of another database, every call fails as `Unusable`
/// until the store is opened anew.
///
/// **What was revoked stays revoked**: the file that ends in `.revocations` is a journal of what was taken from keys, written before
/// the call returns. A database that is older than it takes all of that again before it answers, which a warning says. A commit whose
/// lines cannot be written is made, and its call is [`OutcomeUnknown`](crate::store::StoreErrorKind::OutcomeUnknown). Changes by hand
/// are in it within three seconds if a service runs, and otherwise once the next process has opened the file.
/// [`without_journal`](SqliteStoreBuilder::without_journal) keeps none.
///
/// A copy over the open file is found on Linux, Android, FreeBSD and Apple's systems, with these exceptions:
///
/// - another process made a checkpoint in the same time between two looks of the store, or was killed during one, until the next;
/// - the file has more than 8 MiB, the copy has the same size, and the 128 blocks of 64 KiB that are compared are the same.
///
/// ```sh
/// sqlite3 keys.sqlite "VACUUM INTO 'backup.sqlite'"
/// ```
///
/// # Example
///
/// ```
/// use tower_api_key::key::Organization;
/// use tower_api_key::store::{Commit, ManagedStore, SqliteStore, StoreExt, Write};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("keys.sqlite");
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = SqliteStore::open(&path).await?;
/// let acme = Organization::new("Acme");
/// let committed = store.commit(Commit::new().write(Write::InsertOrganization(acme.clone()))).await?;
/// assert_eq!(committed.revision_of(acme.id), Some(1));
/// drop(store);
///
/// let store = SqliteStore::open(&path).await?;
/// assert_eq!(store.get(acme.id).await?, Some(acme));
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Tests may pause the time of Tokio: the store does not look like a timeout then.
///
/// # Security
///
/// Someone who can write the file has every key; someone who can read it has the hashes. Give access to the service's user
/// alone. The files that end in `-wal`, `-shm`, `-lock` and `.revocations` belong to it. The journal holds ids, scopes, networks and limits of keys and
/// ids of users. Keep it with the database: without it, a restored backup brings back what was revoked since.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    readers: Readers,
    writer: Writer,
    sql: Arc<Statements>,
    fence: Fence,
    files: OpenFiles,
    latest_change: Arc<LatestChange>,
    sharing: Sharing,
    following: Following,
    location: Location,
    journal: Option<Arc<Journaled>>,
    /// Held while another store is copied into the file.
    copying: tokio::sync::Mutex<()>,
}

impl SqliteStore {
    /// The version of the schema that this version of the crate makes.
    pub const SCHEMA_VERSION: u32 = sql::migration::SQLITE.len() as u32;

    /// Opens the file, creates it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Unusable`](crate::store::StoreErrorKind::Unusable), with the reason as its source: not a path (`:memory:` is a
    /// database per connection, URLs are not accepted), not openable or not writable, no database, another program's
    /// database, written by a version of this crate that this one cannot read, a file with several hard links, or one that
    /// this process has open and that was deleted or replaced since.
    /// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) when another process held its lock for too long.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder().open(path).await
    }

    /// For other numbers of threads, queue lengths and timeouts.
    pub fn builder() -> SqliteStoreBuilder {
        SqliteStoreBuilder::default()
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl KeyStore for SqliteStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let (lookup, statements) = (lookup.clone(), self.0.sql.clone());
        let (files, latest_change) = (self.0.files.clone(), self.0.latest_change.clone());
        let find = move |connection: &rusqlite::Connection| {
            files.check()?;
            latest_change.check(connection, &statements)?;
            at_once(sql::find(connection, &statements, &lookup))
        };
        self.0.readers.read(find).await
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.0.fence)
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing
    }

    fn follow(&self, clock: &Clock) {
        self.0.following.begin(&self.0.fence, clock);
    }

    async fn close(&self) {
        self.0.readers.close();
        self.0.following.close();
        self.0.writer.close().await;
    }
}

impl ManagedStore for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.0.writer.commit(commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let (statements, is_of_few_rows) = (self.0.sql.clone(), query.is_of_few_rows());
        let (files, latest_change) = (self.0.files.clone(), self.0.latest_change.clone());
        let read = move |connection: &rusqlite::Connection| {
            files.check()?;
            latest_change.check(connection, &statements)?;
            at_once(sql::answer(connection, &statements, query))
        };
        match is_of_few_rows {
            true => self.0.readers.read(read).await,
            false => self.0.readers.scan(read).await,
        }
    }
}
