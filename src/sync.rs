//! The atomics that the fence is built on, under one name, so that a model checker can put its own in their place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
