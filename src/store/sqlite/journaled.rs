//! The revocation journal of a file: what it gets, and what a database that was set back gets of it.
//!
//! The change log says what the journal must have, also of changes by hand and of processes that died between a commit and its
//! lines. So nothing is kept in memory of what could not be written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use uuid::Uuid;

use super::command::Command;
use super::connection::Location;
use super::fault::Unusable;
use super::history::{QUIET, is_there, latest, realm};
use super::pending::Pending;
use super::value::all;
use crate::key::Timestamp;
use crate::store::journal::{History, Journal, Lost, Narrowed, Places, Position, RowName};
use crate::store::sql::{Place, Statements, Value, revision_value};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// The journal of the file that a store has open.
pub(super) struct Journaled {
    journal: Journal,
    location: Location,
    sql: Arc<Statements>,
    state: Mutex<State>,
    /// The number of `State::through`.
    through: AtomicU64,
    /// Whether audit events may wait in the file for a commit that links them.
    has_waiting: AtomicBool,
}

struct State {
    /// The journal has what the change log has up to this place.
    through: Place,
    /// Up to where it says so itself.
    marked: u64,
    position: Position,
    /// How long to wait for another process that has the journal.
    patience: Duration,
    /// Whether the last attempt to write it failed.
    is_failing: bool,
}

