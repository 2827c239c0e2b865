//! Whether what answers is the database that was opened, and its primary.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use super::fault::{Unusable, WrongServer};
use super::value::Session;
use crate::store::StoreError;
use crate::store::sql::migration::{Migration, Outgrown};
use crate::store::sql::{Columns, Dialect, Place, Statement, first};
use crate::sync::unpoisoned;

/// The first columns of every answer that decides something: a standby shows revoked keys for as long as it lags, and behind an
/// address that has moved may stand another database.
pub(super) struct State {
    realm: Mutex<Uuid>,
    /// The last row of the change log that a commit of this process wrote.
    own: Mutex<Option<Place>>,
    /// Whether it is still to be copied into.
    is_awaited: AtomicBool,
    pub(super) outgrown: Outgrown,
    asked: Statement,
    /// With the number of the transaction. Whatever the user's default is, the commit is on the disk (and on a synchronous standby)
    /// before it is answered: a revoke that was acknowledged must not be lost with the server.
    pub(super) begin: Box<str>,
    /// What became of a transaction (its number is $1) and of a commit ($2).
    pub(super) read_back: Box<str>,
}

impl State {
    pub(super) fn of(realm: Uuid, dialect: &Dialect, migrations: &[Migration], is_awaited: bool) -> Self {
        let text = |text: &str| Box::from(dialect.render(text).text());
        Self {
            realm: Mutex::new(realm),
            own: Mutex::default(),
            is_awaited: AtomicBool::new(is_awaited),
            outgrown: Outgrown::by(migrations),
            asked: dialect.render("SELECT {standby}, {realm}"),
            begin: text(
                "SELECT {standby}, {realm}, pg_catalog.pg_current_xact_id()::text, \
                 pg_catalog.set_config('synchronous_commit', CASE pg_catalog.current_setting('synchronous_commit') \
                 WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, TRUE)",
            ),
            read_back: text(
                "SELECT {standby}, {realm}, pg_catalog.pg_xact_status(?1::text::xid8), \
                 EXISTS (SELECT 1 FROM {s}audit_events WHERE commit_id = ?2)",
            ),
        }
    }

    /// Asks who answers.
    ///
    /// # Errors
    /// When it is not the database that was opened, or not its primary.
    pub(super) async fn verify(&self, session: &Session<'_>) -> Result<(), StoreError> {
        first(session, &self.asked, &[], |row| self.check(row)).await.map(drop)
    }

    /// Reads the first two columns.
    ///
    /// # Errors
    /// When what they say is not so, or nobody is to be answered from this database.
    pub(super) fn check(&self, row: &mut Columns<'_>) -> Result<(), StoreError> {
        self.serves()?;
        self.identify(row)
    }

    /// # Errors
    /// When nobody is to be answered from this database by this program.
    pub(super) fn serves(&self) -> Result<(), StoreError> {
        if self.is_awaited() {
            return Err(Unusable::NotCopied.into());
        }
        Ok(self.outgrown.check()?)
    }

    /// Reads the first two columns, also of a database that serves nobody.
    ///
    /// # Errors
    /// When what they say is not so.
    pub(super) fn identify(&self, row: &mut Columns<'_>) -> Result<(), StoreError> {
        if row.truth("pg_is_in_recovery")? {
            return Err(WrongServer::Standby.into());
        }
        let found = row.optional_uuid("realm.realm_id")?;
        match found == Some(*unpoisoned(self.realm.lock())) {
            true => Ok(()),
            false => Err(WrongServer::OtherRealm.into()),
        }
    }

    /// This process committed this row of the change log.
    pub(super) fn wrote(&self, row: Place) {
        let mut own = unpoisoned(self.own.lock());
        if own.is_none_or(|own| own.seq < row.seq) {
            *own = Some(row);
        }
    }

    pub(super) fn last_own(&self) -> Option<Place> {
        *unpoisoned(self.own.lock())
    }

    /// The database was set back before this row.
    pub(super) fn lost(&self, row: Option<Place>) {
        let mut own = unpoisoned(self.own.lock());
        if *own == row {
            *own = None;
        }
    }

    pub(super) fn realm(&self) -> Uuid {
        *unpoisoned(self.realm.lock())
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Acquire)
    }

    /// The database has been copied into, and is what the source is.
    pub(super) fn is_copied(&self, realm: Uuid) {
        self.is_now(realm);
        self.is_awaited.store(false, Ordering::Release);
    }

    /// The database has a new identity, given by this process.
    pub(super) fn is_now(&self, realm: Uuid) {
        *unpoisoned(self.realm.lock()) = realm;
    }
}

#[cfg(test)]
impl State {
    pub(super) fn texts(&self) -> Vec<String> {
        [self.asked.text(), &self.begin, &self.read_back]
            .map(ToOwned::to_owned)
            .to_vec()
    }
}
