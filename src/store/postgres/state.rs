//! Whether what answers is the database that was opened, and its primary.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use super::fault::{Unusable, WrongServer};
use super::log_end::{LogEnd, MOST_OWN};
use super::session::Session;
use crate::store::StoreError;
use crate::store::sql::migration::{Migration, Outgrown};
use crate::store::sql::{Columns, Dialect, LogRow, OwnRows, Place, Statement, Value, all, first};
use crate::sync::unpoisoned;

/// The first columns of every answer that decides something: a standby shows revoked keys for as long as it lags, and behind an
/// address that has moved may stand another database.
pub(super) struct State {
    realm: Mutex<Uuid>,
    /// The last row of the change log that a commit of this process wrote.
    own: Mutex<Option<Place>>,
    /// What the follower need not announce again.
    pub(super) own_rows: OwnRows,
    /// Whether it is still to be copied into.
    is_awaited: AtomicBool,
    pub(super) outgrown: Outgrown,
    asked: Statement,
    last_rows: Statement,
    /// With the number of the transaction, which a standby does not give. Whatever the user's default is, the commit is on the disk (and
    /// on a synchronous standby) before it is answered: a revoke that was acknowledged must not be lost with the server.
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
            own_rows: OwnRows::default(),
            is_awaited: AtomicBool::new(is_awaited),
            outgrown: Outgrown::by(migrations),
            asked: dialect.render("SELECT {standby}, {realm}"),
            last_rows: dialect.render(
                "SELECT seq, tag, kind, id, revision, xmin = CAST(pg_catalog.pg_current_xact_id() AS pg_catalog.xid) \
                 FROM {s}key_changes WHERE seq > 0 ORDER BY seq DESC LIMIT ?1",
            ),
            begin: text(
                "SELECT {standby}, {realm}, CASE WHEN {standby} THEN NULL ELSE pg_catalog.pg_current_xact_id()::text END, \
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

    /// The same, also where nobody is answered.
    pub(super) async fn verify_identity(&self, session: &Session<'_>) -> Result<(), StoreError> {
        let identified = first(session, &self.asked, &[], |row| self.identify(row));
        identified.await.map(drop)
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

    /// The last rows of the change log, backwards, and whether the transaction itself wrote them.
    pub(super) async fn last_rows(&self, session: &Session<'_>) -> Result<Vec<(LogRow, bool)>, StoreError> {
        let values = [Value::Integer(MOST_OWN as i64 + 1)];
        all(session, &self.last_rows, &values, |row| {
            Ok((row.log_row()?, row.truth("xmin")?))
        })
        .await
    }

    /// The changes of a commit were announced.
    pub(super) fn announced(&self, end: &LogEnd) {
        if let Some(before) = end.announced_after {
            self.own_rows.announced(before, end.last);
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
        [self.asked.text(), self.last_rows.text(), &self.begin, &self.read_back]
            .map(ToOwned::to_owned)
            .to_vec()
    }
}