impl Journaled {
    /// The journal stands beside the database itself, not beside a link to it.
    pub(super) fn of(location: &Location, given: Option<&Path>, sql: Arc<Statements>) -> Result<Self, Unusable> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => {
                let mut path = location.path().canonicalize().map_err(Unusable::Lost)?.into_os_string();
                path.push(ENDING);
                PathBuf::from(path)
            }
        };
        Ok(Self {
            journal: Journal::at(path, location.busy_timeout()),
            location: location.clone(),
            sql,
            state: Mutex::new(State {
                through: Place::START,
                marked: 0,
                position: Position::default(),
                patience: Duration::ZERO,
                is_failing: false,
            }),
            through: AtomicU64::new(0),
            // Of another process, perhaps.
            has_waiting: AtomicBool::new(true),
        })
    }

    /// Appends what a transaction took that was committed, with the rows of the change log before it and at its end, if they are
    /// known.
    ///
    /// # Errors
    /// When it cannot be written, nor what could not be written before. It is logged as well: the caller may be gone.
    pub(super) fn record(
        &self,
        connection: &Connection,
        places: Option<(Option<Place>, Place)>,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), StoreError> {
        let mut state = unpoisoned(self.state.lock());
        // A commit that takes nothing does not wait for another process that was stopped while it had the journal.
        state.patience = match narrowed.is_empty() {
            true => Duration::ZERO,
            false => self.location.busy_timeout(),
        };
        let recorded = match places {
            Some((before, last)) if !state.is_failing => {
                self.append(connection, &mut state, before.unwrap_or(Place::START), last, narrowed)
            }
            None if narrowed.is_empty() && !state.is_failing => Ok(()),
            _ => match self.complete(connection, &mut state, MARKED_EACH) {
                Ok(false) => self.bring_together(connection, &mut state),
                completed => completed.map(drop),
            },
        };
        self.report(&mut state, &recorded);
        recorded
    }

    fn append(
        &self,
        connection: &Connection,
        state: &mut State,
        before: Place,
        last: Place,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), StoreError> {
        if !narrowed.is_empty() {
            let realm = realm(connection, &self.sql)?;
            self.journal.append(realm, last, narrowed).map_err(Unusable::Journal)?;
        }
        // Otherwise another process has changed something in between.
        if before == state.through {
            self.is_through(state, last);
            self.mark(connection, state, MARKED_EACH)?;
        }
        Ok(())
    }

    /// The last row of the change log that the journal has; of older rows none is missing.
    pub(super) fn through(&self) -> u64 {
        self.through.load(Ordering::Acquire)
    }

    /// Appends what others have changed: by hand, or in a process that died before it could. Nothing while another thread is at
    /// the journal, which is asked again soon.
    pub(super) fn follow(&self, connection: &Connection) {
        let Ok(mut state) = self.state.try_lock() else { return };
        // Its caller has to look at the change log in time.
        state.patience = Duration::ZERO;
        let completed = self.complete(connection, &mut state, MARKED_EACH).map(drop);
        self.report(&mut state, &completed);
    }

    /// The same before old rows of the change log are deleted, and at an orderly end: the next process has less to look through.
    pub(super) fn complete_and_say_so(&self, connection: &Connection) {
        let mut state = unpoisoned(self.state.lock());
        state.patience = Duration::ZERO;
        let completed = self.complete(connection, &mut state, 1).map(drop);
        self.report(&mut state, &completed);
    }

    /// Appends what the change log has behind the last place that is in the journal, with what the rows allow now. Not if the
    /// database was set back before that place.
    fn complete(&self, connection: &Connection, state: &mut State, marks_from: u64) -> Result<bool, StoreError> {
        if !is_there(connection, &self.sql, state.through)? {
            return Ok(false);
        }
        let realm = realm(connection, &self.sql)?;
        loop {
            let values = [revision_value(state.through.seq)?, Value::Integer(AT_ONCE)];
            let entries = all(connection, &self.sql.changes_to_journal, &values, |row| row.log_entry())?;
            let Some(last) = entries.last().map(|entry| entry.place) else {
                break;
            };
            let mut changed = HashMap::new();
            for entry in entries {
                if let Some(row) = RowName::logged(entry.kind, entry.id, entry.part.as_deref()) {
                    changed.insert(row, (entry.place, entry.id));
                }
            }
            if !changed.is_empty() {
                self.append_changed(connection, state, realm, changed)?;
            }
            self.is_through(state, last);
        }
        self.mark(connection, state, marks_from)?;
        Ok(true)
    }

    /// Says how much is in the journal, if that is so many rows of the change log more than it has said.
    fn mark(&self, connection: &Connection, state: &mut State, from: u64) -> Result<(), StoreError> {
        let through = state.through;
        if through.seq.saturating_sub(state.marked) >= from {
            let held = self.journal.hold(state.patience).map_err(Unusable::Journal)?;
            held.complete(realm(connection, &self.sql)?, through)
                .map_err(Unusable::Journal)?;
            state.marked = through.seq;
        }
        Ok(())
    }

    fn append_changed(
        &self,
        connection: &Connection,
        state: &mut State,
        realm: Uuid,
        mut changed: HashMap<RowName, (Place, Uuid)>,
    ) -> Result<(), StoreError> {
        // Held meanwhile, so that of several processes one writes it.
        let mut held = self.journal.hold(state.patience).map_err(Unusable::Journal)?;
        let known = held.since(&mut state.position).map_err(Unusable::Journal)?;
        changed.retain(|row, (place, _)| known.get(row).is_none_or(|seq| *seq < place.seq));
        let command = Command::new(connection, &self.sql, None);
        let mut lines = Places::new();
        for (row, (place, id)) in changed {
            match command.as_it_is(&row, id) {
                Ok(narrowed) => lines.extend(narrowed.map(|narrowed| (place, narrowed))),
                // A row that cannot be read admits nobody.
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {}
                Err(error) => return Err(error),
            }
        }
        Ok(held.append(realm, lines).map_err(Unusable::Journal)?)
    }

    fn is_through(&self, state: &mut State, place: Place) {
        state.through = place;
        self.through.store(place.seq, Ordering::Release);
    }

    fn report(&self, state: &mut State, done: &Result<(), StoreError>) {
        let was_failing = std::mem::replace(&mut state.is_failing, done.is_err());
        match done {
            Err(error) if !was_failing => {
                let error: &(dyn std::error::Error + 'static) = error;
                tracing::error!(
                    path = %self.location.path().display(),
                    error,
                    "the revocation journal cannot be written: a backup that is restored would undo what is revoked or narrowed until \
                     it can"
                );
            }
            Ok(()) if was_failing => {
                tracing::info!(path = %self.location.path().display(), "the revocation journal has all changes again");
            }
            _ => {}
        }
    }

    /// Adds audit events of the store's own that wait in the file to a commit that can carry them; the number of the last one.
    pub(super) fn carry(&self, command: &Command<'_>, pending: &mut Pending) -> Result<Option<u64>, StoreError> {
        pending.drop_carried();
        if !self.has_waiting.load(Ordering::Acquire) || !pending.can_carry() {
            return Ok(None);
        }
        let Some((mut events, last)) = command.waiting()? else {
            // Within a transaction that writes, so that none is added meanwhile.
            self.has_waiting.store(false, Ordering::Release);
            return Ok(None);
        };
        // One that cannot be linked would keep every commit that carries it from being made.
        events.retain(|event| {
            let can_be_linked = command.can_link(event.organization_id);
            if !can_be_linked {
                tracing::error!(
                    organization = %event.organization_id,
                    action = event.action.as_str(),
                    key = event.key_id.map(tracing::field::display),
                    "what was taken again after a restored backup is not in the audit trail: the organization's chain is damaged"
                );
            }
            can_be_linked
        });
        pending.carry(events);
        Ok(Some(last))
    }

    /// The same as [`catch_up`](Self::catch_up), on a connection of its own.
    pub(super) fn catch_up_anew(&self) -> Result<(), StoreError> {
        let connection = self.location.existing_writer()?;
        self.catch_up(&connection)
    }

    /// Brings database and journal together, until which nothing may be answered: a database that was set back takes again what
    /// the journal knows, and the journal gets what the database has behind its last place.
    ///
    /// # Errors
    /// When the journal cannot be read or written, or the database cannot be written.
    pub(super) fn catch_up(&self, connection: &Connection) -> Result<(), StoreError> {
        // One thread at a time; the others wait for it.
        let mut state = unpoisoned(self.state.lock());
        self.bring_together(connection, &mut state)
    }

    fn bring_together(&self, connection: &Connection, state: &mut State) -> Result<(), StoreError> {
        let history = self.journal.read().map_err(Unusable::Journal)?;
        let realm = realm(connection, &self.sql)?;
        let there = |place| is_there(connection, &self.sql, place);
        let known = history.latest(realm);
        let is_new = history.is_empty();
        let through = match known {
            Some(known) if there(known)? => history.complete_up_to(realm, there)?,
            // What was before the journal is not in it.
            None if is_new => {
                let latest = latest(connection, &self.sql)?.unwrap_or(Place::START);
                self.begin(realm, latest, Vec::new())?;
                latest
            }
            _ => {
                let through = history.complete_up_to(realm, there)?;
                self.take_again(connection, realm, &history)?;
                through
            }
        };
        drop(history);
        *state = State {
            through,
            marked: through.seq,
            position: Position::default(),
            patience: self.location.busy_timeout(),
            is_failing: false,
        };
        self.through.store(through.seq, Ordering::Release);
        self.complete(connection, state, 1).map(drop)
    }

    fn begin(&self, realm: Uuid, from: Place, known: Vec<Lost>) -> Result<(), StoreError> {
        let known = known.into_iter().map(|lost| lost.narrowed).collect();
        let held = self
            .journal
            .hold(self.location.busy_timeout())
            .map_err(Unusable::Journal)?;
        Ok(held.begin(realm, from, known).map_err(Unusable::Journal)?)
    }

    fn take_again(&self, connection: &Connection, realm: Uuid, history: &History) -> Result<(), StoreError> {
        let transaction = Transaction::begin(connection)?;
        let before = latest(connection, &self.sql)?;
        let lost = history.lost(realm, |place| is_there(connection, &self.sql, place))?;
        let command = Command::new(connection, &self.sql, None);
        let (mut applied, now) = (0_usize, Timestamp::now());
        for Lost { narrowed, .. } in &lost {
            match command.take_again(narrowed, now) {
                Ok(taken) => applied += usize::from(taken),
                // It opens nothing, and must not keep the service from starting. The journal goes on to have what was taken from it.
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                    let source = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::error!(
                        source,
                        row = ?narrowed.row(),
                        "a row that something was taken from since the backup cannot be read: do it again once it can"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        // The place from which the new history begins is in no other one: a newer backup of the old one would pass for caught up.
        connection.prepare_cached(QUIET)?.execute([])?;
        let now_at = latest(connection, &self.sql)?.unwrap_or(Place::START);
        transaction.commit()?;
        self.has_waiting.store(true, Ordering::Release);
        let known = history.latest(realm);
        // A new database may stand where another one was.
        if known.is_some() || applied > 0 {
            tracing::warn!(
                path = %self.location.path().display(),
                applied,
                lost = lost.len(),
                has_changes_up_to = before.map_or(0, |place| place.seq),
                lost_from = lost.iter().map(|lost| lost.place.seq).min().unwrap_or(0),
                journal_has_up_to = known.map_or(0, |place| place.seq),
                "the database is older than its revocation journal, as after a restored backup: what was taken from keys since was \
                 taken again; other changes since then are missing, and keys that were issued since are unknown"
            );
        }
        // With all of it, also of rows that are not there: another backup may have them.
        self.begin(realm, now_at, lost)
    }
}

/// A transaction that is rolled back unless it is committed.
struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    fn begin(connection: &'c Connection) -> Result<Self, StoreError> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }

    fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.execute_batch("COMMIT")?)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // The next transaction says why it cannot begin.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

const ENDING: &str = ".revocations";
/// Rows of the change log that are looked through at once. Other processes do not get at the journal meanwhile.
const AT_ONCE: i64 = 4096;
/// After so many rows of the change log, the journal says that it has them.
const MARKED_EACH: u64 = 10_000;
