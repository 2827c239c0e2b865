//! What holds for a key, with what its plan, its organization, its roles and its user say.

use crate::key::{
    KeyRecord, KeyStatus, LimitNames, Organization, OrganizationStatus, Plan, RateLimit, ScopeSet, Timestamp,
    UserStatus, earlier, knows_all_of,
};
use crate::store::Candidate;

/// Why a key whose secret is right does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// Something about it needs a feature that this version does not have.
    UnknownFeature,
    Canary,
    Revoked,
    Disabled,
    OrganizationInactive,
    UserDisabled,
}

impl Candidate {
    /// What keeps the key from opening, apart from its end.
    pub(crate) fn barrier(&self) -> Option<Barrier> {
        let (record, organization) = (&self.record, &self.organization);
        // First: what is not known may change the meaning of everything else.
        if !knows_all_of(&record.requires) || !knows_all_of(&organization.requires) {
            return Some(Barrier::UnknownFeature);
        }
        if record.is_canary {
            return Some(Barrier::Canary);
        }
        match record.status {
            KeyStatus::Active => {}
            KeyStatus::Disabled => return Some(Barrier::Disabled),
            KeyStatus::Revoked => return Some(Barrier::Revoked),
        }
        if organization.status != OrganizationStatus::Active {
            return Some(Barrier::OrganizationInactive);
        }
        let is_disabled = |user: &crate::key::User| user.status != UserStatus::Active;
        self.user
            .as_ref()
            .is_some_and(is_disabled)
            .then_some(Barrier::UserDisabled)
    }

    /// When the key stops working with this secret: at its own end, at the secret's, or at the end of the longest life.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        let longest = self.organization.policy.longest_life;
        let end_of_life = longest.map(|life| self.record.created_at.after(life));
        earlier(earlier(self.record.expires_at, self.secret.ends_at()), end_of_life)
    }

    /// What the key may do: its own scopes and those of its roles, as far as the organization grants them.
    pub(crate) fn scopes(&self) -> ScopeSet {
        let all = self.record.scopes.union(&self.role_scopes);
        match &self.organization.policy.grantable {
            Some(grantable) => all.intersection(grantable),
            None => all,
        }
    }

    /// Whether the key works at this time, is of the operator's organization, and may manage keys: one that has a scope that
    /// begins with `api-keys.`. For stores that check [`Guard::OperatorKeyLives`](crate::store::Guard::OperatorKeyLives).
    pub fn administers(&self, at: Timestamp) -> bool {
        self.organization.is_operator && self.works(at) && self.scopes().has_management()
    }

    /// Whether the key opens at this time, from some address.
    pub(crate) fn works(&self, at: Timestamp) -> bool {
        self.barrier().is_none() && !self.lacks_networks() && self.ends_at().is_none_or(|end| end > at)
    }

    /// The limits that the key has for itself.
    pub(crate) fn key_limits(&self) -> Vec<RateLimit> {
        self.key_limits_of(&self.record)
    }

    /// The limits that a key with this record has for itself, if it is of the same organization.
    pub(crate) fn key_limits_of(&self, record: &KeyRecord) -> Vec<RateLimit> {
        overridden(&self.given_key_limits(), &record.limits, &record.lifted_limits)
    }

    /// The limits that its plan and its organization give each key.
    pub(crate) fn given_key_limits(&self) -> Vec<RateLimit> {
        key_limits(&self.organization, self.plan.as_ref())
    }

    /// The limits that all keys of the organization share.
    pub(crate) fn shared_limits(&self) -> Vec<RateLimit> {
        shared_limits(&self.organization, self.plan.as_ref())
    }

    /// Whether the key must be bound to networks and is not.
    pub(crate) fn lacks_networks(&self) -> bool {
        self.organization.policy.requires_networks && self.record.networks.is_empty()
    }
}

/// The limits that plan and organization give each key.
pub(crate) fn key_limits(organization: &Organization, plan: Option<&Plan>) -> Vec<RateLimit> {
    let of_plan = plan.map_or(&[][..], |plan| &plan.key_limits);
    overridden(of_plan, &organization.key_limits, &organization.lifted_key_limits)
}

/// The limits that all keys of an organization share.
pub(super) fn shared_limits(organization: &Organization, plan: Option<&Plan>) -> Vec<RateLimit> {
    let of_plan = plan.map_or(&[][..], |plan| &plan.limits);
    overridden(of_plan, &organization.limits, &organization.lifted_limits)
}

/// How many keys an organization may have.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) fn max_keys(organization: &Organization, plan: Option<&Plan>) -> Option<u32> {
    organization.max_keys.or_else(|| plan?.max_keys)
}

