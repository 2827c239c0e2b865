//! The error of issuing.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::error::ConfigError;
use crate::hash::{PoolError, PoolErrorKind};
use crate::key::{GenerateError, GenerateErrorKind};
use crate::store::{StoreError, StoreErrorKind};

/// A key or an organization could not be created or changed. [`kind`](Self::kind) says how to react. The message of an
/// invalid request names the field and its bound; of other errors, the cause is the `source`.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{IssueErrorKind, Issuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let error = issuer.create_organization("").await.unwrap_err();
/// assert_eq!(error.kind(), IssueErrorKind::InvalidRequest);
/// assert_eq!(error.to_string(), "invalid name: must have 1 to 255 bytes, got 0");
/// assert_eq!(error.field(), Some("name"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct IssueError {
    kind: IssueErrorKind,
    retry_after: Option<Duration>,
    /// What is known beyond the kind.
    said: Option<Said>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What is wrong, in a sentence, with the field that it is about.
#[derive(Debug)]
struct Said {
    field: Option<&'static str>,
    sentence: Box<str>,
}

/// How to react to an [`IssueError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueErrorKind {
    /// What the request names does not exist: a key, a user, an organization, a plan.
    NotFound,
    /// A part of the request is not valid; the message names it and its bound.
    InvalidRequest,
    /// The request is valid, but something forbids it: the organization's policy or state, the user's, or that of the key with
    /// which a key is to be created. The message names the field and what forbids it.
    NotAllowed,
    /// The key has two live secrets already. Wait for the end of the grace period, or rotate with a grace period of zero.
    RotationInProgress,
    /// No secret of the key waits for the end of a grace period.
    NoRotation,
    /// The key is revoked, permanently.
    Revoked,
    /// The key has expired.
    Expired,
    /// The user is disabled, and gets no new keys.
    UserDisabled,
    /// Another change of the same row came first, each time.
    Conflict,
    /// The row is not the one that the change was [for](crate::Issuer::if_unchanged): it has another revision by now, or is gone.
    /// Nothing was changed; read it again.
    RowChanged,
    /// The selection does not have [exactly](crate::KeySelection::exactly) the keys that were expected: some came or went since they
    /// were looked at. Nothing was changed; look at a new preview.
    SelectionChanged,
    /// Others need the row or the secret, such as the keys of a user, the organizations that have a plan, or a client that still
    /// uses the old secret; nothing was changed.
    InUse,
    /// A slug, an address or a name that must be unique is taken, and [`field`](IssueError::field) says which; or the user has a
    /// row already.
    AlreadyExists,
    /// There are as many as there may be, such as the keys of an organization; nothing was changed.
    LimitReached,
    /// The caller has made a key with this idempotency key already, for another request; nothing was changed.
    IdempotencyKeyReused,
    /// The key or the principal that acts may not do this: it is the operator's to do, what bounds an organization is not for its own
    /// keys, or more would be granted than the key has or the principal grants. Nothing was changed.
    Forbidden,
    /// No other key of the operator would work afterwards and could manage keys. Such a change is made on the host only. Nothing was
    /// changed.
    LastOperatorKey,
    /// The store failed; nothing was changed.
    StoreUnavailable,
    /// The store only reads; nothing was changed.
    ReadOnly,
    /// The stored row cannot be understood, so nothing was changed. Someone has to look at it; the source says what is wrong.
    InvalidRecord,
    /// The store failed while committing. Read the row before you repeat the change.
    OutcomeUnknown,
    /// The queue for hashes is full; nothing was changed.
    Busy,
    /// The key was not hashed in time; nothing was changed.
    HashTimedOut,
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
            said: None,
            source: None,
        }
    }

    /// An error about this field, with its own sentence.
    pub(super) fn about(kind: IssueErrorKind, field: &'static str, sentence: impl Into<Box<str>>) -> Self {
        Self {
            said: Some(Said {
                field: Some(field),
                sentence: sentence.into(),
            }),
            ..Self::new(kind)
        }
    }

    /// What was asked for does not exist.
    pub(super) fn missing(what: &'static str) -> Self {
        Self::about(IssueErrorKind::NotFound, what, format!("no such {what}"))
    }

    /// The value of a field that must be unique is that of another row.
    pub(super) fn taken(field: &'static str, of: &str) -> Self {
        let sentence = format!("the {field} is taken by another {of}");
        Self::about(IssueErrorKind::AlreadyExists, field, sentence)
    }

    /// Something forbids the value of this field.
    pub(super) fn not_allowed(field: &'static str, sentence: impl Into<Box<str>>) -> Self {
        Self::about(IssueErrorKind::NotAllowed, field, sentence)
    }

    /// How to react to it.
    pub fn kind(&self) -> IssueErrorKind {
        self.kind
    }

    /// How long to wait before a retry, for [`IssueErrorKind::Busy`] and [`IssueErrorKind::HashTimedOut`].
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Why the key that acts has stopped working since its request was admitted, if that is what happened.
    #[cfg(feature = "manage")]
    pub(crate) fn ended_key(&self) -> Option<super::authority::EndedKey> {
        self.source()?.source()?.downcast_ref().copied()
    }

    /// The part of the request that the error is about, such as `"name"`, `"expiry"` or `"scopes"`; `None` when it is about
    /// none, as when the store failed.
    pub fn field(&self) -> Option<&str> {
        self.said.as_ref().map_or(self.kind.field(), |said| said.field)
    }
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.said {
            Some(said) => &said.sentence,
            None => self.kind.text(),
        })
    }
}

