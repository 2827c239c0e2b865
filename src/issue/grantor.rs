//! A key that makes others, and what it can give them.

use super::narrower::{are_within, first_looser};
use crate::key::{KeyRecord, Role, ScopeSet, Timestamp};
use crate::store::query::Roles;
use crate::store::{Candidate, Guard, ManagedStore, StoreError, StoreExt};

/// A key that makes others, with all that decides what it may do.
pub(super) struct Grantor {
    candidate: Candidate,
    scopes: ScopeSet,
    /// Those of its roles that there are.
    roles: Vec<Role>,
}

/// What it does not have, or not as wide.
pub(super) enum Lack<'r> {
    Scope(&'r str),
    Role(&'r str),
    Networks,
    Environment,
    /// It has a tighter limit of this name.
    Limit(String),
}

impl Grantor {
    /// Reads the roles of the key one by one, so that what they allow can be guarded.
    pub(super) async fn read<S: ManagedStore>(store: &S, mut candidate: Candidate) -> Result<Self, StoreError> {
        let mut roles = Vec::new();
        for name in candidate.record.roles.iter() {
            roles.extend(store.get(Roles::named(name).page(1)).await?.items);
        }
        let none = ScopeSet::default();
        candidate.role_scopes = roles.iter().fold(none, |all, role| all.union(&role.scopes));
        Ok(Self {
            scopes: candidate.scopes(),
            candidate,
            roles,
        })
    }

    pub(super) fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// Its own and those of its roles, as far as its organization grants them.
    pub(super) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The end of the key, whichever of its secrets it is used with: its own, or that of the longest life.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        let mut candidate = self.candidate.clone();
        (candidate.secret.expires_at, candidate.secret.grace_ends_at) = (None, None);
        candidate.ends_at()
    }

    /// That it still has what it had. Taken away from it in between, it could leave a key behind that has it.
    pub(super) fn guards(&self) -> Vec<Guard> {
        let (record, organization) = (&self.candidate.record, &self.candidate.organization);
        let mut guards = vec![
            Guard::KeyRevision(record.id, record.revision),
            Guard::OrganizationRevision(organization.id, organization.revision),
        ];
        // Stopped by the user it is for, it leaves none behind either.
        let user = record.user.clone();
        guards.extend(user.map(|user| Guard::UserIsActive(organization.id, user)));
        let plan = self.candidate.plan.as_ref();
        guards.extend(plan.map(|plan| Guard::PlanRevision(plan.id, plan.revision)));
        let roles = self.roles.iter();
        guards.extend(roles.map(|role| Guard::RoleScopes(role.name.clone(), role.scopes.clone())));
        guards
    }

    /// The first thing that a key of its organization has, and this one has not. Ends are not looked at.
    pub(super) fn lacks<'r>(&self, record: &'r KeyRecord) -> Option<Lack<'r>> {
        let own = &self.candidate.record;
        let lacks = |text: &&str| !text.parse().is_ok_and(|scope| self.scopes.allows(&scope));
        if let Some(scope) = record.scopes.iter().find(lacks) {
            return Some(Lack::Scope(scope));
        }
        // By name, not by what the role allows today: the new key would grow with the role, and this one would not.
        if let Some(role) = record.roles.iter().find(|role| !own.roles.contains(role)) {
            return Some(Lack::Role(role));
        }
        if !are_within(&record.networks, &own.networks) {
            return Some(Lack::Networks);
        }
        if !self.may_give_environment(record) {
            return Some(Lack::Environment);
        }
        let limits = self.candidate.key_limits_of(record);
        first_looser(&limits, &self.candidate.key_limits()).map(Lack::Limit)
    }

    /// A key of tests makes none that works elsewhere, and every key makes those of tests.
    pub(super) fn may_give_environment(&self, record: &KeyRecord) -> bool {
        let environment = record.environment.as_deref();
        environment == Some("test") || environment == self.candidate.record.environment.as_deref()
    }
}
