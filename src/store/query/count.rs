//! Numbers of rows.

use std::fmt;

use crate::store::query::{Answer, Filter};

/// How many rows there are, exact up to 10,000 where an index counts them.
///
/// With a filter that no index serves, `SqliteStore` looks at 100,000 rows. If there are more, the number is how many it found.
///
/// ```
/// use tower_api_key::store::query::Count;
///
/// assert_eq!(Count::of(17).to_string(), "17");
/// assert_eq!(Count::of(10_001).to_string(), "10000+");
/// assert_eq!(Count::at_least(17).to_string(), "17+");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// The number, at most 10,000.
    pub number: u64,
    /// Whether there are no more than that. Otherwise there may be.
    pub is_exact: bool,
}

impl Count {
    /// Stores count one row beyond this and stop.
    pub const LIMIT: u64 = 10_000;

    /// So many rows, and maybe more.
    pub fn at_least(rows: u64) -> Self {
        Self {
            is_exact: false,
            ..Self::of(rows)
        }
    }

    /// The number of rows that match, for stores that hold rows in memory.
    pub fn of_rows<'r, F>(filter: &F, rows: impl IntoIterator<Item = &'r F::Row>) -> Self
    where
        F: Filter,
        F::Row: 'r,
    {
        let rows = rows.into_iter().filter(|row| filter.matches(row));
        Self::of(rows.take(Self::LIMIT as usize + 1).count() as u64)
    }

    /// So many rows.
    pub fn of(rows: u64) -> Self {
        Self {
            number: rows.min(Self::LIMIT),
            is_exact: rows <= Self::LIMIT,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.is_exact { "" } else { "+" })
    }
}

/// The number, unless the answer is to another query.
pub(super) fn take(answer: Answer) -> Option<Count> {
    match answer {
        Answer::Count(count) => Some(count),
        _ => None,
    }
}
