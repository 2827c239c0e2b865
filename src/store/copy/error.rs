//! Why a store was not copied.

use std::error::Error;
use std::fmt;

use crate::error::in_sentences;
use crate::store::StoreError;
use crate::store::sql::copy::Fault;

/// A store could not be copied. [`kind`](Self::kind) says why; what a database said is the `source`.
///
/// The message holds no value of a row. `Debug` has it with those of all causes, so a `main` that returns the error says what to do.
#[derive(thiserror::Error)]
#[error("{}", .kind.text())]
pub struct CopyError {
    kind: CopyErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why a store was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyErrorKind {
    /// Both stores are one database. Nothing was written.
    SameDatabase,
    /// The target was not opened with `copy_target`. Nothing was written.
    NotATarget,
    /// The target has rows already, and they are not all those of the source and no others. Nothing was written.
    TargetInUse,
    /// The target has an unfinished copy of another source. Nothing was written.
    OtherCopy,
    /// A row of the source cannot be copied. The cause names table and column. Mend the row, and copy again.
    InvalidRow,
    /// The source cannot be read, or not be kept from changing. Copy again.
    Source,
    /// The target cannot be written. Copy again.
    Target,
}

impl CopyError {
    /// Why.
    pub fn kind(&self) -> CopyErrorKind {
        self.kind
    }

    pub(super) fn new(kind: CopyErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn caused(kind: CopyErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Some(source.into());
        Self { kind, source }
    }

    pub(super) fn source(error: StoreError) -> Self {
        Self::caused(CopyErrorKind::Source, error)
    }

    pub(super) fn target(error: StoreError) -> Self {
        Self::caused(CopyErrorKind::Target, error)
    }
}

impl fmt::Debug for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_sentences(f, "CopyError", &self.kind, self)
    }
}

impl From<Fault> for CopyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::SameDatabase => Self::new(CopyErrorKind::SameDatabase),
            Fault::TargetInUse => Self::new(CopyErrorKind::TargetInUse),
            Fault::OtherCopy => Self::new(CopyErrorKind::OtherCopy),
            Fault::InvalidRow(error) | Fault::Changed(error) => Self::caused(CopyErrorKind::InvalidRow, error),
            Fault::Source(error) => Self::source(error),
            Fault::Target(error) => Self::target(error),
            Fault::Abandoned => Self::caused(CopyErrorKind::Target, "the caller went away"),
        }
    }
}

impl CopyErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::SameDatabase => "source and target are the same database",
            Self::NotATarget => "the target must be opened with `copy_target` of its builder",
            Self::TargetInUse => {
                "the target has rows that are not those of the source; copy into a new database, or delete this one first"
            }
            Self::OtherCopy => {
                "the target has an unfinished copy of another source; copy that one again, or delete the target first"
            }
            Self::InvalidRow => "a row of the source cannot be copied",
            Self::Source => "the source could not be read; copy again, which goes on where it stopped",
            Self::Target => "the target could not be written; copy again, which goes on where it stopped",
        }
    }
}
