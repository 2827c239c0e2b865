//! The tenant that owns keys.

use crate::key::{OrganizationId, RateLimit};

/// Whether an organization's keys work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrganizationStatus {
    /// Its keys work.
    Active,
    /// None of its keys works, until it is active again.
    Inactive,
}

/// The tenant that owns keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Organization {
    /// Names it for ever.
    pub id: OrganizationId,
    /// What people call it.
    pub name: String,
    /// Whether its keys work.
    pub status: OrganizationStatus,
    /// Limits that all its keys share; [`Issuer`](crate::Issuer) takes at most 16.
    pub limits: Vec<RateLimit>,
    /// Counts its committed changes, from 1; a store only ever raises it.
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
