//! Plans: limits that many organizations have in common.

use uuid::Uuid;

use crate::key::{PlanId, RateLimit};

/// Limits that many organizations have in common. A change of a plan holds for all of them at once.
///
/// A limit of an organization overrides that of its plan which has the same name, and a limit of a key overrides both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Stable identifier.
    pub id: PlanId,
    /// The name, unique in a store: `[a-z0-9][a-z0-9_.:/-]{0,63}`.
    pub name: String,
    /// Rate limits that each key has for itself, at most 16.
    pub key_limits: Vec<RateLimit>,
    /// Rate limits that all keys of an organization share, at most 16.
    pub limits: Vec<RateLimit>,
    /// How many keys an organization may have that are not revoked.
    pub max_keys: Option<u32>,
    /// Number of the plan's last change, from 1. Stores raise it by one with each change.
    pub revision: u64,
}

impl Plan {
    /// A new plan without limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            id: PlanId::new(),
            name: name.into(),
            key_limits: Vec::new(),
            limits: Vec::new(),
            max_keys: None,
            revision: 1,
        }
    }

    /// What a new store has: `free`, `pro` and `enterprise`, to be changed as operators like. Migrations insert the same rows.
    pub(crate) fn first_ones() -> Vec<Self> {
        let plan = |number: u128, name, per_minute: Option<u32>, max_keys| Self {
            id: Uuid::from_u128(FIRST_ID + number).into(),
            key_limits: per_minute
                .and_then(|limit| RateLimit::per_minute("requests", limit).ok())
                .into_iter()
                .collect(),
            max_keys,
            ..Self::new(name)
        };
        vec![
            plan(1, "free", Some(60), Some(5)),
            plan(2, "pro", Some(600), Some(50)),
            plan(3, "enterprise", None, None),
        ]
    }
}

const FIRST_ID: u128 = 0x0190_0000_0000_7000_8000_0000_0000_0000;
