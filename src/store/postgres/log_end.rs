//! Where a transaction ended in the change log, and whether its commit announces what it logged.

use crate::store::Committed;
use crate::store::sql::{LogRow, Place};

/// Where a transaction ended in the change log.
#[derive(Clone, Copy)]
pub(super) struct LogEnd {
    /// The last row there is.
    pub(super) last: Place,
    /// The row before its own, if its commit announces all that these say. Triggers of someone else's may have changed more.
    pub(super) announced_after: Option<Option<Place>>,
}

impl LogEnd {
    /// From the last rows, backwards, of which the first ones are the transaction's own.
    pub(super) fn of(rows: &[(LogRow, bool)], committed: &Committed) -> Self {
        let own = rows.iter().take_while(|(_, is_own)| *is_own).count();
        let is_announced = |(row, _): &(LogRow, bool)| {
            row.change.is_none_or(|logged| {
                let mut changes = committed.changes.iter();
                changes.any(|change| change.subject() == logged.subject() && change.revision() >= logged.revision())
            })
        };
        let are_announced = (1..=MOST_OWN).contains(&own) && rows.iter().take(own).all(is_announced);
        Self {
            last: rows.first().map_or(Place::START, |(row, _)| row.place),
            announced_after: are_announced.then(|| rows.get(own).map(|(row, _)| row.place)),
        }
    }
}

/// Rows of a transaction that are looked at. Of more, the follower announces all once more.
pub(super) const MOST_OWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::Change;
    use crate::key::{KeyId, Subject};

    /// Rows of the log with these numbers, backwards, of which the first `own` are of the transaction.
    fn rows(changes: &[Option<Change>], own: usize) -> Vec<(LogRow, bool)> {
        let rows = changes.iter().zip((0..100).rev()).enumerate();
        let row = |(index, (change, seq)): (usize, (&Option<Change>, u64))| {
            let place = Place {
                seq,
                tag: u128::from(seq),
            };
            (LogRow { place, change: *change }, index < own)
        };
        rows.map(row).collect()
    }

    fn after(rows: &[(LogRow, bool)], changes: Vec<Change>) -> Option<Option<u64>> {
        let end = LogEnd::of(rows, &Committed::new(changes));
        end.announced_after.map(|before| before.map(|place| place.seq))
    }

    #[test]
    fn rows_that_the_commit_announces_are_its_own() {
        let (key, other) = (KeyId::new(), KeyId::new());
        let [raised, again] = [2, 3].map(|revision| Change::new(key, revision));
        let foreign = Change::new(other, 2);
        let logged = [Some(again), Some(raised), Some(foreign)];
        assert_eq!(after(&rows(&logged, 2), vec![raised, again]), Some(Some(97)));
        assert_eq!(after(&rows(&logged[..2], 2), vec![raised, again]), Some(None));
        // Rows that nothing depends on.
        assert_eq!(
            after(&rows(&[None, Some(raised), None], 2), vec![raised]),
            Some(Some(97))
        );
        let realm = Change::new(Subject::Realm, 0);
        assert_eq!(after(&rows(&[Some(realm), None], 1), vec![realm]), Some(Some(98)));
    }

    #[test]
    fn rows_that_the_commit_does_not_announce_are_not() {
        let (key, other) = (KeyId::new(), KeyId::new());
        let (raised, by_trigger) = (Change::new(key, 2), Change::new(other, 2));
        for (logged, own) in [
            // Nothing of it, another key, a later change of the key, and more than is looked at.
            (vec![], 0),
            (vec![Some(raised)], 0),
            (vec![Some(by_trigger), Some(raised), None], 2),
            (vec![Some(raised), Some(Change::new(Subject::Realm, 0))], 2),
            (vec![Some(Change::new(key, 3)), Some(raised)], 2),
            (vec![Some(raised); MOST_OWN + 1], MOST_OWN + 1),
        ] {
            assert_eq!(after(&rows(&logged, own), vec![raised]), None, "{logged:?}");
        }
        let end = LogEnd::of(&[], &Committed::default());
        assert_eq!(end.last, Place::START);
    }
}
