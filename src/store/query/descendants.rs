//! The keys that a key made, those that they made, and so on.

use std::collections::{BTreeSet, HashMap};

use crate::key::{KeyId, KeyRecord};
use crate::store::StoredKey;
use crate::store::query::{Answer, Query, TypedQuery};

/// The keys that this one created, those that they created, and so on, ordered by id; at most 65,536 of them. The key itself is
/// not among them, even if rows that were written by hand make a circle.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct DescendantsOf(pub KeyId);

impl DescendantsOf {
    /// The most keys in an answer. One with so many may not be complete.
    pub const MOST: usize = 65_536;

    /// The answer, for stores that hold their keys in memory.
    pub fn among<'k>(self, keys: impl Iterator<Item = &'k StoredKey>) -> Vec<KeyRecord> {
        let mut made_by: HashMap<KeyId, Vec<&KeyRecord>> = HashMap::new();
        for key in keys {
            if let Some(creator) = key.record.created_by_key {
                made_by.entry(creator).or_default().push(&key.record);
            }
        }
        let mut seen = BTreeSet::from([self.0]);
        let mut found: Vec<&KeyRecord> = Vec::new();
        let (mut next, mut place) = (Some(self.0), 0);
        while let Some(creator) = next {
            for record in made_by.get(&creator).into_iter().flatten() {
                if found.len() < Self::MOST && seen.insert(record.id) {
                    found.push(record);
                }
            }
            next = found.get(place).map(|record| record.id);
            place += 1;
        }
        found.sort_unstable_by_key(|record| record.id);
        found.into_iter().cloned().collect()
    }
}

impl TypedQuery for DescendantsOf {
    type Output = Vec<KeyRecord>;

    fn query(self) -> Query {
        Query::DescendantsOf(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::KeyRecords(records) => Some(records),
            _ => None,
        }
    }
}
