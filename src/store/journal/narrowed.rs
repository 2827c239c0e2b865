//! What was taken from keys, as the journal keeps it, and how rows lose it again.

use uuid::Uuid;

use crate::key::{
    Actor, Features, KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Networks, Organization, OrganizationId,
    OrganizationStatus, Policy, Revocation, Role, RoleNames, ScopeSet, Timestamp, User, UserId, UserStatus, earlier,
};

/// What a row allows since a change that took something from it, or gave something back. The newest one of a row counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Narrowed {
    /// A key that is deleted is one that is revoked.
    Key(Box<KeyBounds>),
    Secret {
        key: KeyId,
        lookup: Lookup,
        ends_at: Option<Timestamp>,
    },
    /// An organization that is deleted is one that is inactive.
    Organization {
        id: OrganizationId,
        is_active: bool,
        policy: Box<Policy>,
        requires: Features,
    },
    User {
        organization: OrganizationId,
        user: UserId,
        is_active: bool,
    },
    Role {
        name: String,
        scopes: ScopeSet,
    },
    /// The end of keys with a CRC-32.
    Crc {
        until: Timestamp,
    },
}

/// What a key may do at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct KeyBounds {
    pub(super) id: KeyId,
    pub(super) status: KeyStatus,
    pub(super) scopes: ScopeSet,
    pub(super) roles: RoleNames,
    pub(super) networks: Networks,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) requires: Features,
    pub(super) is_canary: bool,
}

impl Narrowed {
    /// What an update of a key changes of what it may do; `None` if nothing.
    pub(in crate::store) fn of_key(before: &KeyRecord, after: &KeyRecord) -> Option<Self> {
        let (before, after) = (KeyBounds::of(before), KeyBounds::of(after));
        (before != after).then(|| Self::Key(Box::new(after)))
    }

    /// What is left of a key that is deleted: a backup has it. `None` if it opened nothing any more.
    pub(in crate::store) fn of_deleted_key(record: &KeyRecord, now: Timestamp) -> Option<Self> {
        let is_over = record.expires_at.is_some_and(|end| end <= now);
        if is_over || record.status == KeyStatus::Revoked {
            return None;
        }
        let mut bounds = KeyBounds::of(record);
        bounds.status = KeyStatus::Revoked;
        Some(Self::Key(Box::new(bounds)))
    }

    /// What a change of a secret's ends leaves of it.
    pub(in crate::store) fn of_secret(key: KeyId, before: &KeySecret, ends_at: Option<Timestamp>) -> Option<Self> {
        (before.ends_at() != ends_at).then(|| Self::Secret {
            key,
            lookup: before.lookup.clone(),
            ends_at,
        })
    }

    pub(in crate::store) fn of_organization(before: &Organization, after: &Organization) -> Option<Self> {
        let bounds = |row: &Organization| Self::Organization {
            id: row.id,
            is_active: row.status == OrganizationStatus::Active,
            policy: Box::new(row.policy.clone()),
            requires: row.requires.clone(),
        };
        let after = bounds(after);
        (bounds(before) != after).then_some(after)
    }

    pub(in crate::store) fn of_deleted_organization(before: &Organization) -> Option<Self> {
        let mut after = before.clone();
        after.status = OrganizationStatus::Inactive;
        Self::of_organization(before, &after)
    }

    /// A user without a row is active.
    pub(in crate::store) fn of_user(before: Option<&User>, after: &User) -> Option<Self> {
        let is_active = after.status == UserStatus::Active;
        let was_active = before.is_none_or(|user| user.status == UserStatus::Active);
        (is_active != was_active).then(|| Self::User {
            organization: after.organization_id,
            user: after.id.clone(),
            is_active,
        })
    }

    /// A role that is deleted has no scopes.
    pub(in crate::store) fn of_role(before: &Role, scopes: &ScopeSet) -> Option<Self> {
        (before.scopes != *scopes).then(|| Self::Role {
            name: before.name.clone(),
            scopes: scopes.clone(),
        })
    }

    /// Whose row it is, to tell which is the newest one of each.
    pub(in crate::store) fn subject(&self) -> Vec<u8> {
        let (kind, id, name) = match self {
            Self::Key(bounds) => (1, bounds.id.as_uuid(), ""),
            Self::Secret { lookup, .. } => (2, Uuid::nil(), lookup.as_str()),
            Self::Organization { id, .. } => (3, id.as_uuid(), ""),
            Self::User { organization, user, .. } => (4, organization.as_uuid(), user.as_str()),
            Self::Role { name, .. } => (5, Uuid::nil(), &**name),
            Self::Crc { .. } => (6, Uuid::nil(), ""),
        };
        let mut subject = vec![kind];
        subject.extend(id.as_bytes());
        subject.extend(name.as_bytes());
        subject
    }
}

impl KeyBounds {
    fn of(record: &KeyRecord) -> Self {
        Self {
            id: record.id,
            status: record.status,
            scopes: record.scopes.clone(),
            roles: record.roles.clone(),
            networks: record.networks.clone(),
            expires_at: record.expires_at,
            requires: record.requires.clone(),
            is_canary: record.is_canary,
        }
    }

    pub(in crate::store) fn id(&self) -> KeyId {
        self.id
    }

    /// The record with no more than this. It never gets more than it has.
    pub(in crate::store) fn applied(&self, stored: &KeyRecord, now: Timestamp) -> KeyRecord {
        let mut record = stored.clone();
        record.status = match (stored.status, self.status) {
            (KeyStatus::Revoked, _) | (_, KeyStatus::Revoked) => KeyStatus::Revoked,
            (KeyStatus::Disabled, _) | (_, KeyStatus::Disabled) => KeyStatus::Disabled,
            _ => KeyStatus::Active,
        };
        if record.status == KeyStatus::Revoked && record.revocation.is_none() {
            record.revocation = Some(Revocation::new(now, REASON, Actor::system()));
        }
        if !self.scopes.includes(&record.scopes) {
            record.scopes = record.scopes.intersection(&self.scopes);
        }
        let both = record.roles.iter().filter(|name| self.roles.contains(name));
        // Of names that are in a set already.
        record.roles = RoleNames::new(both).unwrap_or_default();
        let is_inside = |network: &ipnet::IpNet| self.networks.iter().any(|around| around.contains(network));
        let are_inside = !record.networks.is_empty() && record.networks.iter().all(is_inside);
        if !self.networks.is_empty() && !are_inside {
            record.networks = self.networks.clone();
        }
        record.expires_at = earlier(record.expires_at, self.expires_at);
        record.requires = all_of(&record.requires, &self.requires);
        record.is_canary |= self.is_canary;
        record
    }
}

/// The policy with no more than this one allows.
pub(in crate::store) fn stricter(stored: &Policy, journal: &Policy) -> Policy {
    let mut policy = stored.clone();
    policy.longest_life = match (stored.longest_life, journal.longest_life) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    policy.requires_expiry |= journal.requires_expiry;
    policy.requires_networks |= journal.requires_networks;
    policy.grantable = match (&stored.grantable, &journal.grantable) {
        (Some(one), Some(other)) if !other.includes(one) => Some(one.intersection(other)),
        (one, other) => one.clone().or_else(|| other.clone()),
    };
    policy
}

/// The features of both sets. Of too many, the ones that were there stay, which is one answer with 503.
pub(in crate::store) fn all_of(one: &Features, other: &Features) -> Features {
    Features::new(one.iter().chain(other.iter())).unwrap_or_else(|_| one.clone())
}

/// The reason of a revocation that a restored backup had undone.
const REASON: &str = "revoked before a backup was restored";
