//! The subject of a change: a key or an organization.

use crate::key::{KeyId, OrganizationId};

/// What a change concerns: one key with its secrets, or one organization with everything its keys share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A key's record or one of its secrets.
    Key(KeyId),
    /// An organization.
    Organization(OrganizationId),
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
