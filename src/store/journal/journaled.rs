//! The revocation journal of a database: what it gets, and what a database that was set back gets of it.
//!
//! The change log says what the journal must have, also of changes by hand and of processes that died between a commit and its
//! lines. So nothing is kept in memory of what could not be written.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::{History, Journal, JournalError, Lost, Narrowed, Places, Position, RowName};
use crate::store::sql::{LogEntry, Place};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::unpoisoned;

/// What is asked of the database that a journal belongs to.
pub(in crate::store) trait JournalDatabase {
    /// Its identity.
    fn realm(&self) -> Result<Uuid, StoreError>;

    /// Whether the change log has this row, or had it before old rows were deleted.
    fn is_there(&self, place: Place) -> Result<bool, StoreError>;

    /// The last row of the change log.
    fn latest(&self) -> Result<Option<Place>, StoreError>;

    /// Rows of the change log after this number, at most so many.
    fn logged_after(&self, seq: u64, most: i64) -> Result<Vec<LogEntry>, StoreError>;

    /// What a row allows now. The id is that of its entry in the change log.
    fn as_it_is(&self, row: &RowName, id: Uuid) -> Result<Option<Narrowed>, StoreError>;

    /// Takes again what the database lost, and logs a row after it, all in one transaction.
    fn take_again(&self, realm: Uuid, history: &History) -> Result<TakenAgain, StoreError>;
}

/// What was taken again.
pub(in crate::store) struct TakenAgain {
    /// What the database did not have.
    pub(in crate::store) lost: Vec<Lost>,
    /// How many of these there was something to take from.
    pub(in crate::store) applied: usize,
    /// Where the change log ended before, and where it ends now.
    pub(in crate::store) before: Option<Place>,
    pub(in crate::store) now_at: Place,
}

/// The journal of the database that a store has open.
pub(in crate::store) struct Journaled {
    journal: Journal,
    /// What the database is called in the log.
    database: String,
    patience: Duration,
    state: Mutex<State>,
    /// Whether the last attempt to write it failed.
    is_failing: AtomicBool,
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
}

impl Journaled {
    /// The journal at this path. `patience` is how long to wait for another process that has it.
    pub(in crate::store) fn at(path: PathBuf, database: String, patience: Duration) -> Self {
        Self {
            journal: Journal::at(path, patience),
            database,
            patience,
            state: Mutex::new(State {
                through: Place::START,
                marked: 0,
                position: Position::default(),
                patience: Duration::ZERO,
            }),
            is_failing: AtomicBool::new(false),
            through: AtomicU64::new(0),
            // Of another process, perhaps.
            has_waiting: AtomicBool::new(true),
        }
    }

    /// Appends what a transaction took that was committed, with the rows of the change log before it and at its end, if they are
    /// known.
    ///
    /// # Errors
    /// When it cannot be written, nor what could not be written before. It is logged as well: the caller may be gone.
    pub(in crate::store) fn record(
        &self,
        database: &impl JournalDatabase,
        places: Option<(Option<Place>, Place)>,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), StoreError> {
        let mut state = unpoisoned(self.state.lock());
        // A commit that takes nothing does not wait for another process that was stopped while it had the journal.
        state.patience = match narrowed.is_empty() {
            true => Duration::ZERO,
            false => self.patience,
        };
        let recorded = match places {
            Some((before, last)) if !self.is_failing() => {
                self.append(database, &mut state, before.unwrap_or(Place::START), last, narrowed)
            }
            None if narrowed.is_empty() && !self.is_failing() => Ok(()),
            _ => match self.complete(database, &mut state, MARKED_EACH) {
                Ok(false) => self.bring_together(database, &mut state),
                completed => completed.map(drop),
            },
        };
        self.report(&recorded);
        recorded
    }

    /// Appends what a transaction took, which ended at this place, whatever else the log has before it.
    ///
    /// # Errors
    /// When it cannot be written. It is logged as well: the caller may be gone.
    pub(in crate::store) fn append_own(
        &self,
        realm: Uuid,
        last: Place,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), StoreError> {
        let appended = self.journal.append(realm, last, narrowed).map_err(unusable);
        // What could not be written before is still not there.
        if appended.is_err() {
            self.report(&appended);
        }
        appended
    }

