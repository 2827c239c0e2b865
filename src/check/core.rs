//! What the clones of an authenticator share.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::budget::FailureBudget;
use super::cache::VerifiedCache;
use super::common::Common;
use super::complaints::Complaints;
use super::entry::Entry;
use super::flight::Flights;
use super::home::{Home, Watch};
use super::outcome::Outcomes;
use super::rehash::{self, Rehash};
use super::tag::Tagger;
use crate::clock::{Clock, Monotonic};
use crate::fence::Fence;
use crate::hash::{ClientGroup, HashPolicy, HashPool};
use crate::key::KeyFormats;
use crate::limit::RateLimiter;
use crate::store::{KeyStore, Sharing};

/// Reads of the store under way at once: twice as many as loads of keys that are not proven yet. Were it as many, those
/// could take all the places, and a key that was seen before would wait behind them.
const READS: usize = 128;
/// Of them, for those who only watch over keys. A change of everything wakes all of them at once, and requests must not
/// wait behind thousands of streams.
const WATCHING_READS: usize = READS / 2;

pub(super) struct Core<S> {
    pub(super) store: S,
    pub(super) fence: Fence,
    pub(super) sharing: Sharing,
    pub(super) clock: Clock,
    pub(super) formats: KeyFormats,
    pub(super) tagger: Tagger,
    pub(super) cache: VerifiedCache,
    pub(super) flights: Arc<Flights>,
    pub(super) reads: Semaphore,
    pub(super) watching_reads: Semaphore,
    pub(super) budget: Option<FailureBudget>,
    pub(super) pool: HashPool,
    pub(super) policy: HashPolicy,
    pub(super) rehash: Option<Rehash<S>>,
    pub(super) rehashes: Arc<Semaphore>,
    pub(super) limiter: Arc<dyn RateLimiter>,
    pub(super) outcomes: Outcomes,
    pub(super) complaints: Complaints,
    pub(super) settings: Settings,
    /// How long an entry lives, in nanoseconds: what every request compares with.
    life: u64,
    pub(super) home: Arc<Home>,
    pub(super) common: Common,
    /// That nobody follows the log of changes is said once.
    warned: OnceLock<()>,
}

/// The times within which answers are believed and waited for.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) time_to_live: Duration,
    pub(super) max_staleness: Duration,
    pub(super) read_timeout: Duration,
    pub(super) load_timeout: Duration,
}

/// What a core is made of, apart from what it makes itself.
pub(super) struct Parts<S> {
    pub(super) store: S,
    pub(super) clock: Clock,
    pub(super) formats: KeyFormats,
    pub(super) cache_bytes: u64,
    pub(super) has_budget: bool,
    pub(super) pool: HashPool,
    pub(super) policy: HashPolicy,
    pub(super) rehash: Option<Rehash<S>>,
    pub(super) limiter: Arc<dyn RateLimiter>,
    pub(super) settings: Settings,
    pub(super) realm: Box<str>,
}

impl<S: KeyStore> Core<S> {
    pub(super) fn new(parts: Parts<S>) -> Arc<Self> {
        let sharing = parts.store.sharing();
        // A store without a fence announces nothing: its changes are seen when the time to live is over.
        let fence = parts.store.fence().cloned().unwrap_or_else(Fence::new);
        // Later readings go by the latest before. Without one from the start, a clock that was set back before the first
        // key with an end is met would let that key outlive it.
        parts.clock.wall();
        parts.pool.prepare_for(&parts.policy);
        Arc::new_cyclic(|this: &Weak<Self>| {
            let home = Arc::new(Home {
                realm: parts.realm,
                clock: parts.clock.clone(),
                authenticator: this.clone() as Weak<dyn Watch>,
            });
            Self {
                store: parts.store,
                fence,
                sharing,
                clock: parts.clock,
                formats: parts.formats,
                tagger: Tagger::new(),
                cache: VerifiedCache::new(parts.cache_bytes),
                flights: Arc::default(),
                reads: Semaphore::new(READS),
                watching_reads: Semaphore::new(WATCHING_READS),
                budget: parts.has_budget.then(FailureBudget::new),
                pool: parts.pool,
                policy: parts.policy,
                rehash: parts.rehash,
                rehashes: Arc::new(Semaphore::new(rehash::PLACES)),
                limiter: parts.limiter,
                outcomes: Outcomes::default(),
                complaints: Complaints::default(),
                settings: parts.settings,
                life: nanoseconds(parts.settings.time_to_live),
                common: Common::new(home.clone(), parts.cache_bytes),
                home,
                warned: OnceLock::new(),
            }
        })
    }

    /// Whether the entry may serve a request that began at `started`: nothing it depends on has changed, as far as the
    /// fence and the lease can tell, and it was read recently enough.
    #[inline]
    pub(super) fn is_fresh(&self, entry: &Entry, started: Monotonic, now: Monotonic) -> bool {
        // The lease before the mark: a follower that announces a change between the two, and then extends the lease, would
        // otherwise let the request pass on what was before, however old that is.
        now.as_nanos().saturating_sub(entry.read_at.as_nanos()) <= self.life
            && (self.sharing != Sharing::ChangeLog || self.is_within_lease(entry, started, now))
            && self.fence.protocol().is_current(&entry.mark)
    }

    /// The last step of a check. Nothing may be awaited between it and what the request is let through to.
    #[inline]
    pub(super) fn confirm(&self, entry: &Entry, started: Monotonic, now: Monotonic) -> bool {
        now < entry.deadline && self.is_fresh(entry, started, now)
    }

    #[inline(never)]
    fn is_within_lease(&self, entry: &Entry, started: Monotonic, now: Monotonic) -> bool {
        let max_staleness = nanoseconds(self.settings.max_staleness);
        if self.fence.has_no_follower() {
            self.warned.get_or_init(|| {
                tracing::warn!(
                    "other processes change this store and nothing follows its log of changes: every request reads it"
                );
            });
        }
        // Read since the request began, or confirmed by a follower. Without a follower each request reads for itself.
        entry.read_at >= started
            || self
                .fence
                .protocol()
                .is_within_lease(entry.read_at.as_nanos(), now.as_nanos(), max_staleness)
    }

    /// Remembers a wrong key.
    pub(super) fn hold_against(&self, client: Option<ClientGroup>, now: Monotonic) {
        if let (Some(budget), Some(client)) = (&self.budget, client) {
            budget.count(client, now);
        }
    }

    /// Whether wrong keys are a danger to right ones now: the verify queue or the loads are more than half full.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.pool.is_more_than_half_full() || self.flights.is_more_than_half_full()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
