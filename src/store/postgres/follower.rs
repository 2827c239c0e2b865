//! The thread that follows the change log of the database, for the caches of this process. It has a runtime and a connection of its
//! own, so that neither a busy service nor a full pool keeps it from looking.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::connections::Connections;
use super::journaling::JournalOfStore;
use super::look::{Look, Looked, Versions};
use super::schema::Schema;
use super::session::Session;
use super::state::State;
use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::Timestamp;
use crate::store::sql::migration::Migration;
use crate::store::sql::{Follower, LogRow, MOST_ROWS, Place, Reading, Statements, Value, all, first};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// Failures in a row that are logged: the lease is over then.
const FAILURES: u32 = 5;
/// How long the journal may lack a change of another process, or by hand, until this one writes it.
const BEHIND: Duration = Duration::from_secs(1);
/// By how much the clocks of the database and of this process may differ until it is logged.
const SKEW: Duration = Duration::from_secs(2);
/// By how much they may differ until nothing is confirmed.
const LONGEST_SKEW: Duration = Duration::from_secs(30);

/// Handle of the thread, which ends when this is dropped.
pub(super) struct Following {
    waiting: Mutex<Option<FollowerThread>>,
    closed: Arc<Notify>,
}

/// What the thread needs of a store.
pub(super) struct Followed {
    pub(super) connections: Arc<Connections>,
    pub(super) state: Arc<State>,
    pub(super) sql: Arc<Statements>,
    pub(super) fence: Fence,
    pub(super) journal: Option<JournalOfStore>,
    pub(super) interval: Duration,
    pub(super) longest_poll: Duration,
}

impl Following {
    /// Remembers where the log ends, before anything can be cached, and waits until someone wants it followed.
    pub(super) async fn prepare(
        followed: Followed,
        schema: &Schema,
        migrations: &[Migration],
    ) -> Result<Self, StoreError> {
        let connection = followed.connections.alone().await?;
        let session = Session::of(&connection, followed.longest_poll);
        let last = first(&session, &followed.sql.last_change, &[], |row| row.place()).await?;
        drop(connection);
        let thread = FollowerThread {
            follower: Follower::new(followed.fence.clone(), last),
            look: Look::of(schema, migrations),
            store: followed,
            connection: None,
            failures: 0,
            is_skewed: false,
            versions: None,
            is_set_back: false,
            behind_since: None,
        };
        Ok(Self {
            waiting: Mutex::new(Some(thread)),
            closed: Arc::default(),
        })
    }

