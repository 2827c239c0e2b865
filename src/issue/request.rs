//! Requests for new keys.

mod fingerprint;

use std::time::Duration;

use super::bounds::{check_calendar, check_metadata, check_name, check_owner};
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::key::{
    Actor, Features, KeyId, KeyRecord, Labels, LimitNames, Metadata, Networks, OrganizationId, RateLimit, RoleNames,
    ScopeSet, Timestamp, UserId,
};

/// A request for a new key. By default the key has no scopes, works from anywhere, has no limits of its own and does not
/// expire, unless its organization's [`Policy`](crate::key::Policy) says otherwise.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{IssueRequest, Issuer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = Issuer::new(MemoryStore::new())?;
/// let acme = issuer.create_organization("acme").await?;
///
/// let request = IssueRequest::new(acme.id, "nightly export")
///     .user("alice".parse()?)
///     .labels("nightly team:data".parse()?)
///     .environment("test")
///     .scopes("orders:read invoices:*".parse()?)
///     .networks("192.0.2.0/24 2001:db8::/48".parse()?)
///     .limit("requests=100/60s".parse()?)
///     .expires_in(Duration::from_secs(90 * 86_400));
///
/// let issued = issuer.issue(request).await?;
/// assert!(issued.key.expose_secret().starts_with("key_test_"));
/// assert!(issued.record.scopes.allows(&"invoices:write".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IssueRequest {
    pub(super) organization: OrganizationId,
    name: String,
    pub(super) user: Option<UserId>,
    ends_with_user: bool,
    labels: Labels,
    pub(super) environment: Option<String>,
    scopes: ScopeSet,
    roles: RoleNames,
    networks: Networks,
    limits: Vec<RateLimit>,
    lifted_limits: LimitNames,
    metadata: Metadata,
    created_by_key: Option<KeyId>,
    is_canary: bool,
    requires: Features,
    expiry: Expiry,
}

/// When a new key ends.
#[derive(Clone, Copy, Debug)]
enum Expiry {
    Never,
    At(Timestamp),
    /// So long after it is issued.
    In(Duration),
}

impl IssueRequest {
    /// A key of this organization with a display name of 1 to 255 bytes.
    pub fn new(organization: OrganizationId, name: impl Into<String>) -> Self {
        Self {
            organization,
            name: name.into(),
            user: None,
            ends_with_user: false,
            labels: Labels::default(),
            environment: None,
            scopes: ScopeSet::default(),
            roles: RoleNames::default(),
            networks: Networks::default(),
            limits: Vec::new(),
            lifted_limits: LimitNames::default(),
            metadata: Metadata::default(),
            created_by_key: None,
            is_canary: false,
            requires: Features::default(),
            expiry: Expiry::Never,
        }
    }

    /// The user the key acts for. A disabled one gets no keys. An issuer that [acts for a user](crate::ApiKeys::issuer_for_principal)
    /// makes keys of that one, also if none is named here.
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// The key ends when its user is deleted.
    pub fn ends_with_user(mut self) -> Self {
        self.ends_with_user = true;
        self
    }

    /// What lists find the key by.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// The environment the key names. Default: the first of the format.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// What the key may do. Default: nothing that requires a scope.
    pub fn scopes(mut self, scopes: ScopeSet) -> Self {
        self.scopes = scopes;
        self
    }

    /// Roles, whose scopes the key has too, as they are whenever it is used.
    pub fn roles(mut self, roles: RoleNames) -> Self {
        self.roles = roles;
        self
    }

    /// Where the key may be used from. Default: from anywhere.
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = networks;
        self
    }

    /// One more limit, of at most 16. Its name must be unique among the key's, and none of those that all keys of its organization
    /// share. One that the organization or its plan gives each key is overridden.
    pub fn limit(mut self, limit: RateLimit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Limits of the plan and the organization, by name, that do not hold for this key.
    pub fn lift_limits(mut self, names: LimitNames) -> Self {
        self.lifted_limits = names;
        self
    }

    /// The service's own data about the key, of at most 16 KiB in all.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The key with which this one is created. It must work, and the new key gets no more than it has: no other scopes, roles
    /// and networks, no looser limits, no later end, and its environment or `test`. Without an end asked for, the new one ends with
    /// it at the latest. An issuer that [acts with a key](crate::ApiKeys::issuer_for) names that one, whatever is said here.
    pub fn created_by_key(mut self, creator: KeyId) -> Self {
        self.created_by_key = Some(creator);
        self
    }

    /// A canary: the key opens nothing, its answer is that of an unknown key, and its use is a security event with the name
    /// `canary_used`. Plant it where nobody should look. It never becomes a key that works.
    pub fn canary(mut self) -> Self {
        self.is_canary = true;
        self
    }

    /// What a server must know to judge the key: one that does not know all of it answers with 503.
    pub fn requires(mut self, features: Features) -> Self {
        self.requires = features;
        self
    }

    /// The key stops working at this time. A time that is not in the future, or after the year 9999, is refused by
    /// `issue`. Default: the key does not expire. Replaces [`expires_in`](Self::expires_in).
    pub fn expires_at(mut self, time: Timestamp) -> Self {
        self.expiry = Expiry::At(time);
        self
    }

    /// The key stops working so long after it is issued, by the issuer's clock, to the millisecond. Replaces
    /// [`expires_at`](Self::expires_at).
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expiry = Expiry::In(time);
        self
    }

    /// The record that is asked for, as far as it shows by itself that it can be had.
    pub(super) fn record(&self, clock: &Clock, creator: Actor) -> Result<KeyRecord, ConfigError> {
        check_name(&self.name)?;
        check_metadata(&self.metadata)?;
        check_owner(self.user.as_ref(), self.ends_with_user)?;
        let now = clock.wall();
        Ok(self.record_ending(now, creator, self.expiry.resolve(clock, now)?))
    }

    /// The same of one that was asked for before, and got this end.
    pub(super) fn record_ending(&self, now: Timestamp, creator: Actor, end: Option<Timestamp>) -> KeyRecord {
        let mut record = KeyRecord::new(self.organization, &*self.name, now);
        record.user.clone_from(&self.user);
        record.ends_with_user = self.ends_with_user;
        record.labels.clone_from(&self.labels);
        record.scopes.clone_from(&self.scopes);
        record.roles.clone_from(&self.roles);
        record.networks.clone_from(&self.networks);
        record.limits.clone_from(&self.limits);
        record.lifted_limits.clone_from(&self.lifted_limits);
        record.metadata.clone_from(&self.metadata);
        record.created_by = creator;
        record.created_by_key = self.created_by_key;
        record.is_canary = self.is_canary;
        record.requires.clone_from(&self.requires);
        record.expires_at = end;
        record
    }
}

impl Expiry {
    /// The end of a key that is issued now.
    fn resolve(self, clock: &Clock, now: Timestamp) -> Result<Option<Timestamp>, ConfigError> {
        let end = match self {
            Self::Never => return Ok(None),
            Self::At(end) => end,
            Self::In(time) => now.after(time),
        };
        check_calendar(Some(end))?;
        // A key that never works is a mistake: seconds were taken for milliseconds, or a form was left open overnight.
        if clock.is_over(end) {
            return Err(ConfigError::new("expiry", format!("must be in the future, got {end}")));
        }
        Ok(Some(end))
    }
}
