//! Makes a commit in one transaction, and finds out what became of it if the connection is lost meanwhile.

use std::sync::{Arc, Mutex};

use deadpool_postgres::Transaction;
use futures_util::future::try_join;
use tokio_postgres::IsolationLevel;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tracing::{Dispatch, dispatcher};

use super::Inner;
use super::fault::{PostgresError, is_in_the_way, is_lost, said};
use super::lent::Lent;
use super::lock::lock;
use super::value::Session;
use crate::audit;
use crate::store::journal::Narrowed;
use crate::store::settle::commit_change_then;
use crate::store::sql::{self, Command, Made, Place};
use crate::store::{Commit, Committed, StoreError, StoreErrorKind, Write};
use crate::sync::unpoisoned;

/// How often a commit is made anew that another transaction was in the way of. Nothing was written then.
const ATTEMPTS: usize = 5;

/// Makes a commit. Once this was polled it takes its course, whether or not the caller waits for it.
pub(super) async fn commit(inner: &Arc<Inner>, commit: Commit) -> Result<Committed, StoreError> {
    let dispatch = dispatcher::get_default(Dispatch::clone);
    let (subjects, commit) = (commit.subjects(), Arc::new(commit));
    if let Some(journal) = &inner.journal
        && commit
            .writes
            .iter()
            .any(|write| matches!(write, Write::PurgeChanges { .. }))
    {
        // What it lacks is not purged, so it gets all there is first.
        journal
            .ask(|journal, database| {
                journal.complete_and_say_so(database);
                Ok(())
            })
            .await?;
    }
    let sent = Arc::new(Mutex::new(None));
    let made = {
        let (inner, commit, sent) = (inner.clone(), commit.clone(), sent.clone());
        // On the heap, as what follows: the futures of callers have no room for all that.
        Box::pin(async move { inner.make(&commit, &sent).await })
    };
    let read_back = {
        let (inner, commit, sent) = (inner.clone(), commit.clone(), sent.clone());
        let mut asked = 0;
        move || {
            asked += 1;
            let (inner, commit, sent) = (inner.clone(), commit.clone(), sent.clone());
            Box::pin(async move { inner.read_back(&commit, &sent, asked).await })
        }
    };
    let emitted = sent.clone();
    let emit = move || {
        if let Some(Sent { made, .. }) = unpoisoned(emitted.lock()).take()
            && !made.entries.is_empty()
        {
            dispatcher::with_default(&dispatch, || audit::emit(&made.entries));
        }
    };
    let record = {
        let (inner, commit, sent) = (inner.clone(), commit.clone(), sent.clone());
        // The change is made: what is not known is whether it would outlive a restored backup.
        Box::pin(async move {
            let recorded = inner.record(&commit, &sent).await;
            recorded.map_err(|error| error.into_kind(StoreErrorKind::OutcomeUnknown))
        })
    };
    commit_change_then(&inner.fence, subjects, made, read_back, record, emit).await
}

/// A commit whose COMMIT was sent.
struct Sent {
    /// The number of its transaction.
    transaction: String,
    made: Made,
    /// What the journal gets, and where the transaction ended in the change log.
    narrowed: Vec<Narrowed>,
    end: Option<Place>,
}

impl Inner {
    async fn make(&self, commit: &Commit, sent: &Mutex<Option<Sent>>) -> Result<Committed, StoreError> {
        let mut attempt = 1;
        loop {
            match self.attempt(commit, sent).await {
                Err(error) if is_in_the_way(&error) && attempt < ATTEMPTS => attempt += 1,
                // One that was lost while it rested, as after a restart of the server. Without a COMMIT nothing was made.
                Err(error) if is_lost(&error) && attempt == 1 => attempt += 1,
                done => return done,
            }
        }
    }

