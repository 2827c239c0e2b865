//! The file of a journal, while one process alone reads and writes it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use uuid::Uuid;

use super::line::{self, FIRST_LINE, Line, What};
use super::row::RowName;
use super::{Journal, JournalError, LARGEST, narrowed::Narrowed};
use crate::key::Timestamp;
use crate::owner::private_file;
use crate::store::sql::Place;

/// The file at the path of a journal, under its lock.
pub(in crate::store) struct Held<'j> {
    pub(super) journal: &'j Journal,
    pub(super) file: File,
}

/// Up to where a journal was read.
#[derive(Default)]
pub(in crate::store) struct Position {
    /// Kept open, so that no new file gets its identity.
    file: Option<File>,
    length: u64,
    lines: usize,
}

/// What goes to a journal: changes with the places of their transactions.
pub(in crate::store) type Places = Vec<(Place, Narrowed)>;

impl Held<'_> {
    /// The rows that lines behind this position are about, and the number of the latest place of each; the position moves to
    /// the end. Lines of an earlier section do not count.
    pub(in crate::store) fn since(&mut self, position: &mut Position) -> Result<HashMap<RowName, u64>, JournalError> {
        let journal = self.journal;
        let text = self.read_from(position).map_err(|error| journal.failed(error))?;
        let mut known = HashMap::new();
        if text.is_empty() {
            return Ok(known);
        }
        let text = match position.length {
            0 => text
                .strip_prefix(FIRST_LINE.as_bytes())
                .ok_or_else(|| journal.damaged(1))?,
            _ => &text,
        };
        position.lines = position.lines.max(1);
        for line in journal.lines_of(text, position.lines)? {
            position.lines += 1;
            match line.what {
                What::Begins(_) => known.clear(),
                What::Complete => {}
                What::Narrowed(narrowed) => {
                    let seq = known.entry(narrowed.row()).or_insert(line.place.seq);
                    *seq = line.place.seq.max(*seq);
                }
            }
        }
        position.length = whole_lines(&mut self.file).map_err(|error| journal.failed(error))?;
        Ok(known)
    }

    fn read_from(&mut self, position: &mut Position) -> io::Result<Vec<u8>> {
        let end = whole_lines(&mut self.file)?;
        let is_same = match &position.file {
            Some(file) => private_file::are_one(file, &self.file)?,
            None => false,
        };
        if !is_same || end < position.length {
            // Another handle: with a copy of this one, the lock would last as long as the position.
            let file = File::open(&self.journal.path)?;
            *position = Position::default();
            position.file = Some(file);
        }
        let length = end - position.length;
        if length > LARGEST {
            return Err(io::Error::other(format!("must have at most {LARGEST} bytes")));
        }
        self.file.seek(SeekFrom::Start(position.length))?;
        let mut text = Vec::new();
        Read::by_ref(&mut self.file).take(length).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Appends lines, and returns when they are on the disk.
    pub(in crate::store) fn append(self, realm: Uuid, narrowed: Places) -> Result<(), JournalError> {
        let lines = narrowed.into_iter().map(|(place, one)| (place, What::Narrowed(one)));
        self.write(realm, None, lines.collect())
    }

    /// Appends that everything up to here is in the journal.
    pub(in crate::store) fn complete(self, realm: Uuid, up_to: Place) -> Result<(), JournalError> {
        self.write(realm, None, vec![(up_to, What::Complete)])
    }

    /// Begins a new section: from this place on, the lines are of another history.
    pub(in crate::store) fn begin(self, realm: Uuid, from: Place, narrowed: Vec<Narrowed>) -> Result<(), JournalError> {
        let lines = narrowed.into_iter().map(|one| (from, What::Narrowed(one)));
        self.write(realm, Some(from), lines.collect())
    }

    fn write(mut self, realm: Uuid, begins: Option<Place>, lines: Vec<(Place, What)>) -> Result<(), JournalError> {
        let (journal, at) = (self.journal, Timestamp::now());
        let Some(first) = begins.or(lines.first().map(|(place, _)| *place)) else {
            return Ok(());
        };
        let write = || {
            let end = whole_lines(&mut self.file)?;
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
            let mut text = String::new();
            if end == 0 {
                text.push_str(FIRST_LINE);
            }
            // Cut off behind its first line, it has no section yet.
            if end <= FIRST_LINE.len() as u64 || begins.is_some() {
                text.push_str(&line::write(&What::Begins(realm).at(at, first)));
            }
            for (place, what) in lines {
                text.push_str(&line::write(&what.at(at, place)));
            }
            self.file.write_all(text.as_bytes())?;
            self.file.sync_data()?;
            Ok(end + text.len() as u64)
        };
        let length = write().map_err(|error| journal.failed(error))?;
        // Its lock ends.
        drop(self);
        journal.has_length(length);
        Ok(())
    }
}

impl What {
    fn at(self, at: Timestamp, place: Place) -> Line {
        Line { at, place, what: self }
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
