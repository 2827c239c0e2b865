//! A value of a row that is copied, in one form for all databases.

use serde_json::Value as Json;

use super::super::Value;
use super::super::fault::InvalidColumn;
use super::super::row::{Columns, invalid, required};
use super::kind::Kind;
use super::table::{Column, Table};
use crate::store::StoreError;
use uuid::Uuid;

/// A value. Those of one column are compared as databases order them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Null,
    Id(Uuid),
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) type Row = Box<[Cell]>;

impl Table {
    /// Reads a row with all columns of the table.
    ///
    /// # Errors
    /// When it has a value that no row may have, or that a database which takes no NUL characters would refuse.
    pub(super) fn read(&self, columns: &mut Columns<'_>, may_have_nul: bool) -> Result<Row, StoreError> {
        let cells = self.columns.iter().map(|column| column.read(columns, may_have_nul));
        cells.collect()
    }
}

impl Column {
    fn read(&self, row: &mut Columns<'_>, may_have_nul: bool) -> Result<Cell, StoreError> {
        let name = self.full_name;
        let cell = match self.kind {
            Kind::Id => row.optional_uuid(name)?.map(Cell::Id),
            Kind::Number => row.optional_integer(name)?.map(Cell::Number),
            Kind::Truth => match row.optional_integer(name)? {
                Some(number @ (0 | 1)) => Some(Cell::Number(number)),
                None => None,
                Some(_) => return Err(invalid(name, "must be 0 or 1")),
            },
            Kind::Bytes => row.optional_bytes(name)?.map(Cell::Bytes),
            Kind::Hash => match row.optional_bytes(name)? {
                Some(bytes) if bytes.len() != 32 => return Err(invalid(name, "must have 32 bytes")),
                bytes => bytes.map(Cell::Bytes),
            },
            Kind::Text => row.optional_text(name)?.map(Cell::Text),
            Kind::OneOf(texts) => match row.optional_text(name)? {
                Some(text) if !texts.contains(&&*text) => return Err(invalid(name, "unknown value")),
                text => text.map(Cell::Text),
            },
            Kind::List | Kind::Object => row
                .optional_text(name)?
                .map(|text| self.json(text, may_have_nul))
                .transpose()?,
        };
        match &cell {
            None if self.is_nullable => return Ok(Cell::Null),
            Some(Cell::Text(text)) if !may_have_nul && text.contains('\0') => return Err(invalid(name, NUL)),
            _ => {}
        }
        required(name, cell)
    }

    /// JSON in one form: databases write it with spaces, and in an order of their own.
    fn json(&self, text: String, may_have_nul: bool) -> Result<Cell, StoreError> {
        let is_list = matches!(self.kind, Kind::List);
        // As most are.
        if (is_list && text == "[]") || (!is_list && text == "{}") {
            return Ok(Cell::Text(text));
        }
        let error = |problem| Err(invalid(self.full_name, problem));
        let Ok(value) = serde_json::from_str::<Json>(&text) else {
            return error("must be JSON");
        };
        match (&value, is_list) {
            (Json::Array(_), true) | (Json::Object(_), false) => {}
            (_, true) => return error("must be a JSON list"),
            (_, false) => return error("must be a JSON object"),
        }
        if !may_have_nul && any(&value, &|text| text.contains('\0'), &|_| false) {
            return error(NUL);
        }
        // Nothing of this crate, and it might not be the same number any more.
        if any(&value, &|_| false, &|number| number.is_f64()) {
            return error("has a number that is not whole, or too large");
        }
        Ok(Cell::Text(value.to_string()))
    }
}

const NUL: &str = "has a NUL character, which PostgreSQL does not take";

/// Whether this holds for a text or a number in it. Names are texts.
fn any(value: &Json, text: &dyn Fn(&str) -> bool, number: &dyn Fn(&serde_json::Number) -> bool) -> bool {
    match value {
        Json::String(one) => text(one),
        Json::Number(one) => number(one),
        Json::Array(values) => values.iter().any(|value| any(value, text, number)),
        Json::Object(entries) => entries
            .iter()
            .any(|(name, value)| text(name) || any(value, text, number)),
        Json::Null | Json::Bool(_) => false,
    }
}

impl Cell {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Id(id) => Value::Uuid(*id),
            Self::Number(number) => Value::Integer(*number),
            Self::Text(text) => Value::from(&**text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// An error of a row of this column.
pub(super) fn unfit(column: &'static str, problem: &'static str) -> StoreError {
    InvalidColumn { column, problem }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str, may_have_nul: bool) -> Result<String, String> {
        let column = Column {
            name: "limits",
            full_name: "keys.limits",
            kind,
            is_nullable: false,
        };
        match column.json(text.to_owned(), may_have_nul) {
            Ok(Cell::Text(text)) => Ok(text),
            Ok(_) => unreachable!(),
            Err(error) => Err(std::error::Error::source(&error).unwrap().to_string()),
        }
    }

    #[test]
    fn json_has_one_form_and_what_is_none_is_named() {
        assert_eq!(
            read(Kind::List, "[ {\"b\": 1, \"a\" : \"x y\"} ]", false).unwrap(),
            "[{\"a\":\"x y\",\"b\":1}]"
        );
        assert_eq!(
            read(Kind::Object, "{\"a\":\"\\u0000\"}", true).unwrap(),
            "{\"a\":\"\\u0000\"}"
        );
        assert!(read(Kind::Object, "{\"a\":\"\\\\u0000\"}", false).is_ok());
        for (kind, text) in [
            (Kind::List, "{}"),
            (Kind::Object, "[]"),
            (Kind::List, ""),
            (Kind::Object, "{\"a\":\"hunter2"),
            (Kind::Object, "{\"hunter2\":\"\\u0000\"}"),
            (Kind::Object, "{\"\\u0000\":\"hunter2\"}"),
            (Kind::Object, "{\"hunter2\":0.1}"),
        ] {
            let error = read(kind, text, false).unwrap_err();
            assert!(
                error.contains("keys.limits") && !error.contains("hunter2"),
                "{text}: {error}"
            );
        }
    }
}
