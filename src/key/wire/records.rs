//! The wire form of records: the fields, and how each is read.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::redacting;
use crate::key::{
    Actor, Features, Holds, KeyId, KeyRecord, KeyStatus, KnownScope, Labels, LimitNames, Metadata, Networks,
    Organization, OrganizationId, OrganizationStatus, Plan, PlanId, Policy, RateLimit, Revocation, Role, RoleNames,
    Scope, ScopeSet, Timestamp, User, UserId, UserStatus,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "KeyRecord", deny_unknown_fields)]
struct KeyRecordForm {
    id: KeyId,
    organization_id: OrganizationId,
    #[serde(deserialize_with = "super::present")]
    user: Option<UserId>,
    ends_with_user: bool,
    name: String,
    labels: Labels,
    prefix: String,
    #[serde(deserialize_with = "super::present")]
    environment: Option<String>,
    scopes: ScopeSet,
    roles: RoleNames,
    networks: Networks,
    #[serde(deserialize_with = "super::limits")]
    limits: Vec<RateLimit>,
    lifted_limits: LimitNames,
    metadata: Metadata,
    status: KeyStatus,
    #[serde(deserialize_with = "super::present")]
    revocation: Option<Revocation>,
    holds: Holds,
    created_at: Timestamp,
    created_by: Actor,
    #[serde(deserialize_with = "super::present")]
    created_by_key: Option<KeyId>,
    is_canary: bool,
    requires: Features,
    #[serde(deserialize_with = "super::present")]
    expires_at: Option<Timestamp>,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Revocation", deny_unknown_fields)]
struct RevocationForm {
    at: Timestamp,
    reason: String,
    actor: Actor,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Organization", deny_unknown_fields)]
struct OrganizationForm {
    id: OrganizationId,
    slug: String,
    name: String,
    #[serde(deserialize_with = "super::present")]
    email: Option<String>,
    #[serde(deserialize_with = "super::present")]
    plan: Option<PlanId>,
    status: OrganizationStatus,
    is_operator: bool,
    requires: Features,
    #[serde(deserialize_with = "super::limits")]
    limits: Vec<RateLimit>,
    lifted_limits: LimitNames,
    #[serde(deserialize_with = "super::limits")]
    key_limits: Vec<RateLimit>,
    lifted_key_limits: LimitNames,
    #[serde(deserialize_with = "super::present")]
    max_keys: Option<u32>,
    policy: Policy,
    metadata: Metadata,
    created_at: Timestamp,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Policy", deny_unknown_fields)]
struct PolicyForm {
    /// Milliseconds.
    #[serde(serialize_with = "super::write_life", deserialize_with = "super::read_life")]
    longest_life: Option<Duration>,
    /// Milliseconds.
    #[serde(serialize_with = "super::write_life", deserialize_with = "super::read_life")]
    default_life: Option<Duration>,
    requires_expiry: bool,
    #[serde(deserialize_with = "super::present")]
    grantable: Option<ScopeSet>,
    requires_networks: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Plan", deny_unknown_fields)]
struct PlanForm {
    id: PlanId,
    name: String,
    #[serde(deserialize_with = "super::limits")]
    key_limits: Vec<RateLimit>,
    #[serde(deserialize_with = "super::limits")]
    limits: Vec<RateLimit>,
    #[serde(deserialize_with = "super::present")]
    max_keys: Option<u32>,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "User", deny_unknown_fields)]
struct UserForm {
    organization_id: OrganizationId,
    id: UserId,
    #[serde(deserialize_with = "super::present")]
    name: Option<String>,
    #[serde(deserialize_with = "super::present")]
    email: Option<String>,
    metadata: Metadata,
    status: UserStatus,
    reason: String,
    actor: Actor,
    status_at: Timestamp,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Role", deny_unknown_fields)]
struct RoleForm {
    name: String,
    scopes: ScopeSet,
    description: String,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "KnownScope", deny_unknown_fields)]
struct KnownScopeForm {
    scope: Scope,
    description: String,
}

macro_rules! has_form {
    ($($name:ident, $form:ident;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $form::serialize(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                redacting::read(deserializer, $form::deserialize)
            }
        }
    )*};
}

has_form! {
    KeyRecord, KeyRecordForm;
    Revocation, RevocationForm;
    Organization, OrganizationForm;
    Policy, PolicyForm;
    Plan, PlanForm;
    User, UserForm;
    Role, RoleForm;
    KnownScope, KnownScopeForm;
}
