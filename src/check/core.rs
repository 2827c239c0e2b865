//! What the clones of an authenticator share.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::audit::{Alerts, Outcomes};
use super::cache::VerifiedCache;
use super::entry::{AuthenticatorHandle, Entry};
use super::loads::Loads;
use super::presented::{PresentedKey, Tag, TaggedKey};
use super::rejection::Rejection;
use crate::client::{ClientGroup, ClientOrigin};
use crate::clock::{Clock, Monotonic};
use crate::compact::Interner;
use crate::fence::Fence;
use crate::hash::{HashPolicy, HashPool, OwnWork, RightBefore};
use crate::key::{KeyFormat, KeyFormats, Lookup, SecretHash, SplitKey};
use crate::limit::{FailureBudget, RateLimiter};
use crate::secrets::OpenedSecrets;
use crate::store::{KeyStore, StoreError};

pub(super) struct Core<S> {
    pub(super) store: S,
    pub(super) fence: Fence,
    /// Nanoseconds for which a confirmation of the follower is good; `None` for a store that needs no follower.
    pub(super) lease: Option<u64>,
    pub(super) clock: Clock,
    pub(super) formats: KeyFormats,
    /// The default format, unless keys with its prefix are accepted. A key of it was issued by an issuer with other settings.
    pub(super) foreign: Option<KeyFormat>,
    pub(super) secrets: OpenedSecrets<S>,
    /// The random state that tags begin with.
    pub(super) tag_seed: [u32; 8],
    pub(super) cache: VerifiedCache,
    /// The bound of the cache.
    pub(super) cache_bytes: u64,
    pub(super) loads: Arc<Loads>,
    /// Reads of the store at once.
    pub(super) reads: Semaphore,
    /// Of them, those for contexts that wait for the end of their key.
    pub(super) watching_reads: Semaphore,
    pub(super) budget: Option<FailureBudget>,
    pub(super) pool: HashPool,
    /// Which requests the pool counts.
    pub(super) own_work: Arc<OwnWork>,
    /// Keys that were right before.
    pub(super) right_before: RightBefore,
    pub(super) policy: HashPolicy,
    pub(super) replace_hash: Option<ReplaceHash<S>>,
    /// Re-hashes at once.
    pub(super) rehashes: Arc<Semaphore>,
    pub(super) limiter: Arc<dyn RateLimiter>,
    pub(super) outcomes: Outcomes,
    pub(super) alerts: Alerts,
    pub(super) time_to_live: Duration,
    pub(super) max_staleness: Duration,
    pub(super) read_timeout: Duration,
    pub(super) load_timeout: Duration,
    pub(super) interner: Interner<AuthenticatorHandle>,
    /// Set once the warning about a missing change-log follower is written.
    pub(super) warned: OnceLock<()>,
    /// Set once the warning about a key of the default format is written.
    pub(super) warned_of_format: OnceLock<()>,
    /// Set once the warning about checksums that nothing verifies is written.
    pub(super) warned_of_checksums: OnceLock<()>,
}

/// Swaps the old hash of a lookup for a new one. A function pointer, because only re-hashing needs a store that can write.
pub(super) type ReplaceHash<S> = for<'a> fn(
    &'a S,
    &'a Lookup,
    old: &'a SecretHash,
    new: &'a SecretHash,
) -> Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send + 'a>>;

impl<S: KeyStore> Core<S> {
    /// Whether something speaks for this key before it is verified: a keyed checksum, which nobody else can make, or that it was
    /// right before.
    pub(super) fn speaks_for(&self, key: &TaggedKey) -> bool {
        key.is_proven || self.right_before.contains(key.tag.number())
    }

    /// Looks at a malformed key: an issuer with default settings beside a layer with others makes only such keys.
    pub(super) fn malformed(&self, presented: &PresentedKey<'_>) {
        let Some(format) = self.foreign.as_ref().filter(|_| self.warned_of_format.get().is_none()) else {
            return;
        };
        if format.parse(presented.bytes()).is_ok() && self.warned_of_format.set(()).is_ok() {
            let accepted: Vec<&str> = self.formats.iter().map(KeyFormat::prefix).collect();
            tracing::warn!(
                prefix = format.prefix(),
                ?accepted,
                "a key of the default format was presented, which is not accepted here: requests with such keys get 401. If \
                 they were issued for this service, take the issuer and the layer from one ApiKeys handle, or give its format \
                 to `ApiKeysBuilder::formats`, and for a file of keys to `FileStoreBuilder::formats`"
            );
        }
    }

