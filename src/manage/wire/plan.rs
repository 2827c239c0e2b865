//! Plans.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limit::LimitForm;
use super::object;
use super::patch::Patch;
use super::text::PlanText;
use crate::key::{Plan as Stored, PlanId, RateLimit};
use crate::manage::row::revised;

/// Limits that many organizations have in common.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plan {
    #[schema(value_type = uuid::Uuid)]
    id: PlanId,
    name: String,
    /// Limits of each key.
    #[schema(value_type = Vec<LimitForm>)]
    key_limits: Vec<RateLimit>,
    /// Limits that all keys of an organization share.
    #[schema(value_type = Vec<LimitForm>)]
    limits: Vec<RateLimit>,
    /// How many keys there may be that are not revoked. Null: any number.
    #[schema(value_type = Option<u64>)]
    max_keys: Option<u32>,
    /// Of the row: the ETag.
    revision: u64,
}

revised! { Plan }

/// A new plan.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreatePlan {
    #[schema(value_type = PlanText)]
    name: String,
    #[serde(default, deserialize_with = "object::list")]
    #[schema(value_type = Vec<LimitForm>)]
    key_limits: Vec<RateLimit>,
    #[serde(default, deserialize_with = "object::list")]
    #[schema(value_type = Vec<LimitForm>)]
    limits: Vec<RateLimit>,
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64)]
    max_keys: Option<u32>,
}

/// Changes of a plan (RFC 7396): what is left out stays, null removes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdatePlan {
    #[schema(value_type = Option<PlanText>)]
    name: Option<String>,
    #[serde(default, deserialize_with = "object::patch")]
    #[schema(value_type = Option<Vec<LimitForm>>)]
    key_limits: Patch<Vec<RateLimit>>,
    #[serde(default, deserialize_with = "object::patch")]
    #[schema(value_type = Option<Vec<LimitForm>>)]
    limits: Patch<Vec<RateLimit>>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4294967295u64)]
    max_keys: Patch<u32>,
}

impl From<Stored> for Plan {
    fn from(stored: Stored) -> Self {
        // Every field is named, so that a new one is not forgotten.
        let Stored {
            id,
            name,
            key_limits,
            limits,
            max_keys,
            revision,
        } = stored;
        Self {
            id,
            name,
            key_limits,
            limits,
            max_keys,
            revision,
        }
    }
}

impl From<CreatePlan> for Stored {
    fn from(request: CreatePlan) -> Self {
        let CreatePlan {
            name,
            key_limits,
            limits,
            max_keys,
        } = request;
        Self {
            key_limits,
            limits,
            max_keys,
            ..Self::new(name)
        }
    }
}

impl UpdatePlan {
    pub(crate) fn change(&self, row: &mut Stored) {
        if let Some(name) = &self.name {
            row.name.clone_from(name);
        }
        self.key_limits.change_or_default(&mut row.key_limits);
        self.limits.change_or_default(&mut row.limits);
        self.max_keys.change(&mut row.max_keys);
    }
}
