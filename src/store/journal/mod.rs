//! The revocation journal: a file outside of the database that knows what was taken from keys, so that a restored backup does not
//! give it back.
//!
//! Each line has the place in the change log of the transaction that it tells of. A database whose log does not have the last of
//! these places was set back to an older state. A line may also say that every change up to its place is in the journal: what the log
//! has behind it is looked through when the database is opened.

mod bounds;
mod held;
mod history;
mod journaled;
mod limits;
mod line;
mod narrowed;
mod row;

use std::io;
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

pub(in crate::store) use self::bounds::tighter_plan;
pub(in crate::store) use self::held::{Held, Places, Position};
pub(in crate::store) use self::history::{History, Lost};
pub(in crate::store) use self::journaled::{JournalDatabase, Journaled, TakenAgain};
use self::line::{FIRST_LINE, Line};
pub(in crate::store) use self::narrowed::Narrowed;
pub(in crate::store) use self::row::RowName;
use crate::key::Timestamp;
use crate::owner::private_file;
use crate::store::sql::Place;

/// The journal of one database. Several processes may append to it.
pub(in crate::store) struct Journal {
    path: PathBuf,
    /// How long to wait for another process that writes it.
    patience: Duration,
    /// The length from which on it is written anew, without what is outdated.
    compact_from: AtomicU64,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum JournalError {
    #[error("cannot read or write the revocation journal {0:?}")]
    File(PathBuf, #[source] io::Error),
    #[error(
        "the revocation journal {0:?} is damaged in line {1}: keys that were revoked before a backup was restored may be in it; \
         repair the line, or move the file away to go on without what it knows"
    )]
    Damaged(PathBuf, usize),
}

impl Journal {
    pub(in crate::store) fn at(path: PathBuf, patience: Duration) -> Self {
        Self {
            path,
            patience,
            compact_from: AtomicU64::new(COMPACT_FROM),
        }
    }

    #[cfg(test)]
    fn path(&self) -> &Path {
        &self.path
    }

    /// What the journal knows.
    ///
    /// # Errors
    /// When it cannot be read, is a link or open to others, or is damaged elsewhere than at its end: a line that was cut off there
    /// was never acknowledged.
    pub(in crate::store) fn read(&self) -> Result<History, JournalError> {
        let contents = private_file::read(&self.path, LARGEST).map_err(|error| self.failed(error))?;
        match contents {
            None => Ok(History::default()),
            Some(contents) => self.parsed(&contents),
        }
    }

    /// Appends what a transaction took, and returns when it is on the disk.
    pub(in crate::store) fn append(
        &self,
        realm: Uuid,
        place: Place,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), JournalError> {
        let narrowed = narrowed.into_iter().map(|one| (place, one)).collect();
        self.hold(self.patience)?.append(realm, narrowed)
    }

    /// The file at the path, for this process alone: another one may put a new one there until then.
    ///
    /// # Errors
    /// When it cannot be opened, or another process does not let go of it in that time.
    pub(in crate::store) fn hold(&self, patience: Duration) -> Result<Held<'_>, JournalError> {
        let file = self.locked(patience).map_err(|error| self.failed(error))?;
        Ok(Held { journal: self, file })
    }

    fn locked(&self, patience: Duration) -> io::Result<std::fs::File> {
        let deadline = Instant::now() + patience;
        for _ in 0..ATTEMPTS {
            let file = private_file::open_or_create(&self.path)?;
            loop {
                match file.try_lock() {
                    Ok(()) => break,
                    // One that was stopped in the middle would keep every revoke waiting.
                    Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(RETRY),
                    Err(std::fs::TryLockError::WouldBlock) => {
                        return Err(io::Error::other("is locked by another process"));
                    }
                    Err(std::fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => break,
                    Err(std::fs::TryLockError::Error(error)) => return Err(error),
                }
            }
            if private_file::is_at(&file, &self.path)? {
                return Ok(file);
            }
        }
        Err(io::Error::other("was replaced each time it was opened"))
    }

    /// It is written anew when it has become long.
    fn has_length(&self, length: u64) {
        if length <= self.compact_from.load(Ordering::Relaxed) {
            return;
        }
        // It grows until this succeeds.
        match self.compact() {
            Ok(left) => self.compact_from.store((2 * left).max(COMPACT_FROM), Ordering::Relaxed),
            Err(error) => {
                self.compact_from.store(2 * length, Ordering::Relaxed);
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(error, "the revocation journal could not be written anew, so it grows");
            }
        }
    }

    /// Writes the journal anew, without lines that newer ones replace and those of a time from which no backup is restored.
    fn compact(&self) -> Result<u64, JournalError> {
        let _locked = self.locked(self.patience).map_err(|error| self.failed(error))?;
        let text = self.read()?.text(Timestamp::now());
        private_file::replace(&self.path, text.as_bytes()).map_err(|error| self.failed(error))?;
        Ok(text.len() as u64)
    }

    fn parsed(&self, contents: &[u8]) -> Result<History, JournalError> {
        // Cut off in the middle of the first line, it has told of nothing.
        let Some(rest) = contents.strip_prefix(FIRST_LINE.as_bytes()) else {
            return match FIRST_LINE.as_bytes().starts_with(contents) {
                true => Ok(History::default()),
                false => Err(self.damaged(1)),
            };
        };
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut history = History::default();
        let lines = self.lines_of(rest.get(..whole).unwrap_or_default(), 1)?;
        for (index, line) in lines.into_iter().enumerate() {
            history.push(line).ok_or_else(|| self.damaged(index + 2))?;
        }
        Ok(history)
    }

    /// Whole lines, of which so many stand before.
    fn lines_of(&self, text: &[u8], before: usize) -> Result<Vec<Line>, JournalError> {
        let lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
        lines
            .map(|(index, text)| {
                let text = std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix('\n'));
                text.and_then(line::read)
                    .ok_or_else(|| self.damaged(before + index + 1))
            })
            .collect()
    }

    fn damaged(&self, line: usize) -> JournalError {
        JournalError::Damaged(self.path.clone(), line)
    }

    fn failed(&self, error: io::Error) -> JournalError {
        JournalError::File(self.path.clone(), error)
    }
}

