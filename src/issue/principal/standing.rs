//! What holds for a principal now: whether its user and its organization are active, and what bounds its keys.

use super::login::{Principal, Sees};
use crate::clock::Clock;
use crate::issue::authority::{allowed, forbidden};
use crate::key::{KeyRecord, Organization, OrganizationStatus, Plan, Timestamp, UserStatus, knows_all_of};
use crate::store::query::OneUser;
use crate::store::{Guard, ManagedStore, StoreError, StoreExt};

/// The principal that an issuer acts for.
#[derive(Clone)]
pub(in crate::issue) struct PrincipalAuthority {
    principal: Principal,
    clock: Clock,
}

/// The principal with its rows, as they were read to judge a commit.
pub(in crate::issue) struct Standing {
    pub(super) principal: Principal,
    pub(super) organization: Organization,
    pub(super) plan: Option<Plan>,
    pub(super) at: Timestamp,
    is_user_active: bool,
}

impl PrincipalAuthority {
    pub(in crate::issue) fn new(principal: Principal, clock: Clock) -> Self {
        Self { principal, clock }
    }

    pub(in crate::issue) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Its rows as they are now.
    ///
    /// # Errors
    /// [`Forbidden`](crate::store::StoreErrorKind::Forbidden) when its organization is not there.
    pub(in crate::issue) async fn standing<S: ManagedStore>(&self, store: &S) -> Result<Standing, StoreError> {
        let (id, user) = (self.principal.organization(), self.principal.user().clone());
        let organization = store.get(id).await?;
        let organization = organization.ok_or_else(|| forbidden("the organization of the login does not exist"))?;
        let plan = match organization.plan {
            Some(plan) => store.get(plan).await?,
            None => None,
        };
        let user = store.get(OneUser(id, user)).await?;
        Ok(Standing {
            principal: self.principal.clone(),
            organization,
            plan,
            at: self.clock.wall(),
            is_user_active: user.is_none_or(|user| user.status == UserStatus::Active),
        })
    }

    /// Whether it sees all keys of its organization now.
    pub(super) async fn sees_all<S: ManagedStore>(&self, store: &S) -> Result<bool, StoreError> {
        match self.principal.sight() {
            Sees::Own => Ok(false),
            Sees::Organization => Ok(self.standing(store).await?.sees_all()),
        }
    }
}

impl Standing {
    /// # Errors
    /// [`Forbidden`](crate::store::StoreErrorKind::Forbidden) when the user or the organization is not active.
    pub(in crate::issue) fn check_active(&self) -> Result<(), StoreError> {
        allowed(
            self.is_active(),
            "the user is disabled, or the organization is inactive",
        )
    }

    /// Whether nothing has changed that its commits are judged by.
    pub(in crate::issue) fn is_as(&self, other: &Self) -> bool {
        self.is_user_active == other.is_user_active && self.guards() == other.guards()
    }

    /// What must still hold when something is granted.
    pub(super) fn guards(&self) -> Vec<Guard> {
        let id = self.organization.id;
        let mut guards = vec![
            Guard::OrganizationRevision(id, self.organization.revision),
            Guard::UserIsActive(id, self.principal.user().clone()),
        ];
        let plan = self.plan.as_ref();
        guards.extend(plan.map(|plan| Guard::PlanRevision(plan.id, plan.revision)));
        guards
    }

    /// Whether it may know of the key.
    pub(super) fn sees(&self, record: &KeyRecord) -> bool {
        let is_near = self.sees_all() && record.organization_id == self.organization.id;
        is_near || self.principal.owns(record)
    }

    /// Of one that is disabled, no more than its own keys.
    fn sees_all(&self) -> bool {
        self.principal.sight() == Sees::Organization && self.is_active()
    }

    fn is_active(&self) -> bool {
        // What is not known may mean that it is not.
        let is_known = knows_all_of(&self.organization.requires);
        is_known && self.organization.status == OrganizationStatus::Active && self.is_user_active
    }
}
