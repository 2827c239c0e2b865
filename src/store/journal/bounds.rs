//! What keys, organizations and plans may do at most, and their rows with no more than that.

use super::limits::{are_same, own_of, tighter, tighter_below};
use crate::key::{
    Actor, Features, Holds, KeyId, KeyRecord, KeyStatus, LimitNames, Networks, Organization, OrganizationId,
    OrganizationStatus, Plan, Policy, RateLimit, Revocation, RoleNames, ScopeSet, Timestamp, UserId, earlier,
};
use crate::store::effective::{key_limits, max_keys, overridden, shared_limits};

/// What a key may do at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct KeyBounds {
    pub(super) id: KeyId,
    pub(super) status: KeyStatus,
    pub(super) holds: Holds,
    pub(super) user: Option<UserId>,
    pub(super) ends_with_user: bool,
    pub(super) scopes: ScopeSet,
    pub(super) roles: RoleNames,
    pub(super) networks: Networks,
    pub(super) limits: Vec<RateLimit>,
    pub(super) lifted_limits: LimitNames,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) requires: Features,
    pub(super) is_canary: bool,
}

/// What an organization allows its keys at most. Limits are those that hold, of its plan and its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct OrganizationBounds {
    pub(super) id: OrganizationId,
    pub(super) is_active: bool,
    pub(super) is_operator: bool,
    pub(super) policy: Policy,
    pub(super) requires: Features,
    pub(super) limits: Vec<RateLimit>,
    pub(super) key_limits: Vec<RateLimit>,
    pub(super) max_keys: Option<u32>,
}

impl KeyBounds {
    pub(super) fn of(record: &KeyRecord) -> Self {
        if record.status == KeyStatus::Revoked {
            return Self::revoked(record.id);
        }
        Self {
            id: record.id,
            status: record.status,
            holds: record.holds.clone(),
            user: record.user.clone(),
            ends_with_user: record.ends_with_user,
            scopes: record.scopes.clone(),
            roles: record.roles.clone(),
            networks: record.networks.clone(),
            limits: record.limits.clone(),
            lifted_limits: record.lifted_limits.clone(),
            expires_at: record.expires_at,
            requires: record.requires.clone(),
            is_canary: record.is_canary,
        }
    }

    /// Of a revoked key nothing else counts: there may be millions.
    pub(super) fn revoked(id: KeyId) -> Self {
        Self {
            id,
            status: KeyStatus::Revoked,
            holds: Holds::default(),
            user: None,
            ends_with_user: false,
            scopes: ScopeSet::default(),
            roles: RoleNames::default(),
            networks: Networks::default(),
            limits: Vec::new(),
            lifted_limits: LimitNames::default(),
            expires_at: None,
            requires: Features::default(),
            is_canary: false,
        }
    }

    pub(in crate::store) fn id(&self) -> KeyId {
        self.id
    }

    /// The record with no more than this. It never gets more than it has. `given` are the limits that plan and organization give
    /// each key.
    pub(in crate::store) fn applied(&self, stored: &KeyRecord, given: &[RateLimit], now: Timestamp) -> KeyRecord {
        let mut record = stored.clone();
        self.stop(&mut record, now);
        if self.status == KeyStatus::Revoked {
            return record;
        }
        // That of another user may be disabled, or not.
        record.user = stored.user.clone().or_else(|| self.user.clone());
        record.ends_with_user |= self.ends_with_user && record.user.is_some();
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
        let has = overridden(given, &record.limits, &record.lifted_limits);
        let both = tighter_below(&has, &overridden(given, &self.limits, &self.lifted_limits), given);
        if !are_same(&has, &both) {
            (record.limits, record.lifted_limits) = own_of(&both, given);
        }
        record.expires_at = earlier(record.expires_at, self.expires_at);
        record.requires = all_of(&record.requires, &self.requires);
        record.is_canary |= self.is_canary;
        record
    }

