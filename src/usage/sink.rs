//! Where batches go, and who answers questions.

use std::future::Future;
use std::sync::Arc;

use super::batch::UsageBatch;
use super::error::UsageError;
use super::question::{Question, UsageAnswer};

/// Takes batches of events: a store, or another system that counts.
///
/// # The contract
///
/// 1. **A batch counts once.** The same `(source, first)` may come again, after an error and after a restart, always with the same
///    events. Take it in one transaction with the note that it was taken; one that was taken before is `Ok`.
/// 2. **An error says what to do**: [`Unknown`](super::UsageErrorKind::Unknown), send the same batch again;
///    [`Busy`](super::UsageErrorKind::Busy), send it again later; [`Refused`](super::UsageErrorKind::Refused), never: it is dropped,
///    and counted. Any other kind is taken as `Unknown`.
/// 3. **Order does not matter.** A batch may be late, and may come before one with lower numbers.
pub trait UsageSink: Send + Sync + 'static {
    /// Takes a batch.
    fn write(&self, batch: Arc<UsageBatch>) -> impl Future<Output = Result<(), UsageError>> + Send;
}

/// Answers questions about usage.
pub trait UsageQuery: Send + Sync + 'static {
    /// Answers a question. A store that keeps no usage answers [`Unsupported`](super::UsageErrorKind::Unsupported).
    fn ask(&self, question: Question) -> impl Future<Output = Result<UsageAnswer, UsageError>> + Send;
}
