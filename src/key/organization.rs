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
    /// A new, active organization without limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            id: OrganizationId::new(),
            name: name.into(),
            status: OrganizationStatus::Active,
            limits: Vec::new(),
            revision: 1,
        }
    }
}
