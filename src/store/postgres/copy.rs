//! A schema of PostgreSQL as one end of a copy.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::MutexGuard;

use super::session::Session;
use super::{Inner, PostgresStore};
use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sql::copy::{End, Filled};
use crate::store::sql::migration::POSTGRES;
use crate::store::sql::{Columns, Database, Statement, Value};

/// A store that is copied, or copied into.
pub(in crate::store) struct PostgresEnd(Arc<Inner>);

impl PostgresStore {
    pub(in crate::store) fn as_end(&self) -> PostgresEnd {
        PostgresEnd(self.0.clone())
    }
}

impl PostgresEnd {
    pub(in crate::store) fn is_copy_target(&self) -> bool {
        self.0.is_copy_target
    }

    /// Waits for another copy into this store, which a caller may have left.
    pub(in crate::store) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.0.copying.lock().await
    }

    /// A transaction in which nothing changes.
    pub(in crate::store) async fn source(&self) -> Result<End<Own>, StoreError> {
        let end = self.connect().await?;
        end.freeze().await?;
        self.0.state.verify(&end.database.session()).await?;
        Ok(end)
    }

    pub(in crate::store) async fn target(&self) -> Result<End<Own>, StoreError> {
        let end = self.connect().await?;
        // One copy at a time, of all processes. The lock ends with the connection.
        let lock = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))";
        let name = format!("tower-api-key copy into {}", self.0.schema.name());
        end.database.session().execute_own(lock, &[&name]).await?;
        Ok(end)
    }

    /// Before the commit: after it the schema serves, whatever becomes of this process.
    pub(in crate::store) async fn begin_journal(&self, target: &End<Own>, filled: &Filled) -> Result<(), StoreError> {
        match &self.0.journal {
            Some(journal) if filled.is_open => target.begin_journal(&journal.journal, &self.0.sql).await,
            _ => Ok(()),
        }
    }

    /// Commits what makes the schema what the source is; from then on this store answers.
    pub(in crate::store) async fn finish(&self, target: &End<Own>, filled: &Filled) -> Result<(), StoreError> {
        if filled.is_open {
            target.commit().await?;
        }
        if !self.0.state.is_awaited() {
            return Ok(());
        }
        if let Some(journal) = &self.0.journal {
            journal.ask(|journal, database| journal.catch_up(database)).await?;
        }
        self.0.state.is_copied(filled.realm);
        self.0.fence.everything_changed();
        Ok(())
    }

    async fn connect(&self) -> Result<End<Own>, StoreError> {
        let client = self.0.connections.alone().await?;
        let own = Own(client);
        own.session().run(SETTINGS).await?;
        Ok(End::new(own, &self.0.schema.dialect(), POSTGRES))
    }
}

/// A page takes far less, and a table is emptied in one statement. A copy that stands still must not keep the source from changing.
///
/// [`LONGEST`] is longer than a statement may take.
const SETTINGS: &str = "SET statement_timeout = '10min'; SET idle_in_transaction_session_timeout = '1min'; \
     SET lock_timeout = '10s'; SET synchronous_commit = on";

const LONGEST: Duration = Duration::from_secs(660);

/// A connection that nobody else has.
pub(in crate::store) struct Own(ClientWrapper);

impl Own {
    fn session(&self) -> Session<'_> {
        Session::of(&self.0, LONGEST)
    }
}

impl Database for Own {
    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.session().execute(statement, values).await
    }

    async fn visit(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        read: impl FnMut(&mut Columns<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        self.session().visit(statement, values, read).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.session().now().await
    }
}
