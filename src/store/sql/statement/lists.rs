//! What each list has: pages, where one ends, and a number.

use super::super::dialect::Dialect;
use super::{PAGE, statements};

statements! {
    Lists {}
    page, last, count,
}

impl Lists {
    /// Of a page, the whole text. The others are of rows that are found in a range, and ordered by a place.
    pub(super) fn new(dialect: &Dialect, page: &str, from: &str, range: &str, filter: &str, place: &str) -> Self {
        let render = |text: &str| dialect.render(text);
        Self {
            page: render(page),
            // What a page or a count looks at ends there, whatever its filter.
            last: render(&format!(
                "SELECT {place} FROM {from} WHERE {range} ORDER BY {place} {PAGE}"
            )),
            // In an order, so that it goes along the same index as a page.
            count: render(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM {from} WHERE {range} AND {filter} ORDER BY {place} {PAGE}) counted"
            )),
        }
    }
}
