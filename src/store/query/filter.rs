//! What filters have in common.

use crate::store::query::{Answer, Page, Paged, Query, SortKey};

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