/// The limits of a level below: its own first, then those of the level above that it neither overrides nor lifts.
pub(super) fn overridden(above: &[RateLimit], own: &[RateLimit], lifted: &LimitNames) -> Vec<RateLimit> {
    let has_own = |limit: &RateLimit| own.iter().any(|other| other.name() == limit.name());
    let inherited = above
        .iter()
        .filter(|limit| !has_own(limit) && !lifted.contains(limit.name()));
    own.iter().chain(inherited).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::{KeySecret, Lookup, OrganizationId, SecretHash, User};

    fn candidate() -> Candidate {
        let organization = Organization::new("Acme");
        let created = Timestamp::from_millis(1_000);
        let record = KeyRecord::new(organization.id, "orders", created);
        let hash = SecretHash::new("sha256:00").unwrap();
        let secret = KeySecret::new(Lookup::new("4kTz0Q2mVbXw").unwrap(), hash, created);
        Candidate::new(record, secret, organization)
    }

    fn limits(text: &str) -> Vec<RateLimit> {
        text.split_ascii_whitespace()
            .map(|limit| limit.parse().unwrap())
            .collect()
    }

    #[test]
    fn first_of_several_barriers_is_the_most_severe() {
        let mut key = candidate();
        assert_eq!(key.barrier(), None);
        key.user = Some(User::new(
            OrganizationId::new(),
            "alice".parse().unwrap(),
            Timestamp::from_millis(0),
        ));
        assert_eq!(key.barrier(), None);
        type Step = (fn(&mut Candidate), Barrier);
        let steps: [Step; 7] = [
            (
                |key| key.user.iter_mut().for_each(|user| user.status = UserStatus::Disabled),
                Barrier::UserDisabled,
            ),
            (
                |key| key.organization.status = OrganizationStatus::Inactive,
                Barrier::OrganizationInactive,
            ),
            (|key| key.record.status = KeyStatus::Disabled, Barrier::Disabled),
            (|key| key.record.status = KeyStatus::Revoked, Barrier::Revoked),
            (|key| key.record.is_canary = true, Barrier::Canary),
            (
                |key| key.record.requires = "of-tomorrow".parse().unwrap(),
                Barrier::UnknownFeature,
            ),
            (
                |key| {
                    key.organization.requires = std::mem::take(&mut key.record.requires);
                },
                Barrier::UnknownFeature,
            ),
        ];
        for (step, barrier) in steps {
            step(&mut key);
            assert_eq!(key.barrier(), Some(barrier));
        }
    }

    #[test]
    fn longest_life_ends_a_key_and_extends_none() {
        let mut key = candidate();
        assert_eq!(key.ends_at(), None);
        key.organization.policy.longest_life = Some(Duration::from_secs(9));
        assert_eq!(key.ends_at(), Some(Timestamp::from_millis(10_000)));
        key.record.expires_at = Some(Timestamp::from_millis(5_000));
        assert_eq!(key.ends_at(), Some(Timestamp::from_millis(5_000)));
        key.organization.policy.longest_life = Some(Duration::MAX);
        assert_eq!(key.ends_at(), Some(Timestamp::from_millis(5_000)));
    }

    #[test]
    fn scopes_of_roles_count_as_far_as_they_are_granted() {
        let mut key = candidate();
        key.record.scopes = "orders:read invoices:*".parse().unwrap();
        key.role_scopes = "orders:write".parse().unwrap();
        assert_eq!(key.scopes().as_str(), "invoices:* orders:read orders:write");
        for (grantable, scopes) in [
            ("orders:*", "orders:read orders:write"),
            ("invoices:read orders:read", "invoices:read orders:read"),
            ("*", "invoices:* orders:read orders:write"),
            ("users:read", ""),
            ("", ""),
        ] {
            key.organization.policy.grantable = Some(grantable.parse().unwrap());
            assert_eq!(key.scopes().as_str(), scopes, "{grantable}");
        }
    }

    #[test]
    fn limits_below_override_and_lift_those_above() {
        let mut key = candidate();
        let mut plan = Plan::new("pro");
        plan.key_limits = limits("a=1/1s b=1/1s c=1/1s");
        plan.limits = limits("x=1/1s y=1/1s");
        key.plan = Some(plan);
        assert_eq!(key.key_limits(), limits("a=1/1s b=1/1s c=1/1s"));
        key.organization.key_limits = limits("b=2/1s d=2/1s");
        key.organization.lifted_key_limits = "c".parse().unwrap();
        assert_eq!(key.key_limits(), limits("b=2/1s d=2/1s a=1/1s"));
        key.record.limits = limits("d=3/1s c=3/1s");
        key.record.lifted_limits = "a".parse().unwrap();
        assert_eq!(key.key_limits(), limits("d=3/1s c=3/1s b=2/1s"));
        key.organization.limits = limits("y=2/1s");
        assert_eq!(key.shared_limits(), limits("y=2/1s x=1/1s"));
        key.organization.lifted_limits = "x y".parse().unwrap();
        assert_eq!(key.shared_limits(), limits("y=2/1s"));
    }
}
