//! The threads that slow hashes run on.

mod builder;
mod error;
mod processor_time;
mod queue;
mod restraint;
mod retry;
mod shared;
mod worker;

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use self::builder::HashPoolBuilder;
use self::builder::Settings;
pub use self::error::{PoolError, PoolErrorKind};
use self::shared::{OnVerdict, Purpose, Shared};
use super::digest::{SlowDigest, sha256, sha512};
use super::policy::{HashPolicy, NewHash};
use super::recipe::Recipe;
use super::tagged::Tagged;
use crate::client::ClientGroup;
use crate::key::{ApiKey, OwnedKey, SecretHash};

/// Runs slow hashes, a few at a time, on threads of its own. Clones are the same pool.
///
/// 1. It never runs more hashes than it has workers (one by default), whatever callers do: a job belongs to the worker
///    that runs it, not to the future that waits for it. A permit held by that future would be given back by every
///    client that hangs up, with the hash still running.
/// 2. Jobs wait in a bounded queue, 16 for each worker. When it is full, the client with the most jobs in it makes way
///    for a newcomer with fewer, or is refused itself ([`PoolErrorKind::Busy`]). Clients take turns, those first whose
///    last wrong key is longest ago, and every other turn those whose last key was right: a first use does not wait for
///    all who flood.
/// 3. A job whose caller has gone away, or whose deadline has passed (2 s by default), is never begun.
/// 4. Workers keep their memory from one hash to the next. On Linux they run at a lowered priority, and while the rest of
///    the process uses a fifth of the processors or more, they rest after wrong keys, so that hashing those takes a
///    twentieth of the processors at most.
/// 5. Fast schemes are verified where they are asked for, without any of this.
///
/// The threads end after what they are at when the last clone is dropped.
///
/// Waiting works under any executor; under Tokio, whose timers must be enabled then, it ends at the deadline exactly,
/// elsewhere as soon as a worker notices.
#[derive(Clone)]
pub struct HashPool(Arc<Owner>);

/// Stops the threads, which hold the rest alive, when the last handle goes.
struct Owner(Arc<Shared>);