impl Error for IssueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<StoreError> for IssueError {
    fn from(error: StoreError) -> Self {
        if error.kind() == StoreErrorKind::InvalidCursor {
            return ConfigError::new("page", "its cursor is one of another list").into();
        }
        let kind = match error.kind() {
            StoreErrorKind::NotFound => IssueErrorKind::NotFound,
            StoreErrorKind::Conflict => IssueErrorKind::Conflict,
            StoreErrorKind::RowChanged => IssueErrorKind::RowChanged,
            StoreErrorKind::AlreadyExists => IssueErrorKind::AlreadyExists,
            StoreErrorKind::LimitReached => IssueErrorKind::LimitReached,
            StoreErrorKind::Forbidden => IssueErrorKind::Forbidden,
            StoreErrorKind::LastOperatorKey => IssueErrorKind::LastOperatorKey,
            StoreErrorKind::InvalidRecord => IssueErrorKind::InvalidRecord,
            StoreErrorKind::OutcomeUnknown => IssueErrorKind::OutcomeUnknown,
            StoreErrorKind::ReadOnly | StoreErrorKind::Unsupported => IssueErrorKind::ReadOnly,
            _ => IssueErrorKind::StoreUnavailable,
        };
        // What the key lacks is what its owner has to know.
        let sentence = match (kind, error.source()) {
            (IssueErrorKind::Forbidden, Some(reason)) => Some(format!("{reason}; nothing was changed").into()),
            _ => None,
        };
        Self {
            said: sentence.map(|sentence| Said { field: None, sentence }),
            source: Some(Box::new(error)),
            ..Self::new(kind)
        }
    }
}

impl From<PoolError> for IssueError {
    fn from(error: PoolError) -> Self {
        // Waiting helps with these two only.
        let kind = match error.kind() {
            PoolErrorKind::Busy => IssueErrorKind::Busy,
            PoolErrorKind::TimedOut => IssueErrorKind::HashTimedOut,
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
        match error.kind() {
            GenerateErrorKind::UnknownEnvironment => {
                ConfigError::new("environment", "the key format has no such one").into()
            }
            GenerateErrorKind::ImportOnly => ConfigError::new(
                "key format",
                "its keys come from another system; they are checked here, not issued",
            )
            .into(),
            _ => Self {
                source: Some(Box::new(error)),
                ..Self::new(IssueErrorKind::NoRandomness)
            },
        }
    }
}

impl From<ConfigError> for IssueError {
    fn from(error: ConfigError) -> Self {
        let sentence = error.to_string();
        Self::about(IssueErrorKind::InvalidRequest, error.into_parts().0, sentence)
    }
}

impl IssueErrorKind {
    /// What errors of this kind are about unless they say it themselves.
    fn field(self) -> Option<&'static str> {
        match self {
            Self::RotationInProgress | Self::NoRotation | Self::Revoked | Self::Expired => Some("key"),
            Self::UserDisabled => Some("user"),
            Self::IdempotencyKeyReused => Some("idempotency_key"),
            Self::InUse
            | Self::NotFound
            | Self::InvalidRequest
            | Self::NotAllowed
            | Self::Conflict
            | Self::RowChanged
            | Self::SelectionChanged
            | Self::AlreadyExists
            | Self::LimitReached
            | Self::Forbidden
            | Self::LastOperatorKey
            | Self::StoreUnavailable
            | Self::ReadOnly
            | Self::InvalidRecord
            | Self::OutcomeUnknown
            | Self::Busy
            | Self::HashTimedOut
            | Self::HashingFailed
            | Self::NoRandomness => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "no such key, user or organization",
            Self::InvalidRequest => "invalid request",
            Self::NotAllowed => "something forbids the request",
            Self::RotationInProgress => {
                "two secrets of this key work already: finish that rotation, take it back, or rotate without a grace period"
            }
            Self::NoRotation => "no rotation of this key is to be finished or taken back",
            Self::Revoked => "the key is revoked",
            Self::Expired => "the key has expired",
            Self::UserDisabled => "the user is disabled and gets no new keys",
            Self::InUse => "it is still in use, such as a user with keys that are not revoked; nothing was changed",
            Self::SelectionChanged => {
                "the selection has other keys than those that were looked at: look at a new preview; nothing was changed"
            }
            Self::RowChanged => "the row has changed since it was read: read it again; nothing was changed",
            Self::Conflict => "other changes of the same row came first",
            Self::AlreadyExists => "it exists already: another row has this slug, e-mail address, name or user id",
            Self::LimitReached => "there are as many as there may be, and nothing was changed",
            Self::IdempotencyKeyReused => {
                "a key was made with this idempotency key for another request: repeat that one as it was, or take another \
                 idempotency key"
            }
            Self::Forbidden => "the key or the login that acts may not do this, and nothing was changed",
            Self::LastOperatorKey => "this is the last key of the operator; change it on the host",
            Self::StoreUnavailable => "the store failed, and nothing was changed",
            Self::ReadOnly => "keys cannot be changed here",
            Self::InvalidRecord => "stored data cannot be understood, and nothing was changed",
            Self::OutcomeUnknown => "the store failed while committing; read the row before you repeat the change",
            Self::Busy => "too many keys wait for a hash",
            Self::HashTimedOut => {
                "the key was not hashed in time: the machine is busy, or this build does not optimize Argon2"
            }
            Self::HashingFailed => "the key could not be hashed",
            Self::NoRandomness => "the operating system gave no random bytes",
        }
    }
}
