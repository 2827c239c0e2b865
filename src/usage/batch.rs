//! Events that are stored at once.

use uuid::Uuid;

use super::event::UsageEvent;

/// Events in their order. The same events always have the same numbers: a batch that was sent twice counts once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UsageBatch {
    /// Who numbers its events.
    pub source: UsageSource,
    /// The number of the first event; the others follow without a gap.
    pub first: u64,
    /// The events.
    pub events: Vec<UsageEvent>,
}

/// Who numbers its events: one process, and one start of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct UsageSource {
    /// Random for each process.
    pub node: Uuid,
    /// Random for each start of its numbers, at most `i64::MAX`.
    pub epoch: u64,
}

impl UsageBatch {
    /// How many events a batch has at most.
    pub const MOST: usize = 500;

    /// A batch of these events.
    pub fn new(source: UsageSource, first: u64, events: Vec<UsageEvent>) -> Self {
        Self { source, first, events }
    }

    /// The number of the event after its last one.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.events.len() as u64)
    }
}

impl UsageSource {
    /// A source that nobody else is.
    #[allow(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self {
            node: Uuid::from_u128(rand::random()),
            epoch: rand::random::<u64>() >> 1,
        }
    }
}
