//! The settings of a handle for API keys, and of an authenticator alone.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::audit::{Alerts, Outcomes};
use super::authenticator::Authenticator;
use super::cache::VerifiedCache;
use super::core::{Core, ReplaceHash};
use super::entry::AuthenticatorHandle;
use super::loads::Loads;
use crate::audit::{AttemptLog, Audit};
use crate::clock::Clock;
use crate::compact::Interner;
use crate::error::ConfigError;
use crate::fence::Fence;
use crate::hash::{HashPolicy, HashPool, RightBefore};
use crate::key::{KeyFormat, KeyFormats};
use crate::last_use::PendingUses;
use crate::limit::{FailureBudget, LocalLimiter, RateLimiter};
use crate::secrets::{OpenedSecrets, SecretSettings};
use crate::store::{KeyStore, ManagedStore, Sharing, StoreError, replace_hash};

const SHORTEST_TIME_TO_LIVE: Duration = Duration::from_millis(100);
const LONGEST_TIME_TO_LIVE: Duration = Duration::from_secs(24 * 3600);
const SMALLEST_CACHE: u64 = 1 << 20;
const SHORTEST_STALENESS: Duration = Duration::from_millis(1);
const LONGEST_STALENESS: Duration = Duration::from_secs(3600);
/// No store answers sooner, so every key would be answered 503.
const SHORTEST_READ: Duration = Duration::from_millis(1);
const DEFAULT_STALENESS: Duration = Duration::from_secs(5);
const LONGEST_READ: Duration = Duration::from_secs(60);
/// Reads of the store at once: twice as many as loads for unproven keys, which would otherwise take all of them and let a
/// key that was seen before wait.
const READS: usize = 128;
/// Of them, reads for contexts that wait for the end of their key. A change of everything wakes all of them at once, and
/// requests must not wait behind thousands of streams.
const WATCHING_READS: usize = READS / 2;
const REHASHES: usize = 4;

/// The settings of an [`ApiKeys`](crate::ApiKeys) handle, from [`ApiKeys::builder`](crate::ApiKeys::builder), or of an
/// [`Authenticator`] alone, from [`Authenticator::builder`]. Every default is safe; an invalid setting is an error where it
/// is made.
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
///     .build();
/// let layer = ApiKeyLayer::from(authenticator);
///
/// let error = Authenticator::builder(MemoryStore::new()).time_to_live(Duration::ZERO).unwrap_err();
/// assert_eq!(error.setting(), "time to live");
/// # let _ = layer;
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[must_use]
pub struct ApiKeysBuilder<S> {
    store: S,
    clock: Clock,
    formats: KeyFormats,
    cache_bytes: u64,
    has_budget: bool,
    pool: HashPool,
    policy: HashPolicy,
    replace_hash: Option<ReplaceHash<S>>,
    limiter: Arc<dyn RateLimiter>,
    time_to_live: Duration,
    max_staleness: Duration,
    read_timeout: Duration,
    secrets: SecretSettings,
    /// Those secrets once they were read.
    opened: Option<OpenedSecrets<S>>,
    uses: Audit,
    attempts: Option<AttemptLog>,
}

impl<S: KeyStore> Authenticator<S> {
    /// An authenticator with the default settings: keys of the default format, cached for up to five minutes, limits kept in
    /// memory.
    pub fn new(store: S) -> Self {
        Self::builder(store).build()
    }

    /// For other settings.
    pub fn builder(store: S) -> ApiKeysBuilder<S> {
        let max_staleness = match store.sharing() {
            Sharing::ChangeLog { max_staleness } => max_staleness.clamp(SHORTEST_STALENESS, LONGEST_STALENESS),
            _ => DEFAULT_STALENESS,
        };
        ApiKeysBuilder {
            formats: store.formats().unwrap_or_default(),
            store,
            clock: Clock::system(),
            cache_bytes: 64 << 20,
            has_budget: true,
            pool: HashPool::global(),
            policy: HashPolicy::default(),
            replace_hash: None,
            limiter: Arc::new(LocalLimiter::new()),
            time_to_live: Duration::from_secs(300),
            max_staleness,
            read_timeout: Duration::from_millis(250),
            secrets: SecretSettings::new(max_staleness),
            opened: None,
            uses: Audit::default(),
            attempts: None,
        }
    }
}

impl<S> Authenticator<S> {
    /// An authenticator with the same settings over another store. It shares the pool and the limits, and has a cache of its
    /// own.
    pub(crate) fn over<T: ManagedStore>(&self, store: T) -> Authenticator<T> {
        let core = &self.core;
        let builder = ApiKeysBuilder {
            store,
            clock: core.clock.clone(),
            formats: core.formats.clone(),
            cache_bytes: core.cache_bytes,
            has_budget: core.budget.is_some(),
            pool: core.pool.clone(),
            policy: core.policy,
            replace_hash: None,
            limiter: core.limiter.clone(),
            time_to_live: core.time_to_live,
            max_staleness: core.max_staleness,
            read_timeout: core.read_timeout,
            secrets: SecretSettings::new(core.max_staleness),
            opened: Some(core.secrets.over()),
            uses: Audit::default(),
            attempts: core.outcomes.attempts().cloned(),
        };
        match core.replace_hash {
            Some(_) => builder.rehash_obsolete().build(),
            None => builder.build(),
        }
    }
}

