//! Changes, on one thread with the only connection that writes.
//!
//! All changes that wait are made in one transaction, each in a savepoint of its own, so that one `fsync` serves them
//! all and one that fails takes none with it. After the commit the thread itself tells the fence, and only then the
//! callers: there is no future whose drop could come between.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::Location;
use super::fault::Unusable;
use super::pending::{Pending, Waiting, Written};
use super::queue::Queue;
use crate::fence::Fence;
use crate::store::pauses::Pauses;
use crate::store::{StoreError, StoreErrorKind};

/// Changes in one transaction. Bounds how long the first of them waits.
const GROUP: usize = 64;

/// The way to the writer thread. It ends when this is closed and what waits is done.
pub(super) struct Writer {
    queue: Arc<Queue<Box<dyn Pending>>>,
}

impl Writer {
    /// `readers` are waited for in the end: only the connection that is closed last tidies the log away, and two that close
    /// at once both believe that the other is still there.
    pub(super) fn start(
        connection: Connection,
        location: Location,
        fence: Fence,
        capacity: NonZeroUsize,
        readers: Vec<JoinHandle<()>>,
    ) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::new(capacity));
        let thread = WriterThread {
            connection,
            location,
            fence,
            queue: queue.clone(),
            commit: |connection| connection.execute_batch("COMMIT"),
        };
        let writer = Self { queue };
        thread::Builder::new()
            .name("api-keys-write".into())
            .spawn(move || {
                thread.run();
                for reader in readers {
                    // One that panicked is gone as well.
                    let _ = reader.join();
                }
            })
            .map_err(Unusable::Thread)?;
        Ok(writer)
    }

    /// Makes a change. Once this has been polled the change takes its way, whether or not somebody waits for it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Written<T>, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let refused = |source| StoreError::with_source(StoreErrorKind::Overloaded, source);
        self.queue.push(Box::new(Waiting::new(work, reply))).map_err(refused)?;
        match answer.await {
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

struct WriterThread {
    connection: Connection,
    location: Location,
    fence: Fence,
    queue: Arc<Queue<Box<dyn Pending>>>,
    commit: fn(&Connection) -> rusqlite::Result<()>,
}

/// How a transaction ended.
enum End {
    Committed,
    RolledBack(Arc<StoreError>),
    Unknown(Arc<StoreError>),
}

impl WriterThread {
    fn run(&self) {
        while let Some(mut group) = self.queue.take(GROUP) {
            if catch_unwind(AssertUnwindSafe(|| self.make(&mut group))).is_err() {
                // Unreachable as far as is known. What was committed is not known then, so everybody reads again, before
                // the callers hear (from their dropped `group`) that it is unknown.
                self.roll_back();
                self.fence.everything_changed();
            }
        }
    }

    fn make(&self, group: &mut Vec<Box<dyn Pending>>) {
        let mut end = self.transact(group);
        if let End::Unknown(error) = end {
            end = self.find_out(group, error);
        }
        // All are announced before the first caller hears of it.
        for pending in &*group {
            match end {
                End::Committed => pending.announce(&self.fence),
                End::Unknown(_) => pending.announce_doubt(&self.fence),
                End::RolledBack(_) => {}
            }
        }
        for pending in group.drain(..) {
            match &end {
                End::Committed => pending.answer(Ok(())),
                End::RolledBack(error) => pending.answer(Err((StoreErrorKind::Unavailable, error.clone()))),
                End::Unknown(error) => pending.answer(Err((StoreErrorKind::OutcomeUnknown, error.clone()))),
            }
        }
    }

    fn transact(&self, group: &mut [Box<dyn Pending>]) -> End {
        if let Err(error) = self.apply(group) {
            self.roll_back();
            return End::RolledBack(Arc::new(error));
        }
        let Err(error) = (self.commit)(&self.connection) else {
            return End::Committed;
        };
        // Still inside the transaction: nothing was written, and a rollback makes that certain.
        let refused = !self.connection.is_autocommit();
        self.roll_back();
        let error = Arc::new(StoreError::from(error));
        if refused {
            End::RolledBack(error)
        } else {
            End::Unknown(error)
        }
    }

    fn apply(&self, group: &mut [Box<dyn Pending>]) -> Result<(), StoreError> {
        self.step("BEGIN IMMEDIATE")?;
        for pending in group {
            self.step("SAVEPOINT change")?;
            let succeeded = pending.apply(&self.connection);
            if self.connection.is_autocommit() {
                // A full disk or a failing one makes SQLite roll everything back by itself.
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
    fn find_out(&self, group: &[Box<dyn Pending>], error: Arc<StoreError>) -> End {
        for pending in group {
            pending.announce_doubt(&self.fence);
        }
        let mut pauses = Pauses::new();
        loop {
            match self
                .location
                .reader()
                .and_then(|connection| is_stored(group, &connection))
            {
                Ok(Some(true)) => return End::Committed,
                Ok(Some(false)) => {
                    for pending in group {
                        pending.announce_doubt(&self.fence);
                    }
                    return End::RolledBack(error);
                }
                // Nothing in the group leaves a trace to look for, and nothing a decision depends on.
                Ok(None) => return End::Unknown(error),
                Err(_) if self.queue.is_closed() => return End::Unknown(error),
                Err(_) => thread::sleep(pauses.take()),
            }
        }
    }
}

fn is_stored(group: &[Box<dyn Pending>], connection: &Connection) -> Result<Option<bool>, StoreError> {
    for pending in group {
        if let Some(change) = pending.change() {
            return super::pending::is_stored(&change, connection).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