    /// The entry of this very text, fresh or not. Entries have the tags of parsed keys, so a text with the same tag was
    /// parsed before, to the last character.
    pub(super) fn cached(&self, presented: &PresentedKey<'_>) -> Option<Arc<Entry>> {
        let text = self.formats.split(presented.bytes())?;
        match self.cached_as(&text) {
            Some(entry) => Some(entry),
            None => self.cached_as(&self.formats.split_by_hash(presented.bytes(), text.shape())?),
        }
    }

    fn cached_as(&self, text: &SplitKey<'_>) -> Option<Arc<Entry>> {
        let entry = self.cache.get(text.lookup())?;
        entry.tag.is(&Tag::of(&self.tag_seed, text)).then_some(entry)
    }

    /// The key that a store may have although it has none with the lookup of this one.
    pub(super) fn by_hash(&self, key: &[u8], tagged: &TaggedKey) -> Option<TaggedKey> {
        TaggedKey::of(&self.tag_seed, &self.formats.split_by_hash(key, tagged.shape)?)
    }

    /// Whether the entry may serve a request that began at `started`: nothing it depends on has changed, as far as fence and
    /// lease can tell, and it was read recently enough.
    pub(super) fn is_fresh(&self, entry: &Entry, started: Monotonic, now: Monotonic) -> bool {
        // The lease before the mark: between the two a follower may announce a change and then extend the lease, and the
        // request would pass on an entry of any age.
        // An entry that was read for this request cannot be newer, even if reading took as long as the time to live.
        (now.since(entry.read_at) <= self.time_to_live || entry.read_at >= started)
            && self
                .lease
                .is_none_or(|lease| self.is_within_lease(entry, lease, started, now))
            && self.fence.protocol().is_current(&entry.mark)
    }

    /// The last step of a check. Nothing may be awaited between it and what the request is let through to.
    ///
    /// Of an entry that was found fresh at this very time, only the mark can have changed: life and lease are as they were.
    pub(super) fn confirm(&self, entry: &Entry, is_fresh: bool, started: Monotonic, now: Monotonic) -> bool {
        now < entry.deadline
            && match is_fresh {
                true => self.fence.protocol().is_current(&entry.mark),
                false => self.is_fresh(entry, started, now),
            }
    }

    /// When an entry is due for a read even if nothing was announced, as far as is known now.
    pub(super) fn fresh_until(&self, entry: &Entry, now: Monotonic) -> Monotonic {
        let end_of_life = entry.read_at.after(self.time_to_live);
        if self.lease.is_none() {
            return end_of_life;
        }
        let confirmed_at = self.fence.confirmed_at();
        // One that is further ahead is of another clock.
        let counts = confirmed_at.since(now) <= self.max_staleness && confirmed_at > entry.read_at;
        let confirmed_at = if counts { confirmed_at } else { entry.read_at };
        end_of_life.min(confirmed_at.after(self.max_staleness))
    }

    fn is_within_lease(&self, entry: &Entry, lease: u64, started: Monotonic, now: Monotonic) -> bool {
        // Read since the request began, or confirmed by a follower. Without a follower each request reads for itself.
        let (read_at, now) = (entry.read_at.as_nanos(), now.as_nanos());
        if self.fence.protocol().is_within_lease(read_at, now, lease) {
            return true;
        }
        if self.fence.has_no_follower() {
            self.warned.get_or_init(|| {
                tracing::warn!("store is shared but no change-log follower is running: every request reads the store");
            });
        }
        entry.read_at >= started
    }

    /// Records a rejection.
    pub(super) fn refused(&self, rejection: &Rejection, client: ClientOrigin, now: Monotonic) {
        self.own_work.refused(now);
        self.outcomes.refused(rejection, client, now);
    }

    /// Records a wrong key.
    pub(super) fn record_failure(&self, client: Option<ClientGroup>, now: Monotonic) {
        if let (Some(budget), Some(client)) = (&self.budget, client) {
            budget.record_failure(client, now);
        }
    }

    /// Whether wrong keys endanger right ones now: the hash queue or the loads are more than half full.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.pool.is_more_than_half_full() || self.loads.is_more_than_half_full()
    }
}
