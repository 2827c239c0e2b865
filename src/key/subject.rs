//! The subject of a change: a key, an organization, a plan or the realm.

use crate::key::{KeyId, OrganizationId, PlanId};

/// What a change concerns: one key with its secrets, one organization with everything its keys share, or all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A key's record or one of its secrets.
    Key(KeyId),
    /// An organization or one of its users.
    Organization(OrganizationId),
    /// A plan, and with it every organization that has it.
    Plan(PlanId),
    /// The realm: its row, its secrets, roles and known scopes. It has no revision: its changes have revision 0.
    Realm,
}

impl From<KeyId> for Subject {
    fn from(id: KeyId) -> Self {
        Self::Key(id)
    }
}

impl From<PlanId> for Subject {
    fn from(id: PlanId) -> Self {
        Self::Plan(id)
    }
}

impl From<OrganizationId> for Subject {
    fn from(id: OrganizationId) -> Self {
        Self::Organization(id)
    }
}
