//! The memory that Argon2 works in, and how much of it workers keep between hashes.

use std::collections::TryReserveError;
use std::sync::atomic::{AtomicU32, Ordering};

use argon2::Block;

use super::params::Argon2Params;

/// How much memory each worker keeps between hashes: a set amount, or as much as the policies in use need.
pub(super) struct KeptMemory {
    kib: AtomicU32,
    is_set: bool,
}

/// The memory of one worker.
///
/// Fresh memory costs more than the hash itself: the system hands out every page when it is first touched, and zeroes
/// it then. The next hash overwrites what the last one left before it reads it. The blocks are not wiped in between:
/// that would cost much of what keeping them gains, and protect only against an attacker who reads this process's
/// memory, with the keys in it.
#[derive(Default)]
pub(super) struct Blocks {
    kept: Vec<Block>,
    most_kept: usize,
}

impl KeptMemory {
    pub(super) fn new(set_kib: Option<u32>) -> Self {
        Self {
            kib: AtomicU32::new(set_kib.unwrap_or(Argon2Params::DEFAULT.memory_kib())),
            is_set: set_kib.is_some(),
        }
    }

    /// Keeps at least this much from now on, unless the amount was set.
    pub(super) fn raise_to(&self, kib: u32) {
        if !self.is_set {
            self.kib.fetch_max(kib, Ordering::Relaxed);
        }
    }

    pub(super) fn kib(&self) -> u32 {
        self.kib.load(Ordering::Relaxed)
    }
}

impl Blocks {
    /// Keeps up to this many KiB from now on, and never less than before. The first hash allocates.
    pub(super) fn keep_at_most(&mut self, kib: u32) {
        self.most_kept = self.most_kept.max(kib as usize);
    }

    /// Runs `work` in `count` blocks: in the kept ones, or for a larger hash in fresh ones that are released after it.
    ///
    /// # Errors
    /// When there is not that much memory. An error and not an abort, because the size comes from a record.
    pub(super) fn with<T>(&mut self, count: usize, work: impl FnOnce(&mut [Block]) -> T) -> Result<T, TryReserveError> {
        if count > self.most_kept {
            return Ok(work(&mut zeroed(count)?));
        }
        if self.kept.len() < count {
            // Released first: nothing in them is needed, and both together would raise the peak.
            self.kept = Vec::new();
            self.kept = zeroed(count)?;
        }
        Ok(work(&mut self.kept[..count]))
    }
}

fn zeroed(count: usize) -> Result<Vec<Block>, TryReserveError> {
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(count)?;
    blocks.resize(count, Block::default());
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_memory_follows_policies_unless_set() {
        let (free, set) = (KeptMemory::new(None), KeptMemory::new(Some(8)));
        for memory in [&free, &set] {
            memory.raise_to(8);
        }
        assert_eq!((free.kib(), set.kib()), (Argon2Params::DEFAULT.memory_kib(), 8));
        for memory in [&free, &set] {
            memory.raise_to(128 << 10);
        }
        assert_eq!((free.kib(), set.kib()), (128 << 10, 8));
    }

    #[test]
    fn blocks_are_kept_up_to_the_bound() {
        let mut blocks = Blocks::default();
        blocks.keep_at_most(16);
        let address = |blocks: &mut Blocks, count| blocks.with(count, |slice| slice.as_ptr()).unwrap();
        let first = address(&mut blocks, 16);
        assert_eq!(address(&mut blocks, 8), first);
        assert_eq!(blocks.with(64, |slice| slice.len()).unwrap(), 64);
        assert_eq!(blocks.kept.len(), 16);
        assert_eq!(address(&mut blocks, 16), first);
        blocks.keep_at_most(64);
        let larger = address(&mut blocks, 64);
        assert_eq!((address(&mut blocks, 16), blocks.kept.len()), (larger, 64));
        blocks.keep_at_most(16);
        assert_eq!(address(&mut blocks, 64), larger);
    }

    #[test]
    fn too_much_memory_is_an_error() {
        assert!(Blocks::default().with(usize::MAX / 2, |_| ()).is_err());
    }
}
