//! The error of the operations family: a key could not be issued or changed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::error::ConfigError;
use crate::hash::{PoolError, PoolErrorKind};
use crate::key::{GenerateError, GenerateErrorKind};
use crate::store::{StoreError, StoreErrorKind};

/// A key or an organization could not be issued or changed. [`kind`](Self::kind) says what to make of it; the cause is
/// the `source`.
#[derive(Debug)]
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

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            IssueErrorKind::NotFound => "there is no such key or organization",
            IssueErrorKind::InvalidRequest => "the request contradicts itself",
            IssueErrorKind::RotationInProgress => "a rotation of this key is still under way",
            IssueErrorKind::Revoked => "the key is revoked",
            IssueErrorKind::Expired => "the key has expired",
            IssueErrorKind::Conflict => "others changed the same row in the meantime",
            IssueErrorKind::StoreUnavailable => "the key store is unavailable",
            IssueErrorKind::OutcomeUnknown => "it is unknown whether the change was committed",
            IssueErrorKind::NoRandomness => "the operating system gave no random bytes",
            IssueErrorKind::Busy => "too many keys are being hashed",
            IssueErrorKind::HashingFailed => "the key could not be hashed",
        })
    }
}

impl Error for IssueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