    /// Begins to poll, by this clock; once.
    pub(super) fn begin(&self, fence: &Fence, clock: &Clock) {
        let Some(thread) = unpoisoned(self.waiting.lock()).take() else {
            return;
        };
        fence.is_followed_from_now_on();
        let (clock, closed) = (clock.clone(), self.closed.clone());
        let spawned = thread::Builder::new()
            .name("api-keys-follow".into())
            .spawn(move || thread.run(&clock, &closed));
        if let Err(error) = spawned {
            // Without its confirmations every request reads the database.
            tracing::error!(%error, "cannot start the thread that follows the change log");
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Also for a thread that does not wait at the moment.
        self.closed.notify_one();
    }
}

struct FollowerThread {
    store: Followed,
    follower: Follower,
    look: Look,
    /// `None` after an error: another one is made.
    connection: Option<ClientWrapper>,
    failures: u32,
    is_skewed: bool,
    versions: Option<Versions>,
    /// Whether the database was set back, and lacks what the journal knows.
    is_set_back: bool,
    /// Since when the journal lacks rows of the change log.
    behind_since: Option<Instant>,
}

impl FollowerThread {
    fn run(mut self, clock: &Clock, closed: &Notify) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot follow the change log");
                return;
            }
        };
        runtime.block_on(async {
            let mut is_closed = pin!(closed.notified());
            loop {
                let polled = match select(is_closed.as_mut(), pin!(self.poll_in_time(clock))).await {
                    Either::Left(_) => return,
                    Either::Right((polled, _)) => polled,
                };
                self.report(polled);
                if tokio::time::timeout(self.store.interval, is_closed.as_mut())
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        });
    }

    /// A server that stands still never answers.
    async fn poll_in_time(&mut self, clock: &Clock) -> Result<(), StoreError> {
        let longest = self.store.longest_poll;
        match tokio::time::timeout(longest, self.poll(clock)).await {
            Ok(polled) => polled,
            Err(late) => Err(StoreError::with_source(StoreErrorKind::Unavailable, late)),
        }
    }

    /// Announces what is new, and confirms that there is no more. After an error nothing is confirmed, so that cached keys are
    /// read again once the lease is over.
    async fn poll(&mut self, clock: &Clock) -> Result<(), StoreError> {
        // What the journal knows is still not taken again.
        if self.is_set_back {
            self.was_set_back().await?;
        }
        // Before the read: what is committed while it reads is not in it.
        let at = clock.now();
        // Left out while it is used: one that failed, or was not answered in time, is not used again.
        let connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.store.connections.alone().await?,
        };
        let session = Session::of(&connection, self.store.longest_poll);
        let asked_at = clock.wall();
        let Looked {
            outgrown,
            only_reads,
            clock: database_clock,
            versions,
            problem,
        } = self.look.look(&session, &self.store.state).await?;
        self.store.state.outgrown.is(outgrown);
        if outgrown.is_some() {
            self.follower.doubt();
        }
        self.store.state.serves()?;
        let skew = skew(database_clock, asked_at, clock.wall());
        // Before the rows are read, which have it then.
        let own = self.store.state.last_own();
        let sql = &self.store.sql;
        let from = i64::try_from(self.follower.from()).unwrap_or(i64::MAX);
        let values = [Value::Integer(from), Value::Integer(MOST_ROWS as i64 + 1)];
        let rows = all(&session, &sql.changes_from, &values, |row| row.log_row()).await?;
        let newest: Option<Place> = match rows.len() > MOST_ROWS {
            true => first(&session, &sql.last_change, &[], |row| row.place()).await?,
            false => None,
        };
        // Of two servers this may be the one that does not decide any more. New connections go where the URL leads.
        match only_reads {
            true => self.store.connections.renew(),
            false => self.connection = Some(connection),
        }
        let end = newest.or(rows.last().map(|row| row.place));
        // A row that this process committed may have gone before it was followed.
        let is_gone = own.is_some_and(|own| lacks(&rows, end, own));
        let rows = if is_gone { &[] } else { &*rows };
        if self.follower.read(rows, end, &self.store.state.own_rows) == Reading::Broken || is_gone {
            self.store.state.lost(own);
            self.was_set_back().await?;
        }
        // A trigger that was disabled for a while, or a function that was another one, has logged nothing meanwhile.
        if self
            .versions
            .replace(versions.clone())
            .is_some_and(|before| before != versions)
        {
            self.follower.doubt();
        }
        if let Some(problem) = problem {
            // What was changed meanwhile is in no log.
            self.follower.doubt();
            return Err(StoreError::with_source(StoreErrorKind::Unavailable, problem));
        }
        self.note_skew(skew);
        if skew > LONGEST_SKEW {
            // Of two nodes one ends keys too late, and it could be this one.
            let problem = "the clocks of this machine and of the database differ by more than 30 seconds";
            return Err(StoreError::with_source(StoreErrorKind::Unavailable, problem));
        }
        self.follower.confirm(at);
        self.follow_journal().await;
        Ok(())
    }

    /// The log is not the one that was followed: a restored backup, or a server that has taken over and lacked its end. What was
    /// announced is not there any more, so what this process knows of revisions would contradict for good.
    async fn was_set_back(&mut self) -> Result<(), StoreError> {
        self.is_set_back = true;
        if let Some(journal) = &self.store.journal {
            journal.ask(|journal, database| journal.catch_up(database)).await?;
        }
        self.is_set_back = false;
        tracing::warn!(
            has_journal = self.store.journal.is_some(),
            "the change log of the database does not go on where it was: keys that were revoked since are valid again, unless the \
             revocation journal knows of them"
        );
        self.store.fence.set_back();
        Ok(())
    }

    /// Writes to the journal what others have changed. A process that lives has written it by then.
    async fn follow_journal(&mut self) {
        let Some(journal) = &self.store.journal else {
            return;
        };
        if journal.journal.through() >= self.follower.from() {
            self.behind_since = None;
            return;
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() < BEHIND {
            return;
        }
        self.behind_since = None;
        let followed = journal.ask(|journal, database| {
            journal.follow(database);
            Ok(())
        });
        if let Err(error) = followed.await {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::debug!(error, "the revocation journal could not be written");
        }
    }

    fn note_skew(&mut self, skew: Duration) {
        #[cfg(feature = "metrics")]
        crate::telemetry::clock_skew(skew);
        let is_skewed = skew > SKEW;
        if is_skewed && !self.is_skewed {
            tracing::warn!(
                ?skew,
                "the clocks of this machine and of the database differ: keys expire by this machine's"
            );
        }
        self.is_skewed = is_skewed;
    }

    fn report(&mut self, polled: Result<(), StoreError>) {
        match polled {
            Ok(()) if self.failures >= FAILURES => {
                tracing::info!("the change log can be followed again");
                self.failures = 0;
            }
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == FAILURES {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::warn!(
                        error,
                        "the change log cannot be followed: until it can, cached keys are read again when their lease ends"
                    );
                }
            }
        }
    }
}

/// Whether the log does not have a row of this process's. Of too many rows only the first ones are read, and where it ends.
fn lacks(rows: &[LogRow], end: Option<Place>, own: Place) -> bool {
    let read = rows.binary_search_by_key(&own.seq, |row| row.place.seq).ok();
    match (read.and_then(|index| rows.get(index)), end) {
        (Some(row), _) => row.place != own,
        (None, Some(end)) => end.seq < own.seq || (end.seq == own.seq && end != own),
        (None, None) => true,
    }
}

/// By how much a clock differs that was read between two times of this one.
fn skew(other: Timestamp, before: Timestamp, after: Timestamp) -> Duration {
    before.since(other).max(other.since(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_row_that_is_not_read_yet_is_not_gone() {
        let place = |seq| Place {
            seq,
            tag: u128::from(seq),
        };
        let rows: Vec<LogRow> = (5..=7)
            .map(|seq| LogRow {
                place: place(seq),
                change: None,
            })
            .collect();
        let another = |seq| Place { seq, tag: 0 };
        for (own, is_gone) in [
            (place(5), false),
            (place(7), false),
            (another(6), true),
            (place(8), true),
        ] {
            assert_eq!(lacks(&rows, Some(place(7)), own), is_gone, "{own:?}");
        }
        // Of too many rows the first three.
        for (own, is_gone) in [
            (place(8), false),
            (place(90), false),
            (another(90), true),
            (place(91), true),
        ] {
            assert_eq!(lacks(&rows, Some(place(90)), own), is_gone, "{own:?}");
        }
        assert!(lacks(&[], None, place(1)));
    }
}
