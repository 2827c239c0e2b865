//! The error of stores.

use std::error::Error;
use std::fmt;

use crate::error::in_sentences;

type Cause = Box<dyn Error + Send + Sync + 'static>;

/// A store could not do what was asked. [`kind`](Self::kind) says how to react; the cause is the `source`.
///
/// The message holds no key material. `Debug` has it with those of all causes, so a `main` that returns the error says what to do.
#[derive(thiserror::Error)]
#[error("{}", .kind.text())]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Cause>,
}

/// How to react to a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or took too long. Nothing was changed. A read that failed before its time was up is
    /// retried once, since the next connection may be better.
    Unavailable,
    /// The store's queue is full. Nothing was changed. Not retried at once: that would add to the queue.
    Overloaded,
    /// The stored revision, or the stored hash, is not the given one: another change came first. Nothing was changed.
    Conflict,
    /// The id, the slug or the lookup is taken. Nothing was changed.
    AlreadyExists,
    /// The row, or its owner, does not exist. Nothing was changed.
    NotFound,
    /// A guard's limit is reached. Nothing was changed.
    LimitReached,
    /// The key or the principal that acts may not do this. Nothing was changed.
    Forbidden,
    /// No other key could manage the realm afterwards. Nothing was changed.
    LastOperatorKey,
    /// The row is not the one that the change was for, see [`Issuer::if_unchanged`](crate::Issuer::if_unchanged). Nothing was
    /// changed.
    RowChanged,
    /// The commit contradicts itself. The cause says how. Nothing was changed.
    InvalidCommit,
    /// The cursor is not one of this query. Nothing was read.
    InvalidCursor,
    /// The store only reads. Nothing was changed.
    ReadOnly,
    /// The store does not know this query or this kind of write. Nothing was changed.
    Unsupported,
    /// A stored row cannot be understood.
    InvalidRecord,
    /// What was opened cannot serve as a key store: not a file, not writable, of a newer version, altered, or deleted or
    /// replaced while it was in use. The cause says which. Nothing was changed.
    Unusable,
    /// The connection was lost while committing: the change may have been made or not.
    OutcomeUnknown,
}

impl StoreError {
    /// An error without a cause of its own.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error with its cause.
    pub fn with_source(kind: StoreErrorKind, source: impl Into<Cause>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// The same error with its cause inside of another one, which says where it happened.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(in crate::store) fn within<E: Into<Cause>>(self, outer: impl FnOnce(Option<Cause>) -> E) -> Self {
        Self::with_source(self.kind, outer(self.source))
    }

    /// An error of another kind with the same cause, for what came of it. Both as links of one chain would say the same.
    pub(in crate::store) fn into_kind(self, kind: StoreErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// How to react to it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_sentences(f, "StoreError", &self.kind, self)
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind)
    }
}

impl StoreErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::Unavailable => "key store unavailable",
            Self::Overloaded => "key store overloaded",
            Self::Conflict => "the row has changed since it was read",
            Self::AlreadyExists => "the id, the slug or the lookup is taken",
            Self::NotFound => "no such row",
            Self::LimitReached => "limit reached",
            Self::Forbidden => "the key or the login that acts may not do this",
            Self::LastOperatorKey => "this is the last key of the operator; change it on the host",
            Self::RowChanged => "the row is not the one that the change was for",
            Self::InvalidCommit => "invalid commit",
            Self::InvalidCursor => "the cursor is not one of this query",
            Self::ReadOnly => "the key store is read-only",
            Self::Unsupported => "the key store does not support this",
            Self::InvalidRecord => "invalid stored row",
            Self::Unusable => "the key store cannot be used",
            Self::OutcomeUnknown => "commit outcome unknown: the change may have been made or not",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `main` prints it, and nobody calls `source` there.
    #[test]
    fn debug_has_the_sentences_of_all_causes() {
        let cause = StoreError::with_source(StoreErrorKind::Unavailable, "no answer; start the server");
        let error = StoreError::with_source(StoreErrorKind::Unusable, cause);
        let sentences =
            "StoreError(Unusable): the key store cannot be used: key store unavailable: no answer; start the server";
        assert_eq!(format!("{error:?}"), sentences);
    }
}
