//! Values and rows, as SQLite's driver has them.

use std::ops::ControlFlow;

use rusqlite::types::{FromSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};
use uuid::Uuid;

use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sql::{self, Columns, Database, Mistyped, Row, Statement, Value, at_once};

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Uuid(id) => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes()))),
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

impl Row for rusqlite::Row<'_> {
    fn is_set(&self, index: usize) -> bool {
        !matches!(self.get_ref(index), Ok(ValueRef::Null))
    }

    fn uuid(&self, index: usize) -> Result<Option<Uuid>, Mistyped> {
        get(self, index)
    }

    fn integer(&self, index: usize) -> Result<Option<i64>, Mistyped> {
        get(self, index)
    }

    fn text(&self, index: usize) -> Result<Option<String>, Mistyped> {
        get(self, index)
    }

    fn bytes(&self, index: usize) -> Result<Option<Vec<u8>>, Mistyped> {
        get(self, index)
    }
}

fn get<T: FromSql>(row: &rusqlite::Row<'_>, index: usize) -> Result<Option<T>, Mistyped> {
    row.get(index).map_err(|_| Mistyped)
}

/// Statements run at once, on the caller's thread.
impl Database for Connection {
    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let changed = bound(self, statement, values)?.raw_execute()?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    async fn visit(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        mut read: impl FnMut(&mut Columns<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = bound(self, statement, values)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if read(&mut Columns::of(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::now())
    }
}

/// The first row of a query, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    statement: &Statement,
    values: &[Value<'_>],
    read: impl FnOnce(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    at_once(sql::first(connection, statement, values, read))
}

/// All rows of a query.
pub(super) fn all<T>(
    connection: &Connection,
    statement: &Statement,
    values: &[Value<'_>],
    read: impl FnMut(&mut Columns<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    at_once(sql::all(connection, statement, values, read))
}

fn bound<'c>(
    connection: &'c Connection,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<CachedStatement<'c>, rusqlite::Error> {
    let mut prepared = connection.prepare_cached(statement.text())?;
    let missing = || rusqlite::Error::InvalidParameterCount(values.len(), prepared.parameter_count());
    let values = statement.values(values).ok_or_else(missing)?;
    for (index, value) in values.into_iter().enumerate() {
        prepared.raw_bind_parameter(index + 1, value)?;
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::Dialect;

    #[test]
    fn missing_value_is_an_error_and_one_too_many_is_not() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = Dialect::sqlite("").render("SELECT 1 WHERE ?1 = 1 AND (?2 = 'a' OR ?2 IS NULL)");
        let values = [Value::Integer(1), "a".into(), "b".into()];
        for (given, is_ok) in [(1, false), (2, true), (3, true)] {
            let found = first(&connection, &sql, &values[..given], |_| Ok(()));
            assert_eq!(found.is_ok_and(|row| row.is_some()), is_ok, "{given}");
        }
    }
}
