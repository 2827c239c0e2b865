//! What a flight does: read the record, prove the key against it, and cache what was found.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::cache::Refused;
use super::core::Core;
use super::entry::{Entry, Fingerprint, earlier};
use super::flight::{Landing, Refusal};
use super::rehash;
use super::rejection::{RETRY_AFTER, RejectionKind};
use super::tag::Tag;
use crate::clock::Monotonic;
use crate::fence::{self, Identity, Loaded, Mark, Source};
use crate::hash::{ClientGroup, PoolError, PoolErrorKind};
use crate::key::{ApiKey, Lookup, OwnedKey};
use crate::store::{Candidate, KeyStore, StoreError, StoreErrorKind};

/// How long a refusal is remembered.
const REFUSAL_TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// One presented key to be proven against its record.
pub(super) struct Load<S> {
    pub(super) core: Arc<Core<S>>,
    pub(super) lookup: Lookup,
    pub(super) tag: Tag,
    /// The key and what its text said; a load without can only confirm what is already known.
    pub(super) presented: Option<Presented>,
    /// The entry that was found stale: of this key, or of another that claims the same lookup.
    pub(super) known: Option<Arc<Entry>>,
    pub(super) client: ClientGroup,
    /// Whom a wrong key is held against.
    pub(super) held_against: Option<ClientGroup>,
    pub(super) changes: u64,
}

pub(super) struct Presented {
    pub(super) key: ApiKey,
    pub(super) prefix: Box<str>,
    pub(super) environment: Option<Box<str>>,
    /// The lookup cannot be guessed, so whether it exists need not be hidden behind a dummy verification.
    pub(super) has_unguessable_lookup: bool,
}

impl<S: KeyStore> Load<S> {
    /// Lands however the store behaves: were a panic left to end the task, nobody would be told whose fault it was.
    pub(super) async fn run(self) -> Landing {
        let (core, lookup) = (self.core.clone(), self.lookup.clone());
        let mut landing = pin!(self.land());
        let caught = poll_fn(|cx| {
            // What a panic leaves half done is never polled again.
            match catch_unwind(AssertUnwindSafe(|| landing.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Some),
                Err(_) => Poll::Ready(None),
            }
        });
        caught.await.unwrap_or_else(|| {
            core.complaints.load_panicked(&lookup, core.clock.now());
            Landing::Failed(RejectionKind::StoreUnavailable, Some(RETRY_AFTER))
        })
    }

    async fn land(self) -> Landing {
        #[cfg(feature = "metrics")]
        let _under_way = self.core.outcomes.counters().load();
        let proving = Proving {
            load: &self,
            give_up_at: Instant::now() + self.core.settings.load_timeout,
        };
        let known = self.known.as_ref().map(|entry| entry.mark.stripes());
        let began = self.core.clock.now();
        match fence::load(self.core.fence.protocol(), known, &proving).await {
            Loaded::Verified { verified, mark } => Landing::Verified(self.cache(verified, mark)),
            Loaded::Absent => self.refuse_unknown(began).await,
            Loaded::BelowFloor | Loaded::Unconfirmed => Landing::Failed(RejectionKind::NotConfirmed, Some(RETRY_AFTER)),
            Loaded::Failed(Failure::WrongSecret { read_at }) => self.refuse(RejectionKind::WrongSecret, read_at),
            Loaded::Failed(Failure::Cannot(kind, retry_after)) => Landing::Failed(kind, retry_after),
        }
    }

    fn cache(&self, verified: Verified, mark: Mark) -> Arc<Entry> {
        let Verified {
            candidate,
            fingerprint,
            read_at,
        } = verified;
        let core = &self.core;
        let deadline = match earlier(candidate.record.expires_at, candidate.secret.expires_at) {
            Some(end) => core.clock.now().after(end.since(core.clock.wall())),
            None => Monotonic::from_nanos(u64::MAX),
        };
        let entry = Arc::new(Entry::new(
            *candidate,
            &core.common,
            self.tag,
            fingerprint,
            mark,
            read_at,
            deadline,
        ));
        core.cache.put(self.lookup.clone(), entry.clone());
        entry
    }

