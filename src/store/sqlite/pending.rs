//! A change between its caller and the commit.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::statement;
use crate::fence::Fence;
use crate::store::change::Subject;
use crate::store::{Change, StoreError, StoreErrorKind};

/// What a change gives back, and what it changes in the fence's sense.
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) change: Option<Change>,
}

/// How the transaction failed that a change was part of.
pub(super) type Failed = (StoreErrorKind, Arc<StoreError>);

/// A change whose result is of any type.
pub(super) trait Pending: Send {
    /// Makes it, uncommitted; whether it succeeded.
    fn apply(&mut self, connection: &Connection) -> bool;
    /// What it changed; `None` before it was made, when it failed, and when it is no change in the fence's sense.
    fn change(&self) -> Option<Change>;
    /// Tells the caller, if there still is one.
    fn answer(self: Box<Self>, transaction: Result<(), Failed>);

    fn announce(&self, fence: &Fence) {
        if let Some(change) = self.change() {
            change.announce(fence);
        }
    }

    fn announce_doubt(&self, fence: &Fence) {
        if let Some(change) = self.change() {
            change.announce_doubt(fence);
        }
    }
}

pub(super) struct Waiting<T, W> {
    work: Option<W>,
    result: Option<Result<Written<T>, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Waiting<T, W> {
    pub(super) fn new(work: W, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self {
            work: Some(work),
            result: None,
            reply,
        }
    }
}

impl<T, W> Pending for Waiting<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<Written<T>, StoreError> + Send,
{
    fn apply(&mut self, connection: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(connection));
        matches!(self.result, Some(Ok(_)))
    }

    fn change(&self) -> Option<Change> {
        self.result.as_ref()?.as_ref().ok()?.change
    }

    fn answer(self: Box<Self>, transaction: Result<(), Failed>) {
        let answer = match (self.result, transaction) {
            // Its own failure stands, whatever became of the others.
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(written)), Ok(())) => Ok(written.value),
            (Some(Ok(_)), Err((kind, error))) => Err(StoreError::with_source(kind, error)),
            (None, Err((_, error))) => Err(StoreError::with_source(StoreErrorKind::Unavailable, error)),
            (None, Ok(())) => Err(StoreError::new(StoreErrorKind::Unavailable)),
        };
        // The caller may have gone; the change stands.
        let _ = self.reply.send(answer);
    }
}

/// Whether a change can be read: the writer is the only one, so a revision that has been reached is its own.
pub(super) fn is_stored(change: &Change, connection: &Connection) -> Result<bool, StoreError> {
    let stored = match change.subject() {
        Subject::Key(id) => statement::key_revision(connection, id)?,
        Subject::Organization(id) => statement::organization_revision(connection, id)?,
    };
    Ok(stored.is_some_and(|stored| u64::try_from(stored).is_ok_and(|stored| stored >= change.revision())))
}
