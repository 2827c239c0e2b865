//! The subject of a change: a key, an organization or the realm.

use crate::key::{KeyId, OrganizationId};

/// What a change concerns: one key with its secrets, one organization with everything its keys share, or all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A key's record or one of its secrets.
    Key(KeyId),
    /// An organization.
    Organization(OrganizationId),
    /// The realm or one of its secrets. It has no revision: its changes have revision 0.
    Realm,
}

impl From<KeyId> for Subject {
    fn from(id: KeyId) -> Self {
        Self::Key(id)
    }
}

impl From<OrganizationId> for Subject {
    fn from(id: OrganizationId) -> Self {
        Self::Organization(id)
    }
}
