//! The keys that a key made, those that they made, and so on.

use std::collections::{BTreeSet, HashMap};

use crate::key::{KeyId, KeyRecord};
use crate::store::StoredKey;
use crate::store::query::{Answer, Query, TypedQuery};

/// The keys that this one created, those that they created, and so on, ordered by id: the first 65,536 of them, or the first after
/// another one. The key itself is not among them, even if rows that were written by hand make a circle.
///
/// Those that were created since have higher ids, apart from what clocks of several servers differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct DescendantsOf {
    /// The key that made them.
    pub key: KeyId,
    /// Only those with a higher id than this.
    pub after: Option<KeyId>,
}

impl DescendantsOf {
    /// The most keys in an answer. After one with so many there may be more.
    pub const MOST: usize = 65_536;

    /// The first ones of this key.
    pub fn key(key: KeyId) -> Self {
        Self { key, after: None }
    }

    /// Those after this one.
    pub fn after(self, last: KeyId) -> Self {
        Self {
            after: Some(last),
            ..self
        }
    }

    /// The answer, for stores that hold their keys in memory.
    pub fn among<'k>(self, keys: impl Iterator<Item = &'k StoredKey>) -> Vec<KeyRecord> {
        let mut made_by: HashMap<KeyId, Vec<&KeyRecord>> = HashMap::new();
        for key in keys {
            if let Some(creator) = key.record.created_by_key {
                made_by.entry(creator).or_default().push(&key.record);
            }
        }
        let mut seen = BTreeSet::from([self.key]);
        let mut found: Vec<&KeyRecord> = Vec::new();
        let (mut next, mut place) = (Some(self.key), 0);
        while let Some(creator) = next {
            let made = made_by.get(&creator).into_iter().flatten();
            found.extend(made.filter(|record| seen.insert(record.id)));
            next = found.get(place).map(|record| record.id);
            place += 1;
        }
        found.retain(|record| self.after.is_none_or(|last| record.id > last));
        found.sort_unstable_by_key(|record| record.id);
        found.into_iter().take(Self::MOST).cloned().collect()
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
