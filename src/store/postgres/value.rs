//! Values and rows, as PostgreSQL's driver has them.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::store::sql::{Mistyped, Row, Value};

impl ToSql for Value<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, column) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Uuid(id), &Type::UUID) => id.to_sql(column, out),
            (Self::Integer(number), &Type::INT8) => number.to_sql(column, out),
            (Self::Integer(number @ (0 | 1)), &Type::BOOL) => (*number == 1).to_sql(column, out),
            // Somebody may have given a column a longest length.
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR) => text.to_sql(column, out),
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
