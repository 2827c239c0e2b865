//! What stores return of keys.

use crate::key::{KeyRecord, KeySecret, Organization, Plan, ScopeSet, User};

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
    /// The plan of the organization.
    pub plan: Option<Plan>,
    /// The user the key acts for, if it has a row.
    pub user: Option<User>,
    /// The scopes of all roles that the key has.
    pub role_scopes: ScopeSet,
}

impl Candidate {
    /// A candidate of these parts, without a plan, a row of its user, and roles.
    pub fn new(record: KeyRecord, secret: KeySecret, organization: Organization) -> Self {
        Self {
            record,
            secret,
            organization,
            plan: None,
            user: None,
            role_scopes: ScopeSet::default(),
        }
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
