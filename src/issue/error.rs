//! The error of the operations family: a key could not be issued or changed.

use std::error::Error;
use std::time::Duration;

use crate::error::ConfigError;
use crate::hash::{PoolError, PoolErrorKind};
use crate::key::{GenerateError, GenerateErrorKind};
use crate::store::{StoreError, StoreErrorKind};

/// A key or an organization could not be issued or changed. [`kind`](Self::kind) says what to make of it; the cause is
/// the `source`.
#[derive(Debug, thiserror::Error)]
#[error("{}", .kind.text())]
pub struct IssueError {
    kind: IssueErrorKind,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What to make of an [`IssueError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueErrorKind {
    /// There is no such key or organization.
    NotFound,
    /// What was asked for contradicts itself; the source says how.
    InvalidRequest,
    /// The key has two live secrets already; wait for the end of the grace, or rotate with a grace of zero.
    RotationInProgress,
    /// The key is revoked, which is for ever.
    Revoked,
    /// The key has expired.
    Expired,
    /// Others changed the same row over and over.
    Conflict,
    /// The store failed; nothing was changed.
    StoreUnavailable,
    /// The stored row cannot be understood, so nothing was changed: someone has to look at it. The source says what is wrong.
    InvalidRecord,
    /// The store failed while committing; look before you repeat.
    OutcomeUnknown,
    /// Too many keys are being hashed; nothing was changed.
    Busy,
    /// The key could not be hashed (no memory, no thread, a pool that was shut down); nothing was changed.
    HashingFailed,
    /// The operating system gave no random bytes; nothing was changed.
    NoRandomness,
}

impl IssueError {
    pub(super) fn new(kind: IssueErrorKind) -> Self {
        Self {
            kind,
            retry_after: None,
            source: None,
        }
    }

    /// What to make of it.
    pub fn kind(&self) -> IssueErrorKind {
        self.kind
    }

    /// When it is worth to come again, for [`IssueErrorKind::Busy`].
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<StoreError> for IssueError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::NotFound => IssueErrorKind::NotFound,
            StoreErrorKind::Conflict | StoreErrorKind::AlreadyExists => IssueErrorKind::Conflict,
            StoreErrorKind::InvalidRecord => IssueErrorKind::InvalidRecord,
            StoreErrorKind::OutcomeUnknown => IssueErrorKind::OutcomeUnknown,
            _ => IssueErrorKind::StoreUnavailable,
        };
        Self {
            source: Some(Box::new(error)),
            ..Self::new(kind)
        }
    }
}

impl From<PoolError> for IssueError {
    fn from(error: PoolError) -> Self {
        // Only these two get better by waiting.
        let kind = match error.kind() {
            PoolErrorKind::Busy | PoolErrorKind::TimedOut => IssueErrorKind::Busy,
            _ => IssueErrorKind::HashingFailed,
        };
        Self {
            retry_after: error.retry_after(),
            source: Some(Box::new(error)),
            ..Self::new(kind)
        }
    }
}

impl From<GenerateError> for IssueError {
    fn from(error: GenerateError) -> Self {
        let kind = match error.kind() {
            GenerateErrorKind::UnknownEnvironment | GenerateErrorKind::ImportOnly => IssueErrorKind::InvalidRequest,
            _ => IssueErrorKind::NoRandomness,
        };
        Self {
            source: Some(Box::new(error)),
            ..Self::new(kind)
        }
    }
}

impl From<ConfigError> for IssueError {
    fn from(error: ConfigError) -> Self {
        Self {
            source: Some(Box::new(error)),
            ..Self::new(IssueErrorKind::InvalidRequest)
        }
    }
}

impl IssueErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "there is no such key or organization",
            Self::InvalidRequest => "the request contradicts itself",
            Self::RotationInProgress => "a rotation of this key is still under way",
            Self::Revoked => "the key is revoked",
            Self::Expired => "the key has expired",
            Self::Conflict => "others changed the same row in the meantime",
            Self::StoreUnavailable => "the key store is unavailable",
            Self::InvalidRecord => "the stored row cannot be understood",
            Self::OutcomeUnknown => "it is unknown whether the change was committed",
            Self::NoRandomness => "the operating system gave no random bytes",
            Self::Busy => "too many keys are being hashed",
            Self::HashingFailed => "the key could not be hashed",
        }
    }
}
