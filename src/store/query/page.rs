//! Pages of a list.

use crate::error::ConfigError;
use crate::store::StoreError;
use crate::store::query::{Cursor, Filter, SortKey};

const LARGEST: u16 = 1000;
const DEFAULT: u16 = 50;
const FURTHEST: u32 = 10_000;

/// Which part of a list: after a cursor, or after a number of rows, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Page {
    size: u16,
    offset: u32,
    after: Option<Cursor>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paged<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next part begins; `None` at the end of the list. A part may have fewer rows than were asked for and not
    /// be the last.
    pub next: Option<Cursor>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            size: DEFAULT,
            offset: 0,
            after: None,
        }
    }
}

impl Page {
    /// The first page, of 1 to 1,000 rows; a size out of that range is taken for the nearest one in it. The default page
    /// has 50 rows.
    pub fn new(size: u16) -> Self {
        Self {
            size: size.clamp(1, LARGEST),
            ..Self::default()
        }
    }

    /// The same page after this cursor.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The same page without its first `rows` rows.
    ///
    /// # Errors
    /// When it is more than 10,000 rows. Use a cursor to go further.
    pub fn offset(mut self, rows: u32) -> Result<Self, ConfigError> {
        if rows > FURTHEST {
            return Err(ConfigError::new(
                "offset",
                format!("must be at most {FURTHEST}, got {rows}; use a cursor to go further"),
            ));
        }
        self.offset = rows;
        Ok(self)
    }

    pub(super) fn with_size(self, size: u16) -> Self {
        Self {
            size: size.clamp(1, LARGEST),
            ..self
        }
    }

    /// Cuts the page out of rows in any order: for stores that hold their rows in memory.
    ///
    /// # Errors
    /// [`InvalidCursor`](crate::store::StoreErrorKind::InvalidCursor) when the page's cursor is of another list.
    pub fn cut<'r, F>(
        &self,
        filter: &F,
        rows: impl IntoIterator<Item = &'r F::Row>,
    ) -> Result<Paged<F::Row>, StoreError>
    where
        F: Filter,
        F::Row: Clone + 'r,
    {
        let after = self.start(filter)?;
        let rows = rows.into_iter().filter(|row| filter.matches(row));
        let keyed = rows.map(|row| (filter.sort_key(row), row));
        let mut rest: Vec<_> = keyed
            .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
            .collect();
        rest.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let rows = rest.into_iter().skip(self.offset as usize);
        Ok(self.finish(filter, rows.take(self.limit()).map(|(_, row)| row.clone())))
    }

    /// The cursor, if the page has one.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }

    /// The sort key after which the page begins. With [`limit`](Self::limit), [`skip`](Self::skip) and
    /// [`finish`](Self::finish) this is for stores that have a database cut the page.
    ///
    /// # Errors
    /// [`InvalidCursor`](crate::store::StoreErrorKind::InvalidCursor) when the page's cursor is of another list.
    pub fn start<F: Filter>(&self, filter: &F) -> Result<Option<SortKey>, StoreError> {
        let cursor = self.after.as_ref();
        cursor.map(|cursor| cursor.open(filter.list_id())).transpose()
    }

    /// How many rows to skip after the start.
    pub fn skip(&self) -> u32 {
        self.offset
    }

    /// How many rows to read: one more than the page has, to know whether there is a next one.
    pub fn limit(&self) -> usize {
        usize::from(self.size) + 1
    }

    /// The page, of the rows that were read for it in their order.
    pub fn finish<F: Filter>(&self, filter: &F, rows: impl IntoIterator<Item = F::Row>) -> Paged<F::Row> {
        let mut items: Vec<F::Row> = rows.into_iter().collect();
        let has_more = items.len() > usize::from(self.size);
        items.truncate(self.size.into());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|last| Cursor::new(filter.list_id(), &filter.sort_key(last)));
        Paged { items, next }
    }
}
