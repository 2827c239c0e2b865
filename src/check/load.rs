//! One load: reads the record, proves the key against it, and caches the result.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::core::Core;
use super::entry::{Entry, fingerprint};
use super::hashing;
use super::loads::LoadResult;
use super::presented::TaggedKey;
use super::rejection::{RETRY_AFTER, RejectionKind};
use crate::client::ClientGroup;
use crate::clock::Monotonic;
use crate::fence::{self, Identity, Loaded, Mark, Source};
use crate::hash::{OnVerdict, PoolError, PoolErrorKind};
use crate::key::{KeyRecord, OwnedKey};
use crate::limit::ReadingPlace;
use crate::store::{Candidate, KeyStore, StoreError, StoreErrorKind};

/// How long a rejection is remembered.
const REJECTION_TIME_TO_LIVE: Duration = Duration::from_secs(1);

const UNAVAILABLE: LoadResult = LoadResult::Unavailable(RejectionKind::StoreUnavailable, RETRY_AFTER);
const NOT_CONFIRMED: LoadResult = LoadResult::Unavailable(RejectionKind::NotConfirmed, RETRY_AFTER);
const BUSY: LoadResult = LoadResult::Unavailable(RejectionKind::Busy, RETRY_AFTER);
const INVALID_RECORD: LoadResult = LoadResult::Unavailable(RejectionKind::InvalidRecord, RETRY_AFTER);

/// One presented key to be proven against its record.
pub(super) struct Load<S> {
    core: Arc<Core<S>>,
    tagged: TaggedKey,
    /// A load without the key can only confirm what is already known.
    pub(super) key: Option<OwnedKey>,
    /// The same key for a store that has none with this lookup.
    pub(super) by_hash: Option<TaggedKey>,
    /// The entry that was found stale: of this key, or of another that claims the same lookup.
    pub(super) known: Option<Arc<Entry>>,
    pub(super) client: ClientGroup,
    /// The client group charged for a wrong key.
    pub(super) failure_group: Option<ClientGroup>,
    /// The fence's count of changes before the read.
    pub(super) changes: u64,
    /// Its place among the loads that read, for an unproven key.
    pub(super) reading: Option<ReadingPlace>,
    give_up_at: Instant,
}

impl<S: KeyStore> Load<S> {
    /// A load without the key, for no client.
    pub(super) fn new(core: Arc<Core<S>>, tagged: TaggedKey) -> Self {
        Self {
            tagged,
            by_hash: None,
            key: None,
            known: None,
            client: ClientGroup::UNKNOWN,
            failure_group: None,
            changes: core.fence.changes(),
            reading: None,
            give_up_at: Instant::now() + core.load_timeout,
            core,
        }
    }

    /// Never panics: a panicking store is reported and answered with 503.
    pub(super) async fn run(self) -> LoadResult {
        let (core, lookup) = (self.core.clone(), self.tagged.lookup.clone());
        let mut loading = pin!(self.load());
        let caught = poll_fn(|cx| {
            // What a panic leaves half done is never polled again.
            match catch_unwind(AssertUnwindSafe(|| loading.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Some),
                Err(_) => Poll::Ready(None),
            }
        });
        caught.await.unwrap_or_else(|| {
            core.alerts.load_panicked(&lookup, core.clock.now());
            UNAVAILABLE
        })
    }

    async fn load(self) -> LoadResult {
        #[cfg(feature = "metrics")]
        let _in_progress = self.core.outcomes.counters().load();
        let known = self.known.as_ref().map(|entry| entry.mark.stripes());
        let began = self.core.clock.now();
        match fence::load(self.core.fence.protocol(), known, &self).await {
            Loaded::Verified {
                verified: (candidate, read_at),
                mark,
            } => match self.core.knows_end_of(self.tagged.form).await {
                true => LoadResult::Verified(self.cache(*candidate, mark, read_at)),
                false => UNAVAILABLE,
            },
            Loaded::Absent => {
                // A wrong key is recorded below, once.
                match self.load_by_hash().await {
                    None | Some(LoadResult::Rejected { .. }) => {}
                    Some(result) => return result,
                }
                match self.spend_a_hash().await {
                    Ok(()) => self.reject(RejectionKind::UnknownKey, began),
                    Err(error) => self.unavailable(&error),
                }
            }
            Loaded::BelowMinimum | Loaded::Unconfirmed => NOT_CONFIRMED,
            Loaded::Failed(result) => result,
        }
    }

    async fn load_by_hash(&self) -> Option<LoadResult> {
        let load = Self {
            core: self.core.clone(),
            tagged: self.by_hash.clone()?,
            by_hash: None,
            key: self.key.clone(),
            known: self.known.clone(),
            failure_group: None,
            // It has left its place after the read, and this store answers from memory.
            reading: None,
            ..*self
        };
        Some(Box::pin(load.load()).await)
    }