    async fn attempt(&self, commit: &Commit, sent: &Mutex<Option<Sent>>) -> Result<Committed, StoreError> {
        let mut lent = self.connections.for_commit().await?;
        let mut made = self.make_on(&mut lent, commit, sent).await;
        if lent.has_forgotten(&made) {
            made = self.make_on(&mut lent, commit, sent).await;
        }
        lent.end(made)
    }

    async fn make_on(
        &self,
        lent: &mut Lent<'_>,
        commit: &Commit,
        sent: &Mutex<Option<Sent>>,
    ) -> Result<Committed, StoreError> {
        let mut transaction = lent.client()?.build_transaction();
        transaction = transaction.isolation_level(IsolationLevel::ReadCommitted);
        if self.connections.reads_by_default() {
            transaction = transaction.read_only(false);
        }
        let patience = self.connections.patience();
        let transaction = patience.wait(transaction.start()).await?;
        if let Some(settings) = self.connections.settings_of_transaction() {
            patience.wait(transaction.batch_execute(&settings)).await?;
        }
        let number = patience.wait(self.begin(&transaction)).await?;
        let session = Session::Transaction(&transaction, patience);
        let through = self.journal.as_ref().map(|journal| journal.journal.through());
        let command = Command::new(&session, &self.sql, through);
        let carrying = self.carrying(&command, &transaction, commit).await?;
        let (commit, carried) = match &carrying {
            Some((commit, carried)) => (commit, Some(*carried)),
            None => (commit, None),
        };
        lock(&transaction, &self.locks, commit, patience).await?;
        let mut made = command.make(commit).await?;
        if let Some(carried) = carried {
            command.delete_waiting(carried).await?;
        }
        let narrowed = std::mem::take(&mut made.narrowed);
        let committed = made.committed.clone();
        let end = match committed.changes.is_empty() && narrowed.is_empty() {
            true => None,
            false => {
                let end = self.end_of_log(&transaction).await;
                // A constraint that is looked at here is none of this crate's: it says nothing of the rows of this commit.
                Some(end.map_err(|error| error.into_kind(StoreErrorKind::Unavailable))?)
            }
        };
        *unpoisoned(sent.lock()) = Some(Sent {
            transaction: number,
            made,
            narrowed,
            end,
        });
        let Err(error) = patience.wait(transaction.commit()).await else {
            self.is_made(commit, end);
            return Ok(committed);
        };
        // What the server refuses, it has rolled back: a trigger of the end of the transaction, a full disk. Otherwise it may
        // have committed before the connection was lost.
        match said(&error).is_some_and(|error| error.refusal().is_some()) {
            true => {
                unpoisoned(sent.lock()).take();
                // A constraint that is looked at here is none of this crate's: it says nothing of the rows of this commit.
                Err(error.into_kind(StoreErrorKind::Unavailable))
            }
            false => Err(error.into_kind(StoreErrorKind::OutcomeUnknown)),
        }
    }

    /// The commit with audit events of the store's own that wait for one with an audit key, and the number of the last of them.
    async fn carrying(
        &self,
        command: &Command<'_, Session<'_>>,
        transaction: &Transaction<'_>,
        commit: &Commit,
    ) -> Result<Option<(Commit, u64)>, StoreError> {
        let Some(journal) = &self.journal else {
            return Ok(None);
        };
        if !journal.journal.has_waiting() || commit.audit.is_empty() || commit.audit.len() > MOST_BESIDE {
            return Ok(None);
        }
        // Nobody adds one meanwhile.
        self.locks.lock_system(transaction, self.connections.patience()).await?;
        let Some((events, last)) = command.to_carry().await? else {
            journal.journal.has_none_waiting();
            return Ok(None);
        };
        let mut commit = commit.clone();
        commit.audit.extend(events);
        Ok(Some((commit, last)))
    }

