//! The row people manage, and the secrets that open it.

use crate::key::{
    KeyId, Lookup, Metadata, Networks, OrganizationId, RateLimit, ScopeSet, SecretHash, Timestamp, UserId,
};

/// Whether a key works, apart from its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyStatus {
    /// It works.
    Active,
    /// It does not work until it is enabled again.
    Disabled,
    /// It never works again.
    Revoked,
}

/// Who ended a key, when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why, in people's words; may be empty.
    pub reason: String,
    /// Who, as the service names its people; may be empty.
    pub actor: String,
}

impl Revocation {
    /// A revocation at this time.
    pub fn new(at: Timestamp, reason: impl Into<String>, actor: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
            actor: actor.into(),
        }
    }
}

/// The record of a key: everything but its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRecord {
    /// Names it for ever.
    pub id: KeyId,
    /// Who owns it; never changes.
    pub organization_id: OrganizationId,
    /// The user it acts for.
    pub user: Option<UserId>,
    /// What people call it.
    pub name: String,
    /// The prefix its keys start with; must equal that of the presented key.
    pub prefix: String,
    /// The environment its keys name (`live`, `test`); must equal that of the presented key.
    pub environment: Option<String>,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Where it may be used from.
    pub networks: Networks,
    /// How often it may be used; [`Issuer`](crate::Issuer) takes at most 16.
    pub limits: Vec<RateLimit>,
    /// The service's own words on it.
    pub metadata: Metadata,
    /// Whether it works.
    pub status: KeyStatus,
    /// Set when it was revoked.
    pub revocation: Option<Revocation>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it no longer works.
    pub expires_at: Option<Timestamp>,
    /// Counts its committed changes, from 1; a store only ever raises it.
    pub revision: u64,
}

impl KeyRecord {
    /// A new, active record of this organization: no prefix, no scopes, usable from anywhere, no limits, no expiry.
    pub fn new(organization_id: OrganizationId, name: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            id: KeyId::new(),
            organization_id,
            user: None,
            name: name.into(),
            prefix: String::new(),
            environment: None,
            scopes: ScopeSet::default(),
            networks: Networks::default(),
            limits: Vec::new(),
            metadata: Metadata::default(),
            status: KeyStatus::Active,
            revocation: None,
            created_at,
            expires_at: None,
            revision: 1,
        }
    }
}

/// One (lookup, hash) pair of a key record; a record has one, or two while a rotation is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySecret {
    /// What it is found by.
    pub lookup: Lookup,
    /// What the presented key is verified against.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on this secret no longer works: the end of its grace after a rotation.
    pub expires_at: Option<Timestamp>,
}

impl KeySecret {
    /// A secret without an end of its own.
    pub fn new(lookup: Lookup, hash: SecretHash, created_at: Timestamp) -> Self {
        Self {
            lookup,
            hash,
            created_at,
            expires_at: None,
        }
    }
}
