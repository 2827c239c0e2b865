//! The settings of an authenticator.

use std::sync::Arc;
use std::time::Duration;

use super::authenticator::Authenticator;
use super::core::{Core, Parts, Settings};
use super::rehash;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::hash::{HashPolicy, HashPool};
use crate::key::KeyFormats;
use crate::limit::{LocalLimiter, RateLimiter};
use crate::store::{KeyStore, ManageKeys};

const LONGEST_TIME_TO_LIVE: Duration = Duration::from_secs(24 * 3600);
const SMALLEST_CACHE: u64 = 1 << 20;

/// The settings of an [`Authenticator`]. Every default is safe; a setting that cannot work is refused where it is made.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::key::KeyFormat;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{ApiKeyLayer, Authenticator};
///
/// let authenticator = Authenticator::builder(MemoryStore::new())
///     .formats(KeyFormat::new("acme")?)
///     .time_to_live(Duration::from_secs(60))?
///     .realm("orders")?
///     .build();
/// assert_eq!(authenticator.realm(), "orders");
/// let layer = ApiKeyLayer::from(authenticator);
///
/// let error = Authenticator::builder(MemoryStore::new()).time_to_live(Duration::ZERO).unwrap_err();
/// assert_eq!(error.setting(), "time to live");
/// # let _ = layer;
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[must_use]
pub struct AuthenticatorBuilder<S> {
    parts: Parts<S>,
}

impl<S: KeyStore> AuthenticatorBuilder<S> {
    pub(super) fn new(store: S) -> Self {
        let clock = Clock::system();
        Self {
            parts: Parts {
                store,
                clock,
                formats: KeyFormats::default(),
                cache_bytes: 64 << 20,
                has_budget: true,
                pool: HashPool::global(),
                policy: HashPolicy::default(),
                rehash: None,
                limiter: Arc::new(LocalLimiter::new()),
                settings: Settings {
                    time_to_live: Duration::from_secs(300),
                    max_staleness: Duration::from_secs(5),
                    read_timeout: Duration::from_millis(250),
                    load_timeout: Duration::from_secs(1),
                },
                realm: "api".into(),
            },
        }
    }

    /// The formats of the keys that are accepted. Default: [`KeyFormat::default`](crate::key::KeyFormat).
    pub fn formats(mut self, formats: impl Into<KeyFormats>) -> Self {
        self.parts.formats = formats.into();
        self
    }

    /// The pool that runs slow hashes. Default: one for the process.
    pub fn pool(mut self, pool: HashPool) -> Self {
        self.parts.pool = pool;
        self
    }

    /// How new keys are hashed: what an unknown key is made to cost, so that the time does not tell it from a known one.
    pub fn hash_policy(mut self, policy: HashPolicy) -> Self {
        self.parts.policy = policy;
        self
    }

    /// Replaces hashes of an older policy (see [`hash_policy`](Self::hash_policy)) by today's when their keys are verified:
    /// after the answer, a few at a time, and only while the pool is at most half full. Default: off, hashes stay as they are.
    ///
    /// The secret stays the same, so nothing else changes for the key's owner or for what is cached.
    pub fn rehash_obsolete(mut self) -> Self
    where
        S: ManageKeys,
    {
        self.parts.rehash = Some(rehash::replace::<S>);
        self
    }

    /// What decides about limits. Default: in memory.
    pub fn limiter(mut self, limiter: impl RateLimiter) -> Self {
        self.parts.limiter = Arc::new(limiter);
        self
    }

    /// The clock. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.parts.clock = clock;
        self
    }

    /// How long a checked answer is reused before its record is read again; it is not hashed again. Default: 5 minutes.
    ///
    /// For a store that announces its changes this only bounds surprises. For one that does not, it bounds how long a
    /// revoked key goes on to work.
    ///
    /// # Errors
    /// When it is zero or longer than a day.
    pub fn time_to_live(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() || time > LONGEST_TIME_TO_LIVE {
            return Err(ConfigError::new("time to live", "must be above zero and at most a day"));
        }
        self.parts.settings.time_to_live = time;
        Ok(self)
    }

    /// How long an answer is believed without word from a log of changes, for a store that other processes change.
    /// Default: 5 seconds.
    ///
    /// # Errors
    /// When it is zero or longer than an hour.
    pub fn max_staleness(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() || time > Duration::from_secs(3600) {
            return Err(ConfigError::new(
                "max staleness",
                "must be above zero and at most an hour",
            ));
        }
        self.parts.settings.max_staleness = time;
        Ok(self)
    }

    /// How long one read of the store may take. Default: 250 ms; all reads for one request: four times that.
    ///
    /// # Errors
    /// When it is zero or longer than a minute.
    pub fn read_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() || time > Duration::from_secs(60) {
            return Err(ConfigError::new(
                "read timeout",
                "must be above zero and at most a minute",
            ));
        }
        self.parts.settings.read_timeout = time;
        self.parts.settings.load_timeout = time * 4;
        Ok(self)
    }

    /// The most memory that checked answers may take, in bytes. Default: 64 MiB, some 70,000 to 120,000 keys.
    ///
    /// Counted for each key is all that it keeps in memory; what keys have in common (their organization, scopes, limits) is
    /// kept once and counted for each, so that keys of few organizations take less than they are counted for.
    ///
    /// # Errors
    /// When it is below 1 MiB.
    pub fn cache_bytes(mut self, bytes: u64) -> Result<Self, ConfigError> {
        if bytes < SMALLEST_CACHE {
            return Err(ConfigError::new("cache bytes", "must be at least 1 MiB (1048576)"));
        }
        self.parts.cache_bytes = bytes;
        Ok(self)
    }

    /// Whether an address that sends many wrong keys is refused while the service is under pressure. Default: yes.
    ///
    /// Each address (each /64 of IPv6) has 20 wrong keys, and one more every 3 seconds. It is asked only while the queue of
    /// hashes or the loads are more than half full, and never for a key that was checked before.
    ///
    /// # Security
    /// Requests without a [client address](crate::Attempt::client_address) share one budget. Where no address is ever known,
    /// because the layer was not told [how to find it](crate::ApiKeyLayer::client_address), a few wrong keys from anybody
    /// use it up for everybody, and new keys are told to come again as long as the pressure lasts. They are held against
    /// the unknown all the same: clients can often make themselves unknown, by a header that cannot be read, and without
    /// a budget they would fill what those share whose address is known.
    pub fn failure_budget(mut self, enabled: bool) -> Self {
        self.parts.has_budget = enabled;
        self
    }

    /// The protection space that challenges name (RFC 9110, section 11.5). Default: `api`.
    ///
    /// # Errors
    /// When it could not stand in a quoted string: only visible ASCII and spaces, no `"` and no `\`, 1 to 128 characters.
    pub fn realm(mut self, realm: &str) -> Result<Self, ConfigError> {
        let fits = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        if realm.is_empty() || realm.len() > 128 || !realm.bytes().all(fits) {
            return Err(ConfigError::new(
                "realm",
                "must be 1 to 128 visible ASCII characters or spaces, without `\"` and `\\`",
            ));
        }
        self.parts.realm = realm.into();
        Ok(self)
    }

    /// The authenticator.
    pub fn build(self) -> Authenticator<S> {
        Authenticator::from_core(Core::new(self.parts))
    }
}

impl<S> std::fmt::Debug for AuthenticatorBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticatorBuilder").finish_non_exhaustive()
    }
}
