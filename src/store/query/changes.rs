//! The change log.

use std::time::Duration;

use crate::fence::Change;
use crate::key::Timestamp;
use crate::store::query::{Answer, Query, TypedQuery};

/// Rows of the change log with a higher number than this, at most 1,000, ordered by number.
///
/// The log has one or more rows for every update and deletion of a key, a secret or an organization, and for every change of
/// the realm and of its secrets. It has none for inserted keys and organizations and for replaced hashes. A store without one answers [`Unsupported`](crate::store::StoreErrorKind::Unsupported).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ChangesAfter(pub u64);

impl ChangesAfter {
    /// The most rows that one answer has.
    pub const MOST: usize = 1000;
    /// How long rows are kept: 7 days.
    pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
}

/// One row of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedChange {
    /// The row's number. Numbers rise; a gap is a row that was rolled back, or that says nothing of keys.
    pub seq: u64,
    /// A random number. The same `seq` with another tag is a row of another history, such as that of a restored backup.
    pub tag: u128,
    /// What changed.
    pub change: Change,
    /// When, by the clock of the store.
    pub at: Timestamp,
}

impl LoggedChange {
    /// A row of these parts, for stores.
    pub fn new(seq: u64, tag: u128, change: Change, at: Timestamp) -> Self {
        Self { seq, tag, change, at }
    }
}

impl TypedQuery for ChangesAfter {
    type Output = Vec<LoggedChange>;

    fn query(self) -> Query {
        Query::Changes { after: self.0 }
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Changes(changes) => Some(changes),
            _ => None,
        }
    }
}