    /// Begins the history of a database that another one was copied into, with a row of the change log from which on it is this one's.
    pub(in crate::store) fn begin_copied(&self, realm: Uuid, from: Place) -> Result<(), StoreError> {
        self.begin(realm, from, Vec::new())
    }

    /// Says that everything up to here is in it.
    pub(in crate::store) fn has_all(&self, realm: Uuid, up_to: Place) -> Result<(), StoreError> {
        let held = self.journal.hold(self.patience).map_err(unusable)?;
        held.complete(realm, up_to).map_err(unusable)
    }

    /// Whether the last attempt to write it failed.
    pub(in crate::store) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    fn append(
        &self,
        database: &impl JournalDatabase,
        state: &mut State,
        before: Place,
        last: Place,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), StoreError> {
        if !narrowed.is_empty() {
            let realm = database.realm()?;
            self.journal.append(realm, last, narrowed).map_err(unusable)?;
        }
        // Otherwise another process has changed something in between.
        if before == state.through {
            self.is_through(state, last);
            self.mark(database, state, MARKED_EACH)?;
        }
        Ok(())
    }

    /// The last row of the change log that the journal has; of older rows none is missing.
    pub(in crate::store) fn through(&self) -> u64 {
        self.through.load(Ordering::Acquire)
    }

    /// Appends what others have changed: by hand, or in a process that died before it could. Nothing while another thread is at
    /// the journal, which is asked again soon.
    pub(in crate::store) fn follow(&self, database: &impl JournalDatabase) {
        let Ok(mut state) = self.state.try_lock() else { return };
        // Its caller has to look at the change log in time.
        state.patience = Duration::ZERO;
        let completed = self.complete(database, &mut state, MARKED_EACH).map(drop);
        self.report(&completed);
    }

    /// The same before old rows of the change log are deleted, and at an orderly end: the next process has less to look through.
    pub(in crate::store) fn complete_and_say_so(&self, database: &impl JournalDatabase) {
        let mut state = unpoisoned(self.state.lock());
        state.patience = Duration::ZERO;
        let completed = self.complete(database, &mut state, 1).map(drop);
        self.report(&completed);
    }