    fn stop(&self, record: &mut KeyRecord, now: Timestamp) {
        let was = record.status;
        record.status = match (was, self.status) {
            (KeyStatus::Revoked, _) | (_, KeyStatus::Revoked) => KeyStatus::Revoked,
            (KeyStatus::Disabled, _) | (_, KeyStatus::Disabled) => KeyStatus::Disabled,
            _ => KeyStatus::Active,
        };
        record.holds = match (was, self.status) {
            _ if record.status != KeyStatus::Disabled => Holds::default(),
            (KeyStatus::Active, _) => self.holds.clone(),
            (_, KeyStatus::Active) => record.holds.clone(),
            _ => both_holds(&record.holds, &self.holds),
        };
        if record.status == KeyStatus::Revoked && record.revocation.is_none() {
            record.revocation = Some(Revocation::new(now, REASON, Actor::system()));
        }
    }
}

impl OrganizationBounds {
    pub(super) fn of(organization: &Organization, plan: Option<&Plan>) -> Self {
        Self {
            id: organization.id,
            is_active: organization.status == OrganizationStatus::Active,
            is_operator: organization.is_operator,
            policy: organization.policy.clone(),
            requires: organization.requires.clone(),
            limits: shared_limits(organization, plan),
            key_limits: key_limits(organization, plan),
            max_keys: max_keys(organization, plan),
        }
    }

    pub(in crate::store) fn id(&self) -> OrganizationId {
        self.id
    }

    /// The row with no more than this. What its plan allows beyond that, it overrides.
    pub(in crate::store) fn applied(&self, stored: &Organization, plan: Option<&Plan>) -> Organization {
        let mut row = stored.clone();
        if !self.is_active {
            row.status = OrganizationStatus::Inactive;
        }
        row.is_operator &= self.is_operator;
        row.policy = stricter(&row.policy, &self.policy);
        row.requires = all_of(&row.requires, &self.requires);
        let given = plan.map_or(&[][..], |plan| &plan.limits);
        let has = shared_limits(stored, plan);
        let both = tighter_below(&has, &self.limits, given);
        if !are_same(&has, &both) {
            (row.limits, row.lifted_limits) = own_of(&both, given);
        }
        let given = plan.map_or(&[][..], |plan| &plan.key_limits);
        let has = key_limits(stored, plan);
        let both = tighter_below(&has, &self.key_limits, given);
        if !are_same(&has, &both) {
            (row.key_limits, row.lifted_key_limits) = own_of(&both, given);
        }
        let has = max_keys(stored, plan);
        let both = fewer(has, self.max_keys);
        if has != both {
            row.max_keys = both;
        }
        row
    }
}

/// The plan with no more than these limits.
pub(in crate::store) fn tighter_plan(
    stored: &Plan,
    limits: &[RateLimit],
    key_limits: &[RateLimit],
    max_keys: Option<u32>,
) -> Plan {
    let mut plan = stored.clone();
    plan.limits = tighter(&stored.limits, limits);
    plan.key_limits = tighter(&stored.key_limits, key_limits);
    plan.max_keys = fewer(stored.max_keys, max_keys);
    plan
}

/// The policy with no more than this one allows.
fn stricter(stored: &Policy, journal: &Policy) -> Policy {
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
fn all_of(one: &Features, other: &Features) -> Features {
    Features::new(one.iter().chain(other.iter())).unwrap_or_else(|_| one.clone())
}

/// What keeps a key disabled that two rows say is disabled: one without any is disabled by itself.
fn both_holds(one: &Holds, other: &Holds) -> Holds {
    if one.is_empty() && other.is_empty() {
        return Holds::default();
    }
    let of = |holds: &Holds| match holds.is_empty() {
        true => vec![Holds::ITSELF.to_owned()],
        false => holds.iter().map(str::to_owned).collect(),
    };
    let both = [of(one), of(other)].concat();
    // With too many, it stays disabled until somebody enables the key itself.
    Holds::new(both.iter().map(|name| &**name)).unwrap_or_default()
}

/// The lower of two numbers, either of which may be open.
fn fewer(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The reason of a revocation that a restored backup had undone.
const REASON: &str = "revoked before a backup was restored";