impl<S: KeyStore> Authenticator<S> {
    /// The same with other formats, and an empty cache. `None` if there are clones of it, which would keep the formats.
    pub(crate) fn with_formats(self, formats: KeyFormats) -> Option<Self> {
        let core = Arc::into_inner(self.core)?;
        let builder = ApiKeysBuilder {
            formats: formats.in_place_of(core.store.formats()),
            store: core.store,
            clock: core.clock,
            cache_bytes: core.cache_bytes,
            has_budget: core.budget.is_some(),
            pool: core.pool,
            policy: core.policy,
            replace_hash: core.replace_hash,
            limiter: core.limiter,
            time_to_live: core.time_to_live,
            max_staleness: core.max_staleness,
            read_timeout: core.read_timeout,
            secrets: SecretSettings::new(core.max_staleness),
            opened: Some(core.secrets),
            uses: Audit::default(),
            attempts: core.outcomes.attempts().cloned(),
        };
        Some(builder.build())
    }
}

impl<S: KeyStore> ApiKeysBuilder<S> {
    /// The formats of keys. New keys get the first; keys of all of them are accepted. Default: those that the store
    /// [brings](KeyStore::formats), or else [`KeyFormat::default`](crate::key::KeyFormat).
    pub fn formats(mut self, formats: impl Into<KeyFormats>) -> Self {
        self.formats = formats.into().in_place_of(self.store.formats());
        self
    }

    /// The pool that runs slow hashes. Default: one for the process.
    pub fn pool(mut self, pool: HashPool) -> Self {
        self.pool = pool;
        self
    }

    /// How new keys are hashed. An unknown key takes as long as such a hash, so that the time does not tell it from a known one.
    pub fn hash_policy(mut self, policy: HashPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Replaces hashes of an older policy by the current [`hash_policy`](Self::hash_policy) when their keys are verified: after
    /// the answer, a few at a time, and only while the pool is at most half full. Default: off.
    ///
    /// The key stays the same, so nothing changes for its owner.
    pub fn rehash_obsolete(mut self) -> Self
    where
        S: ManagedStore,
    {
        self.replace_hash = Some(|store, lookup, old, new| Box::pin(replace_hash(store, lookup, old, new)));
        self
    }

    /// What decides about limits. Default: a [`LocalLimiter`], in memory.
    pub fn limiter(mut self, limiter: impl RateLimiter) -> Self {
        self.limiter = Arc::new(limiter);
        self
    }

    /// The clock. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long a cached key is used before its record is read again. It is not hashed again. Default: 5 minutes.
    ///
    /// For a store that does not announce its changes, this bounds how long a revoked key stays valid.
    ///
    /// # Errors
    /// When it is shorter than 100 ms or longer than a day.
    pub fn time_to_live(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.time_to_live = within("time to live", SHORTEST_TIME_TO_LIVE..=LONGEST_TIME_TO_LIVE, time)?;
        Ok(self)
    }

    /// How long a cached key is used without a confirmation from the follower of the change log, for a store that other
    /// processes change: how late a change by another process may be seen. When the time is over, the key is read again, and
    /// not hashed. Default: that of the store's [`Sharing::ChangeLog`](crate::store::Sharing), which is 1 second for
    /// `SqliteStore` and 5 seconds for `PostgresStore`; other stores have no follower. A follower confirms five times in the store's own time: with a shorter
    /// one here, keys are read more often.
    ///
    /// # Errors
    /// When it is shorter than 1 ms or longer than an hour.
    pub fn max_staleness(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.max_staleness = within("max staleness", SHORTEST_STALENESS..=LONGEST_STALENESS, time)?;
        self.secrets.max_staleness = time;
        Ok(self)
    }

    /// How long one read of the store may take. Default: 250 ms. All reads of one load may take four times as long.
    ///
    /// # Errors
    /// When it is shorter than 1 ms or longer than a minute.
    pub fn read_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.read_timeout = within("read timeout", SHORTEST_READ..=LONGEST_READ, time)?;
        Ok(self)
    }

    /// The most memory that cached keys may take, in bytes. Default: 64 MiB, some 70,000 to 120,000 keys.
    ///
    /// Each key counts with all that it keeps in memory. What keys have in common (organization, scopes, limits) is kept once
    /// and counted for each, so that keys of few organizations take less than they count for.
    ///
    /// # Errors
    /// When it is below 1 MiB.
    pub fn cache_bytes(mut self, bytes: u64) -> Result<Self, ConfigError> {
        if bytes < SMALLEST_CACHE {
            let problem = format!("must be at least {SMALLEST_CACHE} (1 MiB), got {bytes}");
            return Err(ConfigError::new("cache bytes", problem));
        }
        self.cache_bytes = bytes;
        Ok(self)
    }

