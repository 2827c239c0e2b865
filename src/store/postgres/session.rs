//! What runs statements, and how long an answer is waited for.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Transaction};
use futures_util::TryStreamExt;
use tokio_postgres::RowStream;
use tokio_postgres::types::ToSql;

use super::fault::NoAnswer;
use crate::key::Timestamp;
use crate::store::sql::{Columns, Database, Statement, Value};
use crate::store::{StoreError, StoreErrorKind};

/// What a server says, if it says it in time.
///
/// A server that stands still, and a network that loses everything, end no connection and let no timeout of the server's pass. So
/// each answer is waited for by the own clock, for longer than the server works on it.
pub(super) async fn answered<T, E: Into<StoreError>>(
    longest: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(longest, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(NoAnswer.into()),
    }
}

/// Keeps a timer of this runtime that ends soon, for as long as this is there. A timer that ends before all others wakes the thread that
/// waits for timers; without another one, that is each timer of [`answered`], and a read takes up to twice as long.
pub(super) fn keep_timer<T: Send + Sync + 'static>(used: &Arc<T>) {
    let used = Arc::downgrade(used);
    tokio::spawn(async move {
        while used.strong_count() > 0 {
            tokio::time::sleep(SOON).await;
        }
    });
}

/// Less than an answer is waited for, unless both timeouts are very short.
const SOON: Duration = Duration::from_secs(1);

/// A connection by itself, or a transaction on it.
#[derive(Clone, Copy)]
pub(super) struct Session<'c> {
    on: On<'c>,
    /// For each statement.
    longest: Duration,
}

#[derive(Clone, Copy)]
enum On<'c> {
    Connection(&'c ClientWrapper),
    Transaction(&'c Transaction<'c>),
}

impl<'c> Session<'c> {
    pub(super) fn of(client: &'c ClientWrapper, longest: Duration) -> Self {
        let on = On::Connection(client);
        Self { on, longest }
    }

    pub(super) fn within(transaction: &'c Transaction<'c>, longest: Duration) -> Self {
        let on = On::Transaction(transaction);
        Self { on, longest }
    }

    /// Runs statements without values.
    pub(super) async fn run(&self, statements: &str) -> Result<(), StoreError> {
        let run = async {
            match self.on {
                On::Connection(client) => client.batch_execute(statements).await,
                On::Transaction(transaction) => transaction.batch_execute(statements).await,
            }
        };
        answered(self.longest, run).await
    }

    /// Runs a statement of this database alone.
    pub(super) async fn execute_own(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        let executed = async {
            let prepared = self.prepared(statement).await?;
            match self.on {
                On::Connection(client) => client.execute(&prepared, values).await,
                On::Transaction(transaction) => transaction.execute(&prepared, values).await,
            }
        };
        answered(self.longest, executed).await
    }

    /// The one row of a query of this database alone.
    pub(super) async fn row(
        &self,
        query: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<tokio_postgres::Row, StoreError> {
        let row = async {
            let prepared = self.prepared(query).await?;
            match self.on {
                On::Connection(client) => client.query_one(&prepared, values).await,
                On::Transaction(transaction) => transaction.query_one(&prepared, values).await,
            }
        };
        answered(self.longest, row).await
    }

    async fn prepared(&self, text: &str) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        match self.on {
            On::Connection(client) => client.prepare_cached(text).await,
            On::Transaction(transaction) => transaction.prepare_cached(text).await,
        }
    }
}

impl Database for Session<'_> {
    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let values = given(statement, values)?;
        let executed = async {
            let prepared = self.prepared(statement.text()).await?;
            match self.on {
                On::Connection(client) => client.execute_raw(&prepared, values).await,
                On::Transaction(transaction) => transaction.execute_raw(&prepared, values).await,
            }
        };
        answered(self.longest, executed).await
    }

    async fn visit(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        mut read: impl FnMut(&mut Columns<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let values = given(statement, values)?;
        // No text of the database has a NUL character, and it would not take one.
        if values
            .iter()
            .any(|value| matches!(value, Value::Text(text) if text.contains('\0')))
        {
            return Ok(());
        }
        let visited = async {
            let prepared = self.prepared(statement.text()).await?;
            let rows: RowStream = match self.on {
                On::Connection(client) => client.query_raw(&prepared, values).await,
                On::Transaction(transaction) => transaction.query_raw(&prepared, values).await,
            }?;
            let mut rows = pin!(rows);
            while let Some(row) = rows.try_next().await? {
                if read(&mut Columns::of(&row))?.is_break() {
                    break;
                }
            }
            Ok::<_, StoreError>(())
        };
        answered(self.longest, visited).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let row = self.row(NOW, &[]).await?;
        Ok(Timestamp::from_millis(row.try_get(0)?))
    }
}

const NOW: &str = "SELECT CAST(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000 AS bigint)";

fn given<'g, 'v>(statement: &Statement, values: &'g [Value<'v>]) -> Result<Vec<&'g Value<'v>>, StoreError> {
    statement
        .values(values)
        .ok_or_else(|| StoreError::with_source(StoreErrorKind::Unavailable, "a statement lacks a value"))
}
