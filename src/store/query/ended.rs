//! Keys that ended long ago.

use std::collections::BTreeSet;

use crate::key::{KeyId, KeyRecord, KeyStatus, Timestamp};
use crate::store::StoredKey;
use crate::store::query::{Answer, Query, TypedQuery};

/// Keys of all organizations that ended at a time or before it, those that ended first in front, at most 1,000: what
/// retention deletes.
///
/// A key that made others is not among them while one of those is there: what its creator made is found through it.
///
/// The policy of an organization may end keys sooner than they say themselves; that does not count here, since it may be
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct EndedKeys {
    /// The last time at which they ended.
    pub until: Timestamp,
    /// Those that were revoked, by the time of that; otherwise those that have expired and were not revoked.
    pub revoked: bool,
}

impl EndedKeys {
    /// Keys in one answer.
    pub const MOST: usize = 1000;

    /// Those whose own end is at this time or before it, and that are not revoked.
    pub fn expired(until: Timestamp) -> Self {
        Self { until, revoked: false }
    }

    /// Those that were revoked at this time or before it.
    pub fn revoked(until: Timestamp) -> Self {
        Self { until, revoked: true }
    }

    /// The answer, for stores that hold rows in memory.
    pub fn among<'k>(&self, keys: impl IntoIterator<Item = &'k StoredKey>) -> Vec<KeyRecord> {
        let records: Vec<&KeyRecord> = keys.into_iter().map(|key| &key.record).collect();
        let creators: BTreeSet<KeyId> = records.iter().filter_map(|record| record.created_by_key).collect();
        let mut ended: Vec<(Timestamp, &KeyRecord)> = records
            .into_iter()
            .filter(|record| !creators.contains(&record.id))
            .filter_map(|record| Some((self.end_of(record)?, record)))
            .filter(|(end, _)| *end <= self.until)
            .collect();
        ended.sort_unstable_by_key(|(end, record)| (*end, record.id));
        let first = ended.into_iter().take(Self::MOST);
        first.map(|(_, record)| record.clone()).collect()
    }

    fn end_of(&self, record: &KeyRecord) -> Option<Timestamp> {
        match (self.revoked, record.status == KeyStatus::Revoked) {
            (true, true) => record.revocation.as_ref().map(|revocation| revocation.at),
            (false, false) => record.expires_at,
            _ => None,
        }
    }
}

impl TypedQuery for EndedKeys {
    type Output = Vec<KeyRecord>;

    fn query(self) -> Query {
        Query::EndedKeys(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::KeyRecords(records) => Some(records),
            _ => None,
        }
    }
}
