//! What a journal knows, in the order in which it was written.

use std::collections::HashMap;

use uuid::Uuid;

use super::line::{self, FIRST_LINE, Line, What};
use super::narrowed::Narrowed;
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

/// A change that a database does not have.
pub(in crate::store) struct Lost {
    pub(in crate::store) place: Place,
    pub(in crate::store) narrowed: Narrowed,
}

impl History {
    /// `None` for a line that stands before the first section.
    pub(super) fn push(&mut self, line: Line) -> Option<()> {
        match line.what {
            What::Begins(realm) => (self.realm, self.latest) = (Some(realm), None),
            What::Narrowed(_) => _ = self.realm?,
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

    /// The newest change of each row, of those that are not there.
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
                What::Narrowed(narrowed) if newest.get(&narrowed.subject()) == Some(&index) => {
                    // The log of another realm counts by itself.
                    if section != Some(realm) || !is_there(line.place)? {
                        lost.push(Lost {
                            place: line.place,
                            narrowed: narrowed.clone(),
                        });
                    }
                }
                What::Narrowed(_) => {}
            }
        }
        Ok(lost)
    }

    /// The text of the journal without lines that newer ones replace, and without old ones.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let newest = self.newest();
        let mut text = String::from(FIRST_LINE);
        for (index, line) in self.lines.iter().enumerate() {
            let is_kept = match &line.what {
                What::Begins(_) => true,
                What::Narrowed(narrowed) => {
                    newest.get(&narrowed.subject()) == Some(&index) && now.since(line.at) <= KEPT
                }
            };
            let is_latest = Some(line.place) == self.latest;
            if is_kept || is_latest {
                text.push_str(&line::write(line));
            }
        }
        text
    }

    /// Which line is the newest of each row: in one section by the log, since processes may append out of order.
    fn newest(&self) -> HashMap<Vec<u8>, usize> {
        let mut newest: HashMap<Vec<u8>, (usize, u64, usize)> = HashMap::new();
        let mut section = 0;
        for (index, line) in self.lines.iter().enumerate() {
            match &line.what {
                What::Begins(_) => section += 1,
                What::Narrowed(narrowed) => {
                    let one = (section, line.place.seq, index);
                    let known = newest.entry(narrowed.subject()).or_insert(one);
                    *known = one.max(*known);
                }
            }
        }
        newest
            .into_iter()
            .map(|(subject, (.., index))| (subject, index))
            .collect()
    }
}

/// How long a change is kept: backups that are older are not covered.
const KEPT: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);
