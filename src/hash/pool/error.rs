//! Why a hash was not computed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hash::InvalidHash;

/// A hash was not computed, so nothing is known about the key. Whoever asked must refuse, as temporarily unavailable
/// and not as a wrong key.
///
/// Clones share the cause, so that several waiters can be told.
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
    /// The queue is full, or the job was displaced by a client with fewer jobs in it.
    Busy,
    /// The job was not done by its deadline.
    TimedOut,
    /// The stored hash cannot be used; the source is an [`InvalidHash`]. Someone has to look at that record.
    InvalidHash,
    /// The job could not be done: it panicked, or there was no memory, no thread or no randomness for it.
    Failed,
    /// The pool was shut down while the job was waiting.
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

    pub(in crate::hash) fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: PoolErrorKind::Failed,
            retry_after: None,
            source: Some(Arc::from(source.into())),
        }
    }

    /// Why.
    pub fn kind(&self) -> PoolErrorKind {
        self.kind
    }

    /// When it is worth trying again, in whole seconds from 1 to 60: what the queue takes to be worked off, and some
    /// chance, so that those who were refused together do not come back together. Given for
    /// [`Busy`](PoolErrorKind::Busy) and [`TimedOut`](PoolErrorKind::TimedOut).
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

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PoolErrorKind::Busy => "too many hashes are waiting to be computed",
            PoolErrorKind::TimedOut => "the hash was not computed in time",
            PoolErrorKind::InvalidHash => "the stored hash cannot be used",
            PoolErrorKind::Failed => "the hash could not be computed",
            PoolErrorKind::Stopped => "the hash pool was shut down",
        })
    }
}

impl Error for PoolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
