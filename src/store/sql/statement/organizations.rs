//! Lists of organizations, and their numbers. They take the values that those of keys take, without ?8 to ?15.

use super::super::dialect::Dialect;
use super::lists::Lists;
use super::text::of;
use super::{BY_ID, BY_NAME, ORGANIZATION, PAGE, statements};

/// Filters: status ?6, plan ?7. NULL filters nothing.
const FILTER: &str = "(o.status = ?6 OR ?6 IS NULL) AND (o.plan_id = ?7 OR ?7 IS NULL)";

statements! {
    OrganizationStatements { all: Lists, named: Lists, of_status: Lists, of_plan: Lists }
}

impl OrganizationStatements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let lists = |range: &str, place| {
            let (columns, from) = (of("o", ORGANIZATION), "{s}organizations o");
            let page = format!("SELECT {columns} FROM {from} WHERE {range} AND {FILTER} ORDER BY {place} {PAGE}");
            Lists::new(dialect, &page, from, range, FILTER, place)
        };
        Self {
            all: lists(BY_ID, "id"),
            named: lists(BY_NAME, "name_folded, id"),
            of_status: lists(&format!("status = ?6 AND {BY_ID}"), "id"),
            of_plan: lists(&format!("plan_id = ?7 AND {BY_ID}"), "id"),
        }
    }
}
