//! The thread that makes commits, with the only connection that writes.
//!
//! All commits that wait are made in one transaction, each in a savepoint of its own, so that one `fsync` serves them
//! all and one that fails takes none with it. If one ends the whole transaction, each is made again in a transaction of
//! its own. After the transaction the thread itself announces the changes, and only then answers the callers: there is no
//! future whose drop could come between.

mod find_out;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::connection::Location;
use super::fault::Unusable;
use super::files::OpenFiles;
use super::history::{Journaling, QUIET};
use super::latest_change::LatestChange;
use super::lock::ProcessLock;
use super::pending::{Entries, Pending, carry};
use super::queue::Queue;
use super::value::first;
use super::waiting::answer_of;
use crate::fence::Fence;
use crate::store::journal::Journaled;
use crate::store::sql::{Command, OwnRows, Place, Statements, at_once};
use crate::store::{Commit, Committed, StoreError, StoreErrorKind, Write};

/// Commits in one transaction. Bounds how long the first of them waits.
const GROUP: usize = 64;

/// Handle of the writer thread, which ends when this is dropped and its queue is empty.
pub(super) struct Writer {
    queue: Arc<Queue<Pending>>,
    /// Its other end is the thread's, and goes with it.
    ended: watch::Receiver<()>,
}

impl Writer {
    /// `readers` are joined at the end: only the connection that is closed last removes the log file, and of two that close
    /// at once each believes that the other is still open. Then the lock ends.
    pub(super) fn start(
        connection: Connection,
        written: Written,
        capacity: NonZeroUsize,
        readers: Vec<JoinHandle<()>>,
        lock: ProcessLock,
    ) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::new(capacity));
        let thread = WriterThread {
            connection,
            written,
            queue: queue.clone(),
            commit: |connection| connection.execute_batch("COMMIT"),
        };
        let (alive, ended) = watch::channel(());
        let writer = Self { queue, ended };
        thread::Builder::new()
            .name("api-keys-write".into())
            .spawn(move || {
                thread.run();
                thread.end();
                for reader in readers {
                    // A reader that panicked has ended as well.
                    let _ = reader.join();
                }
                drop(thread);
                drop(lock);
                drop(alive);
            })
            .map_err(Unusable::Thread)?;
        Ok(writer)
    }

    /// Makes a commit. Once this was polled the commit takes its course, whether or not the caller waits for it.
    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (reply, answer) = oneshot::channel();
        let refused = |source| StoreError::with_source(StoreErrorKind::Overloaded, source);
        let pushed = match commit.writes.iter().all(Write::can_wait) && !commit.writes.is_empty() {
            true => self.queue.push_later(Pending::new(commit, reply)),
            false => self.queue.push(Pending::new(commit, reply)),
        };
        pushed.map_err(refused)?;
        match answer_of(answer).await {
            Ok(answer) => answer,
            Err(gone) => Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, gone)),
        }
    }
}

