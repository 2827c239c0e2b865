//! Keys.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limit::LimitForm;
use super::metadata::{MetadataPatch, merge};
use super::object;
use super::patch::Patch;
use super::text::{LabelText, LimitText, NameText, NetworkText, RoleText, ScopeText, UserText};
use crate::issue::{IssueRequest, IssuedKey as Issued};
use crate::key::{
    Actor, KeyId, KeyLife, KeyRecord, Labels, LimitNames, Lookup, Metadata, Networks, OrganizationId, RateLimit,
    RoleNames, ScopeSet, Timestamp, UserId,
};
use crate::last_use::{SecretUse, UseOfKey};
use crate::manage::problem::Problem;
use crate::manage::row::revised;
use crate::store::StoredKey;

/// A key, without its secrets.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    #[schema(value_type = uuid::Uuid)]
    id: KeyId,
    #[schema(value_type = uuid::Uuid)]
    organization_id: OrganizationId,
    /// The user for whom the key acts.
    #[schema(value_type = Option<UserText>)]
    user: Option<UserId>,
    /// Whether the key is revoked when its user is deleted.
    ends_with_user: bool,
    name: String,
    #[schema(value_type = Vec<LabelText>)]
    labels: Labels,
    prefix: String,
    environment: Option<String>,
    #[schema(value_type = Vec<ScopeText>)]
    scopes: ScopeSet,
    /// Roles, whose scopes the key has too.
    #[schema(value_type = Vec<RoleText>)]
    roles: RoleNames,
    /// Where it may be used from, such as `192.0.2.0/24`. Empty: from anywhere.
    #[schema(value_type = Vec<NetworkText>)]
    networks: Networks,
    #[schema(value_type = Vec<LimitForm>)]
    limits: Vec<RateLimit>,
    /// Limits of its plan and organization that do not hold for this key.
    #[schema(value_type = Vec<LimitText>)]
    lifted_limits: LimitNames,
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
    /// Whether it works.
    #[schema(value_type = Life)]
    status: &'static str,
    revocation: Option<Revocation>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Who made it, as `kind:id`.
    #[schema(value_type = String)]
    created_by: Actor,
    #[schema(value_type = Option<uuid::Uuid>)]
    created_by_key: Option<KeyId>,
    is_canary: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Of the record: the ETag.
    revision: u64,
    /// One, and two during a rotation.
    secrets: Vec<Secret>,
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyStatus)]
pub(crate) enum Life {
    Active,
    Disabled,
    Revoked,
    Expired,
}

revised! { Key }

/// When a key was revoked, why, and by whom.
#[derive(Serialize, ToSchema)]
struct Revocation {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    reason: String,
    #[schema(value_type = String)]
    actor: Actor,
}

/// What is known of a secret of a key.
#[derive(Serialize, ToSchema)]
struct Secret {
    /// What it is found by. Secrets that are found by their hash have none that is shown.
    lookup: String,
    /// The last characters of the key.
    hint: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Set on the secret that a rotation has replaced.
    #[schema(value_type = Option<String>, format = DateTime)]
    grace_ends_at: Option<Timestamp>,
    /// Within a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    last_address: Option<String>,
    requests: u64,
}

/// A new key. This is the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedKey {
    /// The key. It is stored nowhere.
    key: String,
    /// What its secret is found by.
    lookup: String,
    record: Key,
}

/// A new key.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// The caller's organization if it is left out.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub(crate) organization_id: Option<OrganizationId>,
    #[schema(value_type = NameText)]
    name: String,
    #[schema(value_type = Option<UserText>)]
    user: Option<UserId>,
    #[serde(default)]
    ends_with_user: bool,
    #[serde(default)]
    #[schema(value_type = Vec<LabelText>)]
    labels: Labels,
    /// Such as `live` or `test`: one of the format's. The format's first one if it is left out.
    environment: Option<String>,
    #[serde(default)]
    #[schema(value_type = Vec<ScopeText>)]
    scopes: ScopeSet,
    #[serde(default)]
    #[schema(value_type = Vec<RoleText>)]
    roles: RoleNames,
    #[serde(default)]
    #[schema(value_type = Vec<NetworkText>)]
    networks: Networks,
    #[serde(default, deserialize_with = "object::list")]
    #[schema(value_type = Vec<LimitForm>)]
    limits: Vec<RateLimit>,
    #[serde(default)]
    #[schema(value_type = Vec<LimitText>)]
    lifted_limits: LimitNames,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Metadata,
    /// A key that opens nothing and raises an alarm when it is used.
    #[serde(default)]
    canary: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Seconds from now, instead of `expires_at`.
    #[schema(minimum = 1)]
    expires_in: Option<u64>,
}

/// Changes of a key (RFC 7396): what is left out stays, null removes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateKey {
    #[serde(default)]
    #[schema(value_type = Option<UserText>)]
    user: Patch<UserId>,
    ends_with_user: Option<bool>,
    #[schema(value_type = Option<NameText>)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<LabelText>>)]
    labels: Patch<Labels>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<ScopeText>>)]
    scopes: Patch<ScopeSet>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<RoleText>>)]
    roles: Patch<RoleNames>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<NetworkText>>)]
    networks: Patch<Networks>,
    #[serde(default, deserialize_with = "object::patch")]
    #[schema(value_type = Option<Vec<LimitForm>>)]
    limits: Patch<Vec<RateLimit>>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<LimitText>>)]
    lifted_limits: Patch<LimitNames>,
    /// Merged with what is there.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    metadata: MetadataPatch,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Patch<Timestamp>,
}

