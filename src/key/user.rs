//! Users, for whom keys act.

use crate::key::{Actor, Metadata, OrganizationId, Timestamp, UserId};

/// Whether a user's keys work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserStatus {
    /// The user's keys work.
    Active,
    /// None of the user's keys works until the user is enabled again.
    Disabled,
}

impl UserStatus {
    /// `active` or `disabled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// What is kept of a user of an organization. A user without a row is active.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The id that the service uses, unique within the organization.
    pub id: UserId,
    /// Display name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// The service's own data about the user.
    pub metadata: Metadata,
    /// Whether the user's keys work.
    pub status: UserStatus,
    /// Why the status was set; may be empty.
    pub reason: String,
    /// Who set the status.
    pub actor: Actor,
    /// When the status was set.
    pub status_at: Timestamp,
    /// Number of the row's last change, from 1. Stores raise it by one with each change.
    pub revision: u64,
}

impl User {
    /// An active user without data.
    pub fn new(organization_id: OrganizationId, id: UserId, created_at: Timestamp) -> Self {
        Self {
            organization_id,
            id,
            name: None,
            email: None,
            metadata: Metadata::default(),
            status: UserStatus::Active,
            reason: String::new(),
            actor: Actor::service(),
            status_at: created_at,
            revision: 1,
        }
    }
}
