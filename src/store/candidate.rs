//! What stores return of keys.

use crate::key::{KeyRecord, KeySecret, Organization, Timestamp, earlier};

/// What a store finds for a lookup: everything needed to decide about a request, as of one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The key's record.
    pub record: KeyRecord,
    /// The secret that the lookup belongs to.
    pub secret: KeySecret,
    /// The organization that owns the key.
    pub organization: Organization,
}

impl Candidate {
    /// A candidate of these parts.
    pub fn new(record: KeyRecord, secret: KeySecret, organization: Organization) -> Self {
        Self {
            record,
            secret,
            organization,
        }
    }

    /// When the key stops working with this secret.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        earlier(self.record.expires_at, self.secret.ends_at())
    }
}

/// A key record with all its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredKey {
    /// The record.
    pub record: KeyRecord,
    /// One secret, or two during a rotation, in the order in which they were inserted.
    pub secrets: Vec<KeySecret>,
}

impl StoredKey {
    /// A key of these parts.
    pub fn new(record: KeyRecord, secrets: Vec<KeySecret>) -> Self {
        Self { record, secrets }
    }
}
