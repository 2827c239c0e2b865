//! Ends of chains that are kept outside of the database.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::error::AuditError;
use crate::audit::AuditHead;
use crate::key::{OrganizationId, hex};
use crate::owner::private_file;

const FIRST_LINE: &str = "tower-api-key audit anchors 1";
/// Some two million chains.
const LARGEST_FILE: u64 = 256 << 20;

/// The ends of chains as they were at some time, kept where who can write the database cannot write. With them,
/// [`verify`](super::AuditTrail::verify) finds a chain that was cut, or made anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditAnchors(BTreeMap<OrganizationId, AuditHead>);

impl AuditAnchors {
    /// The anchored end of an organization's chain; the nil id is the system's.
    pub fn of(&self, organization: OrganizationId) -> Option<AuditHead> {
        self.0.get(&organization).copied()
    }

    /// How many chains are anchored.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no chain is anchored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a file of [`AuditTrail::anchor_file`](super::AuditTrail::anchor_file).
    ///
    /// # Errors
    /// [`File`](super::AuditErrorKind::File) when it is missing, since a trail verifies by no anchors at all, when it cannot be read, is
    /// a link, or may be read or written by others; [`InvalidAnchors`](super::AuditErrorKind::InvalidAnchors) when it has a line that
    /// is none.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, AuditError> {
        let path = path.as_ref();
        let missing = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such file; `AuditTrail::anchor_file` makes it",
            )
        };
        Self::read_if_there(path)?.ok_or_else(|| AuditError::file(path, missing()))
    }

    /// `None` for a file that is not there.
    pub(super) fn read_if_there(path: &Path) -> Result<Option<Self>, AuditError> {
        let contents = private_file::read(path, LARGEST_FILE).map_err(|error| AuditError::file(path, error))?;
        contents
            .map(|contents| Self::parse(&String::from_utf8_lossy(&contents)))
            .transpose()
    }

    pub(super) fn after(&self, organization: OrganizationId) -> Option<OrganizationId> {
        self.0.range(organization..).next().map(|(id, _)| *id)
    }

    /// Cut in its last line, or anywhere else, it would know less than was anchored: so it says how many lines it has.
    fn parse(text: &str) -> Result<Self, AuditError> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(AuditError::anchors(1));
        }
        let mut anchors = Self::default();
        for (index, line) in lines.by_ref().enumerate() {
            if let Some(count) = line.strip_prefix("end ") {
                let is_whole = count.parse() == Ok(anchors.len()) && text.ends_with('\n') && lines.next().is_none();
                return if is_whole {
                    Ok(anchors)
                } else {
                    Err(AuditError::anchors(index + 2))
                };
            }
            let (organization, head) = parse_line(line).ok_or_else(|| AuditError::anchors(index + 2))?;
            if anchors.0.insert(organization, head).is_some() {
                return Err(AuditError::anchors(index + 2));
            }
        }
        Err(AuditError::anchors(anchors.len() + 2))
    }

    /// Writes the file anew, in the place of the one that is there.
    pub(super) fn write(&self, path: &Path) -> Result<(), AuditError> {
        private_file::replace(path, self.text().as_bytes()).map_err(|error| AuditError::file(path, error))
    }

    pub(super) fn set(&mut self, organization: OrganizationId, head: AuditHead) {
        self.0.insert(organization, head);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = OrganizationId> {
        self.0.keys().copied()
    }

    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (organization, head) in &self.0 {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{organization} {} {}", head.seq, hex::encode(&head.hash));
        }
        let _ = writeln!(text, "end {}", self.len());
        text
    }
}

fn parse_line(line: &str) -> Option<(OrganizationId, AuditHead)> {
    let mut parts = line.split(' ');
    let organization = parts.next()?.parse().ok()?;
    let head = AuditHead {
        seq: parts.next()?.parse().ok()?,
        hash: hex::decode(parts.next()?)?,
    };
    parts.next().is_none().then_some((organization, head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchors() -> AuditAnchors {
        let head = |seq| AuditHead { seq, hash: [7; 32] };
        AuditAnchors(BTreeMap::from([
            (OrganizationId::from(uuid::Uuid::nil()), head(3)),
            (OrganizationId::new(), head(u64::MAX)),
        ]))
    }

    #[test]
    fn text_is_read_back_and_no_other_one_is_read() {
        for anchors in [AuditAnchors::default(), anchors()] {
            let text = anchors.text();
            assert_eq!(AuditAnchors::parse(&text).unwrap(), anchors);
            for length in 0..text.len() {
                assert!(AuditAnchors::parse(&text[..length]).is_err(), "{}", &text[..length]);
            }
            assert!(AuditAnchors::parse(&format!("{text}\n")).is_err());
        }
        let text = anchors().text();
        let second = text.lines().nth(1).unwrap();
        for wrong in [
            text.replace("end 2", "end 1"),
            text.replace("anchors 1", "anchors 2"),
            text.replace(second, &format!("{second} ")),
            text.replace(second, &format!("{second}\n{second}")),
            text.replace(second, "x 1 00"),
        ] {
            assert!(wrong == text || AuditAnchors::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
