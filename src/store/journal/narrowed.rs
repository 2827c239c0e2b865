//! What was taken from keys, as the journal keeps it.

use super::bounds::{KeyBounds, OrganizationBounds};
use super::row::RowName;
use crate::key::{
    KeyId, KeyRecord, KeySecret, KeyStatus, Lookup, Organization, OrganizationId, Plan, PlanId, RateLimit, Role,
    ScopeSet, Timestamp, User, UserId, UserStatus,
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
    Organization(Box<OrganizationBounds>),
    User {
        organization: OrganizationId,
        user: UserId,
        is_active: bool,
    },
    Role {
        name: String,
        scopes: ScopeSet,
    },
    Plan {
        id: PlanId,
        limits: Vec<RateLimit>,
        key_limits: Vec<RateLimit>,
        max_keys: Option<u32>,
    },
    /// The end of keys with a CRC-32.
    Crc {
        until: Timestamp,
    },
}

impl Narrowed {
    /// What an update of a key changes of what it may do; `None` if nothing.
    pub(in crate::store) fn of_key(before: &KeyRecord, after: &KeyRecord) -> Option<Self> {
        let after = KeyBounds::of(after);
        (KeyBounds::of(before) != after).then(|| Self::Key(Box::new(after)))
    }

    /// What is left of a key that is deleted: a backup has it. `None` if it opened nothing any more.
    pub(in crate::store) fn of_deleted_key(record: &KeyRecord, now: Timestamp) -> Option<Self> {
        let is_over = record.expires_at.is_some_and(|end| end <= now);
        if is_over || record.status == KeyStatus::Revoked {
            return None;
        }
        Some(Self::of_missing_key(record.id))
    }

    pub(in crate::store) fn of_key_as_it_is(record: &KeyRecord) -> Self {
        Self::Key(Box::new(KeyBounds::of(record)))
    }

    pub(in crate::store) fn of_missing_key(id: KeyId) -> Self {
        Self::Key(Box::new(KeyBounds::revoked(id)))
    }

    /// What a change of a secret's ends leaves of it.
    pub(in crate::store) fn of_secret(key: KeyId, before: &KeySecret, ends_at: Option<Timestamp>) -> Option<Self> {
        (before.ends_at() != ends_at).then(|| Self::Secret {
            key,
            lookup: before.lookup.clone(),
            ends_at,
        })
    }

    /// An organization, with its plan.
    pub(in crate::store) fn of_organization(organization: &Organization, plan: Option<&Plan>) -> Self {
        Self::Organization(Box::new(OrganizationBounds::of(organization, plan)))
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

    pub(in crate::store) fn of_plan(plan: &Plan) -> Self {
        Self::Plan {
            id: plan.id,
            limits: plan.limits.clone(),
            key_limits: plan.key_limits.clone(),
            max_keys: plan.max_keys,
        }
    }

    /// Whose row it is, to tell which is the newest one of each.
    pub(in crate::store) fn row(&self) -> RowName {
        match self {
            Self::Key(bounds) => RowName::Key(bounds.id()),
            Self::Secret { lookup, .. } => RowName::Secret(lookup.clone()),
            Self::Organization(bounds) => RowName::Organization(bounds.id()),
            Self::User { organization, user, .. } => RowName::User(*organization, user.clone()),
            Self::Role { name, .. } => RowName::Role(name.clone()),
            Self::Plan { id, .. } => RowName::Plan(*id),
            Self::Crc { .. } => RowName::Crc,
        }
    }
}
