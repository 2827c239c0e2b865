//! Values and rows, as SQLite's driver has them.

use rusqlite::types::{FromSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Rows, ToSql};
use uuid::Uuid;

use crate::store::sql::{Columns, Mistyped, Row, Value};
use crate::store::{StoreError, StoreErrorKind};

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

/// Runs a statement that changes rows; how many it changed.
pub(super) fn execute(connection: &Connection, sql: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    Ok(statement.raw_execute()?)
}

/// Runs a query and reads its first row, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    read: impl FnOnce(&mut Columns<'_, rusqlite::Row<'_>>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    rows(connection, sql, values, |rows| {
        let row = rows.next()?;
        row.map(|row| read(&mut Columns::of(row))).transpose()
    })
}

/// Runs a query and reads all its rows.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    mut read: impl FnMut(&mut Columns<'_, rusqlite::Row<'_>>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows(connection, sql, values, |rows| {
        let mut values = Vec::new();
        while let Some(row) = rows.next()? {
            values.push(read(&mut Columns::of(row))?);
        }
        Ok(values)
    })
}

/// Runs a query and reads its rows up to so many. Those that cannot be understood are left out, which is logged.
pub(super) fn readable<T>(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    most: usize,
    mut read: impl FnMut(&mut Columns<'_, rusqlite::Row<'_>>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut left_out: Option<(usize, StoreError)> = None;
    let values = rows(connection, sql, values, |rows| {
        let mut values = Vec::new();
        while values.len() < most
            && let Some(row) = rows.next()?
        {
            match read(&mut Columns::of(row)) {
                Ok(value) => values.push(value),
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                    let (number, first) = left_out.take().unwrap_or((0, error));
                    left_out = Some((number + 1, first));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(values)
    })?;
    if let Some((number, first)) = left_out {
        let source = std::error::Error::source(&first).map(tracing::field::display);
        tracing::warn!(rows = number, source, "rows that cannot be understood were left out");
    }
    Ok(values)
}

/// Whether a query has a row for which this holds. Those after it are not read.
pub(super) fn any(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    mut is_one: impl FnMut(&mut Columns<'_, rusqlite::Row<'_>>) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    rows(connection, sql, values, |rows| {
        while let Some(row) = rows.next()? {
            if is_one(&mut Columns::of(row))? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    read: impl FnOnce(&mut Rows<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    read(&mut statement.raw_query())
}

/// Values that a statement does not name are left out: statements of one family take the same ones. One that is missing is an
/// error: SQLite would take it for NULL, and a list would have what its filter excludes.
fn bind(statement: &mut CachedStatement<'_>, values: &[Value<'_>]) -> rusqlite::Result<()> {
    let named = statement.parameter_count();
    if values.len() < named {
        return Err(rusqlite::Error::InvalidParameterCount(values.len(), named));
    }
    for (index, value) in values.iter().enumerate().take(named) {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_value_is_an_error_and_one_too_many_is_not() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = "SELECT 1 WHERE ?1 = 1 AND (?2 = 'a' OR ?2 IS NULL)";
        let values = [Value::Integer(1), "a".into(), "b".into()];
        for (given, is_ok) in [(1, false), (2, true), (3, true)] {
            let found = first(&connection, sql, &values[..given], |_| Ok(()));
            assert_eq!(found.is_ok_and(|row| row.is_some()), is_ok, "{given}");
        }
    }
}
