//! Follows a change log: what the rows since the last one that was seen say, and what is announced of them.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::fence::{Change, Fence};
use crate::sync::unpoisoned;

/// Rows that one reading takes in. With more, everything is announced as changed, in the same history.
pub(in crate::store) const MOST_ROWS: usize = 65_536;
/// Transactions of this process that the follower has not come to. What is forgotten is announced twice.
const MOST_OWN: usize = 1024;

/// A place in the log: a number, and the tag that tells two rows with this number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place {
    pub(in crate::store) seq: u64,
    pub(in crate::store) tag: u128,
}

impl Place {
    /// Before every row. Each log begins there.
    pub(in crate::store) const START: Self = Self { seq: 0, tag: 0 };
}

/// A row of the log.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct LogRow {
    pub(in crate::store) place: Place,
    /// `None` for a row that no cached answer depends on.
    pub(in crate::store) change: Option<Change>,
}

/// A row of the log, with which row of its subject it is about.
pub(in crate::store) struct LogEntry {
    pub(in crate::store) place: Place,
    pub(in crate::store) kind: u64,
    pub(in crate::store) id: uuid::Uuid,
    pub(in crate::store) part: Option<String>,
}

/// What a follower knows of a log.
pub(in crate::store) struct Follower {
    fence: Fence,
    /// The last row that was seen; `None` while the log has none.
    last: Option<Place>,
}

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Reading {
    /// There is nothing new.
    Nothing,
    /// There are new rows, which were announced; too many of them as a change of everything.
    New,
    /// The log does not go on from the last row that was seen. Everything was announced as changed.
    Broken,
}

impl Follower {
    /// A follower of a log with this last row. No answer may be cached that was read before it.
    pub(in crate::store) fn new(fence: Fence, last: Option<Place>) -> Self {
        Self { fence, last }
    }

    /// The number from which on rows are read: that of the last row, to see that it is still the same.
    pub(in crate::store) fn from(&self) -> u64 {
        self.last.map_or(0, |last| last.seq)
    }

    /// Announces what is new in rows that were read [from](Self::from) there on, in order, up to one more than
    /// [`MOST_ROWS`]; of more, `newest` is the last one.
    ///
    /// Rows come without a gap, and a number always has the same tag. Otherwise it is another history: a restored backup, a
    /// copy that lagged, or a log that was cleaned while nobody read it. Then nothing is known of what has changed.
    pub(in crate::store) fn read(&mut self, rows: &[LogRow], newest: Option<Place>, own: &OwnRows) -> Reading {
        let last = rows.last().map(|row| row.place);
        let numbers = rows.iter().map(|row| row.place.seq);
        let goes_on = match self.last {
            Some(last) => rows.first().is_some_and(|row| row.place == last),
            None => rows.first().is_none_or(|row| row.place.seq == 1),
        };
        let is_whole = numbers.clone().zip(numbers.skip(1)).all(|(one, next)| one + 1 == next);
        if !goes_on || !is_whole || rows.len() > MOST_ROWS {
            self.last = newest.or(last);
            own.clear();
            self.fence.everything_changed();
            return match goes_on && is_whole {
                // What was said of revisions still holds.
                true => Reading::New,
                false => Reading::Broken,
            };
        }
        let new = match self.last {
            Some(_) => rows.get(1..).unwrap_or_default(),
            None => rows,
        };
        let announced = own.take(new);
        let is_own = |row: &LogRow| {
            let seq = row.place.seq;
            let own = announced.get(announced.partition_point(|(_, last)| *last < seq));
            own.is_some_and(|(first, _)| *first <= seq)
        };
        let others = new.iter().filter(|row| !is_own(row));
        let changes: Vec<Change> = others.filter_map(|row| row.change).collect();
        self.fence.announce(&changes);
        self.last = last;
        match new.is_empty() {
            true => Reading::Nothing,
            false => Reading::New,
        }
    }

    /// Announces that anything may have changed.
    pub(in crate::store) fn doubt(&self) {
        self.fence.everything_changed();
    }

    /// Every change before this time was announced.
    pub(in crate::store) fn confirm(&self, at: crate::clock::Monotonic) {
        self.fence.confirmed(at);
    }
}

