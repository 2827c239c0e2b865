//! The atomics that the fence is built on, under one name, so that a model checker can put its own in their place; and
//! locks that outlive a panic.

use std::sync::{LockResult, PoisonError};

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

/// The guard of a lock, poisoned or not: what the locks of this crate protect is whole between any two statements, so one
/// request that panics must not fail all that come after it.
pub(crate) fn unpoisoned<G>(locked: LockResult<G>) -> G {
    locked.unwrap_or_else(PoisonError::into_inner)
}