    /// Appends to the journal what was taken. A commit that found nothing to do relies on it too: what was done before it may not
    /// be there yet.
    async fn record(&self, commit: &Commit, sent: &Mutex<Option<Sent>>) -> Result<(), StoreError> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let (narrowed, end) = match &mut *unpoisoned(sent.lock()) {
            Some(sent) => (std::mem::take(&mut sent.narrowed), sent.end),
            None => return Ok(()),
        };
        let asks = commit.writes.is_empty() && commit.audit.is_empty();
        let recorded = match end.filter(|_| !narrowed.is_empty()) {
            Some(end) => journal.append(self.state.realm(), end, narrowed).await,
            None => Ok(()),
        };
        match recorded {
            Ok(()) if asks && journal.journal.is_failing() => {
                journal
                    .ask(|journal, database| journal.record(database, None, Vec::new()))
                    .await
            }
            recorded => recorded,
        }
    }

    /// What a transaction has logged, before it commits: the last row. Nobody else logs anything until then, so both are asked for
    /// at once.
    async fn end_of_log(&self, transaction: &Transaction<'_>) -> Result<Place, StoreError> {
        let patience = self.connections.patience();
        let session = Session::Transaction(transaction, patience);
        let log_now = patience.wait(transaction.batch_execute(LOG_NOW));
        let ((), end) = try_join(log_now, sql::latest(&session, &self.sql)).await?;
        Ok(end.unwrap_or(Place::START))
    }

    /// A commit is the last that this process knows of, and one that gives the database another identity changes what it expects.
    fn is_made(&self, commit: &Commit, end: Option<Place>) {
        if let Some(end) = end {
            self.state.wrote(end);
        }
        for write in &commit.writes {
            if let Write::AdoptRealm { row, .. } = write {
                self.state.is_now(row.id.as_uuid());
            }
        }
    }

    /// Looks whether this is the database that was opened; the number of the transaction.
    async fn begin(&self, transaction: &Transaction<'_>) -> Result<String, StoreError> {
        let statement = transaction.prepare_cached(&self.state.begin).await?;
        let row = transaction.query_one(&statement, &[]).await?;
        self.state.check(&mut sql::Columns::of(&row))?;
        row.try_get(2).map_err(StoreError::from)
    }

    /// What became of a commit whose answer was lost: `None` if it was not made and never will be.
    async fn read_back(
        &self,
        commit: &Commit,
        sent: &Mutex<Option<Sent>>,
        asked: usize,
    ) -> Result<Option<Committed>, StoreError> {
        let (number, committed, end) = match &*unpoisoned(sent.lock()) {
            Some(sent) => (sent.transaction.clone(), sent.made.committed.clone(), sent.end),
            None => return Ok(None),
        };
        let found = self.outcome(commit, &number).await?;
        let was_made = match found {
            Outcome::Committed => {
                self.is_made(commit, end);
                true
            }
            Outcome::Aborted => false,
            // Another server has taken over, and gives the numbers again: what is not in the audit trail by now is not there.
            Outcome::OfAnother if asked >= ASKED_OF_ANOTHER && !commit.audit.is_empty() => false,
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
        let id = commit.id.as_uuid();
        let values: [&(dyn ToSql + Sync); 2] = [&number, &id];
        let asked = client.query_one(&*self.state.read_back, &values);
        let row = match self.connections.patience().wait(asked).await {
            Ok(row) => row,
            // "transaction ID is in the future": it was never begun here.
            Err(error) if said(&error).and_then(PostgresError::refusal) == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
                return Ok(Outcome::Aborted);
            }
            Err(error) => return Err(error),
        };
        self.state.check(&mut sql::Columns::of(&row))?;
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

/// From here on triggers run at once, and not at the end.
pub(super) const LOG_NOW: &str = "SET CONSTRAINTS ALL IMMEDIATE";
/// Events of its own that a commit has at most if it carries others.
const MOST_BESIDE: usize = 1000;
/// The trail and the number are not read at the very same time.
const ASKED_OF_ANOTHER: usize = 5;