    /// Appends what the change log has behind the last place that is in the journal, with what the rows allow now. Not if the
    /// database was set back before that place.
    fn complete(
        &self,
        database: &impl JournalDatabase,
        state: &mut State,
        marks_from: u64,
    ) -> Result<bool, StoreError> {
        if !database.is_there(state.through)? {
            return Ok(false);
        }
        let realm = database.realm()?;
        loop {
            let entries = database.logged_after(state.through.seq, AT_ONCE)?;
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
                self.append_changed(database, state, realm, changed)?;
            }
            self.is_through(state, last);
        }
        self.mark(database, state, marks_from)?;
        Ok(true)
    }

    /// Says how much is in the journal, if that is so many rows of the change log more than it has said.
    fn mark(&self, database: &impl JournalDatabase, state: &mut State, from: u64) -> Result<(), StoreError> {
        let through = state.through;
        if through.seq.saturating_sub(state.marked) >= from {
            let held = self.journal.hold(state.patience).map_err(unusable)?;
            held.complete(database.realm()?, through).map_err(unusable)?;
            state.marked = through.seq;
        }
        Ok(())
    }

    fn append_changed(
        &self,
        database: &impl JournalDatabase,
        state: &mut State,
        realm: Uuid,
        mut changed: HashMap<RowName, (Place, Uuid)>,
    ) -> Result<(), StoreError> {
        // Held meanwhile, so that of several processes one writes it.
        let mut held = self.journal.hold(state.patience).map_err(unusable)?;
        let known = held.since(&mut state.position).map_err(unusable)?;
        changed.retain(|row, (place, _)| known.get(row).is_none_or(|seq| *seq < place.seq));
        let mut lines = Places::new();
        for (row, (place, id)) in changed {
            match database.as_it_is(&row, id) {
                Ok(narrowed) => lines.extend(narrowed.map(|narrowed| (place, narrowed))),
                // A row that cannot be read admits nobody.
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {}
                Err(error) => return Err(error),
            }
        }
        held.append(realm, lines).map_err(unusable)
    }

    fn is_through(&self, state: &mut State, place: Place) {
        state.through = place;
        self.through.store(place.seq, Ordering::Release);
    }

    fn report(&self, done: &Result<(), StoreError>) {
        let was_failing = self.is_failing.swap(done.is_err(), Ordering::AcqRel);
        match done {
            Err(error) if !was_failing => {
                let error: &(dyn std::error::Error + 'static) = error;
                tracing::error!(
                    database = self.database,
                    error,
                    "the revocation journal cannot be written: a backup that is restored would undo what is revoked or narrowed until \
                     it can"
                );
            }
            Ok(()) if was_failing => {
                tracing::info!(database = self.database, "the revocation journal has all changes again");
            }
            _ => {}
        }
    }

    /// Whether audit events of the store's own may wait for a commit that links them.
    pub(in crate::store) fn has_waiting(&self) -> bool {
        self.has_waiting.load(Ordering::Acquire)
    }

    /// There are none, as a transaction saw that keeps others from adding one.
    pub(in crate::store) fn has_none_waiting(&self) {
        self.has_waiting.store(false, Ordering::Release);
    }

    /// Brings database and journal together, until which nothing may be answered: a database that was set back takes again what
    /// the journal knows, and the journal gets what the database has behind its last place.
    ///
    /// # Errors
    /// When the journal cannot be read or written, or the database cannot be written.
    pub(in crate::store) fn catch_up(&self, database: &impl JournalDatabase) -> Result<(), StoreError> {
        // One thread at a time; the others wait for it.
        let mut state = unpoisoned(self.state.lock());
        self.bring_together(database, &mut state)
    }

    fn bring_together(&self, database: &impl JournalDatabase, state: &mut State) -> Result<(), StoreError> {
        let history = self.journal.read().map_err(unusable)?;
        let realm = database.realm()?;
        let there = |place| database.is_there(place);
        let known = history.latest(realm);
        let is_new = history.is_empty();
        let through = match known {
            Some(known) if there(known)? => history.complete_up_to(realm, there)?,
            // What was before the journal is not in it.
            None if is_new => {
                let latest = database.latest()?.unwrap_or(Place::START);
                self.begin(realm, latest, Vec::new())?;
                latest
            }
            _ => {
                let through = history.complete_up_to(realm, there)?;
                self.take_again(database, realm, &history)?;
                through
            }
        };
        drop(history);
        *state = State {
            through,
            marked: through.seq,
            position: Position::default(),
            patience: self.patience,
        };
        self.is_failing.store(false, Ordering::Release);
        self.through.store(through.seq, Ordering::Release);
        self.complete(database, state, 1).map(drop)
    }

    fn begin(&self, realm: Uuid, from: Place, known: Vec<Lost>) -> Result<(), StoreError> {
        let known = known.into_iter().map(|lost| lost.narrowed).collect();
        let held = self.journal.hold(self.patience).map_err(unusable)?;
        held.begin(realm, from, known).map_err(unusable)
    }

    fn take_again(&self, database: &impl JournalDatabase, realm: Uuid, history: &History) -> Result<(), StoreError> {
        let TakenAgain {
            lost,
            applied,
            before,
            now_at,
        } = database.take_again(realm, history)?;
        self.has_waiting.store(true, Ordering::Release);
        let known = history.latest(realm);
        // A new database may stand where another one was.
        if known.is_some() || applied > 0 {
            #[cfg(feature = "metrics")]
            crate::telemetry::lost_changes(lost.len());
            tracing::warn!(
                database = self.database,
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

fn unusable(error: JournalError) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unusable, error)
}

/// Rows of the change log that are looked through at once. Other processes do not get at the journal meanwhile.
const AT_ONCE: i64 = 4096;
/// After so many rows of the change log, the journal says that it has them.
const MARKED_EACH: u64 = 10_000;
