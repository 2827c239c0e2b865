//! A commit between its caller and the disk.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::command::Command;
use crate::audit::CommitId;
use crate::fence::Fence;
use crate::store::settle::announce_doubt;
use crate::store::{Commit, Committed, StoreError, StoreErrorKind};

/// A commit that waits for its transaction, and its caller.
pub(super) struct Pending {
    commit: Commit,
    result: Option<Result<Committed, StoreError>>,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// How the transaction failed that a commit was part of.
pub(super) type Failed = (StoreErrorKind, Arc<StoreError>);

impl Pending {
    pub(super) fn new(commit: Commit, reply: oneshot::Sender<Result<Committed, StoreError>>) -> Self {
        Self {
            commit,
            result: None,
            reply,
        }
    }

    /// Makes it, uncommitted; whether it succeeded.
    pub(super) fn make(&mut self, command: &Command<'_>) -> bool {
        let result = command.make(&self.commit);
        self.result.insert(result).is_ok()
    }

    /// The id by which the commit can be found afterwards, if it succeeded and left an audit event.
    pub(super) fn traceable(&self) -> Option<CommitId> {
        self.committed()?;
        (!self.commit.audit.is_empty()).then_some(self.commit.id)
    }

    pub(super) fn announce(&self, fence: &Fence) {
        if let Some(committed) = self.committed() {
            fence.announce(&committed.changes);
        }
    }

    pub(super) fn announce_doubt(&self, fence: &Fence) {
        if self.committed().is_some() {
            announce_doubt(fence, &self.commit.subjects());
        }
    }

    /// Tells the caller, if there still is one.
    pub(super) fn answer(self, transaction: Result<(), Failed>) {
        let answer = match (self.result, transaction) {
            // It may have failed because of another commit of the group. If that was not made after all, such a failure is not
            // the answer: "no such row" would be taken for a key that is deleted.
            (Some(Err(own)), Err((_, error))) if depends_on_rows(own.kind()) => {
                Err(StoreError::with_source(StoreErrorKind::Unavailable, error))
            }
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(committed)), Ok(())) => Ok(committed),
            (Some(Ok(_)), Err((kind, error))) => Err(StoreError::with_source(kind, error)),
            (None, Err((_, error))) => Err(StoreError::with_source(StoreErrorKind::Unavailable, error)),
            (None, Ok(())) => Err(StoreError::new(StoreErrorKind::Unavailable)),
        };
        // The caller may have gone; the commit stands.
        let _ = self.reply.send(answer);
    }

    fn committed(&self) -> Option<&Committed> {
        self.result.as_ref()?.as_ref().ok()
    }
}

/// Whether a commit that failed so could have succeeded over other rows.
fn depends_on_rows(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::Conflict
            | StoreErrorKind::AlreadyExists
            | StoreErrorKind::NotFound
            | StoreErrorKind::LimitReached
    )
}
