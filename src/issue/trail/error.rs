//! The error of the audit trail.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::audit::ChainProblem;
use crate::store::StoreError;

/// Why the audit trail could not be verified, anchored, exported or cut.
#[derive(Debug)]
pub struct AuditError(Problem);

#[derive(Debug)]
enum Problem {
    Store(StoreError),
    Broken(Vec<ChainProblem>),
    File(PathBuf, io::Error),
    Anchors { line: usize },
}

/// The kinds of an [`AuditError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditErrorKind {
    /// The store failed: nothing is known of the trail.
    Store,
    /// A chain is not as it was made.
    Broken,
    /// A file could not be read or written, or may be read or written by others than its owner.
    File,
    /// A file of anchors has a line that is none.
    InvalidAnchors,
}

impl AuditError {
    /// What kind of error it is.
    pub fn kind(&self) -> AuditErrorKind {
        match &self.0 {
            Problem::Store(_) => AuditErrorKind::Store,
            Problem::Broken(_) => AuditErrorKind::Broken,
            Problem::File(..) => AuditErrorKind::File,
            Problem::Anchors { .. } => AuditErrorKind::InvalidAnchors,
        }
    }

    /// What is wrong, by chain and in the order of the entries, at most 1,000. None unless it is
    /// [`Broken`](AuditErrorKind::Broken).
    pub fn problems(&self) -> &[ChainProblem] {
        match &self.0 {
            Problem::Broken(problems) => problems,
            _ => &[],
        }
    }

    pub(super) fn broken(problems: Vec<ChainProblem>) -> Self {
        Self(Problem::Broken(problems))
    }

    /// The error of these problems, if there are any.
    pub(super) fn unless_empty(problems: Vec<ChainProblem>) -> Result<(), Self> {
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Self::broken(problems)),
        }
    }

    pub(super) fn file(path: &Path, error: io::Error) -> Self {
        Self(Problem::File(path.to_owned(), error))
    }

    pub(super) fn anchors(line: usize) -> Self {
        Self(Problem::Anchors { line })
    }
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self(Problem::Store(error))
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::Store(_) => f.write_str("the store failed"),
            Problem::Broken(problems) => {
                let first = problems.first().map(ChainProblem::to_string).unwrap_or_default();
                match problems.len() {
                    0 | 1 => f.write_str(&first),
                    number => write!(f, "{first}; {} more such findings", number - 1),
                }
            }
            Problem::File(path, _) => write!(f, "{}", path.display()),
            Problem::Anchors { line } => write!(f, "line {line} of the anchors is none"),
        }
    }
}

impl Error for AuditError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Problem::Store(error) => Some(error),
            Problem::File(_, error) => Some(error),
            Problem::Broken(_) | Problem::Anchors { .. } => None,
        }
    }
}
