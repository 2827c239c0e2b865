//! Organizations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limit::LimitForm;
use super::metadata::{MetadataPatch, merge};
use super::object;
use super::patch::Patch;
use super::policy::PolicyForm;
use super::text::{EmailText, LimitText, NameText, PlanText, SlugText};
use crate::issue::{OrganizationDeletion, OrganizationRequest};
use crate::key::{
    LimitNames, Metadata, Organization as Stored, OrganizationId, OrganizationStatus, PlanId, RateLimit, Timestamp,
};
use crate::manage::problem::Problem;
use crate::manage::row::revised;

/// An organization, which owns keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct Organization {
    #[schema(value_type = uuid::Uuid)]
    id: OrganizationId,
    /// Its unique name, for URLs and commands.
    slug: String,
    name: String,
    #[schema(value_type = Standing)]
    status: OrganizationStatus,
    email: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    plan_id: Option<PlanId>,
    /// Whether it is the one of those who run the service.
    is_operator: bool,
    /// Limits that all its keys share. They override those of the plan that have the same name.
    #[schema(value_type = Vec<LimitForm>)]
    limits: Vec<RateLimit>,
    /// Shared limits of the plan that do not hold.
    #[schema(value_type = Vec<LimitText>)]
    lifted_limits: LimitNames,
    /// Limits of each key.
    #[schema(value_type = Vec<LimitForm>)]
    key_limits: Vec<RateLimit>,
    /// Limits that the plan gives each key and that do not hold.
    #[schema(value_type = Vec<LimitText>)]
    lifted_key_limits: LimitNames,
    /// How many keys there may be that are not revoked. Null: as many as the plan says.
    #[schema(value_type = Option<u64>)]
    max_keys: Option<u32>,
    policy: PolicyForm,
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Of the row: the ETag.
    revision: u64,
}

revised! { Organization }

/// Whether the keys of an organization work.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OrganizationStatus)]
pub(crate) enum Standing {
    Active,
    Inactive,
}

/// A new organization.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateOrganization {
    #[schema(value_type = NameText)]
    name: String,
    /// Made from the name if it is left out.
    #[schema(value_type = Option<SlugText>)]
    slug: Option<String>,
    /// `name@domain`. Unique, letter case does not count.
    #[schema(value_type = Option<EmailText>)]
    email: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    plan_id: Option<PlanId>,
    /// The name of the plan, instead of `plan_id`.
    #[schema(value_type = Option<PlanText>)]
    plan: Option<String>,
    #[serde(default, deserialize_with = "object::list")]
    #[schema(value_type = Vec<LimitForm>)]
    limits: Vec<RateLimit>,
    #[serde(default)]
    #[schema(value_type = Vec<LimitText>)]
    lifted_limits: LimitNames,
    #[serde(default, deserialize_with = "object::list")]
    #[schema(value_type = Vec<LimitForm>)]
    key_limits: Vec<RateLimit>,
    #[serde(default)]
    #[schema(value_type = Vec<LimitText>)]
    lifted_key_limits: LimitNames,
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64)]
    max_keys: Option<u32>,
    #[serde(default, deserialize_with = "object::optional")]
    policy: Option<PolicyForm>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
}

/// Changes of an organization (RFC 7396): what is left out stays, null removes. Keys of the organization itself change name, address
/// and metadata.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateOrganization {
    #[schema(value_type = Option<NameText>)]
    name: Option<String>,
    #[schema(value_type = Option<SlugText>)]
    slug: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<EmailText>)]
    email: Patch<String>,
    #[serde(default, deserialize_with = "object::patch")]
    #[schema(value_type = Option<Vec<LimitForm>>)]
    limits: Patch<Vec<RateLimit>>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<LimitText>>)]
    lifted_limits: Patch<LimitNames>,
    #[serde(default, deserialize_with = "object::patch")]
    #[schema(value_type = Option<Vec<LimitForm>>)]
    key_limits: Patch<Vec<RateLimit>>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<LimitText>>)]
    lifted_key_limits: Patch<LimitNames>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64)]
    max_keys: Patch<u32>,
    /// Merged with what is there.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    metadata: MetadataPatch,
}