/// Rows that this process wrote, after it announced their changes: the follower need not announce them again.
#[derive(Default)]
pub(in crate::store) struct OwnRows(Mutex<VecDeque<Own>>);

/// The rows of one transaction, or of several in a row.
#[derive(Clone, Copy)]
struct Own {
    first: u64,
    last: Place,
}

impl OwnRows {
    /// This process wrote and announced the rows after `before` up to `last`.
    pub(in crate::store) fn announced(&self, before: Option<Place>, last: Place) {
        let first = before.map_or(0, |before| before.seq).saturating_add(1);
        let mut all = unpoisoned(self.0.lock());
        match all.back_mut() {
            // By number alone it could follow a row that a restored backup has replaced.
            Some(own) if Some(own.last) == before => own.last = last,
            _ => all.push_back(Own { first, last }),
        }
        if all.len() > MOST_OWN {
            all.pop_front();
        }
    }

    /// From where to where rows are this process's own. By number alone, the row of another process could be one that was
    /// given the number again.
    fn take(&self, rows: &[LogRow]) -> Vec<(u64, u64)> {
        let Some(end) = rows.last().map(|row| row.place.seq) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        unpoisoned(self.0.lock()).retain(|own| {
            let is_there = rows.binary_search_by_key(&own.last.seq, |row| row.place.seq);
            if is_there.is_ok_and(|index| rows.get(index).is_some_and(|row| row.place == own.last)) {
                taken.push((own.first, own.last.seq));
            }
            own.last.seq > end
        });
        taken
    }

    fn clear(&self) {
        unpoisoned(self.0.lock()).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyId, Subject};

    fn row(seq: u64, tag: u128) -> LogRow {
        LogRow {
            place: Place { seq, tag },
            change: Some(Change::new(KeyId::new(), 2)),
        }
    }

    fn rows(numbers: std::ops::RangeInclusive<u64>) -> Vec<LogRow> {
        numbers.map(|seq| row(seq, u128::from(seq) << 64)).collect()
    }

    /// A follower that has seen the rows up to 5, and how much it has announced.
    fn at_five() -> (Follower, Fence, OwnRows) {
        let fence = Fence::new();
        let five = rows(5..=5)[0].place;
        (Follower::new(fence.clone(), Some(five)), fence, OwnRows::default())
    }

    #[test]
    fn rows_after_the_last_are_announced_once() {
        let (mut follower, fence, own) = at_five();
        assert_eq!(follower.read(&rows(5..=5), None, &own), Reading::Nothing);
        assert_eq!(follower.read(&rows(5..=8), None, &own), Reading::New);
        assert_eq!((fence.changes(), fence.epoch()), (3, 0));
        assert_eq!(follower.read(&rows(8..=8), None, &own), Reading::Nothing);
        assert_eq!((fence.changes(), follower.from()), (3, 8));

        let fence = Fence::new();
        let mut follower = Follower::new(fence.clone(), None);
        assert_eq!(follower.read(&[], None, &own), Reading::Nothing);
        assert_eq!(follower.read(&rows(1..=2), None, &own), Reading::New);
        assert_eq!((fence.changes(), fence.epoch(), follower.from()), (2, 0, 2));
    }

    #[test]
    fn log_of_another_history_turns_the_epoch() {
        let cleaned = rows(7..=9);
        let restored = rows(1..=3);
        let again = vec![row(5, 99), row(6, 1)];
        let gap = [rows(5..=6), rows(8..=9)].concat();
        let gap_at_once = [rows(5..=5), rows(7..=7)].concat();
        for found in [cleaned, restored, again, gap, gap_at_once, vec![]] {
            let (mut follower, fence, own) = at_five();
            let newest = found.last().map(|row| row.place);
            assert_eq!(follower.read(&found, newest, &own), Reading::Broken);
            assert_eq!((fence.changes(), fence.epoch()), (1, 1), "{found:?}");
            // It goes on from there.
            let next = newest.map_or(1, |newest| newest.seq + 1);
            let found = [found.last().copied().into_iter().collect(), vec![row(next, 7)]].concat();
            assert_eq!(follower.read(&found, None, &own), Reading::New);
            assert_eq!((fence.changes(), fence.epoch()), (2, 1), "{found:?}");
        }
        // A log that was empty, and whose first row is not the first there was.
        let fence = Fence::new();
        let mut follower = Follower::new(fence.clone(), None);
        assert_eq!(follower.read(&rows(2..=2), None, &OwnRows::default()), Reading::Broken);
        assert_eq!(fence.epoch(), 1);
    }

