//! Organizations, the tenants that own keys.

use crate::key::{Features, LimitNames, Metadata, OrganizationId, PlanId, Policy, RateLimit, Timestamp, folded};

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
    /// The name in URLs, configuration and commands, unique in a store: 1 to 64 bytes of `a-z`, `0-9` and `-`.
    pub slug: String,
    /// Display name.
    pub name: String,
    /// Whether the organization's keys work.
    pub status: OrganizationStatus,
    /// E-mail address, unique in a store regardless of case.
    pub email: Option<String>,
    /// The plan whose limits the organization has.
    pub plan: Option<PlanId>,
    /// Whether this is the organization of those who run the service. Set on the host only.
    pub is_operator: bool,
    /// What a server must know to judge the organization's keys.
    pub requires: Features,
    /// Rate limits that all keys share; [`Issuer`](crate::Issuer) accepts at most 16. They override those of the plan by name.
    pub limits: Vec<RateLimit>,
    /// Limits of the plan that all keys share and that do not hold here.
    pub lifted_limits: LimitNames,
    /// Rate limits that each key has for itself, at most 16. They override those of the plan by name.
    pub key_limits: Vec<RateLimit>,
    /// Limits of the plan that each key has for itself and that do not hold here.
    pub lifted_key_limits: LimitNames,
    /// How many keys the organization may have that are not revoked; overrides the number of the plan.
    pub max_keys: Option<u32>,
    /// What the organization allows its keys.
    pub policy: Policy,
    /// The service's own data about the organization.
    pub metadata: Metadata,
    /// When the organization was created.
    pub created_at: Timestamp,
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
            email: None,
            plan: None,
            is_operator: false,
            requires: Features::default(),
            limits: Vec::new(),
            lifted_limits: LimitNames::default(),
            key_limits: Vec::new(),
            lifted_key_limits: LimitNames::default(),
            max_keys: None,
            policy: Policy::default(),
            metadata: Metadata::default(),
            created_at: Timestamp::now(),
            revision: 1,
        }
    }

    /// Its e-mail address in the form in which addresses are compared, for the index of a store.
    pub fn folded_email(&self) -> Option<String> {
        self.email.as_deref().map(folded)
    }

    /// Whether this is its e-mail address, in the form in which addresses are compared.
    pub fn has_email(&self, folded_address: &str) -> bool {
        self.email
            .as_deref()
            .is_some_and(|email| folded(email) == folded_address)
    }
}
