//! The thread that makes commits, with the only connection that writes.
//!
//! All commits that wait are made in one transaction, each in a savepoint of its own, so that one `fsync` serves them
//! all and one that fails takes none with it. If one ends the whole transaction, each is made again in a transaction of
//! its own. After the transaction the thread itself announces the changes, and only then answers the callers: there is no
//! future whose drop could come between.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::command::Command;
use super::connection::Location;
use super::fault::Unusable;
use super::files::OpenFiles;
use super::latest_change::{LatestChange, latest};
use super::pending::Pending;
use super::queue::Queue;
use super::value::first;
use super::waiting::answer_of;
use crate::fence::Fence;
use crate::store::pauses::Pauses;
use crate::store::sql::Statements;
use crate::store::{Commit, Committed, StoreError, StoreErrorKind};

/// Commits in one transaction. Bounds how long the first of them waits.
const GROUP: usize = 64;

/// Handle of the writer thread, which ends when this is dropped and its queue is empty.
pub(super) struct Writer {
    queue: Arc<Queue<Pending>>,
}

impl Writer {
    /// `readers` are joined at the end: only the connection that is closed last removes the log file, and of two that close
    /// at once each believes that the other is still open.
    pub(super) fn start(
        mut thread: WriterThread,
        capacity: NonZeroUsize,
        readers: Vec<JoinHandle<()>>,
    ) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::new(capacity));
        thread.queue = queue.clone();
        let writer = Self { queue };
        thread::Builder::new()
            .name("api-keys-write".into())
            .spawn(move || {
                thread.run();
                for reader in readers {
                    // A reader that panicked has ended as well.
                    let _ = reader.join();
                }
            })
            .map_err(Unusable::Thread)?;
        Ok(writer)
    }

    /// Makes a commit. Once this was polled the commit takes its course, whether or not the caller waits for it.
    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (reply, answer) = oneshot::channel();
        let refused = |source| StoreError::with_source(StoreErrorKind::Overloaded, source);
        self.queue.push(Pending::new(commit, reply)).map_err(refused)?;
        match answer_of(answer).await {
            Ok(answer) => answer,
            Err(gone) => Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, gone)),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What the thread has.
pub(super) struct WriterThread {
    /// Closed before the files are.
    connection: Connection,
    location: Location,
    files: OpenFiles,
    sql: Arc<Statements>,
    latest_change: Arc<LatestChange>,
    fence: Fence,
    queue: Arc<Queue<Pending>>,
    commit: fn(&Connection) -> rusqlite::Result<()>,
}

/// How a transaction ended.
enum End {
    Committed,
    /// Nothing was written.
    NotMade(Arc<StoreError>),
    /// Nothing was written, because one of the commits ended the transaction.
    EndedByOne(Arc<StoreError>),
    Unknown(Arc<StoreError>),
    /// It is unknown, and cannot be found out: the files that hold it are gone.
    Lost(Arc<StoreError>),
}

impl WriterThread {
    pub(super) fn new(
        connection: Connection,
        location: Location,
        files: OpenFiles,
        sql: Arc<Statements>,
        latest_change: Arc<LatestChange>,
        fence: Fence,
    ) -> Self {
        Self {
            connection,
            location,
            files,
            sql,
            latest_change,
            fence,
            queue: Arc::new(Queue::new(NonZeroUsize::MIN)),
            commit: |connection| connection.execute_batch("COMMIT"),
        }
    }

    fn run(&self) {
        while let Some(mut group) = self.queue.take(GROUP) {
            if catch_unwind(AssertUnwindSafe(|| self.make(&mut group))).is_err() {
                // Unreachable as far as is known. What was committed is not known then, so every cached answer is read
                // again, before the callers learn from their dropped `group` that the outcome is unknown.
                self.roll_back();
                self.fence.everything_changed();
            }
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
                End::Committed => pending.announce(&self.fence),
                End::Unknown(_) | End::Lost(_) => pending.announce_doubt(&self.fence),
                End::NotMade(_) | End::EndedByOne(_) => {}
            }
        }
        for pending in group.drain(..) {
            match &end {
                End::Committed => pending.answer(Ok(())),
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
    }

    fn transact(&self, group: &mut [Pending]) -> End {
        // SQLite would write to files that nobody finds again, and report success.
        if let Err(gone) = self.files.check_log() {
            return End::NotMade(Arc::new(gone.into()));
        }
        if let Err(error) = self.step("BEGIN IMMEDIATE") {
            return End::NotMade(Arc::new(error));
        }
        if let Err(set_back) = self.latest_change.check_write(&self.connection, &self.sql) {
            self.roll_back();
            return End::NotMade(Arc::new(set_back));
        }
        let applied = self.apply(group).and_then(|()| latest(&self.connection, &self.sql));
        let latest_change = match applied {
            Ok(latest_change) => latest_change,
            Err(error) => {
                self.roll_back();
                return End::EndedByOne(Arc::new(error));
            }
        };
        let Err(error) = (self.commit)(&self.connection) else {
            self.latest_change.committed(latest_change);
            // They may have gone in between.
            return match self.files.check_log() {
                Ok(()) => End::Committed,
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

    fn apply(&self, group: &mut [Pending]) -> Result<(), StoreError> {
        let command = Command {
            connection: &self.connection,
            sql: &self.sql,
        };
        for pending in group {
            self.step("SAVEPOINT change")?;
            let succeeded = pending.make(&command);
            if self.connection.is_autocommit() {
                // A full disk, a failing one or a trigger makes SQLite roll everything back by itself.
                return Err(StoreError::new(StoreErrorKind::Unavailable));
            }
            if !succeeded {
                self.step("ROLLBACK TO change")?;
            }
            self.step("RELEASE change")?;
        }
        Ok(())
    }

    fn step(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // When even this fails, the next BEGIN does too, and is answered with its error.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Asks on a new connection until it is certain whether the group was committed: all of it was, or none.
    fn find_out(&self, group: &[Pending], error: Arc<StoreError>) -> End {
        for pending in group {
            pending.announce_doubt(&self.fence);
        }
        // A group that left no audit event left no trace to look for.
        let Some(id) = group.iter().find_map(Pending::traceable) else {
            return End::Unknown(error);
        };
        let was_committed = |connection: Connection| {
            let found = first(&connection, &self.sql.commit_exists, &[id.as_uuid().into()], |_| Ok(()))?;
            Ok(found.is_some())
        };
        let mut pauses = Pauses::new();
        loop {
            let asked = match self.files.check() {
                Ok(()) => self.location.reader().and_then(was_committed),
                // In other files there is no trace.
                Err(_) if self.location.path().exists() => return End::Lost(error),
                // It may come back, as a folder that is mounted again does.
                Err(gone) => Err(gone.into()),
            };
            match asked {
                Ok(true) => return End::Committed,
                Ok(false) => {
                    for pending in group {
                        pending.announce_doubt(&self.fence);
                    }
                    return End::NotMade(error);
                }
                Err(_) if self.queue.is_closed() => return End::Unknown(error),
                Err(_) => thread::sleep(pauses.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
