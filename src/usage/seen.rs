//! Which numbers of a source were stored.

use std::collections::BTreeMap;

/// The numbers that were stored: all below a mark, and ranges beyond it. What is stored out of order waits there until the gap is filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    below: u64,
    beyond: BTreeMap<u64, u64>,
}

impl Seen {
    /// Adds the numbers from `first` up to below `end`; whether none of them was there before. Batches never overlap in part.
    pub(crate) fn add(&mut self, first: u64, end: u64) -> bool {
        if first < self.below || self.beyond.contains_key(&first) {
            return false;
        }
        self.beyond.insert(first, end);
        while let Some(end) = self.beyond.remove(&self.below) {
            self.below = end;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_is_added_once_in_any_order() {
        let mut seen = Seen::default();
        assert!(seen.add(10, 20) && !seen.add(10, 20));
        assert_eq!(seen.below, 0);
        assert!(seen.add(0, 10));
        assert_eq!((seen.below, seen.beyond.len()), (20, 0));
        assert!(!seen.add(0, 10) && !seen.add(10, 20) && seen.add(20, 21));
    }
}
