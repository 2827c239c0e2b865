//! The revocation journal: a file outside of the database that knows what was taken from keys, so that a restored backup does not
//! give it back.
//!
//! Each line has the place in the change log of the transaction that it tells of. A database whose log does not have the last of
//! these places was set back to an older state.

mod history;
mod line;
mod narrowed;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

pub(in crate::store) use self::history::{History, Lost};
use self::line::{FIRST_LINE, Line, What};
pub(in crate::store) use self::narrowed::{Narrowed, all_of, stricter};
use crate::key::Timestamp;
use crate::owner::private_file;
use crate::store::sql::Place;

/// The journal of one database. Several processes may append to it.
pub(in crate::store) struct Journal {
    path: PathBuf,
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
    pub(in crate::store) fn at(path: PathBuf) -> Self {
        Self {
            path,
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
        self.write(realm, place, narrowed, false)
    }

    /// Begins a history anew: the database was set back, and has from here on what the journal knows.
    pub(in crate::store) fn begin(
        &self,
        realm: Uuid,
        place: Place,
        narrowed: Vec<Narrowed>,
    ) -> Result<(), JournalError> {
        self.write(realm, place, narrowed, true)
    }

    fn write(&self, realm: Uuid, place: Place, narrowed: Vec<Narrowed>, begins: bool) -> Result<(), JournalError> {
        let at = Timestamp::now();
        let line = |what| line::write(&Line { at, place, what });
        let lines: String = narrowed.into_iter().map(What::Narrowed).map(line).collect();
        let write = || {
            let mut file = self.locked()?;
            let end = whole_lines(&mut file)?;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            let mut text = String::new();
            if end == 0 {
                text.push_str(FIRST_LINE);
            }
            // Cut off behind its first line, it has no section yet.
            if end <= FIRST_LINE.len() as u64 || begins {
                text.push_str(&line(What::Begins(realm)));
            }
            text.push_str(&lines);
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            Ok(end + text.len() as u64)
        };
        let length = write().map_err(|error| self.failed(error))?;
        if length > self.compact_from.load(Ordering::Relaxed) {
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
        Ok(())
    }

    /// Writes the journal anew, without lines that newer ones replace and those of a time from which no backup is restored.
    fn compact(&self) -> Result<u64, JournalError> {
        let _locked = self.locked().map_err(|error| self.failed(error))?;
        let text = self.read()?.text(Timestamp::now());
        private_file::replace(&self.path, text.as_bytes()).map_err(|error| self.failed(error))?;
        Ok(text.len() as u64)
    }

    fn parsed(&self, contents: &[u8]) -> Result<History, JournalError> {
        let damaged = |line| JournalError::Damaged(self.path.clone(), line);
        // Cut off in the middle of the first line, it has told of nothing.
        let Some(rest) = contents.strip_prefix(FIRST_LINE.as_bytes()) else {
            return match FIRST_LINE.as_bytes().starts_with(contents) {
                true => Ok(History::default()),
                false => Err(damaged(1)),
            };
        };
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut history = History::default();
        for (index, text) in rest[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let text = std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix('\n'));
            let line = text.and_then(line::read).ok_or_else(|| damaged(index + 2))?;
            history.push(line).ok_or_else(|| damaged(index + 2))?;
        }
        Ok(history)
    }

    /// The file at the path, under its lock: another process may put a new one there until then.
    fn locked(&self) -> io::Result<File> {
        for _ in 0..ATTEMPTS {
            let file = private_file::open_or_create(&self.path)?;
            match file.lock() {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                locked => locked?,
            }
            if private_file::is_at(&file, &self.path)? {
                return Ok(file);
            }
        }
        Err(io::Error::other("was replaced each time it was opened"))
    }

    fn failed(&self, error: io::Error) -> JournalError {
        JournalError::File(self.path.clone(), error)
    }
}

/// The length without a last line that was cut off, by a crash or a full disk.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        file.seek(SeekFrom::Start(start))?;
        let Some(part) = usize::try_from(end - start)
            .ok()
            .and_then(|length| block.get_mut(..length))
        else {
            break;
        };
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

const COMPACT_FROM: u64 = 1 << 20;
const LARGEST: u64 = 1 << 30;
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
        (folder, Journal::at(path))
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
        journal.begin(REALM, place(2), Vec::new()).unwrap();
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
        std::thread::scope(|scope| {
            for thread in 0..8 {
                // As processes do, each opens the file for itself.
                let journal = Journal::at(journal.path().to_owned());
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
}