impl HashPool {
    /// The pool of this process, with the default settings. One is usually right: bounds that every part of a program
    /// has for itself bound nothing.
    pub fn global() -> Self {
        static GLOBAL: OnceLock<HashPool> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::builder().build()).clone()
    }

    /// Settings of a pool of one's own.
    pub fn builder() -> HashPoolBuilder {
        HashPoolBuilder::new()
    }

    fn with(settings: Settings) -> Self {
        Self(Arc::new(Owner(Arc::new(Shared::new(settings)))))
    }

    /// Whether this is the key that the hash was made of, compared in constant time.
    ///
    /// Dropping the future gives the place in the queue back at once; a hash that has begun goes on and is discarded.
    ///
    /// # Errors
    /// When there is no answer; see [`PoolErrorKind`]. None of them means a wrong key.
    pub async fn verify(&self, hash: &SecretHash, key: &ApiKey, client: ClientGroup) -> Result<bool, PoolError> {
        self.verify_for(hash, &key.into(), client, Box::new(|_| {})).await
    }

    /// [`verify`](Self::verify) for a request. `on_verdict` runs before the answer, and also when the request has gone
    /// away by then: otherwise a client that hangs up in time would never have sent a wrong key.
    pub(crate) async fn verify_for(
        &self,
        hash: &SecretHash,
        key: &OwnedKey,
        client: ClientGroup,
        on_verdict: OnVerdict,
    ) -> Result<bool, PoolError> {
        let is_right = match Tagged::parse(hash)? {
            Tagged::Sha256(digest) => digest.matches(&sha256(key.as_bytes())),
            Tagged::Sha512(digest) => digest.matches(&sha512(key.as_bytes())),
            Tagged::Slow(recipe, digest) => {
                let purpose = Purpose::Verify(digest, on_verdict);
                let computed = self.run(recipe, key.clone(), purpose, client).await?;
                return Ok(digest.matches(&computed));
            }
        };
        on_verdict(is_right);
        Ok(is_right)
    }

    /// Does the work of verifying a key against a hash of this policy, for a lookup that does not exist: neither the
    /// time nor a rejection under load tells the caller whether it does.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_dummy(&self, policy: &HashPolicy, client: ClientGroup) -> Result<(), PoolError> {
        self.verify_dummy_for(policy, client, Box::new(|_| {})).await
    }

    /// [`verify_dummy`](Self::verify_dummy) for a request, with the verdict of a wrong key.
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
                self.run(recipe, key, Purpose::Dummy(on_verdict), client).await?;
            }
        }
        Ok(())
    }

    /// A hash of this key by this policy, with a salt of its own.
    ///
    /// # Errors
    /// When it could not be made; see [`PoolErrorKind`].
    pub async fn hash(&self, policy: &HashPolicy, key: &ApiKey) -> Result<SecretHash, PoolError> {
        self.hash_owned(policy, &key.into()).await
    }

    pub(crate) async fn hash_owned(&self, policy: &HashPolicy, key: &OwnedKey) -> Result<SecretHash, PoolError> {
        self.prepare_for(policy);
        let tagged = match policy.begin()? {
            NewHash::Sha256 => format!("sha256:{}", sha256(key.as_bytes()).to_hex()),
            NewHash::Slow(recipe) => {
                let client = ClientGroup::THIS_PROCESS;
                let digest = self.run(recipe.clone(), key.clone(), Purpose::New, client).await?;
                recipe.tagged(&digest)
            }
        };
        SecretHash::new(tagged).map_err(PoolError::failed)
    }

    /// Hashes of this policy are to be expected.
    pub(crate) fn prepare_for(&self, policy: &HashPolicy) {
        self.shared().keep_memory_for(policy);
    }

    /// How many jobs wait.
    pub fn queued(&self) -> usize {
        self.shared().queued()
    }

    /// How many jobs may wait.
    pub fn capacity(&self) -> usize {
        self.shared().settings.capacity()
    }

    /// Whether more than half of the places in the queue are taken.
    pub fn is_more_than_half_full(&self) -> bool {
        self.queued() * 2 > self.capacity()
    }

    /// How many hashes run just now: never more than there are workers.
    pub fn running(&self) -> usize {
        self.shared().running()
    }

    /// How many slow hashes have been begun so far.
    pub fn hashes_run(&self) -> u64 {
        self.shared().hashes_run()
    }

    async fn run(
        &self,
        recipe: Recipe,
        key: OwnedKey,
        purpose: Purpose,
        client: ClientGroup,
    ) -> Result<SlowDigest, PoolError> {
        let shared = self.shared();
        let (reply, answer) = oneshot::channel();
        let _ticket = shared.submit(recipe, key, purpose, client, reply)?;
        let answer = async { answer.await.unwrap_or_else(|lost| Err(PoolError::failed(lost))) };
        if Handle::try_current().is_err() {
            return answer.await;
        }
        tokio::time::timeout(shared.settings.deadline, answer)
            .await
            .unwrap_or_else(|_| Err(shared.timed_out()))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl fmt::Debug for HashPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPool")
            .field("settings", &self.shared().settings)
            .field("queued", &self.queued())
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Argon2Params;

    #[tokio::test]
    async fn the_memory_that_workers_keep_follows_the_policies_unless_it_was_set() {
        let params = |kib| Argon2Params::new(kib, 1, 1).unwrap();
        let (small, large) = (params(8), params(128 << 10));
        let key = ApiKey::from(String::from("a key"));
        let (free, told) = (
            HashPool::builder().build(),
            HashPool::builder().keep_memory_for(small).build(),
        );
        for pool in [&free, &told] {
            pool.hash(&HashPolicy::argon2id(small), &key).await.unwrap();
            pool.hash(&HashPolicy::sha256(), &key).await.unwrap();
        }
        let default = Argon2Params::DEFAULT.memory_kib();
        assert_eq!((free.shared().kept_kib(), told.shared().kept_kib()), (default, 8));
        for pool in [&free, &told] {
            pool.hash(&HashPolicy::argon2id(large), &key).await.unwrap();
        }
        assert_eq!((free.shared().kept_kib(), told.shared().kept_kib()), (128 << 10, 8));
    }
}
