//! Memory that Argon2 works in, kept from one hash to the next.

use std::collections::TryReserveError;

use argon2::Block;

/// The memory that Argon2 works in, kept from one hash to the next.
///
/// Fresh memory costs more than the hash itself: the system hands out every page only when it is first touched, and
/// zeroes it then. What an earlier hash left in the blocks is overwritten by the next one before it is read; it is not
/// wiped in between, which would cost a good part of what keeping gains and protect only against someone who reads this
/// process's memory, keys in flight included.
#[derive(Default)]
pub(super) struct Blocks {
    kept: Vec<Block>,
    most_kept: usize,
}

impl Blocks {
    /// Keeps at most this many KiB from now on, and never less than before. Nothing is allocated before the first hash.
    pub(super) fn keep_at_most(&mut self, kib: u32) {
        self.most_kept = self.most_kept.max(kib as usize);
    }

    /// Runs `work` in `count` blocks: in kept ones, or, for a hash bigger than those, in some that are released after.
    ///
    /// # Errors
    /// When there is not that much memory: an error and not an abort, because the size comes from a record.
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
    fn blocks_are_kept_up_to_the_bound_and_no_further() {
        let mut blocks = Blocks::default();
        blocks.keep_at_most(16);
        let place = |blocks: &mut Blocks, count| blocks.with(count, |slice| slice.as_ptr()).unwrap();
        let first = place(&mut blocks, 16);
        assert_eq!(place(&mut blocks, 8), first);
        assert_eq!(blocks.with(64, |slice| slice.len()).unwrap(), 64);
        assert_eq!(blocks.kept.len(), 16);
        assert_eq!(place(&mut blocks, 16), first);
        blocks.keep_at_most(64);
        let larger = place(&mut blocks, 64);
        assert_eq!((place(&mut blocks, 16), blocks.kept.len()), (larger, 64));
    }

    #[test]
    fn memory_that_does_not_exist_is_an_error() {
        assert!(Blocks::default().with(usize::MAX / 2, |_| ()).is_err());
    }
}
