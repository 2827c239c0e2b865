//! Whether what answers is the database that was opened, and its primary.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use super::fault::{Unusable, WrongServer};
use super::session::Session;
use crate::store::sql::migration::{Migration, Outgrown};
use crate::store::sql::{Columns, Dialect, LogRow, OwnRows, Place, Statement, Value, all, first};
use crate::store::{Committed, StoreError};
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

/// Where a transaction ended in the change log.
#[derive(Clone, Copy)]
pub(super) struct LogEnd {
    /// The last row there is.
    pub(super) last: Place,
    /// The row before its own, if its commit announces all that these say. Triggers of someone else's may have changed more.
    announced_after: Option<Option<Place>>,
}

impl LogEnd {
    /// From the last rows, backwards, of which the first ones are the transaction's own.
    pub(super) fn of(rows: &[(LogRow, bool)], committed: &Committed) -> Self {
        let own = rows.iter().take_while(|(_, is_own)| *is_own).count();
        let is_announced = |(row, _): &(LogRow, bool)| {
            row.change.is_none_or(|logged| {
                let mut changes = committed.changes.iter();
                changes.any(|change| change.subject() == logged.subject() && change.revision() >= logged.revision())
            })
        };
        let are_announced = (1..=MOST_OWN).contains(&own) && rows.iter().take(own).all(is_announced);
        Self {
            last: rows.first().map_or(Place::START, |(row, _)| row.place),
            announced_after: are_announced.then(|| rows.get(own).map(|(row, _)| row.place)),
        }
    }
}

/// Rows of a transaction that are looked at. Of more, the follower announces all once more.
const MOST_OWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::Change;
    use crate::key::{KeyId, Subject};

    /// Rows of the log with these numbers, backwards, of which the first `own` are of the transaction.
    fn rows(changes: &[Option<Change>], own: usize) -> Vec<(LogRow, bool)> {
        let rows = changes.iter().zip((0..100).rev()).enumerate();
        let row = |(index, (change, seq)): (usize, (&Option<Change>, u64))| {
            let place = Place {
                seq,
                tag: u128::from(seq),
            };
            (LogRow { place, change: *change }, index < own)
        };
        rows.map(row).collect()
    }

    fn after(rows: &[(LogRow, bool)], changes: Vec<Change>) -> Option<Option<u64>> {
        let end = LogEnd::of(rows, &Committed::new(changes));
        end.announced_after.map(|before| before.map(|place| place.seq))
    }

    #[test]
    fn rows_that_the_commit_announces_are_its_own() {
        let (key, other) = (KeyId::new(), KeyId::new());
        let [raised, again] = [2, 3].map(|revision| Change::new(key, revision));
        let foreign = Change::new(other, 2);
        let logged = [Some(again), Some(raised), Some(foreign)];
        assert_eq!(after(&rows(&logged, 2), vec![raised, again]), Some(Some(97)));
        assert_eq!(after(&rows(&logged[..2], 2), vec![raised, again]), Some(None));
        // Rows that nothing depends on.
        assert_eq!(
            after(&rows(&[None, Some(raised), None], 2), vec![raised]),
            Some(Some(97))
        );
        let realm = Change::new(Subject::Realm, 0);
        assert_eq!(after(&rows(&[Some(realm), None], 1), vec![realm]), Some(Some(98)));
    }

    #[test]
    fn rows_that_the_commit_does_not_announce_are_not() {
        let (key, other) = (KeyId::new(), KeyId::new());
        let (raised, by_trigger) = (Change::new(key, 2), Change::new(other, 2));
        for (logged, own) in [
            // Nothing of it, another key, a later change of the key, and more than is looked at.
            (vec![], 0),
            (vec![Some(raised)], 0),
            (vec![Some(by_trigger), Some(raised), None], 2),
            (vec![Some(raised), Some(Change::new(Subject::Realm, 0))], 2),
            (vec![Some(Change::new(key, 3)), Some(raised)], 2),
            (vec![Some(raised); MOST_OWN + 1], MOST_OWN + 1),
        ] {
            assert_eq!(after(&rows(&logged, own), vec![raised]), None, "{logged:?}");
        }
        let end = LogEnd::of(&[], &Committed::default());
        assert_eq!(end.last, Place::START);
    }
}