    /// Whether a client that sends many wrong keys is rejected while the service is under pressure. Default: yes.
    ///
    /// Each address (each /64 of IPv6) has a budget of 20 wrong keys, and one more every 3 seconds. It applies only while the
    /// hash queue or the loads are more than half full, and never to a cached key.
    ///
    /// # Security
    /// Requests without a [client address](crate::PresentedKey::client_address) share one budget. If no address is ever
    /// known, because the layer was not told [how to find it](crate::ApiKeyLayer::client_address), a few wrong keys from
    /// anyone use it up, and while the pressure lasts new keys of everyone are rejected with a retry time. Without a budget
    /// for them, clients that hide their address behind an unreadable header could fill the hash queue that others need.
    pub fn failure_budget(mut self, enabled: bool) -> Self {
        self.has_budget = enabled;
        self
    }

    /// What is stored of requests with valid keys, by a handle that is [opened](crate::ApiKeys::open). Default:
    /// [`Audit::first_use`].
    pub fn audit(mut self, uses: Audit) -> Self {
        self.uses = uses;
        self
    }

    /// Notes refusals and uses, to be stored.
    pub(crate) fn note_attempts(mut self) -> Self {
        if let Some(fence) = self.store.fence() {
            self.attempts = Some(AttemptLog::new(fence, self.clock.clone(), self.uses));
        }
        self
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn clock_to_be(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn secret_settings(&mut self) -> &mut SecretSettings {
        &mut self.secrets
    }

    /// Reads the realm's secrets from the store, and makes the first one, if a format needs them.
    pub(crate) async fn open_secrets(mut self) -> Result<Self, StoreError>
    where
        S: ManagedStore,
    {
        if self.formats.iter().any(KeyFormat::needs_realm) {
            let settings = self.secrets.clone();
            self.opened = Some(OpenedSecrets::open(settings, &self.store, &self.clock).await?);
        }
        Ok(self)
    }

    /// An authenticator alone, which issues no keys. Without I/O, so without the secrets of the realm: keyed checksums are
    /// read and not verified. Use [`ApiKeys::open`](crate::ApiKeys::open) where invented keys should cost nothing.
    pub fn build(self) -> Authenticator<S> {
        let opened = self.opened;
        let secrets = opened.unwrap_or_else(|| OpenedSecrets::without_store(self.secrets));
        let formats = secrets.bind(self.formats);
        let is_followed = matches!(self.store.sharing(), Sharing::ChangeLog { .. });
        let lease = is_followed.then(|| u64::try_from(self.max_staleness.as_nanos()).unwrap_or(u64::MAX));
        // A store without a fence announces nothing: its changes are seen when the time to live is over.
        let fence = self.store.fence().cloned().unwrap_or_else(Fence::new);
        // What the clock has run past stays over. Without a reading from the start, a clock that is set back before the first
        // key with an expiry is read would let that key outlive it.
        self.clock.wall();
        self.store.follow(&self.clock);
        self.pool.prepare_for(&self.policy);
        fence.accepts(formats.iter());
        let is_foreign = |format: &KeyFormat| formats.iter().all(|ours| ours.prefix() != format.prefix());
        let can_prove = formats.can_prove();
        let foreign = Some(KeyFormat::default()).filter(is_foreign);
        let uses = self.attempts.as_ref().map(|_| PendingUses::of(&fence));
        let core = Arc::new_cyclic(|this: &Weak<Core<S>>| {
            let handle = Arc::new(AuthenticatorHandle {
                clock: self.clock.clone(),
                authenticator: this.clone(),
                uses: uses.clone(),
            });
            Core {
                store: self.store,
                fence,
                lease,
                clock: self.clock,
                formats,
                foreign,
                secrets,
                tag_seed: rand::random(),
                cache: VerifiedCache::new(self.cache_bytes),
                cache_bytes: self.cache_bytes,
                loads: Arc::new(Loads::new(can_prove)),
                reads: Semaphore::new(READS),
                watching_reads: Semaphore::new(WATCHING_READS),
                budget: self.has_budget.then(FailureBudget::new),
                own_work: self.pool.own_work().clone(),
                pool: self.pool,
                right_before: RightBefore::default(),
                policy: self.policy,
                replace_hash: self.replace_hash,
                rehashes: Arc::new(Semaphore::new(REHASHES)),
                limiter: self.limiter,
                outcomes: Outcomes::stored_by(self.attempts, uses),
                alerts: Alerts::default(),
                time_to_live: self.time_to_live,
                max_staleness: self.max_staleness,
                read_timeout: self.read_timeout,
                load_timeout: self.read_timeout * 4,
                interner: Interner::new(handle, self.cache_bytes),
                warned: OnceLock::new(),
                warned_of_format: OnceLock::new(),
                warned_of_checksums: OnceLock::new(),
            }
        });
        Authenticator::from_core(core)
    }
}

fn within(setting: &'static str, bounds: RangeInclusive<Duration>, time: Duration) -> Result<Duration, ConfigError> {
    match bounds.contains(&time) {
        true => Ok(time),
        false => Err(ConfigError::out_of_range(setting, bounds, time)),
    }
}

impl<S> std::fmt::Debug for ApiKeysBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeysBuilder").finish_non_exhaustive()
    }
}
