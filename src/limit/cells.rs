//! What a limiter keeps beside a cached key.

use std::fmt;
use std::sync::OnceLock;

use crate::limit::local::BucketSet;

/// A place beside a cached key where [`LocalLimiter`](crate::limit::LocalLimiter) keeps what it looked up for that key, so
/// that the next request of the key needs no map.
///
/// Opaque: nothing outside this crate can put anything in or read it, and another limiter passes it by. It starts empty,
/// is filled by the first charge, and never changes after that. What is kept in it stays in the limiter's memory for as
/// long: drop it with the cached key.
#[derive(Default)]
pub struct Cells(OnceLock<Box<BucketSet>>);

impl Cells {
    /// An empty place.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Bytes of memory that it takes when it is filled for so many limits, the buckets themselves apart.
    pub(crate) fn size_for(limits: usize) -> usize {
        match limits {
            0 => 0,
            _ => BucketSet::size_for(limits),
        }
    }

    pub(super) fn buckets(&self) -> Option<&BucketSet> {
        self.0.get().map(Box::as_ref)
    }

    /// Keeps these buckets, unless some are kept already.
    pub(super) fn keep(&self, buckets: BucketSet) {
        if self.0.get().is_none() {
            // Whoever came first kept the same buckets: both got them from the limiter's map.
            let _ = self.0.set(Box::new(buckets));
        }
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cells")
    }
}

// A cached key is counted in bytes, and this is a part of it.
const _: () = assert!(size_of::<Cells>() <= 16);
