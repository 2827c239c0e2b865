//! What checking a key needs of a store.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::{KeyFormats, Lookup};
use crate::store::{Candidate, StoreError};

/// All that checking a key needs of a store.
///
/// # The contract
///
/// 1. **Who calls.** Checking calls [`find`](Self::find) when it has no answer for a presented key, or only an old one;
///    a request with a cached key does not read. Calls come from many tasks at once, each with a deadline of its own, and the future may be
///    dropped at any await.
/// 2. **One point in time.** Record, secret and organization belong to the same committed state; a reader never
///    sees half of a change. A read that begins after a change has returned shows that change or a later one.
/// 3. **Which errors are tolerated.** A [`StoreError`] is always safe: the request is refused with a 503 and may be retried.
///    `None` for a key that exists refuses a good key with a 401, so a store that is unsure returns an error. A *past*
///    state is the dangerous one: it admits a key that was revoked. Revisions below one that was announced to this
///    process's fence are recognised and refused, other past states are not. Read from a primary, never from a replica
///    that lags.
/// 4. **Exactly this lookup.** Compared byte by byte, with letter case. A record found by a collation, a pattern or a prefix
///    is someone else's. The presented key would fail against its hash, and its owner would get a refusal that no
///    one can explain.
/// 5. **What identifies stays.** A record has the same id at every read, an organization too, and a lookup always belongs
///    to the same secret of the same record. Limits are counted by id. A key that does not match the secret that was
///    verified for a lookup is refused without a read while that answer is fresh, so a new secret needs a new lookup.
/// 6. **A row that cannot be understood is [`InvalidRecord`](crate::store::StoreErrorKind::InvalidRecord)**, not
///    "no such key", and not a default: an unreadable list of networks must not read as "from anywhere".
///
/// # Security
///
/// The client chooses the lookup: bind it, never splice it into a query. It is visible ASCII of 1 to 128 bytes; nothing
/// more is known of it. Response times may reveal whether a lookup exists, which is harmless: a lookup is no secret.
/// Someone who can read the store gets hashes. Someone who can write to it has every key.
///
/// # A store of your own
///
/// ```
/// use tower_api_key::key::Lookup;
/// use tower_api_key::store::{Candidate, KeyStore, StoreError};
///
/// /// One key, from another system.
/// struct OneKey(Candidate);
///
/// impl KeyStore for OneKey {
///     async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
///         Ok((self.0.secret.lookup == *lookup).then(|| self.0.clone()))
///     }
/// }
/// ```
///
/// Such a store has no fence and is [`Sharing::Unknown`]: a change is seen when a cached answer's time to live ends (after
/// 5 minutes by default).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key store",
    note = "use `MemoryStore`, `SqliteStore`, `PostgresStore` or `FileStore`, or write `async fn find(&self, lookup: &Lookup)` in an `impl KeyStore`"
)]
pub trait KeyStore: Send + Sync + 'static {
    /// The record with this lookup, its organization, and the one secret that the lookup belongs to, in one read.
    ///
    /// `None` means that no such key exists, for certain.
    fn find(&self, lookup: &Lookup) -> impl Future<Output = Result<Option<Candidate>, StoreError>> + Send;

    /// The fence that this store announces its changes to; all clones of a store share one.
    ///
    /// `None` for a store that only reads. Then the time to live alone bounds how old an answer is, and the store cannot
    /// be used for issuing.
    fn fence(&self) -> Option<&Fence> {
        None
    }

    /// Who else may change the rows that this store reads. A store that claims less sharing than there is keeps revoked
    /// keys alive on other nodes for the whole time to live.
    fn sharing(&self) -> Sharing {
        Sharing::Unknown
    }

    /// The formats of the keys in this store, for a store that knows them. Layers and authenticators take them as their
    /// default; [`ApiKeysBuilder::formats`](crate::ApiKeysBuilder::formats) replaces them.
    fn formats(&self) -> Option<KeyFormats> {
        None
    }

    /// Starts the store's follower of its change log, by this clock: for a store that is [`Sharing::ChangeLog`].
    ///
    /// Every authenticator and layer over the store calls it when it is built, so a store starts one follower at the first
    /// call and ignores the others. A follower runs on its own, not on the caller's runtime: the call must return at once,
    /// and the follower ends with the last clone of the store.
    ///
    /// It repeats: take the time, read what the log has of all processes since the last row that it saw,
    /// [announce](Fence::announce) that, and then call [`Fence::confirmed`] with the time from before the read. If the log
    /// does not go on from the row that it saw (rows are gone, or numbers were given again), it announces
    /// [everything](Fence::everything_changed). If it cannot read, it confirms nothing, and cached keys are read again.
    fn follow(&self, clock: &Clock) {
        let _ = clock;
    }

    /// Ends the store and all its clones, and returns when its threads have ended and its files are closed. Calls that were made
    /// before are answered; later ones fail. A store that keeps nothing open does nothing.
    fn close(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    fn find(&self, lookup: &Lookup) -> impl Future<Output = Result<Option<Candidate>, StoreError>> + Send {
        (**self).find(lookup)
    }

    fn fence(&self) -> Option<&Fence> {
        (**self).fence()
    }

    fn sharing(&self) -> Sharing {
        (**self).sharing()
    }

    fn formats(&self) -> Option<KeyFormats> {
        (**self).formats()
    }

    fn follow(&self, clock: &Clock) {
        (**self).follow(clock);
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        (**self).close()
    }
}

/// Who may change what a store reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// This process alone, through this store and its clones: the fence sees every change.
    Exclusive,
    /// Several processes, and a log lists the changes of all of them. A [follower](KeyStore::follow) announces them.
    ChangeLog {
        /// How long a cached key is used without a confirmation from the follower, unless
        /// [`ApiKeysBuilder::max_staleness`](crate::ApiKeysBuilder::max_staleness) says otherwise: how late a change by
        /// another process may be seen. If no follower runs, every request reads the store.
        max_staleness: Duration,
    },
    /// Unknown: a change from elsewhere is seen when the cached answer's time to live ends.
    Unknown,
}
