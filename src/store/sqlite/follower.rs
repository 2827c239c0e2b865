//! The thread that follows the change log of the file, for the caches of this process.
//!
//! `PRAGMA data_version` moves when any other connection has committed, of this process or another one. Then the rows of the
//! log are read, in the same snapshot. Every transaction of this crate leaves a row, so one that left none was made by
//! another program past the triggers.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::Location;
use super::fault::{Unusable, is_busy_error};
use super::files::OpenFiles;
use super::history::Journaling;
use super::latest_change::LatestChange;
use super::migrate;
use super::value::{all, first};
use crate::clock::Clock;
use crate::fence::Fence;
use crate::store::journal::Journaled;
use crate::store::sql::{Follower, LogRow, MOST_ROWS, OwnRows, Place, Reading, Statements, Value};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// Failures in a row that are logged: the lease is over then.
const FAILURES: u32 = 5;

/// How long the journal may lack a change of another process, or by hand, until this one writes it.
const BEHIND: Duration = Duration::from_secs(1);

/// Handle of the thread, which ends when this is dropped.
pub(super) struct Following(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Set by the first caller that wants the log followed.
    clock: Option<Clock>,
    is_closed: bool,
}

/// What the thread needs of a store.
pub(super) struct Followed {
    pub(super) location: Location,
    pub(super) files: OpenFiles,
    pub(super) sql: Arc<Statements>,
    pub(super) fence: Fence,
    /// What the writer has announced.
    pub(super) own: Arc<OwnRows>,
    pub(super) latest_change: Arc<LatestChange>,
    pub(super) journal: Option<Arc<Journaled>>,
    pub(super) interval: Duration,
    /// Whether another program has tables in the file: then a transaction that left no row says nothing.
    pub(super) is_beside_others: bool,
}

impl Following {
    /// Remembers where the log ends, before anything can be cached, and waits until someone wants it followed.
    pub(super) fn start(followed: Followed) -> Result<(Self, JoinHandle<()>), StoreError> {
        let mut thread = FollowerThread::new(followed)?;
        let shared = Arc::new(Shared::default());
        let following = Self(shared.clone());
        let thread = thread::Builder::new()
            .name("api-keys-follow".into())
            .spawn(move || thread.run(&shared))
            .map_err(Unusable::Thread)?;
        Ok((following, thread))
    }

    /// Begins to poll, by this clock; once.
    pub(super) fn begin(&self, fence: &Fence, clock: &Clock) {
        let mut state = unpoisoned(self.0.state.lock());
        if state.clock.is_none() {
            state.clock = Some(clock.clone());
            fence.is_followed_from_now_on();
            self.0.changed.notify_all();
        }
    }
}

impl Following {
    /// The thread ends after the look that it is at.
    pub(super) fn close(&self) {
        unpoisoned(self.0.state.lock()).is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The clock, once someone wants the log followed; `None` when the store is gone.
    fn clock(&self) -> Option<Clock> {
        let waits = |state: &mut State| state.clock.is_none() && !state.is_closed;
        let state = unpoisoned(self.changed.wait_while(unpoisoned(self.state.lock()), waits));
        state.clock.clone().filter(|_| !state.is_closed)
    }

    /// Whether the store is gone, after this time at the latest.
    fn is_closed_within(&self, time: Duration) -> bool {
        let state = unpoisoned(self.state.lock());
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.is_closed);
        unpoisoned(waited).0.is_closed
    }
}

struct FollowerThread {
    store: Followed,
    follower: Follower,
    triggers: BTreeSet<String>,
    /// `None` after an error: it is opened again.
    connection: Option<Connection>,
    seen: Seen,
    /// Since when the journal lacks rows of the change log.
    behind_since: Option<Instant>,
    failures: u32,
}

/// What the file was when it was last looked at.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// `None` for a new connection, whose versions cannot be compared.
    data: Option<i64>,
    schema: Option<i64>,
    lacks_triggers: bool,
}

/// What is read in one snapshot.
struct Look {
    seen: Seen,
    rows: Vec<LogRow>,
    /// The last row of a log with too many.
    newest: Option<Place>,
    /// The schema that asks for a newer program.
    outgrown: Option<u32>,
}

impl FollowerThread {
    fn new(store: Followed) -> Result<Self, StoreError> {
        let connection = store.location.reader()?;
        let mut thread = Self {
            follower: Follower::new(store.fence.clone(), None),
            triggers: migrate::triggers(),
            connection: None,
            seen: Seen::default(),
            behind_since: None,
            failures: 0,
            store,
        };
        let (seen, last, outgrown) = in_snapshot(&connection, || {
            let last = first(&connection, &thread.store.sql.last_change, &[], |row| row.place())?;
            Ok((thread.versions(&connection)?, last, migrate::outgrown(&connection)?))
        })?;
        thread.store.latest_change.outgrown.is(outgrown);
        thread.follower = Follower::new(thread.store.fence.clone(), last);
        thread.seen = seen;
        // It asks again soon, and has to notice the end of the store.
        connection.busy_timeout(Duration::ZERO)?;
        thread.connection = Some(connection);
        Ok(thread)
    }