    /// An unknown lookup that could be guessed takes as long as a known one, so that the time tells nothing.
    async fn refuse_unknown(&self, read_at: Monotonic) -> Landing {
        if let Some(presented) = &self.presented
            && let Err(error) = Box::pin(self.spend_a_hash(presented)).await
        {
            let (kind, retry_after) = self.cannot(&error);
            return Landing::Failed(kind, retry_after);
        }
        self.refuse(RejectionKind::UnknownKey, read_at)
    }

    async fn spend_a_hash(&self, presented: &Presented) -> Result<(), PoolError> {
        if presented.has_unguessable_lookup {
            self.hold_against_client();
            return Ok(());
        }
        let core = &self.core;
        let hash = core.pool.verify_dummy_for(&core.policy, self.client, self.tell());
        core.outcomes.hash(&core.clock, hash).await
    }

    fn hold_against_client(&self) {
        self.core.hold_against(self.held_against, self.core.clock.now());
    }

    /// The same by whoever finds out that the key is wrong, whether or not the client waits to hear of it.
    fn tell(&self) -> Box<dyn FnOnce(bool) + Send> {
        // Weak: the last to hold the core may stop the pool, which none of its own jobs must do.
        let (core, held_against) = (Arc::downgrade(&self.core), self.held_against);
        Box::new(move |was_right| {
            if !was_right && let Some(core) = core.upgrade() {
                core.hold_against(held_against, core.clock.now());
            }
        })
    }

    /// What to answer when there was no hash to compare with.
    fn cannot(&self, error: &PoolError) -> (RejectionKind, Option<Duration>) {
        let kind = match error.kind() {
            PoolErrorKind::InvalidHash => RejectionKind::InvalidRecord,
            PoolErrorKind::Busy | PoolErrorKind::TimedOut => RejectionKind::Busy,
            PoolErrorKind::Failed | PoolErrorKind::Stopped => {
                let core = &self.core;
                core.complaints.pool_broken(&self.lookup, error, core.clock.now());
                RejectionKind::Busy
            }
        };
        (kind, error.retry_after().or(Some(RETRY_AFTER)))
    }

    fn refuse(&self, kind: RejectionKind, read_at: Monotonic) -> Landing {
        // Without the key itself a refusal says nothing about what others present.
        if self.presented.is_some() {
            let refused = Refused {
                kind,
                changes: self.changes,
                until: self.core.clock.now().after(REFUSAL_TIME_TO_LIVE),
            };
            self.core.cache.put_refused(self.tag, refused);
        }
        Landing::Refused(Refusal {
            kind,
            read_at,
            changes: self.changes,
            held_against: self.held_against,
        })
    }
}

struct Proving<'a, S> {
    load: &'a Load<S>,
    give_up_at: Instant,
}

// Boxed where it comes out of the store: a record is large, and on its way into the cache it is moved a dozen times.
struct Read {
    candidate: Box<Candidate>,
    read_at: Monotonic,
}

struct Verified {
    candidate: Box<Candidate>,
    fingerprint: Fingerprint,
    read_at: Monotonic,
}

enum Failure {
    WrongSecret { read_at: Monotonic },
    Cannot(RejectionKind, Option<Duration>),
}

const UNAVAILABLE: Failure = Failure::Cannot(RejectionKind::StoreUnavailable, Some(RETRY_AFTER));

