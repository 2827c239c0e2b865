//! Requests for new organizations.

use super::check::check_organization;
use crate::error::ConfigError;
use crate::key::{
    LimitNames, Metadata, Organization, OrganizationId, PlanId, Policy, RateLimit, Timestamp, is_same_name, slug_of,
};

/// A request for a new organization: its name, and what else is known of it. By default the slug is made from the name, and there
/// is no address, no plan, no limit, and a policy that allows everything.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Issuer, OrganizationRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let first = issuer.create_organization("Acme Inc.").await?;
/// let second = issuer.create_organization("Acme Inc.").await?;
/// assert_eq!((&*first.slug, &*second.slug), ("acme-inc", "acme-inc-2"));
///
/// let request = OrganizationRequest::new("Acme Inc.")
///     .slug("acme")
///     .email("billing@acme.example")
///     .plan_named("pro")
///     .key_limit("requests=1200/60s".parse()?)
///     .max_keys(200);
/// let third = issuer.create_organization(request).await?;
/// assert_eq!(issuer.organization_by_email("Billing@Acme.example").await?, Some(third));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OrganizationRequest {
    /// Without its final id, slug and time.
    row: Organization,
    slug: Option<String>,
    pub(super) plan_name: Option<String>,
}

impl OrganizationRequest {
    /// An organization with a display name of 1 to 255 bytes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            row: Organization::new(name),
            slug: None,
            plan_name: None,
        }
    }

    /// The slug: 1 to 64 bytes of `a-z`, `0-9` and `-`. Default: made from the name, with `-2`, `-3` and so on behind it if that is
    /// taken.
    pub fn slug(mut self, slug: impl Into<String>) -> Self {
        self.slug = Some(slug.into());
        self
    }

    /// The e-mail address, of 3 to 254 bytes. Two addresses are one if they differ in letter case only.
    pub fn email(mut self, address: impl Into<String>) -> Self {
        self.row.email = Some(address.into());
        self
    }

    /// The plan. Replaces [`plan_named`](Self::plan_named).
    pub fn plan(mut self, id: PlanId) -> Self {
        (self.row.plan, self.plan_name) = (Some(id), None);
        self
    }

    /// The plan, by its name. Replaces [`plan`](Self::plan).
    pub fn plan_named(mut self, name: impl Into<String>) -> Self {
        (self.row.plan, self.plan_name) = (None, Some(name.into()));
        self
    }

    /// One more limit that all keys share, of at most 16. It overrides that of the plan which has the same name.
    pub fn limit(mut self, limit: RateLimit) -> Self {
        self.row.limits.push(limit);
        self
    }

    /// Shared limits of the plan that do not hold here.
    pub fn lifted_limits(mut self, names: LimitNames) -> Self {
        self.row.lifted_limits = names;
        self
    }

    /// One more limit that each key has for itself, of at most 16. It overrides that of the plan which has the same name.
    pub fn key_limit(mut self, limit: RateLimit) -> Self {
        self.row.key_limits.push(limit);
        self
    }

    /// Limits that the plan gives each key and that do not hold here.
    pub fn lifted_key_limits(mut self, names: LimitNames) -> Self {
        self.row.lifted_key_limits = names;
        self
    }

    /// How many keys there may be that are not revoked, at least 1. Default: as many as the plan says, or any number.
    pub fn max_keys(mut self, number: u32) -> Self {
        self.row.max_keys = Some(number);
        self
    }

    /// What the organization allows its keys.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.row.policy = policy;
        self
    }

    /// The service's own data about the organization.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.row.metadata = metadata;
        self
    }

    pub(super) fn has_slug(&self) -> bool {
        self.slug.is_some()
    }

    /// The slug that is asked for, or else the one that the name makes. Every part of the request is valid then, apart from a plan
    /// that may not exist.
    pub(in crate::issue) fn wanted_slug(&self) -> Result<String, ConfigError> {
        let slug = match &self.slug {
            Some(slug) => slug.clone(),
            None => slug_of(&self.row.name),
        };
        let row = Organization {
            slug,
            ..self.row.clone()
        };
        check_organization(&row, None)?;
        Ok(row.slug)
    }

    /// Whether this organization, which has the wanted slug, is the one that is meant.
    pub(in crate::issue) fn is_for(&self, organization: &Organization) -> bool {
        self.has_slug() || is_same_name(&organization.name, &self.row.name)
    }

    pub(super) fn organization(&self, slug: &str, plan: Option<PlanId>, now: Timestamp) -> Organization {
        Organization {
            // A request may be used again.
            id: OrganizationId::new(),
            slug: slug.to_owned(),
            plan,
            created_at: now,
            ..self.row.clone()
        }
    }

    pub(super) fn plan_id(&self) -> Option<PlanId> {
        self.row.plan
    }
}

/// For requests that are only a name.
impl<T: Into<String>> From<T> for OrganizationRequest {
    fn from(name: T) -> Self {
        Self::new(name)
    }
}
