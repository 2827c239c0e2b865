//! Values and rows, as PostgreSQL's driver has them.

use std::error::Error;
use std::ops::ControlFlow;
use std::pin::pin;

use bytes::{BufMut, BytesMut};
use deadpool_postgres::{ClientWrapper, Transaction};
use futures_util::TryStreamExt;
use tokio_postgres::RowStream;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::patience::Patience;
use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sql::{Columns, Database, Mistyped, Row, Statement, Value};

/// What runs statements: a connection by itself, or a transaction on it.
#[derive(Clone, Copy)]
pub(super) enum Session<'c> {
    Connection(&'c ClientWrapper, Patience),
    Transaction(&'c Transaction<'c>, Patience),
}

impl Database for Session<'_> {
    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let values = given(statement, values)?;
        let answer = async {
            let prepared = self.prepared(statement.text()).await?;
            match self {
                Self::Connection(client, _) => client.execute_raw(&prepared, values).await,
                Self::Transaction(transaction, _) => transaction.execute_raw(&prepared, values).await,
            }
        };
        self.patience().wait(answer).await
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
        let answer = async {
            let prepared = self.prepared(statement.text()).await?;
            let rows: RowStream = match self {
                Self::Connection(client, _) => client.query_raw(&prepared, values).await,
                Self::Transaction(transaction, _) => transaction.query_raw(&prepared, values).await,
            }?;
            let mut rows = pin!(rows);
            while let Some(row) = rows.try_next().await? {
                if read(&mut Columns::of(&row))?.is_break() {
                    break;
                }
            }
            Ok::<_, StoreError>(())
        };
        self.patience().wait(answer).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let answer = async {
            let prepared = self.prepared(NOW).await?;
            match self {
                Self::Connection(client, _) => client.query_one(&prepared, &[]).await,
                Self::Transaction(transaction, _) => transaction.query_one(&prepared, &[]).await,
            }
        };
        let row = self.patience().wait(answer).await?;
        Ok(Timestamp::from_millis(row.try_get(0)?))
    }
}

const NOW: &str = "SELECT CAST(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000 AS bigint)";

impl Session<'_> {
    async fn prepared(&self, text: &str) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        match self {
            Self::Connection(client, _) => client.prepare_cached(text).await,
            Self::Transaction(transaction, _) => transaction.prepare_cached(text).await,
        }
    }

    fn patience(&self) -> Patience {
        match self {
            Self::Connection(_, patience) | Self::Transaction(_, patience) => *patience,
        }
    }
}

fn given<'g, 'v>(statement: &Statement, values: &'g [Value<'v>]) -> Result<Vec<&'g Value<'v>>, StoreError> {
    statement
        .values(values)
        .ok_or_else(|| StoreError::with_source(crate::store::StoreErrorKind::Unavailable, "a statement lacks a value"))
}

impl ToSql for Value<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, column) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Uuid(id), &Type::UUID) => id.to_sql(column, out),
            (Self::Integer(number), &Type::INT8) => number.to_sql(column, out),
            (Self::Integer(number @ (0 | 1)), &Type::BOOL) => (*number == 1).to_sql(column, out),
            (Self::Text(text), &Type::TEXT) => text.to_sql(column, out),
            // In front of the text stands the version of its format.
            (Self::Text(text), &Type::JSONB) => {
                out.put_u8(JSONB_VERSION);
                out.put_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(column, out),
            // Not the value itself, which may be a person's.
            _ => Err(format!("a value of another type than {column}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Row for tokio_postgres::Row {
    fn is_set(&self, index: usize) -> bool {
        !matches!(self.try_get::<_, Option<Anything>>(index), Ok(None))
    }

    fn uuid(&self, index: usize) -> Result<Option<Uuid>, Mistyped> {
        get(self, index)
    }

    fn integer(&self, index: usize) -> Result<Option<i64>, Mistyped> {
        match column(self, index)? {
            &Type::BOOL => Ok(get::<bool>(self, index)?.map(i64::from)),
            _ => get(self, index),
        }
    }

    fn text(&self, index: usize) -> Result<Option<String>, Mistyped> {
        match column(self, index)? {
            &Type::JSONB => Ok(get::<Json>(self, index)?.map(|Json(text)| text)),
            _ => get(self, index),
        }
    }

    fn bytes(&self, index: usize) -> Result<Option<Vec<u8>>, Mistyped> {
        get(self, index)
    }
}

/// A value of any type.
struct Anything;

impl<'r> FromSql<'r> for Anything {
    fn from_sql(_: &Type, _: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The text of a JSON value.
struct Json(String);

impl<'r> FromSql<'r> for Json {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let text = raw.strip_prefix(&[JSONB_VERSION]).ok_or("unknown format of jsonb")?;
        Ok(Self(std::str::from_utf8(text)?.to_owned()))
    }

    fn accepts(column: &Type) -> bool {
        *column == Type::JSONB
    }
}

const JSONB_VERSION: u8 = 1;

fn column(row: &tokio_postgres::Row, index: usize) -> Result<&Type, Mistyped> {
    row.columns().get(index).map(|column| column.type_()).ok_or(Mistyped)
}

fn get<'r, T: FromSql<'r>>(row: &'r tokio_postgres::Row, index: usize) -> Result<Option<T>, Mistyped> {
    row.try_get(index).map_err(|_| Mistyped)
}
