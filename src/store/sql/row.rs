//! Rows as records.

use uuid::Uuid;

use super::column;
use super::fault::InvalidColumn;
use crate::key::{Actor, Timestamp};
use crate::store::StoreError;

/// A row as a database's driver gives it. `None` is NULL.
pub(in crate::store) trait Row {
    fn is_set(&self, index: usize) -> bool;
    fn uuid(&self, index: usize) -> Result<Option<Uuid>, Mistyped>;
    fn integer(&self, index: usize) -> Result<Option<i64>, Mistyped>;
    fn text(&self, index: usize) -> Result<Option<String>, Mistyped>;
    fn bytes(&self, index: usize) -> Result<Option<Vec<u8>>, Mistyped>;
}

/// A column has a value of another type. The driver's own error would quote the value, so it goes no further.
pub(in crate::store) struct Mistyped;

/// Reads columns from left to right, in the order of the lists in `statement`.
pub(in crate::store) struct Columns<'r> {
    row: &'r dyn Row,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(in crate::store) fn of(row: &'r dyn Row) -> Self {
        Self { row, next: 0 }
    }

    /// Whether the next column is set; it stays the next one.
    pub(in crate::store) fn is_next_set(&self) -> bool {
        self.row.is_set(self.next)
    }

    pub(in crate::store) fn count(&mut self, column: &'static str) -> Result<u64, StoreError> {
        let number = required(column, self.optional_integer(column)?)?;
        column::read_revision(number).map_err(|problem| invalid(column, problem))
    }

    /// The revision of a row. One with the last number there is could not be changed any more, and so not be revoked.
    pub(super) fn revision(&mut self, column: &'static str) -> Result<u64, StoreError> {
        let revision = self.count(column)?;
        match column::write_revision(revision.saturating_add(1)) {
            Ok(_) => Ok(revision),
            Err(_) => Err(invalid(column, "must be below 9223372036854775807")),
        }
    }

    /// Back to the first column.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// Columns that repeat others or are not set.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    pub(in crate::store) fn truth(&mut self, column: &'static str) -> Result<bool, StoreError> {
        match required(column, self.optional_integer(column)?)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(invalid(column, "must be 0 or 1")),
        }
    }

    pub(in crate::store) fn optional_number(&mut self, column: &'static str) -> Result<Option<u32>, StoreError> {
        let number = self.optional_integer(column)?.map(u32::try_from).transpose();
        number.map_err(|_| invalid(column, "must be between 0 and 4294967295"))
    }

    pub(in crate::store) fn hash(&mut self, column: &'static str) -> Result<[u8; 32], StoreError> {
        let bytes = required(column, self.optional_bytes(column)?)?;
        bytes.try_into().map_err(|_| invalid(column, "must have 32 bytes"))
    }

    pub(super) fn uuid(&mut self, column: &'static str) -> Result<Uuid, StoreError> {
        required(column, self.optional_uuid(column)?)
    }

    pub(in crate::store) fn time(&mut self, column: &'static str) -> Result<Timestamp, StoreError> {
        required(column, self.optional_time(column)?)
    }

    pub(super) fn optional_time(&mut self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.optional_integer(column)?.map(Timestamp::from_millis))
    }

    pub(super) fn text(&mut self, column: &'static str) -> Result<String, StoreError> {
        required(column, self.optional_text(column)?)
    }

    pub(in crate::store) fn optional_text(&mut self, column: &'static str) -> Result<Option<String>, StoreError> {
        let index = self.taken();
        readable(column, self.row.text(index))
    }

    pub(in crate::store) fn optional_uuid(&mut self, column: &'static str) -> Result<Option<Uuid>, StoreError> {
        let index = self.taken();
        readable(column, self.row.uuid(index))
    }

    pub(super) fn optional_bytes(&mut self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        let index = self.taken();
        readable(column, self.row.bytes(index))
    }

    pub(super) fn optional_integer(&mut self, column: &'static str) -> Result<Option<i64>, StoreError> {
        let index = self.taken();
        readable(column, self.row.integer(index))
    }

    pub(super) fn parsed<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<T, StoreError> {
        required(column, self.optional_parsed(column, read)?)
    }

    pub(super) fn optional_parsed<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, StoreError> {
        let text = self.optional_text(column)?;
        let value = text.map(|text| read(&text)).transpose();
        value.map_err(|problem| invalid(column, problem))
    }

    fn taken(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }
}

fn readable<T>(column: &'static str, value: Result<Option<T>, Mistyped>) -> Result<Option<T>, StoreError> {
    value.map_err(|Mistyped| invalid(column, "unexpected type"))
}

pub(super) fn read_actor(text: &str) -> Result<Actor, &'static str> {
    text.parse().map_err(|_| "invalid actor")
}

pub(super) fn required<T>(column: &'static str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| invalid(column, "must not be NULL"))
}

pub(super) fn invalid(column: &'static str, problem: &'static str) -> StoreError {
    InvalidColumn { column, problem }.into()
}
