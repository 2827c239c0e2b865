//! What every list has: a filter, and the page that is asked for.

use crate::error::ConfigError;
use crate::store::query::{Answer, Cursor, CursorKey, Filter, Page, Paged, Query, TypedQuery};

/// A page of the rows that a filter selects: [`Keys`](crate::store::query::Keys),
/// [`Organizations`](crate::store::query::Organizations) or [`AuditEvents`](crate::store::query::AuditEvents).
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct List<F> {
    pub(super) filter: F,
    page: Page,
}

impl<F> List<F> {
    /// The size of the page, 1 to 1,000; default 50.
    pub fn page(mut self, size: u16) -> Self {
        self.page = self.page.with_size(size);
        self
    }

    /// The page after this cursor.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.page = self.page.after(cursor);
        self
    }

    pub(crate) fn into_filter(self) -> F {
        self.filter
    }

    /// The page without its first `rows` rows.
    ///
    /// # Errors
    /// When it is more than 10,000 rows.
    pub fn offset(mut self, rows: u32) -> Result<Self, ConfigError> {
        self.page = self.page.offset(rows)?;
        Ok(self)
    }
}

impl<F> From<F> for List<F> {
    /// The first page.
    fn from(filter: F) -> Self {
        Self {
            filter,
            page: Page::default(),
        }
    }
}

impl<F: Filter + Send> TypedQuery for List<F> {
    type Output = Paged<F::Row>;

    const HAS_CURSORS: bool = true;

    fn with_cursor_key(mut self, key: &CursorKey) -> Self {
        self.page = self.page.with_cursor_key(key.clone());
        self
    }

    fn query(self) -> Query {
        self.filter.query(self.page)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        F::take(answer)
    }
}