    fn run(&mut self, shared: &Shared) {
        let Some(clock) = shared.clock() else { return };
        loop {
            let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&clock)));
            let panicked = || {
                Err(StoreError::with_source(
                    StoreErrorKind::Unavailable,
                    "the follower panicked",
                ))
            };
            self.report(polled.unwrap_or_else(|_| panicked()));
            if shared.is_closed_within(self.store.interval) {
                return;
            }
        }
    }

    /// Announces what is new, and confirms that there is no more. After an error nothing is confirmed, so that cached keys are
    /// read again once the lease is over.
    fn poll(&mut self, clock: &Clock) -> Result<(), StoreError> {
        // Before the read: what is committed while it reads is not in it.
        let at = clock.now();
        // Others write to the files at the paths.
        self.store.files.check()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.seen.data = None;
                let connection = self.store.location.reader()?;
                connection.busy_timeout(Duration::ZERO)?;
                connection
            }
        };
        let look = in_snapshot(&connection, || self.look(&connection));
        if connection.is_autocommit() && look.as_ref().err().is_none_or(is_busy_error) {
            self.connection = Some(connection);
        }
        if let Some(look) = look? {
            self.announce(&look);
        }
        self.store.latest_change.outgrown.check()?;
        if self.seen.lacks_triggers {
            let problem = "a trigger of this crate is missing in the file, so changes by hand are not logged";
            return Err(StoreError::with_source(StoreErrorKind::Unavailable, problem));
        }
        self.follower.confirm(at);
        self.follow_journal();
        Ok(())
    }

    /// What is new; `None` if nothing was committed since the last time.
    fn look(&self, connection: &Connection) -> Result<Option<Look>, StoreError> {
        let data = pragma(connection, "PRAGMA data_version")?;
        if self.seen.data == Some(data) {
            return Ok(None);
        }
        let sql = &self.store.sql;
        let from = i64::try_from(self.follower.from()).unwrap_or(i64::MAX);
        let values = [Value::Integer(from), Value::Integer(MOST_ROWS as i64 + 1)];
        let rows = all(connection, &sql.changes_from, &values, |row| row.log_row())?;
        let newest = match rows.len() > MOST_ROWS {
            true => first(connection, &sql.last_change, &[], |row| row.place())?,
            false => None,
        };
        let seen = self.versions(connection)?;
        let outgrown = migrate::outgrown(connection)?;
        Ok(Some(Look {
            seen,
            rows,
            newest,
            outgrown,
        }))
    }

    fn announce(&mut self, look: &Look) {
        let reading = self.follower.read(&look.rows, look.newest, &self.store.own);
        // If the log does not go on, the next read or write finds out why.
        if let (Reading::New, Some(last)) = (reading, look.rows.last()) {
            self.store.latest_change.saw(last.place);
        }
        let was_unlogged = reading == Reading::Nothing && !self.store.is_beside_others;
        let is_another_schema = self.seen.schema != look.seen.schema;
        // While another connection begins the write-ahead log anew, this may be taken for a commit: one read too many.
        // Triggers that were away for a while have logged nothing meanwhile.
        self.store.latest_change.outgrown.is(look.outgrown);
        if was_unlogged || is_another_schema || look.outgrown.is_some() || self.seen.data.is_none() {
            self.follower.doubt();
        }
        self.seen = look.seen;
    }

    /// Writes to the journal what others have changed. A process that lives has written it by then.
    fn follow_journal(&mut self) {
        let (Some(journal), Some(connection)) = (&self.store.journal, &self.connection) else {
            return;
        };
        if journal.through() >= self.follower.from() || self.store.latest_change.is_awaited() {
            self.behind_since = None;
            return;
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= BEHIND {
            self.behind_since = None;
            journal.follow(&Journaling {
                connection,
                sql: &self.store.sql,
            });
        }
    }

    fn versions(&self, connection: &Connection) -> Result<Seen, StoreError> {
        let schema = pragma(connection, "PRAGMA schema_version")?;
        let lacks_triggers = match self.seen.schema == Some(schema) {
            true => self.seen.lacks_triggers,
            false => !migrate::has_triggers(connection, &self.triggers)?,
        };
        Ok(Seen {
            data: Some(pragma(connection, "PRAGMA data_version")?),
            schema: Some(schema),
            lacks_triggers,
        })
    }

    fn report(&mut self, polled: Result<(), StoreError>) {
        let path = self.store.location.path().display();
        match polled {
            Ok(()) if self.failures >= FAILURES => {
                tracing::info!(%path, "the change log can be followed again");
                self.failures = 0;
            }
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == FAILURES {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::warn!(
                        %path,
                        error,
                        "the change log cannot be followed: until it can, cached keys are read again when their lease ends"
                    );
                }
            }
        }
    }
}

/// Reads in one transaction, so that nothing is committed in between.
fn in_snapshot<T>(connection: &Connection, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let read = read();
    // A transaction that stays open would show the same state for good.
    connection.prepare_cached("COMMIT")?.execute([])?;
    read
}

fn pragma(connection: &Connection, text: &str) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached(text)?.query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests;
