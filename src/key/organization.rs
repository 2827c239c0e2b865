//! Organizations, the tenants that own keys.

use crate::key::{OrganizationId, RateLimit};

/// Whether an organization's keys work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrganizationStatus {
    /// The organization's keys work.
    Active,
    /// None of the organization's keys works until it is active again.
    Inactive,
}

impl OrganizationStatus {
    /// `active` or `inactive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// The tenant that owns keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Organization {
    /// Stable identifier.
    pub id: OrganizationId,
    /// The name in URLs, configuration and commands, unique in a store: 1 to 63 bytes of `a-z`, `0-9` and `-`.
    pub slug: String,
    /// Display name.
    pub name: String,
    /// Whether the organization's keys work.
    pub status: OrganizationStatus,
    /// Rate limits that all keys share; [`Issuer`](crate::Issuer) accepts at most 16.
    pub limits: Vec<RateLimit>,
    /// Number of the organization's last change, from 1. Stores raise it by one with each change.
    pub revision: u64,
}

impl Organization {
    /// A new, active organization without limits. Its slug is its id without hyphens;
    /// [`Issuer::create_organization`](crate::Issuer::create_organization) makes one from the name.
    pub fn new(name: impl Into<String>) -> Self {
        let id = OrganizationId::new();
        Self {
            id,
            slug: id.as_uuid().simple().to_string(),
            name: name.into(),
            status: OrganizationStatus::Active,
            limits: Vec::new(),
            revision: 1,
        }
    }
}
