//! Makes a commit in one transaction.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, select, try_join};
use tokio::sync::Notify;
use tokio_postgres::IsolationLevel;
use tokio_postgres::error::SqlState;
use tracing::{Dispatch, dispatcher};

use super::Inner;
use super::fault::{PostgresError, WrongServer, is_in_the_way, is_lost, said};
use super::lent::Lent;
use super::lock::lock;
use super::log_end::LogEnd;
use super::outcome::{Asked, Sent};
use super::session::{Session, answered};
use crate::audit;
use crate::store::settle::commit_change_then;
use crate::store::sql::{self, Command};
use crate::store::{Commit, Committed, StoreError, StoreErrorKind, Write};
use crate::sync::unpoisoned;

/// How often a commit is made anew that another transaction was in the way of. Nothing was written then.
const ATTEMPTS: usize = 5;

/// Makes a commit. Once this was polled it takes its course, whether or not the caller waits for it.
///
/// If the server does not say in time whether it was made, the caller gets `OutcomeUnknown`. What is found out later is announced,
/// recorded and logged all the same.
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
    let (doubt, longest) = (Arc::new(Notify::new()), inner.connections.answer_timeout());
    let read_back = {
        let (inner, commit, sent, doubt) = (inner.clone(), commit.clone(), sent.clone(), doubt.clone());
        let mut asked = Asked::default();
        move || {
            let asked = asked.once_more();
            doubt.notify_one();
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
    let settled = commit_change_then(&inner.fence, subjects, made, read_back, record, emit);
    let is_in_doubt = async {
        doubt.notified().await;
        tokio::time::sleep(longest).await;
    };
    match select(pin!(settled), pin!(is_in_doubt)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(StoreError::with_source(StoreErrorKind::OutcomeUnknown, NOT_SAID)),
    }
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
        if let (Err(error), Some(sent)) = (&made, &mut *unpoisoned(sent.lock()))
            && error.kind() == StoreErrorKind::OutcomeUnknown
        {
            sent.keep(lent.take_places());
        }
        lent.end(made)
    }

    async fn make_on(
        &self,
        lent: &mut Lent,
        commit: &Commit,
        sent: &Mutex<Option<Sent>>,
    ) -> Result<Committed, StoreError> {
        let mut transaction = lent.client()?.build_transaction();
        // With `deferrable` it is refused in a transaction that the application has left open: that would be committed with it.
        transaction = transaction
            .isolation_level(IsolationLevel::ReadCommitted)
            .deferrable(false);
        if self.connections.reads_by_default() {
            transaction = transaction.read_only(false);
        }
        let longest = self.connections.answer_timeout();
        let begun = answered(longest, transaction.start()).await;
        // A standby does not even begin what would write.
        let is_refused =
            |error: &StoreError| said(error).and_then(PostgresError::refusal) == Some(&SqlState::FEATURE_NOT_SUPPORTED);
        let transaction = begun.map_err(|error| match is_refused(&error) {
            true => WrongServer::Standby.into(),
            false => error,
        })?;
        let session = Session::within(&transaction, longest);
        if let Some(settings) = self.connections.settings_of_transaction() {
            session.run(&settings).await?;
        }
        let number = self.begin(&session).await?;
        let through = self.journal.as_ref().map(|journal| journal.journal.through());
        let command = Command::new(&session, &self.sql, through);
        let carrying = self.carrying(&command, &session, commit).await?;
        let (commit, carried) = match &carrying {
            Some((commit, carried)) => (commit, Some(*carried)),
            None => (commit, None),
        };
        lock(&session, &self.locks, commit).await?;
        let mut made = command.make(commit).await?;
        if let Some(carried) = carried {
            command.delete_waiting(carried).await?;
        }
        let narrowed = std::mem::take(&mut made.narrowed);
        let committed = made.committed.clone();
        let end = match committed.changes.is_empty() && narrowed.is_empty() {
            true => None,
            false => {
                let end = self.end_of_log(&session, &committed).await;
                // A constraint that is looked at here is none of this crate's: it says nothing of the rows of this commit.
                Some(end.map_err(|error| error.into_kind(StoreErrorKind::Unavailable))?)
            }
        };
        *unpoisoned(sent.lock()) = Some(Sent::new(number, made, narrowed, end));
        // Nothing of the server's limits how long it commits: it waits for its disk, and for a synchronous standby.
        let Err(error) = answered(longest, transaction.commit()).await else {
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
        session: &Session<'_>,
        commit: &Commit,
    ) -> Result<Option<(Commit, u64)>, StoreError> {
        let Some(journal) = &self.journal else {
            return Ok(None);
        };
        if !journal.journal.has_waiting() || commit.audit.is_empty() || commit.audit.len() > MOST_BESIDE {
            return Ok(None);
        }
        // Nobody adds one meanwhile.
        self.locks.lock_system(session).await?;
        let Some((events, last)) = command.to_carry().await? else {
            journal.journal.has_none_waiting();
            return Ok(None);
        };
        let mut commit = commit.clone();
        commit.audit.extend(events);
        Ok(Some((commit, last)))
    }

    /// What follows the announcement: the follower need not announce it again, and the journal gets what was taken. A commit that
    /// found nothing to do relies on the journal too: what was done before it may not be there yet.
    async fn record(&self, commit: &Commit, sent: &Mutex<Option<Sent>>) -> Result<(), StoreError> {
        let (narrowed, end) = match &mut *unpoisoned(sent.lock()) {
            Some(sent) => (std::mem::take(&mut sent.narrowed), sent.end),
            None => return Ok(()),
        };
        if let Some(end) = &end {
            self.state.announced(end);
        }
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let asks = commit.writes.is_empty() && commit.audit.is_empty();
        let recorded = match end.filter(|_| !narrowed.is_empty()) {
            Some(end) => journal.append(self.state.realm(), end.last, narrowed).await,
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

    /// What a transaction has logged, before it commits. Nobody else logs anything until then, so both are asked for at once.
    async fn end_of_log(&self, session: &Session<'_>, committed: &Committed) -> Result<LogEnd, StoreError> {
        let rows = self.state.last_rows(session);
        let ((), rows) = try_join(session.run(LOG_NOW), rows).await?;
        Ok(LogEnd::of(&rows, committed))
    }

    /// A commit is the last that this process knows of, and one that gives the database another identity changes what it expects.
    pub(super) fn is_made(&self, commit: &Commit, end: Option<LogEnd>) {
        if let Some(end) = end {
            self.state.wrote(end.last);
        }
        for write in &commit.writes {
            if let Write::AdoptRealm { row, .. } = write {
                self.state.is_now(row.id.as_uuid());
            }
        }
    }

    /// Looks whether this is the database that was opened; the number of the transaction.
    async fn begin(&self, session: &Session<'_>) -> Result<String, StoreError> {
        let row = session.row(&self.state.begin, &[]).await?;
        self.state.check(&mut sql::Columns::of(&row))?;
        row.try_get(2).map_err(StoreError::from)
    }
}

/// From here on triggers run at once, and not at the end.
pub(super) const LOG_NOW: &str = "SET CONSTRAINTS ALL IMMEDIATE";
/// Events of its own that a commit has at most if it carries others.
const MOST_BESIDE: usize = 1000;
const NOT_SAID: &str = "the server did not say in time whether the commit was made";
