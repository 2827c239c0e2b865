//! The revocation journal of a file, and what a database that was set back gets of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use super::command::Command;
use super::connection::Location;
use super::fault::Unusable;
use super::history::{QUIET, is_there, latest, realm};
use crate::audit::{AuditAction, AuditEvent};
use crate::key::{Actor, KeyStatus, OrganizationStatus, Timestamp, User, UserStatus, earlier};
use crate::store::journal::{Journal, Lost, Narrowed, all_of, stricter};
use crate::store::sql::{Place, Statements};
use crate::store::{Commit, StoreError, StoreErrorKind, Write};
use crate::sync::unpoisoned;

/// The journal of the file that a store has open.
pub(super) struct Journaled {
    journal: Journal,
    location: Location,
    sql: Arc<Statements>,
    /// One thread at a time gives a database what it lacks; the others wait for it.
    one_at_a_time: Mutex<()>,
    /// What could not be written yet. Revoking such a key again answers that it is done, and changes nothing.
    owed: Mutex<Vec<Narrowed>>,
    /// What was taken again, for the audit trail: only a commit of an issuer's has the key to link them with.
    events: Mutex<Vec<AuditEvent>>,
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
            journal: Journal::at(path),
            location: location.clone(),
            sql,
            one_at_a_time: Mutex::default(),
            owed: Mutex::default(),
            events: Mutex::default(),
        })
    }

    /// Appends what a transaction took that was committed, with its last row of the change log, if that is known.
    ///
    /// # Errors
    /// When it cannot be written, which is logged as well: the caller may be gone.
    pub(super) fn record(
        &self,
        connection: &Connection,
        place: Option<Place>,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), StoreError> {
        let mut owed = unpoisoned(self.owed.lock());
        // Of each row the newest counts.
        let is_new = |old: &Narrowed| narrowed.iter().all(|new| new.subject() != old.subject());
        owed.retain(is_new);
        owed.extend(narrowed);
        if owed.is_empty() {
            return Ok(());
        }
        self.append(connection, place, owed.clone()).inspect_err(|error| {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::error!(
                error,
                "keys were narrowed or revoked, and the revocation journal does not know it: a backup that is restored would \
                 undo it"
            );
        })?;
        owed.clear();
        Ok(())
    }

    fn append(&self, connection: &Connection, place: Option<Place>, narrowed: Vec<Narrowed>) -> Result<(), StoreError> {
        let place = match place {
            Some(place) => Some(place),
            // A later row than that of the transaction does no harm.
            None => latest(connection, &self.sql)?,
        };
        let missing = || StoreError::with_source(StoreErrorKind::Unavailable, "the change log is empty");
        let realm = realm(connection, &self.sql)?;
        let appended = self.journal.append(realm, place.ok_or_else(missing)?, narrowed);
        Ok(appended.map_err(Unusable::Journal)?)
    }

    /// Events that no commit has stored yet.
    pub(super) fn events(&self) -> Vec<AuditEvent> {
        unpoisoned(self.events.lock()).clone()
    }

    /// The first so many of them are stored.
    pub(super) fn events_are_stored(&self, number: usize) {
        let mut events = unpoisoned(self.events.lock());
        let number = number.min(events.len());
        events.drain(..number);
    }

    /// The same as [`catch_up`](Self::catch_up), on a connection of its own.
    pub(super) fn catch_up_anew(&self) -> Result<(), StoreError> {
        let connection = self.location.existing_writer()?;
        self.catch_up(&connection)
    }

    /// Takes again what a database was set back before, until which nothing of it may be answered. Does nothing if it has all that
    /// the journal knows.
    ///
    /// # Errors
    /// When the journal cannot be read, or the database cannot be written.
    pub(super) fn catch_up(&self, connection: &Connection) -> Result<(), StoreError> {
        let _one = unpoisoned(self.one_at_a_time.lock());
        let history = self.journal.read().map_err(Unusable::Journal)?;
        if history.is_empty() {
            return Ok(());
        }
        let realm = realm(connection, &self.sql)?;
        let known = history.latest(realm);
        if let Some(known) = known
            && is_there(connection, &self.sql, known)?
        {
            return Ok(());
        }
        let transaction = Transaction::begin(connection)?;
        let before = latest(connection, &self.sql)?;
        let lost = history.lost(realm, |place| is_there(connection, &self.sql, place))?;
        let command = Command::new(connection, &self.sql, true);
        let (mut narrowed, mut events) = (Vec::new(), Vec::new());
        let now = Timestamp::now();
        for Lost { narrowed: bounds, .. } in &lost {
            let Some(again) = command.again(bounds, now)? else {
                continue;
            };
            let mut commit = Commit::new();
            commit.writes = again.writes;
            narrowed.extend(command.make(&commit)?.narrowed);
            if events.len() < MOST_EVENTS {
                events.push(again.event);
            }
        }
        let applied = narrowed.len();
        let first_lost = lost.iter().map(|lost| lost.place.seq).min();
        // The place from which the new history begins is in no other one: a newer backup of the old one would pass for caught up.
        connection.prepare_cached(QUIET)?.execute([])?;
        let now_at = latest(connection, &self.sql)?;
        transaction.commit()?;
        if let Some(place) = now_at {
            self.journal.begin(realm, place, narrowed).map_err(Unusable::Journal)?;
        }
        // A new database may stand where another one was.
        if known.is_some() || applied > 0 {
            tracing::warn!(
                path = %self.location.path().display(),
                applied,
                lost = lost.len(),
                has_changes_up_to = before.map_or(0, |place| place.seq),
                lost_from = first_lost.unwrap_or(0),
                journal_has_up_to = known.map_or(0, |place| place.seq),
                "the database is older than its revocation journal, as after a restored backup: what was taken from keys since was \
                 taken again; other changes since then are missing, and keys that were issued since are unknown"
            );
        }
        unpoisoned(self.events.lock()).extend(events);
        Ok(())
    }
}