    fn cache(&self, candidate: Candidate, mark: Mark, read_at: Monotonic) -> Arc<Entry> {
        let core = &self.core;
        let deadline = match core.end_of(&candidate, self.tagged.form) {
            Some(end) => core.clock.deadline(end),
            None => Monotonic::from_nanos(u64::MAX),
        };
        let proven_by = fingerprint(&candidate.secret.hash);
        let (interner, tagged) = (&core.interner, &self.tagged);
        let entry = Entry::new(candidate, interner, tagged, proven_by, mark, read_at, deadline);
        let entry = Arc::new(entry);
        core.cache.put(entry.clone());
        entry
    }

    fn reject(&self, kind: RejectionKind, read_at: Monotonic) -> LoadResult {
        // Without the key itself a rejection says nothing about what clients present.
        if self.key.is_some() {
            let until = self.core.clock.now().after(REJECTION_TIME_TO_LIVE);
            self.core.cache.put_rejected(self.tagged.tag, kind, self.changes, until);
        }
        LoadResult::Rejected {
            kind,
            read_at,
            changes: self.changes,
            recorded_for: self.failure_group,
        }
    }

    /// Makes a rejected lookup that can be guessed take as long as a hash, so that the time does not tell whether it exists.
    async fn spend_a_hash(&self) -> Result<(), PoolError> {
        let core = &self.core;
        if self.key.is_none() {
            return Ok(());
        }
        if core.formats.has_unguessable_lookup(self.tagged.shape) {
            self.record_failure();
            return Ok(());
        }
        let hash = core.pool.verify_dummy_for(&core.policy, self.client, self.on_verdict());
        // Boxed, as the other hash below: next to a hash that costs nothing, and loads that need none stay small.
        Box::pin(core.outcomes.hash(&core.clock, hash)).await
    }

    fn record_failure(&self) {
        self.core.record_failure(self.failure_group, self.core.clock.now());
    }

    /// Records a wrong key as soon as the worker knows, whether or not the client still waits.
    fn on_verdict(&self) -> OnVerdict {
        // Weak: dropping the last handle of the core may stop the pool, which none of its own jobs may do.
        let (core, group) = (Arc::downgrade(&self.core), self.failure_group);
        Box::new(move |was_right| {
            if !was_right && let Some(core) = core.upgrade() {
                core.record_failure(group, core.clock.now());
            }
        })
    }

    /// The result when there was no hash to compare with.
    fn unavailable(&self, error: &PoolError) -> LoadResult {
        let core = &self.core;
        let kind = match error.kind() {
            PoolErrorKind::InvalidHash => RejectionKind::InvalidRecord,
            PoolErrorKind::Busy | PoolErrorKind::TimedOut => RejectionKind::Busy,
            PoolErrorKind::Failed | PoolErrorKind::Stopped => {
                core.alerts.pool_broken(&self.tagged.lookup, error, core.clock.now());
                RejectionKind::Busy
            }
        };
        LoadResult::Unavailable(kind, error.retry_after().unwrap_or(RETRY_AFTER))
    }
}

impl<S: KeyStore> Source for Load<S> {
    // Boxed where it comes out of the store: a record is large, and is moved a dozen times on its way into the cache.
    type Candidate = (Box<Candidate>, Monotonic);
    type Verified = (Box<Candidate>, Monotonic);
    type Failure = LoadResult;

    async fn find(&self) -> Result<Option<Self::Candidate>, LoadResult> {
        let found = self.read().await;
        if let Some(reading) = &self.reading {
            reading.leave();
        }
        found
    }

    fn identify(&self, (candidate, _): &Self::Candidate) -> Identity {
        self.core.fence.identity(&candidate.record, &candidate.organization)
    }

    async fn verify(&self, (candidate, read_at): Self::Candidate) -> Result<Self::Verified, LoadResult> {
        // Before any hash: otherwise keys with a checksum that anyone can compute would cost one each. As for an unknown lookup:
        // the time must not tell that it exists in another form.
        if self.key.is_some() && !candidate.secret.form.admits(self.tagged.form) {
            return Err(match self.spend_a_hash().await {
                Ok(()) => self.reject(RejectionKind::UnknownKey, read_at),
                Err(error) => self.unavailable(&error),
            });
        }
        let is_named = self.names(&candidate.record);
        if !is_named {
            self.accept_head(&candidate)?;
        }
        // A lookup has one secret for its whole life, so an entry that was verified against the same hash settles right and
        // wrong without hashing. Not if that hash is the same for keys with another end: either may be the right one.
        let proven_by = fingerprint(&candidate.secret.hash);
        let length = self.key.as_ref().map_or(0, |key| key.as_bytes().len());
        let settled = self.known.as_ref().filter(|entry| {
            let is_only_one = entry.tag.is(&self.tagged.tag) || !entry.hash_kind.is_cut_before(length);
            entry.is_proven_by(proven_by) && is_only_one
        });
        let is_right = match (settled, &self.key) {
            (Some(entry), _) => {
                let is_right = is_named && entry.tag.is(&self.tagged.tag);
                if !is_right {
                    self.record_failure();
                }
                is_right
            }
            // The stored hash was replaced, and there is no key here to prove against the new one.
            (None, None) => false,
            (None, Some(key)) => Box::pin(self.hash(&candidate, key, is_named)).await?,
        };
        match is_right {
            true => Ok((candidate, read_at)),
            false => Err(self.reject(RejectionKind::WrongSecret, read_at)),
        }
    }
}

