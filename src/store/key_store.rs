//! What checking a key needs of a store, and what it has to believe.

use std::future::Future;
use std::sync::Arc;

use crate::fence::Fence;
use crate::key::Lookup;
use crate::store::{Candidate, StoreError};

/// All that checking a key needs of a store.
///
/// # The contract
///
/// 1. **Who calls.** Checking calls [`find`](Self::find) when it has no answer for a presented key, or only an old one;
///    never on the warm way. Calls come from many tasks at once, each with a deadline of its own, and the future may be
///    dropped at any await.
/// 2. **One point in time.** Record, secret and organization belong to the same committed state; a reader never
///    sees half of a change. A read that begins after a change has returned shows that change or a later one.
/// 3. **Which lies are borne, and which are not.** An error is always safe: the request is refused with a 503 and may
///    come again. `None` for a key that exists refuses a good key with a 401, so a store that is unsure answers with an
///    error. A *past* state is the dangerous lie: it admits a key that was revoked. Revisions below one that this
///    process's fence was told of are recognised and refused, other past states are not; read from a primary, never from
///    a replica that lags.
/// 4. **Exactly this lookup.** Compared byte by byte, with letter case. A record found by anything less (a collation,
///    a pattern, a prefix) is someone else's. The presented key would fail against its hash, and its owner gets a
///    refusal nobody can explain.
/// 5. **What identifies stays.** A record has one id at every read, an organization too, and a lookup belongs to one
///    secret of one record for ever. Limits are counted by id; and what does not match the secret that was verified for
///    a lookup is refused without a read for as long as that answer is fresh, so a new secret needs a new lookup.
/// 6. **A row that cannot be understood is [`InvalidRecord`](crate::store::StoreErrorKind::InvalidRecord)**, not
///    "no such key", and not a default: an unreadable list of networks must not read as "from anywhere".
///
/// # Security
///
/// Whoever sends a request chooses the lookup: bind it, never splice it into a query. It is visible ASCII of 1 to 128
/// bytes, no more is known of it. How long an answer takes tells whether a lookup exists; that gains an attacker nothing,
/// because a lookup is no secret. Whoever can read the store gets hashes. Whoever can write to it has every key.
///
/// # A store of one's own
///
/// ```
/// use tower_api_key::key::Lookup;
/// use tower_api_key::store::{Candidate, KeyStore, StoreError};
///
/// /// One key, from somewhere else.
/// struct OneKey(Candidate);
///
/// impl KeyStore for OneKey {
///     async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
///         Ok((self.0.secret.lookup == *lookup).then(|| self.0.clone()))
///     }
/// }
/// ```
///
/// Such a store has no fence and is [`Sharing::Unknown`]: a change is seen when a cached answer's time to live (5
/// minutes by default) is over.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key store",
    note = "use `MemoryStore` or `SqliteStore`, or write `async fn find(&self, lookup: &Lookup)` in an `impl KeyStore`"
)]
pub trait KeyStore: Send + Sync + 'static {
    /// The record with this lookup, its organization, and the one secret that the lookup belongs to, in one read.
    ///
    /// `None` means that there certainly is no such key.
    fn find(&self, lookup: &Lookup) -> impl Future<Output = Result<Option<Candidate>, StoreError>> + Send;

    /// The fence that this store's changes bump; all clones of a store share one.
    ///
    /// `None` for a store that only reads. Checking then goes by the time to live alone, and the store cannot be
    /// given to issuing.
    fn fence(&self) -> Option<&Fence> {
        None
    }

    /// Who else may change what this store reads. Claiming less sharing than there is keeps revoked keys alive on other
    /// nodes for the whole time to live.
    fn sharing(&self) -> Sharing {
        Sharing::Unknown
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
}

/// Who may change what a store reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// This process alone, through this store and its clones: the fence sees every change.
    Exclusive,
    /// Several processes, and a log of changes tells of all of them.
    ChangeLog,
    /// Unknown: a change from elsewhere is seen when the cached answer's time to live is over.
    Unknown,
}