/// What is taken again from one row.
struct Again {
    writes: Vec<Write>,
    event: AuditEvent,
}

impl Command<'_> {
    /// The writes that take from a row what the journal says; `None` if it is not there, or has no more than that.
    fn again(&self, narrowed: &Narrowed, now: Timestamp) -> Result<Option<Again>, StoreError> {
        let event = |organization, action| {
            AuditEvent::new(organization, now, Actor::system(), action)
                .detail("restored", "from the revocation journal")
        };
        let system = || AuditEvent::of_system(now, Actor::system(), AuditAction::JOURNAL_APPLIED);
        let again = |writes, event| Some(Again { writes, event });
        Ok(match narrowed {
            Narrowed::Key(bounds) => self.stored_key(bounds.id())?.and_then(|stored| {
                let row = bounds.applied(&stored.record, now);
                if row == stored.record {
                    return None;
                }
                let action = match (stored.record.status == row.status, row.status) {
                    (false, KeyStatus::Revoked) => AuditAction::KEY_REVOKED,
                    (false, KeyStatus::Disabled) => AuditAction::KEY_DISABLED,
                    _ => AuditAction::KEY_UPDATED,
                };
                let event = event(row.organization_id, action).key(row.id).user(row.user.clone());
                again(vec![Write::UpdateKey(row)], event)
            }),
            Narrowed::Secret { key, lookup, ends_at } => self.stored_key(*key)?.and_then(|stored| {
                let secret = stored.secret(lookup)?;
                let grace_ends_at = earlier(secret.grace_ends_at, *ends_at);
                if earlier(secret.expires_at, grace_ends_at) == secret.ends_at() {
                    return None;
                }
                let update = Write::UpdateSecret {
                    key: *key,
                    lookup: lookup.clone(),
                    expires_at: secret.expires_at,
                    grace_ends_at,
                };
                let event = event(stored.record.organization_id, AuditAction::KEY_UPDATED).key(*key);
                let event = event.detail("lookup", lookup.to_string());
                again(vec![Write::UpdateKey(stored.record), update], event)
            }),
            Narrowed::Organization {
                id,
                is_active,
                policy,
                requires,
            } => self.stored_organization(*id)?.and_then(|stored| {
                let mut row = stored.clone();
                if !is_active {
                    row.status = OrganizationStatus::Inactive;
                }
                row.policy = stricter(&row.policy, policy);
                row.requires = all_of(&row.requires, requires);
                let event = event(row.id, AuditAction::ORGANIZATION_UPDATED);
                (row != stored).then(|| again(vec![Write::UpdateOrganization(row)], event))?
            }),
            Narrowed::User {
                organization,
                user,
                is_active: false,
            } => {
                let stored = self.stored_user(*organization, user)?;
                let is_new = stored.is_none();
                if is_new && self.stored_organization(*organization)?.is_none() {
                    return Ok(None);
                }
                let mut row = stored.unwrap_or_else(|| User::new(*organization, user.clone(), now));
                if row.status == UserStatus::Disabled {
                    return Ok(None);
                }
                row.status = UserStatus::Disabled;
                let event = system().user(Some(user.clone()));
                let write = match is_new {
                    true => Write::InsertUser(row),
                    false => Write::UpdateUser(row),
                };
                again(vec![write], event)
            }
            Narrowed::User { .. } => None,
            Narrowed::Role { name, scopes } => self.stored_role(name)?.and_then(|stored| {
                if scopes.includes(&stored.scopes) {
                    return None;
                }
                let mut row = stored;
                row.scopes = row.scopes.intersection(scopes);
                let event = system().detail("role", row.name.clone());
                again(vec![Write::UpdateRole(row)], event)
            }),
            Narrowed::Crc { until } => {
                let was = self.stored_realm()?;
                if was.crc_accepted_until <= *until {
                    return Ok(None);
                }
                let mut row = was;
                row.crc_accepted_until = *until;
                let event = AuditEvent::of_system(now, Actor::system(), AuditAction::CRC_KEYS_ENDED);
                again(vec![Write::UpdateRealm { was, row }], event)
            }
        })
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
/// Of a bulk change there may be more, of which the warning tells.
const MOST_EVENTS: usize = 10_000;
