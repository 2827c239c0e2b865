//! What is stored at once.

use uuid::Uuid;

use super::rows::{NetworkUse, ScopeUse, SecretUse};

/// Uses of keys since the batch before, of one process. [`Write::AddUses`](crate::store::Write::AddUses) stores it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UseBatch {
    /// Whose batches are numbered.
    pub source: UseSource,
    /// Its number. A batch with a number that is not above the last one of its source was stored before, and changes nothing.
    pub number: u64,
    /// What is added to each secret.
    pub secrets: Vec<SecretUse>,
    /// When scopes of keys were last used.
    pub scopes: Vec<ScopeUse>,
    /// From which networks keys were used.
    pub networks: Vec<NetworkUse>,
}

/// Who numbers its batches: one process, and one start of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct UseSource {
    /// Random for each process.
    pub node: Uuid,
    /// Random for each start of its numbers, at most `i64::MAX`.
    pub epoch: u64,
}

impl UseBatch {
    /// An empty batch.
    pub fn new(source: UseSource, number: u64) -> Self {
        Self {
            source,
            number,
            secrets: Vec::new(),
            scopes: Vec::new(),
            networks: Vec::new(),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.scopes.is_empty() && self.networks.is_empty()
    }
}

impl UseSource {
    /// A source that nobody else is.
    #[allow(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self {
            node: Uuid::from_u128(rand::random()),
            epoch: rand::random::<u64>() >> 1,
        }
    }
}
