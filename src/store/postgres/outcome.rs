//! Finds out what became of a commit whose answer was lost, or did not come in time.

use std::sync::Mutex;
use std::time::Instant;

use tokio_postgres::error::SqlState;

use super::Inner;
use super::fault::{PostgresError, said};
use super::lent::Places;
use super::log_end::LogEnd;
use super::session::Session;
use crate::store::journal::Narrowed;
use crate::store::sql::{self, Made};
use crate::store::{Commit, Committed, StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// A commit whose COMMIT was sent.
pub(super) struct Sent {
    /// The number of its transaction.
    transaction: String,
    pub(super) made: Made,
    /// What the journal gets, and where the transaction ended in the change log.
    pub(super) narrowed: Vec<Narrowed>,
    pub(super) end: Option<LogEnd>,
    places: Option<Places>,
}

impl Sent {
    pub(super) fn new(transaction: String, made: Made, narrowed: Vec<Narrowed>, end: Option<LogEnd>) -> Self {
        Self {
            transaction,
            made,
            narrowed,
            end,
            places: None,
        }
    }

    /// Until the outcome is known, the server may still commit on a connection that it does not know to be gone. There would be
    /// more and more of these.
    pub(super) fn keep(&mut self, places: Option<Places>) {
        self.places = places;
    }
}

/// How often the outcome was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    times: usize,
    since: Instant,
}

impl Default for Asked {
    fn default() -> Self {
        let since = Instant::now();
        Self { times: 0, since }
    }
}

impl Asked {
    pub(super) fn once_more(&mut self) -> Self {
        if self.times == 0 {
            self.since = Instant::now();
        }
        self.times = self.times.saturating_add(1);
        *self
    }
}

impl Inner {
    /// What became of a commit whose answer was lost: `None` if it was not made and never will be.
    pub(super) async fn read_back(
        &self,
        commit: &Commit,
        sent: &Mutex<Option<Sent>>,
        asked: Asked,
    ) -> Result<Option<Committed>, StoreError> {
        let (number, committed, end) = match &*unpoisoned(sent.lock()) {
            Some(sent) => (sent.transaction.clone(), sent.made.committed.clone(), sent.end),
            None => return Ok(None),
        };
        let longest = self.connections.answer_timeout();
        if asked.since.elapsed() > longest {
            // Nobody waits for it any more, and it may be in progress until a standby is back.
            tokio::time::sleep(longest).await;
        }
        let found = self.outcome(commit, &number).await?;
        let was_made = match found {
            Outcome::Committed => {
                self.is_made(commit, end);
                true
            }
            Outcome::Aborted => false,
            // Another server has taken over, and gives the numbers again: what is not in the audit trail by now is not there.
            Outcome::OfAnother if asked.times >= ASKED_OF_ANOTHER && !commit.audit.is_empty() => false,
            // It left no trace there to look for.
            Outcome::OfAnother if asked.times >= ASKED_OF_ANOTHER => {
                return Err(StoreErrorKind::OutcomeUnknown.into());
            }
            Outcome::OfAnother | Outcome::InProgress => {
                return Err(StoreError::with_source(
                    StoreErrorKind::Unavailable,
                    "the transaction is in progress",
                ));
            }
        };
        if !was_made {
            unpoisoned(sent.lock()).take();
        }
        Ok(was_made.then_some(committed))
    }

    async fn outcome(&self, commit: &Commit, number: &str) -> Result<Outcome, StoreError> {
        let client = self.connections.alone().await?;
        let session = Session::of(&client, self.connections.answer_timeout());
        let row = session
            .row(&self.state.read_back, &[&number, &commit.id.as_uuid()])
            .await;
        let row = match row {
            Ok(row) => row,
            // "transaction ID is in the future": it was never begun here. On a standby, or in another database, that says nothing.
            Err(error) if said(&error).and_then(PostgresError::refusal) == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
                self.state.verify_identity(&session).await?;
                return Ok(Outcome::Aborted);
            }
            Err(error) => return Err(error),
        };
        // Also where this program answers nobody any more.
        self.state.identify(&mut sql::Columns::of(&row))?;
        let (status, is_in_trail): (Option<String>, bool) = (row.try_get(2)?, row.try_get(3)?);
        Ok(match status.as_deref() {
            _ if is_in_trail => Outcome::Committed,
            Some("aborted") => Outcome::Aborted,
            Some("in progress") => Outcome::InProgress,
            Some("committed") if commit.audit.is_empty() => Outcome::Committed,
            _ => Outcome::OfAnother,
        })
    }
}

enum Outcome {
    Committed,
    Aborted,
    InProgress,
    /// A transaction with this number ended, and was not this one; or it is too long ago to know.
    OfAnother,
}

/// The trail and the number are not read at the very same time.
const ASKED_OF_ANOTHER: usize = 5;
