//! The fence's atomics, which a model checker replaces, and locks that ignore poisoning.

use std::sync::{LockResult, PoisonError};

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// The guard of a lock, even if the lock is poisoned. The data behind this crate's locks is valid between any two statements,
/// so a request that panics must not make all later ones fail.
pub(crate) fn unpoisoned<G>(locked: LockResult<G>) -> G {
    locked.unwrap_or_else(PoisonError::into_inner)
}
