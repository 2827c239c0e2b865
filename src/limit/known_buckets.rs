//! The buckets that the local limiter has looked up for a cached key.

use std::fmt;

use once_cell::race::OnceBox;

use crate::limit::local::BucketSet;

/// The buckets of a cached key, kept beside it so that its next request needs no map.
///
/// It starts empty, is filled by the first charge, and never changes after that. The buckets in it stay in the limiter's
/// memory for as long: drop it with the cached key.
#[derive(Default)]
pub(crate) struct KnownBuckets(OnceBox<BucketSet>);

impl KnownBuckets {
    /// Bytes of memory that are taken once it is filled for this many limits, the buckets themselves apart.
    pub(crate) fn size_for(limits: usize) -> usize {
        match limits {
            0 => 0,
            _ => BucketSet::size_for(limits),
        }
    }

    pub(super) fn get(&self) -> Option<&BucketSet> {
        self.0.get()
    }

    /// Keeps these buckets, unless some are kept already.
    pub(super) fn keep(&self, buckets: BucketSet) {
        if self.0.get().is_none() {
            // A thread that was faster has kept the same buckets: both got them from the limiter's map.
            let _ = self.0.set(Box::new(buckets));
        }
    }
}

impl fmt::Debug for KnownBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownBuckets")
    }
}

// It is part of every cached key, and the cache is bounded in bytes. A `OnceLock` takes twice as much.
const _: () = assert!(size_of::<KnownBuckets>() <= 8);
