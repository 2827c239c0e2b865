//! The error of the operations family: a store could not do what was asked.

use std::error::Error;

type Source = Box<dyn Error + Send + Sync + 'static>;

/// A store could not do what was asked. [`kind`](Self::kind) says what to make of it; the cause is the `source`.
///
/// The message holds no key material.
#[derive(Debug, thiserror::Error)]
#[error("{}", .kind.text())]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Source>,
}

/// What to make of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or took too long. Nothing was changed. A read that failed so, but not for want of time,
    /// is tried once more at once: the next connection may be better.
    Unavailable,
    /// More wait for the store already than it lets wait. Nothing was changed. Not tried again at once: that would only
    /// add to it.
    Overloaded,
    /// The revision given is not the stored one: someone else was faster. Nothing was changed.
    Conflict,
    /// The id or the lookup is already taken. Nothing was changed.
    AlreadyExists,
    /// The row to work on does not exist. Nothing was changed.
    NotFound,
    /// A stored row cannot be understood.
    InvalidRecord,
    /// What was opened cannot serve as a key store, now or later: not a file, not writable, of a newer version, or altered.
    /// The cause says which. Nothing was changed.
    Unusable,
    /// The connection was lost while committing: the change may have happened or not.
    OutcomeUnknown,
}

impl StoreError {
    /// An error without a cause of its own.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error with its cause.
    pub fn with_source(kind: StoreErrorKind, source: impl Into<Source>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// What to make of it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl StoreErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::Unavailable => "the key store is unavailable",
            Self::Overloaded => "too many wait for the key store already",
            Self::Conflict => "the row was changed by someone else in the meantime",
            Self::AlreadyExists => "the id or the lookup is already taken",
            Self::NotFound => "there is no such row",
            Self::InvalidRecord => "a stored row cannot be understood",
            Self::Unusable => "the key store cannot be opened",
            Self::OutcomeUnknown => "it is unknown whether the change was committed",
        }
    }
}