/// The plan of an organization: one of the two, or none.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPlan {
    /// The id of the plan. Null takes the plan away.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub(crate) plan_id: Patch<PlanId>,
    /// The name of the plan, instead of `plan_id`.
    #[schema(value_type = Option<PlanText>)]
    pub(crate) plan: Option<String>,
}

/// What deleting an organization deletes, or has deleted.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deletion {
    organization: Organization,
    /// Its keys, in any status.
    keys: u64,
    /// Those of them that are not revoked.
    live_keys: u64,
    secrets: u64,
    /// Labels of its keys, counted for each key that has one.
    labels: u64,
    /// Users that have a row.
    users: u64,
    /// Audit events, which stay.
    audit_events: u64,
}

impl From<Stored> for Organization {
    fn from(stored: Stored) -> Self {
        // Every field is named, so that a new one is not forgotten.
        let Stored {
            id,
            slug,
            name,
            status,
            email,
            plan,
            is_operator,
            requires: _,
            limits,
            lifted_limits,
            key_limits,
            lifted_key_limits,
            max_keys,
            policy,
            metadata,
            created_at,
            revision,
        } = stored;
        Self {
            id,
            slug,
            name,
            status,
            email,
            plan_id: plan,
            is_operator,
            limits,
            lifted_limits,
            key_limits,
            lifted_key_limits,
            max_keys,
            policy: PolicyForm::from(&policy),
            metadata,
            created_at,
            revision,
        }
    }
}

impl From<OrganizationDeletion> for Deletion {
    fn from(deletion: OrganizationDeletion) -> Self {
        let OrganizationDeletion {
            organization,
            keys,
            live_keys,
            secrets,
            labels,
            users,
            audit_events,
        } = deletion;
        Self {
            organization: organization.into(),
            keys,
            live_keys,
            secrets,
            labels,
            users,
            audit_events,
        }
    }
}

impl From<Standing> for OrganizationStatus {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Active => Self::Active,
            Standing::Inactive => Self::Inactive,
        }
    }
}

impl CreateOrganization {
    /// # Errors
    /// When the plan is named twice.
    pub(crate) fn request(self) -> Result<OrganizationRequest, Problem> {
        let mut request = OrganizationRequest::new(self.name)
            .lifted_limits(self.lifted_limits)
            .lifted_key_limits(self.lifted_key_limits)
            .metadata(self.metadata);
        for limit in self.limits {
            request = request.limit(limit);
        }
        for limit in self.key_limits {
            request = request.key_limit(limit);
        }
        if let Some(slug) = self.slug {
            request = request.slug(slug);
        }
        if let Some(email) = self.email {
            request = request.email(email);
        }
        if let Some(number) = self.max_keys {
            request = request.max_keys(number);
        }
        if let Some(policy) = self.policy {
            request = request.policy(policy.into());
        }
        Ok(match (self.plan_id, self.plan) {
            (None, None) => request,
            (Some(id), None) => request.plan(id),
            (None, Some(name)) => request.plan_named(name),
            (Some(_), Some(_)) => return Err(two_plans()),
        })
    }
}

impl UpdateOrganization {
    /// # Errors
    /// When metadata is not valid.
    pub(crate) fn check(&self, row: &Stored) -> Result<(), Problem> {
        merge(&self.metadata, &row.metadata).map(drop)
    }

    /// Makes the changes. Metadata that is not valid stays as it is: [`UpdateOrganization::check`] comes first.
    pub(crate) fn change(&self, row: &mut Stored) {
        if let Ok(metadata) = merge(&self.metadata, &row.metadata) {
            row.metadata = metadata;
        }
        if let Some(name) = &self.name {
            row.name.clone_from(name);
        }
        if let Some(slug) = &self.slug {
            row.slug.clone_from(slug);
        }
        self.email.change(&mut row.email);
        self.limits.change_or_default(&mut row.limits);
        self.lifted_limits.change_or_default(&mut row.lifted_limits);
        self.key_limits.change_or_default(&mut row.key_limits);
        self.lifted_key_limits.change_or_default(&mut row.lifted_key_limits);
        self.max_keys.change(&mut row.max_keys);
    }
}

pub(crate) fn two_plans() -> Problem {
    Problem::invalid("plan", "give plan_id or plan, not both")
}
