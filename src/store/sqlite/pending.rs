//! A commit between its caller and the disk.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::{Dispatch, dispatcher};

use crate::audit::{self, AuditEntry, AuditEvent, CommitId};
use crate::fence::Fence;
use crate::store::journal::{Journaled, Narrowed};
use crate::store::settle::announce_doubt;
use crate::store::sql::{Command, at_once};
use crate::store::{Commit, Committed, StoreError, StoreErrorKind, Write};

/// A commit that waits for its transaction, and its caller.
pub(super) struct Pending {
    commit: Commit,
    result: Option<Result<Committed, StoreError>>,
    entries: Vec<AuditEntry>,
    narrowed: Vec<Narrowed>,
    /// How many of its events, the last ones, are not the caller's.
    carried: usize,
    /// The caller's subscriber, which may be of its thread alone.
    dispatch: Dispatch,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// How the transaction failed that a commit was part of.
pub(super) type Failed = (StoreErrorKind, Arc<StoreError>);

impl Pending {
    pub(super) fn new(commit: Commit, reply: oneshot::Sender<Result<Committed, StoreError>>) -> Self {
        Self {
            commit,
            result: None,
            entries: Vec::new(),
            narrowed: Vec::new(),
            carried: 0,
            dispatch: dispatcher::get_default(Dispatch::clone),
            reply,
        }
    }

    /// Makes it, uncommitted; whether it succeeded.
    pub(super) fn make(&mut self, command: &Command<'_, Connection>) -> bool {
        let result = at_once(command.make(&self.commit)).map(|made| {
            self.entries = made.entries;
            self.narrowed = made.narrowed;
            made.committed
        });
        self.result.insert(result).is_ok()
    }

    /// Whether it can carry events of the store's own: it has some, and so the key to link them with, and room for more.
    fn can_carry(&self) -> bool {
        !self.commit.audit.is_empty() && self.commit.audit.len() <= MOST_BESIDE
    }

    /// Adds events of the store's own. They are left out again when it is made anew.
    fn carry(&mut self, events: Vec<AuditEvent>) {
        self.carried = events.len();
        self.commit.audit.extend(events);
    }

    fn drop_carried(&mut self) {
        let own = self.commit.audit.len().saturating_sub(self.carried);
        self.commit.audit.truncate(own);
        self.carried = 0;
    }

    /// What the journal gets of it, if it succeeded.
    pub(super) fn narrowed(&self) -> &[Narrowed] {
        self.committed().map_or(&[], |_| &self.narrowed)
    }

    /// Whether its caller relies on the journal: it took something from keys, or asks whether that is done that it found so.
    pub(super) fn needs_journal(&self) -> bool {
        !self.narrowed().is_empty() || (self.committed().is_some() && !self.writes())
    }

    /// Whether it deletes rows of the change log.
    pub(super) fn purges(&self) -> bool {
        let is_one = |write: &Write| matches!(write, Write::PurgeChanges { .. });
        self.commit.writes.iter().any(is_one)
    }

    /// Whether the commit has anything to write.
    pub(super) fn writes(&self) -> bool {
        !self.commit.writes.is_empty() || !self.commit.audit.is_empty()
    }

    /// The id by which the commit can be found afterwards, if it succeeded and left an audit event.
    pub(super) fn traceable(&self) -> Option<CommitId> {
        self.committed()?;
        (!self.commit.audit.is_empty()).then_some(self.commit.id)
    }

    /// Whether something of a person was deleted.
    pub(super) fn has_forgotten(&self) -> bool {
        let is_one = |write: &Write| matches!(write, Write::ForgetPersonal(_) | Write::ForgetOrigins { .. });
        self.committed().is_some() && self.commit.writes.iter().any(is_one)
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

    /// The events of a commit that was made, to be logged once its caller has the answer.
    pub(super) fn take_entries(&mut self) -> Entries {
        Entries(std::mem::take(&mut self.entries), self.dispatch.clone())
    }

    /// Tells the caller, if there still is one.
    pub(super) fn answer(self, transaction: Result<(), Failed>) {
        let answer = match (self.result, transaction) {
            // It may have failed because of another commit of the group. If that was not made after all, such a failure is not
            // the answer: "no such row" would be taken for a key that is deleted.
            (Some(Err(own)), Err((_, error))) if depends_on_rows(own.kind()) => {
                Err(shared(StoreErrorKind::Unavailable, error))
            }
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(committed)), Ok(())) => Ok(committed),
            (Some(Ok(_)), Err((kind, error))) => Err(shared(kind, error)),
            (None, Err((StoreErrorKind::Unusable, error))) => Err(shared(StoreErrorKind::Unusable, error)),
            (None, Err((_, error))) => Err(shared(StoreErrorKind::Unavailable, error)),
            (None, Ok(())) => Err(StoreError::new(StoreErrorKind::Unavailable)),
        };
        // The caller may have gone; the commit stands.
        let _ = self.reply.send(answer);
    }

    fn committed(&self) -> Option<&Committed> {
        self.result.as_ref()?.as_ref().ok()
    }
}

/// Adds audit events of the store's own that wait in the file to a commit that can carry them; the number of the last one.
pub(super) fn carry(
    journal: &Journaled,
    command: &Command<'_, Connection>,
    pending: &mut Pending,
) -> Result<Option<u64>, StoreError> {
    pending.drop_carried();
    if !journal.has_waiting() || !pending.can_carry() {
        return Ok(None);
    }
    let Some((events, last)) = at_once(command.to_carry())? else {
        // Within a transaction that writes, so that none is added meanwhile.
        journal.has_none_waiting();
        return Ok(None);
    };
    pending.carry(events);
    Ok(Some(last))
}

/// Events of its own that a commit has at most if it carries others.
const MOST_BESIDE: usize = 1000;

/// Events to be logged.
pub(super) struct Entries(Vec<AuditEntry>, Dispatch);

impl Entries {
    pub(super) fn emit(&self) {
        if !self.0.is_empty() {
            dispatcher::with_default(&self.1, || audit::emit(&self.0));
        }
    }
}

/// An error of this kind with the cause of one that several commits get.
fn shared(kind: StoreErrorKind, error: Arc<StoreError>) -> StoreError {
    match error.source().is_some() {
        true => StoreError::with_source(kind, Cause(error)),
        false => StoreError::new(kind),
    }
}

/// The cause of an error, in the words of the cause: the error itself would say what the one around it says.
#[derive(Debug)]
struct Cause(Arc<StoreError>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |cause| fmt::Display::fmt(cause, f))
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()?.source()
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