impl Writer {
    /// Takes no more commits, makes those that wait, and returns once every connection to the file is closed. The readers and the
    /// follower must have been told to end.
    pub(super) async fn close(&self) {
        self.queue.close();
        let mut ended = self.ended.clone();
        // Nothing is ever sent: this fails when the thread has ended.
        while ended.changed().await.is_ok() {}
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What the thread needs of a store.
pub(super) struct Written {
    pub(super) location: Location,
    pub(super) files: OpenFiles,
    pub(super) sql: Arc<Statements>,
    pub(super) fence: Fence,
    /// What the follower need not announce again.
    pub(super) own: Arc<OwnRows>,
    pub(super) latest_change: Arc<LatestChange>,
    pub(super) journal: Option<Arc<Journaled>>,
}

struct WriterThread {
    connection: Connection,
    written: Written,
    queue: Arc<Queue<Pending>>,
    commit: fn(&Connection) -> rusqlite::Result<()>,
}

/// How a transaction ended.
enum End {
    /// With the rows of the change log that were written, if they are known.
    Committed(Option<(Option<Place>, Place)>),
    /// Nothing was written.
    NotMade(Arc<StoreError>),
    /// Nothing was written, because one of the commits ended the transaction.
    EndedByOne(Arc<StoreError>),
    Unknown(Arc<StoreError>),
    /// It is unknown, and cannot be found out: the files that hold it are gone.
    Lost(Arc<StoreError>),
}

impl WriterThread {
    fn run(&self) {
        while let Some(mut group) = self.queue.take(GROUP) {
            if catch_unwind(AssertUnwindSafe(|| self.make(&mut group))).is_err() {
                // Unreachable as far as is known. What was committed is not known then, so every cached answer is read
                // again, before the callers learn from their dropped `group` that the outcome is unknown.
                self.roll_back();
                self.written.fence.everything_changed();
            }
        }
    }

    /// The next process has less of the change log to look through.
    fn end(&self) {
        if let Some(journal) = &self.written.journal
            && !self.written.latest_change.is_awaited()
            && self.written.files.check().is_ok()
        {
            journal.complete_and_say_so(&self.journaling());
        }
    }

    fn make(&self, group: &mut Vec<Pending>) {
        let mut end = self.transact(group);
        if matches!(end, End::EndedByOne(_)) && group.len() > 1 {
            // Each alone, so that only that one fails. Nothing was written, so none is made twice.
            for pending in group.drain(..) {
                self.make(&mut vec![pending]);
            }
            return;
        }
        if let End::Unknown(error) = end {
            end = self.find_out(group, error);
        }
        // All are announced before the first caller is answered.
        for pending in &*group {
            match end {
                End::Committed(_) => pending.announce(&self.written.fence),
                End::Unknown(_) | End::Lost(_) => pending.announce_doubt(&self.written.fence),
                End::NotMade(_) | End::EndedByOne(_) => {}
            }
        }
        if let End::Committed(Some((before, last))) = end {
            self.written.own.announced(before, last);
        }
        if matches!(end, End::Committed(_)) && group.iter().any(Pending::has_forgotten) {
            self.empty_log();
        }
        // What was taken from keys is on the disk twice before the call returns.
        let unrecorded = match end {
            End::Committed(places) => self.record(group, places).err(),
            _ => None,
        };
        let mut entries = Vec::new();
        for mut pending in group.drain(..) {
            match (&end, &unrecorded) {
                (End::Committed(_), Some(error)) if pending.needs_journal() => {
                    entries.push(pending.take_entries());
                    pending.answer(Err((StoreErrorKind::OutcomeUnknown, error.clone())));
                    continue;
                }
                _ => {}
            }
            match &end {
                End::Committed(_) => {
                    entries.push(pending.take_entries());
                    pending.answer(Ok(()));
                }
                End::NotMade(error) | End::EndedByOne(error) => {
                    let kind = match error.kind() {
                        StoreErrorKind::Unusable => StoreErrorKind::Unusable,
                        _ => StoreErrorKind::Unavailable,
                    };
                    pending.answer(Err((kind, error.clone())))
                }
                End::Unknown(error) | End::Lost(error) => {
                    pending.answer(Err((StoreErrorKind::OutcomeUnknown, error.clone())))
                }
            }
        }
        // After the answers, for which a slow subscriber would be in the way.
        entries.iter().for_each(Entries::emit);
    }

    fn transact(&self, group: &mut [Pending]) -> End {
        // SQLite would write to files that nobody finds again, and report success.
        if let Err(gone) = self.written.files.check_log() {
            return End::NotMade(Arc::new(gone.into()));
        }
        if let Some(journal) = &self.written.journal
            && group.iter().any(Pending::purges)
        {
            journal.complete_and_say_so(&self.journaling());
        }
        if let Err(error) = self.step("BEGIN IMMEDIATE") {
            return End::NotMade(Arc::new(error));
        }
        let (latest_change, sql) = (&self.written.latest_change, &self.written.sql);
        if let Err(set_back) = latest_change.check_write(&self.connection, sql) {
            self.roll_back();
            let set_back = latest_change.check(&self.connection, sql).err().unwrap_or(set_back);
            return End::NotMade(Arc::new(set_back));
        }
        let logged = match self.apply(group) {
            // None of them has written anything.
            Ok(None) => {
                self.roll_back();
                return End::Committed(None);
            }
            Ok(logged) => logged,
            Err(error) => {
                self.roll_back();
                return End::EndedByOne(Arc::new(error));
            }
        };
        let Err(error) = (self.commit)(&self.connection) else {
            if let Some((_, last)) = logged {
                self.written.latest_change.saw(last);
            }
            // They may have gone in between.
            return match self.written.files.check_log() {
                Ok(()) => End::Committed(logged),
                Err(gone) => End::Lost(Arc::new(gone.into())),
            };
        };
        // Still inside the transaction: nothing was written, and a rollback makes that certain.
        let refused = !self.connection.is_autocommit();
        self.roll_back();
        // A deferred constraint, which only COMMIT checks.
        let broken = error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation);
        let error = Arc::new(StoreError::from(error));
        match refused {
            true if broken => End::EndedByOne(error),
            true => End::NotMade(error),
            false => End::Unknown(error),
        }
    }

    /// Which rows of the change log were written; nothing if nothing was written at all.
    fn apply(&self, group: &mut [Pending]) -> Result<Option<(Option<Place>, Place)>, StoreError> {
        let journal = self.written.journal.as_deref();
        let command = Command::new(&self.connection, &self.written.sql, journal.map(Journaled::through));
        let before = self.last_change()?;
        // One alone is rolled back with the transaction. Within a savepoint, SQLite would copy every page that a statement changes
        // into a temporary file: a commit with 1,000 new keys took a fifth longer.
        let is_alone = group.len() == 1;
        let mut is_written = false;
        for pending in group {
            let carried = journal
                .map(|journal| carry(journal, &command, pending))
                .transpose()?
                .flatten();
            if !is_alone {
                self.step("SAVEPOINT change")?;
            }
            let succeeded = pending.make(&command);
            if let Some(carried) = carried.filter(|_| succeeded) {
                at_once(command.delete_waiting(carried))?;
            }
            if self.connection.is_autocommit() {
                // A full disk, a failing one or a trigger makes SQLite roll everything back by itself.
                return Err(StoreError::new(StoreErrorKind::Unavailable));
            }
            if !is_alone {
                if !succeeded {
                    self.step("ROLLBACK TO change")?;
                }
                self.step("RELEASE change")?;
            }
            is_written |= succeeded && pending.writes();
        }
        if !is_written {
            return Ok(None);
        }
        let last = match self.last_change()? {
            // Followers take a transaction that leaves no row for one that was made past the triggers.
            last if last == before => {
                self.step(QUIET)?;
                self.last_change()?
            }
            last => last,
        };
        let missing = || StoreError::with_source(StoreErrorKind::Unavailable, "a row of the change log was skipped");
        Ok(Some((before, last.ok_or_else(missing)?)))
    }

    /// Appends to the journal what the group took from keys.
    fn record(&self, group: &[Pending], places: Option<(Option<Place>, Place)>) -> Result<(), Arc<StoreError>> {
        let Some(journal) = &self.written.journal else {
            return Ok(());
        };
        let narrowed: Vec<_> = group.iter().flat_map(Pending::narrowed).cloned().collect();
        journal.record(&self.journaling(), places, narrowed).map_err(Arc::new)
    }

    fn journaling(&self) -> Journaling<'_> {
        Journaling {
            connection: &self.connection,
            sql: &self.written.sql,
        }
    }

    fn last_change(&self) -> Result<Option<Place>, StoreError> {
        first(&self.connection, &self.written.sql.last_change, &[], |row| row.place())
    }

    fn step(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Takes what was forgotten out of the log, as far as no reader needs it. If one does, it goes with the next checkpoint.
    fn empty_log(&self) {
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // When even this fails, the next BEGIN does too, and is answered with its error.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests;