impl<S: KeyStore> Load<S> {
    async fn read(&self) -> Result<Option<(Box<Candidate>, Monotonic)>, LoadResult> {
        let core = &self.core;
        if let Some(reading) = &self.reading {
            let turn = timeout_at(self.give_up_at, reading.turn());
            if turn.await != Ok(true) {
                return Err(BUSY);
            }
        }
        let permit = timeout_at(self.give_up_at, core.reads.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(UNAVAILABLE);
        };
        let mut has_retried = false;
        loop {
            let read_at = core.clock.now();
            match self.find_in_time().await {
                Ok(Some(candidate)) => {
                    self.accept(&candidate)?;
                    return Ok(Some((Box::new(candidate), read_at)));
                }
                Ok(None) => return Ok(None),
                Err(error) if is_worth_a_retry(&error) && !has_retried => has_retried = true,
                Err(error) => return Err(self.store_failed(&error)),
            }
        }
    }

    async fn find_in_time(&self) -> Result<Option<Candidate>, StoreError> {
        let core = &self.core;
        let left = self.give_up_at.saturating_duration_since(Instant::now());
        let found = timeout(core.read_timeout.min(left), core.store.find(&self.tagged.lookup));
        match found.await {
            Ok(found) => found,
            Err(elapsed) => Err(StoreError::with_source(StoreErrorKind::Unavailable, elapsed)),
        }
    }

    /// A store that mixes records up must not let one client in as another.
    fn accept(&self, candidate: &Candidate) -> Result<(), LoadResult> {
        let (lookup, core) = (&self.tagged.lookup, &self.core);
        let organization = &candidate.organization;
        // Without its plan, a key would have no limits.
        if candidate.secret.lookup == *lookup
            && candidate.record.organization_id == organization.id
            && candidate.plan.as_ref().map(|plan| plan.id) == organization.plan
        {
            return Ok(());
        }
        core.alerts.wrong_record(lookup, candidate, core.clock.now());
        Err(INVALID_RECORD)
    }

    fn store_failed(&self, error: &StoreError) -> LoadResult {
        let core = &self.core;
        core.alerts.store_failed(&self.tagged.lookup, error, core.clock.now());
        match error.kind() {
            StoreErrorKind::InvalidRecord => INVALID_RECORD,
            _ => UNAVAILABLE,
        }
    }

    /// Looks at a record with another prefix or environment than the presented key has. It may be that of another key, which
    /// the client made up from this one. But one that no key could have is a broken record, and the key is not to blame.
    fn accept_head(&self, candidate: &Candidate) -> Result<(), LoadResult> {
        let core = &self.core;
        let (record, now) = (&candidate.record, core.clock.now());
        let is_missing = |text: &str| text.is_empty();
        let lacks_prefix = is_missing(&record.prefix) && core.formats.iter().all(|format| !is_missing(format.prefix()));
        let lacks_environment = record.environment.as_deref().is_none_or(is_missing)
            && core.formats.iter().all(|format| format.environments().next().is_some());
        if lacks_prefix || lacks_environment {
            let column = if lacks_prefix { "prefix" } else { "environment" };
            core.alerts.head_missing(&self.tagged.lookup, candidate, column, now);
            return Err(INVALID_RECORD);
        }
        if let Some(presented) = core.formats.head_of(self.tagged.shape) {
            core.alerts.head_differs(&self.tagged.lookup, record, presented, now);
        }
        Ok(())
    }

    /// Whether the presented key names the prefix and the environment of the record.
    fn names(&self, record: &KeyRecord) -> bool {
        let head = self.core.formats.head_of(self.tagged.shape);
        head == Some((&*record.prefix, record.environment.as_deref()))
    }

    async fn hash(&self, candidate: &Candidate, key: &OwnedKey, is_named: bool) -> Result<bool, LoadResult> {
        let (core, tagged) = (&self.core, &self.tagged);
        let verify = hashing::verify(core, tagged, candidate, key, self.client, is_named, self.on_verdict());
        verify.await.map_err(|error| {
            if error.kind() == PoolErrorKind::InvalidHash {
                core.alerts.hash_unusable(&tagged.lookup, candidate, core.clock.now());
            }
            self.unavailable(&error)
        })
    }
}

fn is_worth_a_retry(error: &StoreError) -> bool {
    // A timeout has used its time up; a lost connection is worth one more try.
    let timed_out = std::error::Error::source(error).is_some_and(|source| source.is::<tokio::time::error::Elapsed>());
    error.kind() == StoreErrorKind::Unavailable && !timed_out
}
