//! The threads that slow hashes run on.
//!
//! [`FairQueue`](queue::FairQueue) shares out places and turns between clients; [`Schedule`](schedule::Schedule) adds
//! deadlines; [`WrongKeyThrottle`](throttle::WrongKeyThrottle) says when workers rest. None of them knows a thread. `core` puts
//! them under one lock, and `worker` runs the jobs.

mod builder;
mod core;
mod cpu_time;
mod error;
mod job;
mod own_work;
mod queue;
mod returns;
mod schedule;
mod slow;
#[cfg(test)]
mod tests;
mod throttle;
mod worker;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

pub use self::builder::HashPoolBuilder;
use self::core::{PoolCore, Ticket};
pub use self::error::{PoolError, PoolErrorKind};
pub(crate) use self::job::OnVerdict;
use self::job::{Answer, Job, Purpose, Reply};
pub(crate) use self::own_work::OwnWork;
pub(crate) use self::queue::Ahead;
use super::digest::{SlowDigest, sha256, sha512};
use super::policy::{HashPolicy, NewHash};
use super::recipe::Recipe;
use super::tagged::Tagged;
use crate::client::ClientGroup;
use crate::key::{ApiKey, OwnedKey, SecretHash};

/// Runs slow hashes, a few at a time, on threads of its own. Clones are handles to the same pool.
///
/// 1. No more hashes run at once than there are workers, one by default. A job belongs to the worker that runs it, not to
///    the future that waits for it: otherwise each client that hangs up would start another hash beside the running one.
/// 2. Jobs wait in a bounded queue, with as many places as can be hashed within the deadline. When it is full, the client
///    with the most jobs loses one to a newcomer with fewer, or is refused itself ([`PoolErrorKind::Busy`]), and is told
///    when there will be a place. Clients take turns, and those with right keys go before those with wrong ones: the first
///    use of a key does not wait for a flood.
/// 3. A job never begins after its caller has gone away, or after its deadline: 8 s by default, and 30 s for a new key.
/// 4. Workers keep their memory between hashes. On Linux they run at a lower priority, but for keys that are issued, and
///    while the rest of the process uses at least a fifth of the processors, they rest after wrong keys, so that wrong keys
///    use at most a twentieth of the processors. A client without wrong keys does not wait for a rest.
/// 5. Fast schemes are verified by the caller and use none of this.
///
/// The threads end after their current hashes when the last handle is dropped.
///
/// The futures work under any executor, and need no timers: a thread of the pool ends waits at their deadline, by the time of
/// the pool's clock. So tests may pause the time of Tokio.
#[derive(Clone)]
pub struct HashPool(Arc<PoolHandle>);

/// Stops the threads when the last handle is dropped. They keep the rest alive themselves.
struct PoolHandle(Arc<PoolCore>);

/// A job in the hands of the pool. Dropping it withdraws the job, unless that has begun.
struct Pending<'a> {
    _ticket: Ticket<'a>,
    answer: oneshot::Receiver<Answer>,
}

/// A hash to be stored, on its way.
enum Hashing<'a> {
    Done(SecretHash),
    Pending(Recipe, Pending<'a>),
}

