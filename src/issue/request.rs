//! Requests for new keys.

use std::time::Duration;

use super::bounds::check_calendar;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::key::{KeyId, Labels, Metadata, Networks, OrganizationId, RateLimit, ScopeSet, Timestamp, UserId};

/// A request for a new key. By default the key has no scopes, works from anywhere, has no limits of its own and does not
/// expire.
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
    pub(super) name: String,
    pub(super) user: Option<UserId>,
    pub(super) ends_with_user: bool,
    pub(super) labels: Labels,
    pub(super) created_by_key: Option<KeyId>,
    pub(super) environment: Option<String>,
    pub(super) scopes: ScopeSet,
    pub(super) networks: Networks,
    pub(super) limits: Vec<RateLimit>,
    pub(super) metadata: Metadata,
    pub(super) expiry: Expiry,
}

/// When a new key ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
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
            created_by_key: None,
            environment: None,
            scopes: ScopeSet::default(),
            networks: Networks::default(),
            limits: Vec::new(),
            metadata: Metadata::default(),
            expiry: Expiry::Never,
        }
    }

    /// The user the key acts for.
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// The key is revoked when its user is deleted.
    pub fn ends_with_user(mut self) -> Self {
        self.ends_with_user = true;
        self
    }

    /// What lists find the key by.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// The key with which this one is created. It must work.
    pub fn created_by_key(mut self, key: KeyId) -> Self {
        self.created_by_key = Some(key);
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

    /// Where the key may be used from. Default: from anywhere.
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = networks;
        self
    }

    /// One more limit, of at most 16. Its name must be unique among the key's and its organization's.
    pub fn limit(mut self, limit: RateLimit) -> Self {
        self.limits.push(limit);
        self
    }

    /// The service's own data about the key.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
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
}

impl Expiry {
    /// The end of a key that is issued now.
    pub(super) fn resolve(self, clock: &Clock, now: Timestamp) -> Result<Option<Timestamp>, ConfigError> {
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