impl<S: KeyStore> Source for Proving<'_, S> {
    type Candidate = Read;
    type Verified = Verified;
    type Failure = Failure;

    async fn find(&self) -> Result<Option<Read>, Failure> {
        let core = &self.load.core;
        let place = timeout_at(self.give_up_at, core.reads.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(UNAVAILABLE);
        };
        let mut has_retried = false;
        loop {
            let read_at = core.clock.now();
            match self.find_in_time().await {
                Ok(Some(candidate)) => return self.accept(Box::new(candidate), read_at).map(Some),
                Ok(None) => return Ok(None),
                Err(error) if is_worth_a_retry(&error) && !has_retried => has_retried = true,
                Err(error) => return Err(self.report(&error)),
            }
        }
    }

    fn identify(&self, read: &Read) -> Identity {
        let Candidate {
            record, organization, ..
        } = &*read.candidate;
        self.load.core.fence.identity(record, organization)
    }

    async fn verify(&self, read: Read) -> Result<Verified, Failure> {
        let Read { candidate, read_at } = read;
        let load = self.load;
        let fingerprint = Fingerprint::of(&candidate.secret.hash);
        let wrong = Failure::WrongSecret { read_at };
        if let Some(presented) = &load.presented
            && (candidate.record.prefix != *presented.prefix
                || candidate.record.environment.as_deref() != presented.environment.as_deref())
        {
            // As for an unknown lookup: the time must not tell that it exists under another environment.
            if let Err(error) = Box::pin(load.spend_a_hash(presented)).await {
                let (kind, retry_after) = load.cannot(&error);
                return Err(Failure::Cannot(kind, retry_after));
            }
            return Err(wrong);
        }
        // A lookup has one secret for ever, so a stale entry with the same hash settles right and wrong without hashing.
        let settled = load.known.as_ref().filter(|entry| entry.is_proven_by(fingerprint));
        let is_right = match (settled, &load.presented) {
            (Some(entry), _) => {
                let is_right = entry.tag.is(&load.tag);
                if !is_right {
                    load.hold_against_client();
                }
                is_right
            }
            // The stored hash was replaced, and there is no key here to prove against the new one.
            (None, None) => false,
            // Boxed, like the other ways to a hash: next to that it costs nothing, and a load that needs none stays small.
            (None, Some(presented)) => Box::pin(self.hash(&candidate, presented)).await?,
        };
        if !is_right {
            return Err(wrong);
        }
        Ok(Verified {
            candidate,
            fingerprint,
            read_at,
        })
    }
}

impl<S: KeyStore> Proving<'_, S> {
    async fn find_in_time(&self) -> Result<Option<Candidate>, StoreError> {
        let settings = &self.load.core.settings;
        let at_most = settings
            .read_timeout
            .min(self.give_up_at.saturating_duration_since(Instant::now()));
        match timeout(at_most, self.load.core.store.find(&self.load.lookup)).await {
            Ok(found) => found,
            Err(elapsed) => Err(StoreError::with_source(StoreErrorKind::Unavailable, elapsed)),
        }
    }

    /// A store that mixes records up must not let one client in as another.
    fn accept(&self, candidate: Box<Candidate>, read_at: Monotonic) -> Result<Read, Failure> {
        if candidate.secret.lookup != self.load.lookup || candidate.record.organization_id != candidate.organization.id
        {
            let core = &self.load.core;
            core.complaints
                .records_mixed_up(&self.load.lookup, &candidate, core.clock.now());
            return Err(Failure::Cannot(RejectionKind::InvalidRecord, Some(RETRY_AFTER)));
        }
        Ok(Read { candidate, read_at })
    }

    fn report(&self, error: &StoreError) -> Failure {
        let core = &self.load.core;
        core.complaints.store_failed(&self.load.lookup, error, core.clock.now());
        match error.kind() {
            StoreErrorKind::InvalidRecord => Failure::Cannot(RejectionKind::InvalidRecord, Some(RETRY_AFTER)),
            _ => UNAVAILABLE,
        }
    }

    async fn hash(&self, candidate: &Candidate, presented: &Presented) -> Result<bool, Failure> {
        let load = self.load;
        let (core, hash) = (&load.core, &candidate.secret.hash);
        let key = OwnedKey::from(&presented.key);
        let hash = core.pool.verify_for(hash, &key, load.client, load.tell());
        let verified = core.outcomes.hash(&core.clock, hash).await;
        if let Ok(true) = &verified {
            rehash::start_if_due(&load.core, load.tag, &candidate.secret, &presented.key);
        }
        verified.map_err(|error| {
            if error.kind() == PoolErrorKind::InvalidHash {
                let core = &load.core;
                core.complaints.hash_unusable(&load.lookup, candidate, core.clock.now());
            }
            let (kind, retry_after) = load.cannot(&error);
            Failure::Cannot(kind, retry_after)
        })
    }
}

fn is_worth_a_retry(error: &StoreError) -> bool {
    // A time-out has used its time up, and a full queue is as full a moment later; a lost connection is worth one more try.
    let timed_out = std::error::Error::source(error).is_some_and(|source| source.is::<tokio::time::error::Elapsed>());
    error.kind() == StoreErrorKind::Unavailable && !timed_out
}
