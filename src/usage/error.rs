//! What can be wrong with usage.

use std::error::Error;
use std::fmt;

/// Why an event was not taken, a batch was not stored, or a question was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct UsageError {
    kind: UsageErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Kinds of [`UsageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UsageErrorKind {
    /// A tag's name or value is not one.
    InvalidTag,
    /// A request has four tags at most.
    TooManyTags,
    /// The event is of more than an hour from now: the clock that made it is wrong.
    FromTheFuture,
    /// Tokens or cost are more than one request can have: 10^12 tokens, or a billion dollars.
    TooMuch,
    /// The request is over: nothing is added to its event any more.
    Ended,
    /// There is no [`MeterLayer`](crate::MeterLayer) around the handler.
    NoMeter,
    /// The queue is full, so the event was dropped, which is counted.
    QueueFull,
    /// The meter is closed.
    Closed,
    /// It is not known whether the batch was stored: the same batch is to be sent again.
    Unknown,
    /// The sink will never take the batch.
    Refused,
    /// The sink has no room now: the same batch is to be sent later.
    Busy,
    /// Raw events are not kept. The switch is `raw_events` of the store.
    RawEventsOff,
    /// The range ends before it begins, or is longer than ten years.
    InvalidRange,
    /// Sums by scope and tag are of organizations, not of users and keys.
    OfOrganizations,
    /// The store could not answer.
    Unavailable,
    /// What is stored cannot be understood.
    InvalidRecord,
    /// The store keeps no usage.
    Unsupported,
}

impl UsageError {
    /// An error of this kind.
    pub fn new(kind: UsageErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error with its cause.
    pub fn with_source(kind: UsageErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> UsageErrorKind {
        self.kind
    }
}

impl From<UsageErrorKind> for UsageError {
    fn from(kind: UsageErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for UsageErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidTag => "a tag needs a name of a-z, 0-9, `_`, `-` and `.`, and a value",
            Self::TooManyTags => "a request has four tags at most",
            Self::FromTheFuture => "the event is of more than an hour from now",
            Self::TooMuch => "more tokens or money than one request can have",
            Self::Ended => "the request is over",
            Self::NoMeter => "there is no meter around the handler",
            Self::QueueFull => "the queue of the meter is full",
            Self::Closed => "the meter is closed",
            Self::Unknown => "it is not known whether the batch was stored",
            Self::Refused => "the batch was refused",
            Self::Busy => "the sink is busy",
            Self::RawEventsOff => "raw events are not kept: switch `raw_events` on",
            Self::InvalidRange => "the range ends before it begins, or is longer than ten years",
            Self::OfOrganizations => "sums of scopes and tags are of organizations, not of users and keys",
            Self::Unavailable => "usage is not available",
            Self::InvalidRecord => "stored usage cannot be understood",
            Self::Unsupported => "the store keeps no usage",
        })
    }
}
