//! The database, for the revocation journal. That is a file, which is read and written on threads that may wait; so these wait for the
//! database as well.

use std::cell::RefCell;
use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use tokio::runtime::Handle;
use tokio_postgres::IsolationLevel;
use uuid::Uuid;

use super::commit::LOG_NOW;
use super::connections::Connections;
use super::patience::Patience;
use super::schema::Schema;
use super::value::Session;
use crate::key::Timestamp;
use crate::store::journal::{History, JournalDatabase, Journaled, Narrowed, RowName, TakenAgain};
use crate::store::sql::{self, Command, Database, LogEntry, Place, Statement, Statements, Value, all, revision_value};
use crate::store::{StoreError, StoreErrorKind};

/// The journal of a store, and what it needs of the database.
#[derive(Clone)]
pub(super) struct JournalOfStore {
    pub(super) journal: Arc<Journaled>,
    connections: Arc<Connections>,
    sql: Arc<Statements>,
    own: Arc<Own>,
}

/// Statements of the journal's own.
struct Own {
    /// Of the servers that find the database older than their journals, one after the other takes again what it knows.
    lock: Statement,
    /// A row of the change log that no cached answer depends on.
    quiet: Statement,
}

impl JournalOfStore {
    pub(super) fn of(
        journal: Journaled,
        schema: &Schema,
        connections: &Arc<Connections>,
        sql: &Arc<Statements>,
    ) -> Self {
        let dialect = schema.dialect();
        Self {
            journal: Arc::new(journal),
            connections: connections.clone(),
            sql: sql.clone(),
            own: Arc::new(Own {
                lock: dialect.render(
                    "SELECT 1 FROM {s}organization_state WHERE organization_id = '00000000-0000-0000-0000-000000000000' FOR UPDATE",
                ),
                quiet: dialect.render("SELECT {s}log_change(0, '00000000-0000-0000-0000-000000000000', 0, NULL)"),
            }),
        }
    }

    /// Has the journal ask the database, on a thread that may wait.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Journaled, &Journaling) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (journal, client) = (self.journal.clone(), self.connections.alone().await?);
        let (sql, own, runtime) = (self.sql.clone(), self.own.clone(), Handle::current());
        let patience = self.connections.patience();
        let asked = tokio::task::spawn_blocking(move || {
            let database = Journaling {
                client: RefCell::new(client),
                runtime,
                sql,
                own,
                patience,
            };
            ask(&journal, &database)
        });
        asked
            .await
            .map_err(|gone| StoreError::with_source(StoreErrorKind::Unavailable, gone))?
    }

    /// Appends what a transaction took, which ended at this place of the change log.
    pub(super) async fn append(&self, realm: Uuid, last: Place, narrowed: Vec<Narrowed>) -> Result<(), StoreError> {
        let journal = self.journal.clone();
        let appended = tokio::task::spawn_blocking(move || journal.append_own(realm, last, narrowed));
        appended
            .await
            .map_err(|gone| StoreError::with_source(StoreErrorKind::Unavailable, gone))?
    }
}

/// A connection of the journal's.
pub(super) struct Journaling {
    client: RefCell<ClientWrapper>,
    runtime: Handle,
    sql: Arc<Statements>,
    own: Arc<Own>,
    patience: Patience,
}

impl JournalDatabase for Journaling {
    fn realm(&self) -> Result<Uuid, StoreError> {
        let client = self.client.borrow();
        self.runtime
            .block_on(sql::realm(&Session::Connection(&client, self.patience), &self.sql))
    }

    fn is_there(&self, place: Place) -> Result<bool, StoreError> {
        let client = self.client.borrow();
        self.runtime.block_on(sql::is_there(
            &Session::Connection(&client, self.patience),
            &self.sql,
            place,
        ))
    }

    fn latest(&self) -> Result<Option<Place>, StoreError> {
        let client = self.client.borrow();
        self.runtime
            .block_on(sql::latest(&Session::Connection(&client, self.patience), &self.sql))
    }

    fn logged_after(&self, seq: u64, most: i64) -> Result<Vec<LogEntry>, StoreError> {
        let client = self.client.borrow();
        let values = [revision_value(seq)?, Value::Integer(most)];
        let session = Session::Connection(&client, self.patience);
        self.runtime
            .block_on(all(&session, &self.sql.changes_to_journal, &values, |row| {
                row.log_entry()
            }))
    }

    fn as_it_is(&self, row: &RowName, id: Uuid) -> Result<Option<Narrowed>, StoreError> {
        let client = self.client.borrow();
        let session = Session::Connection(&client, self.patience);
        self.runtime
            .block_on(Command::new(&session, &self.sql, None).as_it_is(row, id))
    }

    fn take_again(&self, realm: Uuid, history: &History) -> Result<TakenAgain, StoreError> {
        let mut client = self.client.borrow_mut();
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start();
        let transaction = self.runtime.block_on(self.patience.wait(transaction))?;
        let session = Session::Transaction(&transaction, self.patience);
        self.runtime.block_on(session.execute(&self.own.lock, &[]))?;
        let before = self.runtime.block_on(sql::latest(&session, &self.sql))?;
        let lost = history.lost(realm, |place| {
            self.runtime.block_on(sql::is_there(&session, &self.sql, place))
        })?;
        let now_at = self.runtime.block_on(async {
            let command = Command::new(&session, &self.sql, None);
            let applied = command.take_all_again(&lost, Timestamp::now()).await?;
            self.patience.wait(transaction.batch_execute(LOG_NOW)).await?;
            // The place from which the new history begins is in no other one: a newer backup of the old one would pass for caught up.
            session.execute(&self.own.quiet, &[]).await?;
            let now_at = sql::latest(&session, &self.sql).await?.unwrap_or(Place::START);
            Ok::<_, StoreError>((applied, now_at))
        });
        let (applied, now_at) = now_at?;
        self.runtime.block_on(self.patience.wait(transaction.commit()))?;
        Ok(TakenAgain {
            lost,
            applied,
            before,
            now_at,
        })
    }
}
