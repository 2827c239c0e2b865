//! How a SQLite store is opened.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::Location;
use super::fault::Unusable;
use super::reader::Readers;
use super::writer::Writer;
use super::{Inner, SqliteStore};
use crate::fence::Fence;
use crate::store::{StoreError, StoreErrorKind, migrations};

const MOST_READERS: usize = 64;
const LONGEST_BUSY_TIMEOUT: Duration = Duration::from_secs(3600);

/// Options of a [`SqliteStore`], from [`SqliteStore::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteStoreBuilder {
    readers: NonZeroUsize,
    read_queue: NonZeroUsize,
    write_queue: NonZeroUsize,
    busy_timeout: Duration,
}

impl Default for SqliteStoreBuilder {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            readers: at_least_one(cores.min(4)),
            read_queue: at_least_one(1024),
            write_queue: at_least_one(1024),
            busy_timeout: Duration::from_secs(5),
        }
    }
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

impl SqliteStoreBuilder {
    /// Threads that read, with a connection each. With more than 64 there is no opening: it is
    /// [`Unusable`](StoreErrorKind::Unusable). Default: the number of cores, at most 4.
    pub fn readers(mut self, readers: NonZeroUsize) -> Self {
        self.readers = readers;
        self
    }

    /// Reads that may wait for a thread; one more is [`Overloaded`](StoreErrorKind::Overloaded). Default: 1,024.
    pub fn read_queue(mut self, reads: NonZeroUsize) -> Self {
        self.read_queue = reads;
        self
    }

    /// Changes that may wait for the next transaction; one more is [`Overloaded`](StoreErrorKind::Overloaded).
    /// Default: 1,024.
    pub fn write_queue(mut self, changes: NonZeroUsize) -> Self {
        self.write_queue = changes;
        self
    }

    /// How long to wait for a lock that another process holds. With more than an hour there is no opening: it is
    /// [`Unusable`](StoreErrorKind::Unusable). Default: 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`], and `Unusable` when an option is out of its bounds.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let path = path.as_ref().to_owned();
        off_the_runtime(move || self.open_here(&path)).await
    }

    fn open_here(self, path: &Path) -> Result<SqliteStore, StoreError> {
        self.check_bounds()?;
        let location = Location::new(path, self.busy_timeout)?;
        let connection = location.prepare()?;
        let readers: Result<Vec<Connection>, StoreError> = (0..self.readers.get()).map(|_| location.reader()).collect();
        let fence = Fence::new();
        let (readers, threads) = Readers::start(readers?, self.read_queue)?;
        let writer = Writer::start(connection, location, fence.clone(), self.write_queue, threads)?;
        Ok(SqliteStore(Arc::new(Inner { readers, writer, fence })))
    }

    /// Before anything is done with a file: SQLite's own binding panics when it is given too long a time.
    fn check_bounds(&self) -> Result<(), Unusable> {
        if self.readers.get() > MOST_READERS {
            return Err(Unusable::TooManyReaders(self.readers));
        }
        if self.busy_timeout > LONGEST_BUSY_TIMEOUT {
            return Err(Unusable::BusyTimeout(self.busy_timeout));
        }
        Ok(())
    }

    /// Takes the file's schema back to an older version's, before going back to that version of this crate. No store may
    /// have the file open. What later versions added is lost, and version 0 is an empty file: **all keys are lost**.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and `Unusable` when there is no such version, the file has an older one, or there is no
    /// file.
    pub async fn downgrade_and_lose_data(self, path: impl AsRef<Path>, version: u32) -> Result<(), StoreError> {
        let path: PathBuf = path.as_ref().to_owned();
        off_the_runtime(move || {
            self.check_bounds()?;
            let mut connection = Location::new(&path, self.busy_timeout)?.existing_writer()?;
            migrations::downgrade(&mut connection, migrations::SQLITE, version)
        })
        .await
    }
}

/// Opening reads and writes files, and may wait for locks: not on a thread that serves requests.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let opening = move || {
        // Nobody waits any more: what was opened is closed again.
        let _ = reply.send(work());
    };
    thread::Builder::new()
        .name("api-keys-open".into())
        .spawn(opening)
        .map_err(Unusable::Thread)?;
    match answer.await {
        Ok(answer) => answer,
        Err(gone) => Err(StoreError::with_source(StoreErrorKind::Unavailable, gone)),
    }
}
