//! The wire form of records: the fields, and how each is read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::redacting;
use crate::key::{
    Actor, KeyId, KeyRecord, KeyStatus, Metadata, Networks, Organization, OrganizationId, OrganizationStatus,
    RateLimit, Revocation, ScopeSet, Timestamp, UserId,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "KeyRecord", deny_unknown_fields)]
struct KeyRecordForm {
    id: KeyId,
    organization_id: OrganizationId,
    #[serde(deserialize_with = "super::present")]
    user: Option<UserId>,
    name: String,
    prefix: String,
    #[serde(deserialize_with = "super::present")]
    environment: Option<String>,
    scopes: ScopeSet,
    networks: Networks,
    #[serde(deserialize_with = "super::limits")]
    limits: Vec<RateLimit>,
    metadata: Metadata,
    status: KeyStatus,
    #[serde(deserialize_with = "super::present")]
    revocation: Option<Revocation>,
    created_at: Timestamp,
    created_by: Actor,
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
    status: OrganizationStatus,
    #[serde(deserialize_with = "super::limits")]
    limits: Vec<RateLimit>,
    revision: u64,
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
}