const COMPACT_FROM: u64 = 1 << 20;
const LARGEST: u64 = 1 << 30;
const RETRY: Duration = Duration::from_millis(5);
/// A file that is another one each time it was opened is being replaced in a loop.
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::OrganizationId;

    fn user(name: &str, is_active: bool) -> Narrowed {
        Narrowed::User {
            organization: OrganizationId::from(Uuid::from_u128(1)),
            user: name.parse().unwrap(),
            is_active,
        }
    }

    fn place(seq: u64) -> Place {
        Place {
            seq,
            tag: u128::from(seq),
        }
    }

    const REALM: Uuid = Uuid::from_u128(7);

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.sqlite.revocations");
        (folder, Journal::at(path, Duration::from_secs(30)))
    }

    fn names(history: &History) -> Vec<(u64, Narrowed)> {
        let lost = history.lost(REALM, |_| Ok::<_, ()>(false)).unwrap();
        lost.into_iter().map(|lost| (lost.place.seq, lost.narrowed)).collect()
    }

    #[test]
    fn newest_line_of_each_row_counts() {
        let (_folder, journal) = journal();
        journal
            .append(REALM, place(1), vec![user("a", false), user("b", false)])
            .unwrap();
        journal.append(REALM, place(3), vec![user("a", true)]).unwrap();
        // Of another process, which was later at the file and earlier in the database.
        journal.append(REALM, place(2), vec![user("a", false)]).unwrap();
        let history = journal.read().unwrap();
        assert_eq!(names(&history), [(1, user("b", false)), (3, user("a", true))]);
        assert_eq!(history.latest(REALM), Some(place(3)));
        assert_eq!(history.latest(Uuid::from_u128(8)), None);
        journal
            .hold(journal.patience)
            .unwrap()
            .begin(REALM, place(2), Vec::new())
            .unwrap();
        journal.append(REALM, place(3), vec![user("a", false)]).unwrap();
        let history = journal.read().unwrap();
        assert_eq!(names(&history), [(1, user("b", false)), (3, user("a", false))]);
    }

    #[test]
    fn end_that_was_cut_off_is_left_out_and_written_over() {
        let (_folder, journal) = journal();
        journal.append(REALM, place(1), vec![user("a", false)]).unwrap();
        let before = std::fs::read(journal.path()).unwrap();
        journal.append(REALM, place(2), vec![user("b", false)]).unwrap();
        let whole = std::fs::read(journal.path()).unwrap();
        for length in 0..whole.len() {
            std::fs::write(journal.path(), &whole[..length]).unwrap();
            let known = names(&journal.read().unwrap()).len();
            assert_eq!(known, usize::from(length >= before.len()), "{length}");
            journal.append(REALM, place(3), vec![user("c", false)]).unwrap();
            assert_eq!(names(&journal.read().unwrap()).len(), known + 1, "{length}");
        }
    }

    #[test]
    fn damage_elsewhere_is_an_error_that_names_the_line() {
        let (_folder, journal) = journal();
        for name in ["a", "b", "c"] {
            journal.append(REALM, place(1), vec![user(name, false)]).unwrap();
        }
        let whole = std::fs::read_to_string(journal.path()).unwrap();
        for (line, from, to) in [(1, "revocations 1", "revocations 2"), (4, "\"b\"", "\"x\"")] {
            std::fs::write(journal.path(), whole.replacen(from, to, 1)).unwrap();
            let error = journal.read().map(drop).unwrap_err();
            assert!(error.to_string().contains(&format!("in line {line}")), "{error}");
        }
    }

    #[test]
    fn outdated_lines_go_and_the_size_stays_bounded() {
        let (_folder, journal) = journal();
        journal.append(REALM, place(1), vec![user("first", false)]).unwrap();
        for round in 0..2_000_u64 {
            let many = (0..10).map(|name| user(&name.to_string(), round % 2 == 0)).collect();
            journal.append(REALM, place(round + 2), many).unwrap();
        }
        let length = std::fs::metadata(journal.path()).unwrap().len();
        assert!(length < 2 * COMPACT_FROM, "{length}");
        let history = journal.read().unwrap();
        assert_eq!(names(&history).len(), 11);
        assert_eq!(history.latest(REALM), Some(place(2_001)));
    }

    #[test]
    fn lines_of_many_writers_at_once_are_whole() {
        let (_folder, journal) = journal();
        journal.compact_from.store(1, Ordering::Relaxed);
        thread::scope(|scope| {
            for thread in 0..8 {
                // As processes do, each opens the file for itself.
                let journal = Journal::at(journal.path().to_owned(), Duration::from_secs(30));
                journal.compact_from.store(4096, Ordering::Relaxed);
                scope.spawn(move || {
                    for number in 0..50 {
                        let name = format!("{thread}-{number}");
                        journal.append(REALM, place(number), vec![user(&name, false)]).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(&journal.read().unwrap()).len(), 400);
    }
    #[test]
    fn journal_is_complete_up_to_the_last_place_that_is_there() {
        let (_folder, journal) = journal();
        let up_to = |most: u64| {
            let history = journal.read().unwrap();
            let found = history.complete_up_to(REALM, |place: Place| Ok::<_, ()>(place.seq <= most));
            found.unwrap().seq
        };
        assert_eq!(up_to(9), 0);
        let complete = |seq, name| {
            journal.append(REALM, place(seq), vec![user(name, false)]).unwrap();
            journal
                .hold(journal.patience)
                .unwrap()
                .complete(REALM, place(seq))
                .unwrap();
        };
        journal.append(REALM, place(1), vec![user("a", false)]).unwrap();
        complete(3, "a");
        complete(5, "b");
        journal.append(REALM, place(7), vec![user("a", true)]).unwrap();
        assert_eq!([9, 4, 2, 0].map(up_to), [5, 3, 1, 0]);
        journal
            .hold(journal.patience)
            .unwrap()
            .begin(REALM, place(4), Vec::new())
            .unwrap();
        assert_eq!([9, 4, 3, 0].map(up_to), [4, 4, 3, 0]);
        complete(6, "c");
        journal.compact().unwrap();
        // The last place of each section is kept.
        assert_eq!([9, 5, 3, 0].map(up_to), [6, 4, 1, 0]);
    }

    #[test]
    fn lines_since_a_position_are_read_once_and_all_after_a_replacement() {
        let (_folder, journal) = journal();
        let mut position = Position::default();
        let mut since = || {
            let known = journal.hold(journal.patience).unwrap().since(&mut position).unwrap();
            let mut known: Vec<_> = known.into_values().collect();
            known.sort_unstable();
            known
        };
        assert!(since().is_empty());
        journal.append(REALM, place(1), vec![user("a", false)]).unwrap();
        journal
            .append(REALM, place(3), vec![user("a", false), user("b", false)])
            .unwrap();
        assert_eq!(since(), [3, 3]);
        assert!(since().is_empty());
        journal.append(REALM, place(4), vec![user("c", false)]).unwrap();
        assert_eq!(since(), [4]);
        journal.compact().unwrap();
        assert_eq!(since(), [3, 3, 4]);
        journal
            .hold(journal.patience)
            .unwrap()
            .begin(REALM, place(2), vec![user("a", false)])
            .unwrap();
        assert_eq!(since(), [2], "of the new section");
        let whole = std::fs::read(journal.path()).unwrap();
        std::fs::write(journal.path(), [&whole[..], b"damaged\n"].concat()).unwrap();
        let error = journal
            .hold(journal.patience)
            .unwrap()
            .since(&mut position)
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("in line 8"), "{error}");
    }

    #[test]
    fn journal_that_another_process_holds_is_an_error_in_time() {
        let (_folder, journal) = journal();
        let impatient = Journal::at(journal.path().to_owned(), Duration::from_millis(20));
        let held = journal.hold(journal.patience).unwrap();
        let error = impatient.append(REALM, place(1), vec![user("a", false)]).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("locked by another process"), "{source}");
        drop(held);
        impatient.append(REALM, place(1), vec![user("a", false)]).unwrap();
    }
}