    #[test]
    fn too_many_rows_turn_the_epoch_once() {
        let (mut follower, fence, own) = at_five();
        let many = MOST_ROWS as u64;
        assert_eq!(follower.read(&rows(5..=4 + many), None, &own), Reading::New);
        assert_eq!((fence.changes(), fence.epoch()), (1, 1), "above 4,096 changes");
        let newest = Place { seq: 200_000, tag: 1 };
        let found = rows(4 + many..=4 + 2 * many);
        assert_eq!(follower.read(&found, Some(newest), &own), Reading::New);
        assert_eq!((fence.changes(), fence.epoch(), follower.from()), (2, 2, 200_000));

        // Another history is one whatever its length.
        let last = Place { seq: 200_000, tag: 2 };
        for (first, tag) in [(200_000, 2), (200_001, 1)] {
            let mut follower = Follower::new(Fence::new(), Some(newest));
            let mut found = rows(first..=first + many);
            found[0].place.tag = tag;
            assert_eq!(follower.read(&found, Some(last), &own), Reading::Broken);
        }
    }

    #[test]
    fn own_rows_are_not_announced_again() {
        let (mut follower, fence, own) = at_five();
        let place = |seq| rows(seq..=seq)[0].place;
        own.announced(Some(place(5)), place(7));
        own.announced(Some(place(7)), place(8));
        own.announced(Some(place(9)), place(10));
        assert_eq!(follower.read(&rows(5..=10), None, &own), Reading::New);
        assert_eq!(fence.changes(), 1, "the ninth is another process's");
        assert!(unpoisoned(own.0.lock()).is_empty());

        // Its transaction is in the log, and the follower has not read so far.
        own.announced(Some(place(10)), place(12));
        assert_eq!(follower.read(&rows(10..=10), None, &own), Reading::Nothing);
        assert_eq!(follower.read(&rows(10..=12), None, &own), Reading::New);
        assert_eq!(fence.changes(), 1);
    }

    /// The backup was restored, and another process was given the numbers again.
    #[test]
    fn own_numbers_with_other_tags_are_announced() {
        let place = |seq| rows(seq..=seq)[0].place;
        let (mut follower, fence, own) = at_five();
        own.announced(Some(place(5)), place(7));
        let found = [rows(5..=6), vec![row(7, 1)]].concat();
        assert_eq!(follower.read(&found, None, &own), Reading::New);
        assert_eq!(fence.changes(), 2);

        // A row of this process follows the number, and not the row.
        let (mut follower, fence, own) = at_five();
        own.announced(Some(place(5)), place(6));
        own.announced(Some(Place { seq: 6, tag: 1 }), place(7));
        let found = [rows(5..=5), vec![row(6, 1)], rows(7..=7)].concat();
        assert_eq!(follower.read(&found, None, &own), Reading::New);
        assert_eq!(fence.changes(), 1);
    }

    #[test]
    fn own_rows_are_bounded() {
        let own = OwnRows::default();
        for seq in 0..10_000 {
            own.announced(
                Some(Place { seq: 3 * seq, tag: 0 }),
                Place {
                    seq: 3 * seq + 1,
                    tag: 1,
                },
            );
        }
        assert_eq!(unpoisoned(own.0.lock()).len(), MOST_OWN);
    }

    #[test]
    fn row_that_no_answer_depends_on_changes_nothing() {
        let (mut follower, fence, own) = at_five();
        let quiet = LogRow {
            change: None,
            ..row(6, 6)
        };
        let realm = LogRow {
            change: Some(Change::new(Subject::Realm, 0)),
            ..row(7, 7)
        };
        let five = rows(5..=5)[0];
        assert_eq!(follower.read(&[five, quiet], None, &own), Reading::New);
        assert_eq!(fence.changes(), 0);
        assert_eq!(follower.read(&[quiet, realm], None, &own), Reading::New);
        assert_eq!((fence.changes(), fence.epoch()), (1, 1));
    }
}
