//! Policies.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::ScopeText;
use crate::key::{Policy, ScopeSet};

/// What an organization allows its keys. What is left out demands nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Policy)]
pub(crate) struct PolicyForm {
    /// Seconds after its creation at which a key ends at the latest. Null: keys need not end.
    #[schema(minimum = 1, maximum = 3153600000u64)]
    longest_life: Option<u64>,
    /// Seconds after which a key ends for which no end is asked.
    #[schema(minimum = 1, maximum = 3153600000u64)]
    default_life: Option<u64>,
    /// Whether a key without an end is refused.
    requires_expiry: bool,
    /// The scopes that keys can be given. Null: all.
    #[schema(value_type = Option<Vec<ScopeText>>)]
    grantable: Option<ScopeSet>,
    /// Whether a key without networks is refused.
    requires_networks: bool,
}

impl From<&Policy> for PolicyForm {
    /// Lives are whole seconds here, rounded up.
    fn from(policy: &Policy) -> Self {
        // Every field is named, so that a new one is not forgotten.
        let Policy {
            longest_life,
            default_life,
            requires_expiry,
            grantable,
            requires_networks,
        } = policy;
        let seconds = |life: &Duration| life.as_secs() + u64::from(life.subsec_nanos() > 0);
        Self {
            longest_life: longest_life.as_ref().map(seconds),
            default_life: default_life.as_ref().map(seconds),
            requires_expiry: *requires_expiry,
            grantable: grantable.clone(),
            requires_networks: *requires_networks,
        }
    }
}

impl From<PolicyForm> for Policy {
    fn from(form: PolicyForm) -> Self {
        let PolicyForm {
            longest_life,
            default_life,
            requires_expiry,
            grantable,
            requires_networks,
        } = form;
        Self {
            longest_life: longest_life.map(Duration::from_secs),
            default_life: default_life.map(Duration::from_secs),
            requires_expiry,
            grantable,
            requires_networks,
        }
    }
}
