//! Options of a SQLite store, and how it is opened.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::connection::Location;
use super::fault::Unusable;
use super::files::OpenFiles;
use super::follower::{Followed, Following};
use super::history::Journaling;
use super::latest_change::LatestChange;
use super::lock::ProcessLock;
use super::migrate;
use super::reader::Readers;
use super::registry;
use super::waiting::answer_of;
use super::writer::{Writer, Written};
use super::{Inner, SqliteStore, statements};
use crate::fence::Fence;
use crate::store::journal::Journaled;
use crate::store::sql::migration::SQLITE;
use crate::store::{Sharing, StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// What its name ends in.
const JOURNAL: &str = ".revocations";
/// Threads for lists and counts.
const MOST_SCANNERS: usize = 4;
const MOST_READERS: usize = 64;
/// A file that is another one each time it was opened is being replaced in a loop.
const ATTEMPTS: usize = 3;
const RETRY: Duration = Duration::from_millis(5);
const LONGEST_BUSY_TIMEOUT: Duration = Duration::from_secs(3600);
const SHORTEST_STALENESS: Duration = Duration::from_millis(50);
const LONGEST_STALENESS: Duration = Duration::from_secs(3600);
/// How often the change log is looked at in the time for which a confirmation is good: it may come late, and fail.
const LOOKS: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Options of a [`SqliteStore`], from [`SqliteStore::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteStoreBuilder {
    readers: NonZeroUsize,
    read_queue: NonZeroUsize,
    write_queue: NonZeroUsize,
    busy_timeout: Duration,
    max_staleness: Duration,
    exclusive: bool,
    beside_other_tables: bool,
    create_if_missing: bool,
    copy_target: bool,
    journal: JournalPlace,
}

/// Where the revocation journal is.
#[derive(Clone, Debug)]
enum JournalPlace {
    BesideTheFile,
    At(PathBuf),
    Nowhere,
}

impl Default for SqliteStoreBuilder {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            readers: at_least_one(cores.clamp(2, 4)),
            read_queue: at_least_one(1024),
            write_queue: at_least_one(1024),
            busy_timeout: Duration::from_secs(5),
            max_staleness: Duration::from_secs(1),
            exclusive: false,
            beside_other_tables: false,
            create_if_missing: true,
            copy_target: false,
            journal: JournalPlace::BesideTheFile,
        }
    }
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

impl SqliteStoreBuilder {
    /// The number of reader threads, each with its own connection. Default: the number of cores, from 2 to 4. More than 64 are
    /// [`Unusable`](StoreErrorKind::Unusable).
    ///
    /// Lists and counts have threads of their own, one fewer than these, from 1 to 4: they keep no check of a key waiting, and 2 MiB of the
    /// file in memory each. The connections of the others, and that of the writer, keep up to 64 MiB.
    pub fn readers(mut self, readers: NonZeroUsize) -> Self {
        self.readers = readers;
        self
    }

    /// Reads that may wait for a thread, and as many lists and counts; one more is [`Overloaded`](StoreErrorKind::Overloaded). Default: 1,024.
    pub fn read_queue(mut self, reads: NonZeroUsize) -> Self {
        self.read_queue = reads;
        self
    }

    /// Commits that may wait for the next transaction; one more is [`Overloaded`](StoreErrorKind::Overloaded).
    /// Default: 1,024.
    pub fn write_queue(mut self, changes: NonZeroUsize) -> Self {
        self.write_queue = changes;
        self
    }

    /// How long to wait for a lock that another process holds. Default: 5 s. More than one hour is
    /// [`Unusable`](StoreErrorKind::Unusable).
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How late a change by another process may be seen in this one, which looks for changes five times in this time, and at
    /// least once a second. Default: 1 s. Less than 50 ms and more than one hour are
    /// [`Unusable`](StoreErrorKind::Unusable). [`ApiKeysBuilder::max_staleness`](crate::ApiKeysBuilder::max_staleness) replaces
    /// the time for one authenticator.
    pub fn max_staleness(mut self, time: Duration) -> Self {
        self.max_staleness = time;
        self
    }

    /// Has the file for this process alone: opening it is [`Unusable`](StoreErrorKind::Unusable) while another process has it
    /// open with this crate, and for another process as long as this one has. The operating system ends that with the
    /// process. Default: no.
    ///
    /// The store is [`Sharing::Exclusive`] then: a cached key needs no confirmation that nothing has changed. A change by hand
    /// with another program is not prevented. As a rule it is noticed within a fifth of a second, without a promise.
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Allows a file that has tables of another program. The store's own begin with `api_keys_`. Default: such a file is
    /// [`Unusable`](StoreErrorKind::Unusable), since it may have been opened by mistake.
    pub fn beside_other_tables(mut self) -> Self {
        self.beside_other_tables = true;
        self
    }

    /// Whether the file is created if there is none. Default: yes. Otherwise a missing file is
    /// [`Unusable`](StoreErrorKind::Unusable).
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create_if_missing = create;
        self
    }

    /// Opens the file for [`copy`](crate::store::copy()) to copy another store into it: a new file, or one into which a copy was begun
    /// that is not finished, which is [`Unusable`](StoreErrorKind::Unusable) otherwise.
    ///
    /// The file is this process's [alone](Self::exclusive). Until it has been copied into, every call is `Unusable`.
    pub fn copy_target(mut self) -> Self {
        self.copy_target = true;
        self.exclusive = true;
        self
    }

    /// Keeps the revocation journal in another file, such as one on another disk. Default: beside the database, with `.revocations`
    /// behind its name.
    pub fn journal(mut self, path: impl AsRef<Path>) -> Self {
        self.journal = JournalPlace::At(path.as_ref().to_owned());
        self
    }

    /// Keeps no revocation journal: a backup that is restored brings back what was revoked since it was made.
    pub fn without_journal(mut self) -> Self {
        self.journal = JournalPlace::Nowhere;
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
        let location = self.location(path)?.of_copy_target(self.copy_target);
        self.open_once(&location).map_err(|error| location.named(error))
    }

    pub(super) fn location(&self, path: &Path) -> Result<Location, StoreError> {
        self.check_bounds()?;
        Ok(Location::new(path, self.busy_timeout, self.beside_other_tables)?)
    }

    /// The store of this process that has the file open, or a new one.
    fn open_once(self, location: &Location) -> Result<SqliteStore, StoreError> {
        if self.create_if_missing {
            location.create()?;
        }
        for _ in 0..ATTEMPTS {
            let Ok(id) = location.id() else {
                // SQLite reports the problem better. If there is none any more, the file is found at the next attempt.
                self.clone().open_at(location, Fence::new())?;
                continue;
            };
            let place = registry::place(&id);
            let mut entry = unpoisoned(place.lock());
            if let Some(open) = entry.store() {
                open.files.check()?;
                if self.exclusive && open.sharing != Sharing::Exclusive {
                    return Err(Unusable::NotExclusive.into());
                }
                return Ok(SqliteStore(open));
            }
            let deadline = Instant::now() + self.busy_timeout;
            while entry.is_open_elsewhere(location.path()) {
                if Instant::now() >= deadline {
                    return Err(Unusable::InUse.into());
                }
                thread::sleep(RETRY);
            }
            let opened = self.clone().open_at(location, entry.fence())?;
            // Otherwise it was replaced in between, or the file system gave it another identity when it was first written.
            if opened.files.id() == Some(&id) {
                entry.opened(&opened);
                return Ok(SqliteStore(opened));
            }
        }
        Err(Unusable::Replaced(location.path().to_owned()).into())
    }

    fn open_at(self, location: &Location, fence: Fence) -> Result<Arc<Inner>, StoreError> {
        let mut connection = match self.create_if_missing {
            true => location.writer()?,
            false => location.existing_writer()?,
        };
        // Not sooner: nothing is put beside a file of another program.
        let lock = ProcessLock::take(location.path(), self.exclusive, Instant::now() + self.busy_timeout)?;
        migrate::upgrade(&mut connection, SQLITE, self.copy_target)?;
        let files = OpenFiles::of(location.path(), self.exclusive.then(|| lock.path()))?;
        if !files.are_watched() {
            // A crash has left a log, or a checkpoint. This ends it, unless another process is at it.
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
        }
        let connections = |number| {
            (0..number)
                .map(|_| location.reader())
                .collect::<Result<Vec<_>, StoreError>>()
        };
        let reading = connections(self.readers.get())?;
        let scanning = connections((self.readers.get() - 1).clamp(1, MOST_SCANNERS))?;
        let (sql, own) = (Arc::new(statements()), Arc::default());
        let journal = self.journal_of(location)?;
        // What is to be copied into has no history of its own yet.
        if let Some(journal) = journal.as_ref().filter(|_| !self.copy_target) {
            journal.catch_up(&Journaling {
                connection: &connection,
                sql: &sql,
            })?;
        }
        let latest_change = LatestChange::of(&connection, &sql, fence.clone(), journal.clone(), location)?;
        let latest_change = Arc::new(latest_change.until_copied(self.copy_target));
        let (readers, mut threads) = Readers::start(reading, scanning, self.read_queue)?;
        let followed = Followed {
            location: location.clone(),
            files: files.clone(),
            sql: sql.clone(),
            fence: fence.clone(),
            own: Arc::clone(&own),
            latest_change: latest_change.clone(),
            journal: journal.clone(),
            interval: (self.max_staleness / LOOKS).min(LONGEST_PAUSE),
            is_beside_others: self.beside_other_tables,
        };
        let (following, follower) = Following::start(followed)?;
        threads.push(follower);
        let written = Written {
            location: location.clone(),
            files: files.clone(),
            sql: sql.clone(),
            fence: fence.clone(),
            own,
            latest_change: latest_change.clone(),
            journal: journal.clone(),
        };
        let writer = Writer::start(connection, written, self.write_queue, threads, lock)?;
        let sharing = match self.exclusive {
            true => Sharing::Exclusive,
            false => Sharing::ChangeLog {
                max_staleness: self.max_staleness,
            },
        };
        Ok(Arc::new(Inner {
            readers,
            writer,
            sql,
            fence,
            files,
            latest_change,
            sharing,
            following,
            location: location.clone(),
            journal,
            copying: tokio::sync::Mutex::default(),
        }))
    }

    /// The journal stands beside the database itself, not beside a link to it.
    fn journal_of(&self, location: &Location) -> Result<Option<Arc<Journaled>>, Unusable> {
        let path = match &self.journal {
            JournalPlace::Nowhere => return Ok(None),
            JournalPlace::At(path) => path.clone(),
            JournalPlace::BesideTheFile => {
                let mut path = location.path().canonicalize().map_err(Unusable::Lost)?.into_os_string();
                path.push(JOURNAL);
                PathBuf::from(path)
            }
        };
        let database = location.path().display().to_string();
        Ok(Some(Arc::new(Journaled::at(path, database, location.busy_timeout()))))
    }

    /// Checked before the file is touched: SQLite's own binding panics if the time is too long.
    fn check_bounds(&self) -> Result<(), Unusable> {
        if self.readers.get() > MOST_READERS {
            return Err(Unusable::TooManyReaders(self.readers));
        }
        if self.busy_timeout > LONGEST_BUSY_TIMEOUT {
            return Err(Unusable::BusyTimeout(self.busy_timeout));
        }
        if !(SHORTEST_STALENESS..=LONGEST_STALENESS).contains(&self.max_staleness) {
            return Err(Unusable::MaxStaleness(self.max_staleness));
        }
        Ok(())
    }

    /// Takes the file's schema back to an older version, before going back to that version of this crate. No store may
    /// have the file open, in any process. Data that later versions added is lost. Below version 2 that is the secret of keyed checksums, without
    /// which keys that have one are refused, also after the next upgrade. Version 0 is an empty file: **all keys are lost**.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and `Unusable` when there is no such version, the file has an older one, or there is no
    /// file.
    pub async fn downgrade_and_lose_data(self, path: impl AsRef<Path>, version: u32) -> Result<(), StoreError> {
        let path: PathBuf = path.as_ref().to_owned();
        off_the_runtime(move || {
            let location = self.location(&path)?;
            let downgrade = |mut connection| {
                let deadline = Instant::now() + self.busy_timeout;
                let _lock = ProcessLock::take(location.path(), true, deadline)?;
                migrate::downgrade(&mut connection, SQLITE, version)
            };
            // Held until the end, so that no store opens the file meanwhile.
            let place = location.id().ok().map(|id| registry::place(&id));
            let entry = place.as_ref().map(|place| unpoisoned(place.lock()));
            let downgraded = match entry {
                Some(entry) if entry.store().is_some() => Err(Unusable::InUse.into()),
                _entry => location.existing_writer().and_then(downgrade),
            };
            downgraded.map_err(|error| location.named(error))
        })
        .await
    }
}

/// Opening reads and writes files and may wait for locks, so it runs on a thread of its own.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let opening = move || {
        // If the caller is gone, the store is closed again.
        let _ = reply.send(work());
    };
    thread::Builder::new()
        .name("api-keys-open".into())
        .spawn(opening)
        .map_err(Unusable::Thread)?;
    match answer_of(answer).await {
        Ok(answer) => answer,
        Err(gone) => Err(StoreError::with_source(StoreErrorKind::Unavailable, gone)),
    }
}