impl HashPool {
    /// The pool of this process, with the default settings. One is usually right: two pools together exceed the bounds of
    /// each.
    pub fn global() -> Self {
        static GLOBAL: OnceLock<HashPool> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::builder().build()).clone()
    }

    /// Settings of a pool of your own.
    pub fn builder() -> HashPoolBuilder {
        HashPoolBuilder::new()
    }

    /// Whether the hash was made of this key, compared in constant time.
    ///
    /// Dropping the future frees its place in the queue at once. A hash that has begun runs to its end, and its result is
    /// discarded.
    ///
    /// # Errors
    /// When there is no answer; see [`PoolErrorKind`]. None of them means a wrong key.
    pub async fn verify(&self, hash: &SecretHash, key: &ApiKey) -> Result<bool, PoolError> {
        self.verify_for(hash, &key.into(), ClientGroup::UNKNOWN, None, Box::new(|_| {}), true)
            .await
    }

    /// [`verify`](Self::verify) for a request. `on_verdict` runs before the answer, and also when the request has gone
    /// away by then: otherwise a client that hangs up in time would never have sent a wrong key. `is_admissible` says whether
    /// the key is let in if it is right. One that is not, such as a revoked one, counts as a wrong one where clients share the
    /// pool: otherwise a client that has many of them would go before everyone else.
    pub(crate) async fn verify_for(
        &self,
        hash: &SecretHash,
        key: &OwnedKey,
        client: ClientGroup,
        ahead: Option<Ahead>,
        on_verdict: OnVerdict,
        is_admissible: bool,
    ) -> Result<bool, PoolError> {
        let is_right = match Tagged::parse(hash)? {
            Tagged::Sha256(digest) => digest.matches(&sha256(key.as_bytes())),
            Tagged::Sha512(digest) => digest.matches(&sha512(key.as_bytes())),
            Tagged::Slow(recipe, digest) => {
                let purpose = Purpose::Verify(digest, on_verdict, is_admissible);
                let computed = self.submit(recipe, key, purpose, client, ahead)?.answer().await?;
                return Ok(digest.matches(&computed));
            }
        };
        on_verdict(is_right);
        Ok(is_right)
    }

    /// Does the work of verifying a key against a hash of this policy, for a key that does not exist. Neither the time
    /// nor an error under load then shows the client whether it does.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify).
    pub async fn verify_dummy(&self, policy: &HashPolicy) -> Result<(), PoolError> {
        self.verify_dummy_for(policy, ClientGroup::UNKNOWN, Box::new(|_| {}))
            .await
    }

    /// [`verify_dummy`](Self::verify_dummy) for a request. The verdict is a wrong key.
    pub(crate) async fn verify_dummy_for(
        &self,
        policy: &HashPolicy,
        client: ClientGroup,
        on_verdict: OnVerdict,
    ) -> Result<(), PoolError> {
        const ANY_KEY: &[u8] = b"not a key of anyone";
        match policy.begin()? {
            NewHash::Sha256 => {
                std::hint::black_box(sha256(ANY_KEY));
                on_verdict(false);
            }
            NewHash::Slow(recipe) => {
                let key = OwnedKey::copy_of(ANY_KEY);
                self.submit(recipe, &key, Purpose::Dummy(on_verdict), client, None)?
                    .answer()
                    .await?;
            }
        }
        Ok(())
    }

    /// A hash of this key by this policy, with a salt of its own. It runs at the priority of the process and may wait 30 s,
    /// or the [deadline](HashPoolBuilder::deadline) if that is longer.
    ///
    /// # Errors
    /// When the hash was not computed; see [`PoolErrorKind`].
    pub async fn hash(&self, policy: &HashPolicy, key: &ApiKey) -> Result<SecretHash, PoolError> {
        self.begin_hash(policy, &key.into(), Purpose::Issue)?.finish().await
    }

    /// The same in the background, for no one who waits.
    pub(crate) async fn hash_owned(&self, policy: &HashPolicy, key: &OwnedKey) -> Result<SecretHash, PoolError> {
        self.begin_hash(policy, key, Purpose::Store)?.finish().await
    }

    /// Hashes of these keys by this policy, in the order of the keys.
    ///
    /// It submits two jobs for each worker at a time, and fewer when the queue has less room, so any number of keys works.
    /// Each hash may wait as long as one of [`hash`](Self::hash), but runs at the priority of the workers.
    ///
    /// ```
    /// use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
    /// use tower_api_key::key::ApiKey;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys: Vec<ApiKey> = ["first", "second"].map(|key| ApiKey::from(String::from(key))).into();
    /// let policy = HashPolicy::argon2id(Argon2Params::new(1024, 1, 1)?);
    /// let pool = HashPool::global();
    /// let hashes = pool.hash_many(&policy, &keys).await?;
    /// assert!(pool.verify(&hashes[1], &keys[1]).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The first error of [`hash`](Self::hash). Hashes that were made by then are discarded.
    pub async fn hash_many(&self, policy: &HashPolicy, keys: &[ApiKey]) -> Result<Vec<SecretHash>, PoolError> {
        let most_pending = 2 * self.core().settings.workers;
        let mut hashes = Vec::with_capacity(keys.len());
        let mut pending = VecDeque::new();
        for key in keys {
            let key = OwnedKey::from(key);
            loop {
                if pending.len() < most_pending {
                    match self.begin_hash(policy, &key, Purpose::Store) {
                        Ok(hashing) => break pending.push_back((key, hashing)),
                        // Our own jobs are what fills the queue, or some of it.
                        Err(error) if error.kind() == PoolErrorKind::Busy && !pending.is_empty() => {}
                        Err(error) => return Err(error),
                    }
                }
                self.finish_oldest(policy, &mut pending, &mut hashes).await?;
            }
        }
        while !pending.is_empty() {
            self.finish_oldest(policy, &mut pending, &mut hashes).await?;
        }
        Ok(hashes)
    }

    /// With two jobs in a full queue we may be the client with the most, who loses one to a newcomer. Then all that are
    /// pending are finished first, and each that was displaced is hashed again: a single job is never the most.
    async fn finish_oldest(
        &self,
        policy: &HashPolicy,
        pending: &mut VecDeque<(OwnedKey, Hashing<'_>)>,
        hashes: &mut Vec<SecretHash>,
    ) -> Result<(), PoolError> {
        let is_displaced =
            |hash: &Result<SecretHash, PoolError>| matches!(hash, Err(error) if error.kind() == PoolErrorKind::Busy);
        let Some((key, oldest)) = pending.pop_front() else {
            return Ok(());
        };
        let hash = oldest.finish().await;
        if !is_displaced(&hash) {
            hashes.push(hash?);
            return Ok(());
        }
        let mut finished = vec![(key, hash)];
        for (key, hashing) in pending.drain(..) {
            finished.push((key, hashing.finish().await));
        }
        for (key, hash) in finished {
            hashes.push(match is_displaced(&hash) {
                true => self.hash_owned(policy, &key).await?,
                false => hash?,
            });
        }
        Ok(())
    }

    /// Counts how much of the process's work is its own.
    pub(crate) fn own_work(&self) -> &Arc<OwnWork> {
        &self.core().own_work
    }

    /// From now on, workers keep enough memory for hashes of this policy.
    pub(crate) fn prepare_for(&self, policy: &HashPolicy) {
        self.core().memory.raise_to(policy.memory_kib());
    }

    /// How many jobs wait.
    pub fn queued(&self) -> usize {
        self.core().queued()
    }

    /// How many jobs may wait now: it follows the [measured time of a hash](HashPoolBuilder::queue_per_worker).
    pub fn capacity(&self) -> usize {
        self.core().capacity()
    }

    /// Whether more than half of the places in the queue are taken.
    pub fn is_more_than_half_full(&self) -> bool {
        self.core().is_more_than_half_full()
    }

    /// How many hashes run now: never more than there are workers.
    pub fn running(&self) -> usize {
        self.core().running()
    }

    /// How many slow hashes have begun so far.
    pub fn hashes_run(&self) -> u64 {
        self.core().hashes_run()
    }

    fn begin_hash(&self, policy: &HashPolicy, key: &OwnedKey, purpose: Purpose) -> Result<Hashing<'_>, PoolError> {
        self.prepare_for(policy);
        Ok(match policy.begin()? {
            NewHash::Sha256 => Hashing::Done(SecretHash::of_sha256(&sha256(key.as_bytes()).to_bytes())),
            NewHash::Slow(recipe) => {
                let pending = self.submit(recipe.clone(), key, purpose, ClientGroup::THIS_PROCESS, None)?;
                Hashing::Pending(recipe, pending)
            }
        })
    }

    fn submit(
        &self,
        recipe: Recipe,
        key: &OwnedKey,
        purpose: Purpose,
        client: ClientGroup,
        ahead: Option<Ahead>,
    ) -> Result<Pending<'_>, PoolError> {
        let core = self.core();
        worker::start(core, &purpose)?;
        let (reply, answer) = Reply::channel();
        let job = Job {
            recipe,
            key: key.clone(),
            purpose,
            ahead,
            reply,
        };
        Ok(Pending {
            _ticket: core.submit(client, job)?,
            answer,
        })
    }

    fn core(&self) -> &Arc<PoolCore> {
        &self.0.0
    }
}

impl HashPoolBuilder {
    /// The pool. The first slow hash starts its threads.
    pub fn build(self) -> HashPool {
        HashPool(Arc::new(PoolHandle(Arc::new(PoolCore::new(self.0)))))
    }
}

impl Pending<'_> {
    async fn answer(self) -> Result<SlowDigest, PoolError> {
        self.answer.await.unwrap_or_else(|lost| Err(PoolError::failed(lost)))
    }
}

impl Hashing<'_> {
    async fn finish(self) -> Result<SecretHash, PoolError> {
        match self {
            Self::Done(hash) => Ok(hash),
            Self::Pending(recipe, pending) => {
                let digest = pending.answer().await?;
                SecretHash::new(recipe.tagged(&digest)).map_err(PoolError::failed)
            }
        }
    }
}

impl fmt::Debug for HashPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPool")
            .field("settings", &self.core().settings)
            .field("queued", &self.queued())
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

impl Drop for PoolHandle {
    fn drop(&mut self) {
        self.0.stop();
    }
}
