//! What a journal knows, in the order in which it was written.

use std::collections::HashMap;

use uuid::Uuid;

use super::line::{self, FIRST_LINE, Line, What};
use super::narrowed::Narrowed;
use super::row::RowName;
use crate::key::Timestamp;
use crate::store::sql::Place;

/// The lines of a journal.
#[derive(Default)]
pub(in crate::store) struct History {
    lines: Vec<Line>,
    /// The realm of the last section.
    realm: Option<Uuid>,
    /// The highest place of the last section.
    latest: Option<Place>,
}

impl History {
    /// `None` for a line that stands before the first section.
    pub(super) fn push(&mut self, line: Line) -> Option<()> {
        match line.what {
            What::Begins(realm) => (self.realm, self.latest) = (Some(realm), None),
            What::Complete | What::Narrowed(_) => _ = self.realm?,
        }
        if self.latest.is_none_or(|latest| latest.seq < line.place.seq) {
            self.latest = Some(line.place);
        }
        self.lines.push(line);
        Some(())
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The latest place of this realm; `None` if the last section is of another one.
    pub(in crate::store) fn latest(&self, realm: Uuid) -> Option<Place> {
        self.latest.filter(|_| self.realm == Some(realm))
    }

    /// Up to where the journal has every change of a database with these places; the start if there is no such place.
    pub(in crate::store) fn complete_up_to<E>(
        &self,
        realm: Uuid,
        is_there: impl Fn(Place) -> Result<bool, E>,
    ) -> Result<Place, E> {
        let (mut section, mut places) = (None, Vec::new());
        for line in &self.lines {
            match line.what {
                What::Begins(of) => section = Some(of),
                What::Complete => {}
                What::Narrowed(_) => continue,
            }
            if section == Some(realm) {
                places.push(line.place);
            }
        }
        for place in places.into_iter().rev() {
            if is_there(place)? {
                return Ok(place);
            }
        }
        Ok(Place::START)
    }

    /// The newest change of each row, of those that are not there, in the order in which they are made again.
    pub(in crate::store) fn lost<E>(
        &self,
        realm: Uuid,
        is_there: impl Fn(Place) -> Result<bool, E>,
    ) -> Result<Vec<Lost>, E> {
        let mut lost = Vec::new();
        let mut section = None;
        let newest = self.newest();
        for (index, line) in self.lines.iter().enumerate() {
            match &line.what {
                What::Begins(of) => section = Some(*of),
                What::Narrowed(narrowed) if newest.get(&narrowed.row()) == Some(&index) => {
                    // The log of another realm counts by itself.
                    if section != Some(realm) || !is_there(line.place)? {
                        lost.push(Lost {
                            place: line.place,
                            narrowed: narrowed.clone(),
                        });
                    }
                }
                What::Complete | What::Narrowed(_) => {}
            }
        }
        lost.sort_by_key(|lost| lost.narrowed.row().rank());
        Ok(lost)
    }

    /// The text of the journal without lines that newer ones replace, and without old ones.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let newest = self.newest();
        let mut text = String::from(FIRST_LINE);
        for (index, line) in self.lines.iter().enumerate() {
            let is_kept = match &line.what {
                What::Begins(_) => true,
                What::Complete => self.is_last_of_section(index),
                What::Narrowed(narrowed) => newest.get(&narrowed.row()) == Some(&index) && now.since(line.at) <= KEPT,
            };
            let is_latest = Some(line.place) == self.latest;
            if is_kept || is_latest {
                text.push_str(&line::write(line));
            }
        }
        text
    }

    fn is_last_of_section(&self, index: usize) -> bool {
        let after = self.lines.iter().skip(index + 1);
        let mut rest = after.filter(|line| !matches!(line.what, What::Narrowed(_)));
        rest.next().is_none_or(|line| line.what != What::Complete)
    }

    /// Which line is the newest of each row: in one section by the log, since processes may append out of order.
    fn newest(&self) -> HashMap<RowName, usize> {
        let mut newest: HashMap<RowName, (usize, u64, usize)> = HashMap::new();
        let mut section = 0;
        for (index, line) in self.lines.iter().enumerate() {
            match &line.what {
                What::Begins(_) => section += 1,
                What::Complete => {}
                What::Narrowed(narrowed) => {
                    let one = (section, line.place.seq, index);
                    let known = newest.entry(narrowed.row()).or_insert(one);
                    *known = one.max(*known);
                }
            }
        }
        newest.into_iter().map(|(row, (.., index))| (row, index)).collect()
    }
}

/// A change that a database does not have.
pub(in crate::store) struct Lost {
    pub(in crate::store) place: Place,
    pub(in crate::store) narrowed: Narrowed,
}

/// How long a change is kept: backups that are older are not covered.
const KEPT: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);
