//! Why a hash was not computed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hash::error::InvalidHash;
use crate::hash::policy::SaltError;

/// A hash was not computed, so nothing is known about the key. Answer as temporarily unavailable, not as a wrong key.
///
/// Clones share the source.
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolError {
    kind: PoolErrorKind,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why a hash was not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolErrorKind {
    /// The queue is full, or a client with fewer jobs displaced this one.
    Busy,
    /// The hash was not computed by its deadline.
    TimedOut,
    /// The stored hash cannot be used; the source is an [`InvalidHash`]. The record needs repair.
    InvalidHash,
    /// The hash panicked, or there was no memory, no thread or no randomness for it.
    Failed,
    /// The pool was shut down while the job waited.
    Stopped,
}

impl PoolError {
    pub(super) fn busy(retry_after: Duration) -> Self {
        Self {
            kind: PoolErrorKind::Busy,
            retry_after: Some(retry_after),
            source: None,
        }
    }

    pub(super) fn timed_out(retry_after: Duration) -> Self {
        Self {
            kind: PoolErrorKind::TimedOut,
            retry_after: Some(retry_after),
            source: None,
        }
    }

    pub(super) fn stopped() -> Self {
        Self {
            kind: PoolErrorKind::Stopped,
            retry_after: None,
            source: None,
        }
    }

    pub(super) fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: PoolErrorKind::Failed,
            retry_after: None,
            source: Some(Arc::from(source.into())),
        }
    }

    /// The reason.
    pub fn kind(&self) -> PoolErrorKind {
        self.kind
    }

    /// How long to wait before the next attempt, in whole seconds from 1 to 60: about the time to work off the queue. For
    /// [`Busy`](PoolErrorKind::Busy) and [`TimedOut`](PoolErrorKind::TimedOut) only.
    ///
    /// Many callers may get the same value. Add a random part before you pass it on to clients, as the layer does.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<InvalidHash> for PoolError {
    fn from(source: InvalidHash) -> Self {
        Self {
            kind: PoolErrorKind::InvalidHash,
            retry_after: None,
            source: Some(Arc::new(source)),
        }
    }
}

impl From<SaltError> for PoolError {
    fn from(source: SaltError) -> Self {
        Self::failed(source)
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PoolErrorKind::Busy => "hash queue is full",
            PoolErrorKind::TimedOut => "hash was not computed before its deadline",
            PoolErrorKind::InvalidHash => "stored hash cannot be used",
            PoolErrorKind::Failed => "hash could not be computed",
            PoolErrorKind::Stopped => "hash pool was shut down",
        })
    }
}

impl Error for PoolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
