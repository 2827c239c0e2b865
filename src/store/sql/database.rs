//! What runs statements, and how their rows are read.

use std::error::Error;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::dialect::Statement;
use super::row::Columns;
use super::value::Value;
use crate::key::Timestamp;
use crate::store::{StoreError, StoreErrorKind};

/// A connection to a database, or a transaction of one.
pub(in crate::store) trait Database {
    /// Runs a statement that changes rows; how many it changed.
    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, StoreError>;

    /// Runs a query, and reads its rows until there are no more, or `read` breaks.
    async fn visit(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        read: impl FnMut(&mut Columns<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError>;

    /// The time by the clock that all who write to the database go by.
    async fn now(&self) -> Result<Timestamp, StoreError>;
}

/// Runs a query and reads its first row, if there is one.
pub(in crate::store) async fn first<D: Database, T>(
    database: &D,
    statement: &Statement,
    values: &[Value<'_>],
    read: impl FnOnce(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let (mut read, mut found) = (Some(read), None);
    let visit = database.visit(statement, values, |row| {
        found = read.take().map(|read| read(row)).transpose()?;
        Ok(ControlFlow::Break(()))
    });
    visit.await?;
    Ok(found)
}

/// Runs a query and reads all its rows.
pub(in crate::store) async fn all<D: Database, T>(
    database: &D,
    statement: &Statement,
    values: &[Value<'_>],
    mut read: impl FnMut(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = Vec::new();
    let visit = database.visit(statement, values, |row| {
        rows.push(read(row)?);
        Ok(ControlFlow::Continue(()))
    });
    visit.await?;
    Ok(rows)
}

/// Runs a query and reads its rows up to so many. Those that cannot be understood are left out, which is logged.
pub(in crate::store) async fn readable<D: Database, T>(
    database: &D,
    statement: &Statement,
    values: &[Value<'_>],
    most: usize,
    mut read: impl FnMut(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = Vec::new();
    let mut left_out: Option<(usize, StoreError)> = None;
    let visit = database.visit(statement, values, |row| {
        match read(row) {
            Ok(value) => rows.push(value),
            Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                let (number, first) = left_out.take().unwrap_or((0, error));
                left_out = Some((number + 1, first));
            }
            Err(error) => return Err(error),
        }
        Ok(match rows.len() < most {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    });
    visit.await?;
    if let Some((number, first)) = left_out {
        let source = first.source().map(tracing::field::display);
        tracing::warn!(rows = number, source, "rows that cannot be understood were left out");
    }
    Ok(rows)
}

/// Whether a query has a row for which this holds. Those after it are not read.
pub(in crate::store) async fn any<D: Database>(
    database: &D,
    statement: &Statement,
    values: &[Value<'_>],
    mut is_one: impl FnMut(&mut Columns<'_>) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let mut found = false;
    let visit = database.visit(statement, values, |row| {
        found = is_one(row)?;
        Ok(match found {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    });
    visit.await?;
    Ok(found)
}

/// What a future answers that never waits: of a database that runs statements on the caller's thread.
pub(in crate::store) fn at_once<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(StoreError::with_source(
            StoreErrorKind::Unavailable,
            "a statement waits where none may",
        )),
    }
}