impl Key {
    /// The key as it is at this time.
    pub(crate) fn new(stored: StoredKey, uses: Option<&UseOfKey>, at: Timestamp) -> Self {
        let status = match stored.record.life(at) {
            KeyLife::Active => "active",
            KeyLife::Disabled => "disabled",
            KeyLife::Revoked => "revoked",
            KeyLife::Expired => "expired",
        };
        let used: HashMap<&Lookup, &SecretUse> = uses
            .into_iter()
            .flat_map(|uses| &uses.secrets)
            .map(|secret| (&secret.lookup, secret))
            .collect();
        let secrets = stored.secrets.iter().map(|secret| {
            let used = used.get(&secret.lookup);
            Secret {
                lookup: secret.lookup.shown().to_owned(),
                hint: secret.hint.clone(),
                created_at: secret.created_at,
                expires_at: secret.expires_at,
                grace_ends_at: secret.grace_ends_at,
                last_used_at: used.and_then(|used| used.last_used_at),
                last_address: used
                    .and_then(|used| used.last_address)
                    .map(|address| address.to_string()),
                requests: used.map_or(0, |used| used.requests),
            }
        });
        let secrets = secrets.collect();
        // Every field is named, so that a new one is not forgotten.
        let KeyRecord {
            id,
            organization_id,
            user,
            ends_with_user,
            name,
            labels,
            prefix,
            environment,
            scopes,
            roles,
            networks,
            limits,
            lifted_limits,
            metadata,
            status: _,
            revocation,
            holds: _,
            created_at,
            created_by,
            created_by_key,
            is_canary,
            requires: _,
            expires_at,
            revision,
        } = stored.record;
        let revocation = revocation.map(|revocation| Revocation {
            at: revocation.at,
            reason: revocation.reason,
            actor: revocation.actor,
        });
        Self {
            id,
            organization_id,
            user,
            ends_with_user,
            name,
            labels,
            prefix,
            environment,
            scopes,
            roles,
            networks,
            limits,
            lifted_limits,
            metadata,
            status,
            revocation,
            created_at,
            created_by,
            created_by_key,
            is_canary,
            expires_at,
            revision,
            secrets,
        }
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }
}

impl IssuedKey {
    pub(crate) fn new(issued: &Issued, record: Key) -> Self {
        Self {
            key: issued.key.expose_secret().to_owned(),
            lookup: issued.lookup.shown().to_owned(),
            record,
        }
    }

    pub(crate) fn record(&self) -> &Key {
        &self.record
    }
}

impl CreateKey {
    /// The request for a key of this organization.
    ///
    /// # Errors
    /// When it ends at two times.
    pub(crate) fn request(self, organization: OrganizationId) -> Result<IssueRequest, Problem> {
        let mut request = IssueRequest::new(organization, self.name)
            .labels(self.labels)
            .scopes(self.scopes)
            .roles(self.roles)
            .networks(self.networks)
            .lift_limits(self.lifted_limits)
            .metadata(self.metadata);
        for limit in self.limits {
            request = request.limit(limit);
        }
        if let Some(user) = self.user {
            request = request.user(user);
        }
        if self.ends_with_user {
            request = request.ends_with_user();
        }
        if let Some(environment) = self.environment {
            request = request.environment(environment);
        }
        if self.canary {
            request = request.canary();
        }
        Ok(match (self.expires_at, self.expires_in) {
            (None, None) => request,
            (Some(at), None) => request.expires_at(at),
            (None, Some(seconds)) => request.expires_in(Duration::from_secs(seconds)),
            (Some(_), Some(_)) => {
                return Err(Problem::invalid(
                    "expires_in",
                    "give expires_at or expires_in, not both",
                ));
            }
        })
    }
}

impl UpdateKey {
    /// # Errors
    /// When metadata is not valid.
    pub(crate) fn check(&self, record: &KeyRecord) -> Result<(), Problem> {
        self.merged(record).map(drop)
    }

    /// Makes the changes. Metadata that is not valid stays as it is: [`UpdateKey::check`] comes first.
    pub(crate) fn change(&self, record: &mut KeyRecord) {
        if let Ok(metadata) = self.merged(record) {
            record.metadata = metadata;
        }
        self.user.change(&mut record.user);
        if let Some(ends) = self.ends_with_user {
            record.ends_with_user = ends;
        }
        if let Some(name) = &self.name {
            record.name.clone_from(name);
        }
        self.labels.change_or_default(&mut record.labels);
        self.scopes.change_or_default(&mut record.scopes);
        self.roles.change_or_default(&mut record.roles);
        self.networks.change_or_default(&mut record.networks);
        self.limits.change_or_default(&mut record.limits);
        self.lifted_limits.change_or_default(&mut record.lifted_limits);
        self.expires_at.change(&mut record.expires_at);
    }

    fn merged(&self, record: &KeyRecord) -> Result<Metadata, Problem> {
        merge(&self.metadata, &record.metadata)
    }
}
