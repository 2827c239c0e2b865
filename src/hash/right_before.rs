//! Keys that were right before, so that they need not wait behind a flood when they are hashed again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Remembers 32 bits of the tags of keys with slow hashes that were admitted. Tags are hashes that begin with a secret of this
/// process, and nothing of this is stored: in a store it would be a fast hash of the keys, beside the slow one.
///
/// By the tag of the whole key: by the lookup, which is no secret, wrong keys would go ahead too. A key in it still has to be
/// hashed; it only waits less.
#[derive(Default)]
pub(crate) struct RightBefore(OnceLock<Box<[AtomicU32]>>);

/// More than the cache holds by default; 512 KiB, once there is a key.
const PLACES: usize = 1 << 17;

impl RightBefore {
    /// The key with this tag was admitted.
    pub(crate) fn insert(&self, tag: u64) {
        let places = self.0.get_or_init(|| (0..PLACES).map(|_| AtomicU32::new(0)).collect());
        let (place, bits) = place(tag);
        if let Some(place) = places.get(place) {
            place.store(bits, Ordering::Relaxed);
        }
    }

    pub(crate) fn contains(&self, tag: u64) -> bool {
        let (place, bits) = place(tag);
        self.at(place)
            .is_some_and(|known| known.load(Ordering::Relaxed) == bits)
    }

    /// The key is wrong, or may not be used any more.
    pub(crate) fn remove(&self, tag: u64) {
        let (place, bits) = place(tag);
        if let Some(known) = self.at(place) {
            // Another key may have taken its place.
            let _ = known.compare_exchange(bits, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn at(&self, place: usize) -> Option<&AtomicU32> {
        self.0.get()?.get(place)
    }
}

/// The place of a key, and its bits: never zero, which is an empty place.
fn place(tag: u64) -> (usize, u32) {
    ((tag >> 32) as usize % PLACES, (tag as u32).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_known_until_it_is_removed_and_others_never() {
        let known = RightBefore::default();
        let right = 0x0123_4567_89ab_cdef;
        assert!(!known.contains(right));
        known.remove(right);
        known.insert(right);
        // With the same place, and with the same bits.
        for wrong in [right + 1, right + (1 << 32)] {
            assert!(!known.contains(wrong));
            known.remove(wrong);
        }
        assert!(known.contains(right));
        known.remove(right);
        assert!(!known.contains(right));
    }

    #[test]
    fn later_key_takes_the_place_of_an_earlier_one() {
        let known = RightBefore::default();
        let (earlier, later) = (7, (PLACES as u64) << 32 | 8);
        known.insert(earlier);
        known.insert(later);
        known.remove(earlier);
        assert!(known.contains(later) && !known.contains(earlier));
        // No place is of a key with bits of zero.
        assert!(!known.contains(5 << 32));
        known.insert(5 << 32);
        assert!(known.contains(5 << 32));
    }
}
