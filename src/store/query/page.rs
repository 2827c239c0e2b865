//! Pages of a list, cut by its filter.

use crate::error::ConfigError;
use crate::store::query::{Answer, Cursor, CursorKey, Query, SortKey};
use crate::store::{StoreError, StoreErrorKind};

const LARGEST: u16 = 1000;
const DEFAULT: u16 = 50;
const FURTHEST: u32 = 10_000;

/// Which part of a list: after a cursor, or after a number of rows, or both.
#[derive(Clone, Debug)]
#[must_use]
pub struct Page {
    size: u16,
    offset: u32,
    after: Option<Cursor>,
    key: CursorKey,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paged<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next part begins; `None` at the end of the list. A part may have fewer rows than were asked for, or none, and not
    /// be the last: `SqliteStore` looks at 10,000 rows for a part, whatever the filter leaves of them.
    pub next: Option<Cursor>,
}

/// Which rows a list has, and in which order. [`Page::cut`](crate::store::query::Page::cut) works on any.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the filter of a list",
    note = "the filters are `KeyFilter`, `OrganizationFilter` and `AuditFilter`"
)]
pub trait Filter {
    /// The type of the rows.
    type Row;

    /// Whether the list has this row.
    fn matches(&self, row: &Self::Row) -> bool;

    /// Where the row stands in the list.
    fn sort_key(&self, row: &Self::Row) -> SortKey;

    /// Whether a row of the list could stand there.
    #[doc(hidden)]
    fn may_stand_at(&self, place: &SortKey) -> bool;

    /// Tells this list from every other one.
    #[doc(hidden)]
    fn list_id(&self) -> [u8; 32];

    /// The query for a page of the list.
    #[doc(hidden)]
    fn query(self, page: Page) -> Query;

    /// The page; `None` if the answer is to another query.
    #[doc(hidden)]
    fn take(answer: Answer) -> Option<Paged<Self::Row>>;
}

impl Default for Page {
    fn default() -> Self {
        Self {
            size: DEFAULT,
            offset: 0,
            after: None,
            key: CursorKey::default(),
        }
    }
}

impl Page {
    /// The first page, of 1 to 1,000 rows; a size out of that range is taken for the nearest one in it. The default page
    /// has 50 rows.
    pub fn new(size: u16) -> Self {
        Self::default().with_size(size)
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

    /// The same page with cursors under this secret: the one it begins after, and that of the next one.
    pub fn with_cursor_key(self, key: CursorKey) -> Self {
        Self { key, ..self }
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
        let Some(cursor) = &self.after else { return Ok(None) };
        let place = cursor.open(&self.key, filter.list_id())?;
        // Without a secret, a forged cursor must not lead to rows that the filter excludes.
        match filter.may_stand_at(&place) {
            true => Ok(Some(place)),
            false => Err(StoreError::new(StoreErrorKind::InvalidCursor)),
        }
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
        self.finish_at(filter, rows, None)
    }

    /// The same for a store that looks at a bounded number of rows: `end` is where the last of them stands, if there may be more.
    /// A page that has fewer rows than it may have then goes on there.
    pub fn finish_at<F: Filter>(
        &self,
        filter: &F,
        rows: impl IntoIterator<Item = F::Row>,
        end: Option<&SortKey>,
    ) -> Paged<F::Row> {
        self.finish_placed(filter, rows.into_iter().collect(), &[], end)
    }

    /// The same for rows that may stand in another place than their records say: `places` has those of the rows, as far as they are
    /// known.
    pub(in crate::store) fn finish_placed<F: Filter>(
        &self,
        filter: &F,
        mut items: Vec<F::Row>,
        places: &[Option<SortKey>],
        end: Option<&SortKey>,
    ) -> Paged<F::Row> {
        let has_more = items.len() > usize::from(self.size);
        items.truncate(self.size.into());
        let place = places.get(items.len().saturating_sub(1)).cloned().flatten();
        let last = items.last().filter(|_| has_more);
        let last = last.map(|last| place.unwrap_or_else(|| filter.sort_key(last)));
        let last = last.as_ref().or(end);
        let next = last.map(|last| Cursor::new(&self.key, filter.list_id(), last));
        Paged { items, next }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::key::OrganizationId;
    use crate::store::query::{AuditFilter, KeyFilter, OrganizationFilter};

    fn start<F: Filter>(filter: &F, place: &SortKey) -> Result<Option<SortKey>, StoreErrorKind> {
        let page = Page::new(1).after(Cursor::new(&CursorKey::default(), filter.list_id(), place));
        page.start(filter).map_err(|error| error.kind())
    }

    #[test]
    fn forged_places_outside_of_a_list_are_invalid() {
        let id = Uuid::now_v7();
        let organization = OrganizationId::new();
        let places = [
            SortKey::Id(id),
            SortKey::Name("orders".into(), id),
            SortKey::Name("nightly".into(), id),
            SortKey::Entry(id, 7),
            SortKey::Entry(organization.as_uuid(), 7),
        ];
        let by_id = KeyFilter {
            organization: Some(organization),
            ..KeyFilter::default()
        };
        let by_name = OrganizationFilter {
            name: Some("ord".into()),
            ..OrganizationFilter::default()
        };
        let named_keys = KeyFilter {
            name: by_name.name.clone(),
            ..by_id.clone()
        };
        let all_events = AuditFilter::default();
        let events = AuditFilter {
            organization: Some(organization),
            ..AuditFilter::default()
        };
        for (index, place) in places.iter().enumerate() {
            let expected = |fits: bool| match fits {
                true => Ok(Some(place.clone())),
                false => Err(StoreErrorKind::InvalidCursor),
            };
            assert_eq!(start(&by_id, place), expected(index == 0));
            assert_eq!(start(&OrganizationFilter::default(), place), expected(index == 0));
            assert_eq!(start(&named_keys, place), expected(index == 1));
            assert_eq!(start(&by_name, place), expected(index == 1));
            assert_eq!(start(&all_events, place), expected(index >= 3));
            assert_eq!(start(&events, place), expected(index == 4));
        }
    }

    #[test]
    fn sizes_and_offsets_have_bounds() {
        for (size, limit) in [(0, 2), (1, 2), (50, 51), (1000, 1001), (1001, 1001), (u16::MAX, 1001)] {
            assert_eq!(Page::new(size).limit(), limit, "{size}");
            assert_eq!(Page::default().with_size(size).limit(), limit, "{size}");
        }
        for (rows, is_ok) in [(0, true), (10_000, true), (10_001, false), (u32::MAX, false)] {
            let page = Page::default().offset(rows);
            assert_eq!(page.is_ok(), is_ok, "{rows}");
        }
        let error = Page::default().offset(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("at most 10000, got 4294967295"), "{error}");
    }
}
