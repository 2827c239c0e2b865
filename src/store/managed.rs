//! What issuing and managing keys need of a store.

use std::future::Future;
use std::sync::Arc;

use crate::key::{Lookup, SecretHash};
use crate::last_use::PendingUses;
use crate::store::query::{Answer, Query, TypedQuery};
use crate::store::{Commit, Committed, KeyStore, StoreError, StoreErrorKind, Write};

/// What issuing and managing keys need of a store: one method that writes and one that reads.
///
/// # The contract
///
/// 1. **All or nothing**, for readers too. A [`Commit`] is one transaction: guards, writes and audit events.
/// 2. **An insert never overwrites.** A lookup that could be taken over would give its owner's name to someone else's key.
/// 3. **An update names the revision it read.** It is stored with the next one, or it fails with
///    [`Conflict`](StoreErrorKind::Conflict). Of several updates from one revision exactly one succeeds. Otherwise an
///    update that was prepared before a revoke would bring the key back to life.
/// 4. **Commit, announce, return.** Every change, inserts included (an answer "unknown key" may be cached), is announced to
///    [`fence`](KeyStore::fence) *after* it can be read and *before* `commit` returns, with the revision that the row has
///    then. Announced first, a reader could fill a cache with the old row under the new count. An announcement too many
///    costs one read; one too few keeps a revoked key alive. Replacing a hash is no change.
/// 5. **A caller that goes away does not matter.** Dropping a future at any point leaves the commit either undone for
///    good, or done *and* announced. A future that was never polled does nothing.
///    [`commit_change`](crate::store::commit_change) does this for stores whose commit is an await.
/// 6. **An unknown outcome is settled, not returned**, as far as possible: announce, look for the commit's id among the
///    audit events until it is certain, announce again. [`OutcomeUnknown`](StoreErrorKind::OutcomeUnknown) is for when
///    even that is impossible.
/// 7. **Audit events are linked in their order** to the chain of their organization, with
///    [`AuditHead::link`](crate::audit::AuditHead::link).
/// 8. **A walk by cursor misses no row** that exists throughout, and shows none twice, whatever else comes and goes.
///    [`Page::cut`](crate::store::query::Page::cut) does this for stores that hold their rows in memory.
///
/// A query or a write that a store does not know is [`Unsupported`](StoreErrorKind::Unsupported).
/// `testing::store_conformance` (feature `testing`) tries every rule.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a managed store",
    note = "issuing needs `MemoryStore`, `SqliteStore`, `PostgresStore`, `DynStore`, or a type with `commit` and `read` in an `impl ManagedStore`"
)]
pub trait ManagedStore: KeyStore {
    /// Makes a commit.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, StoreError>> + Send;

    /// Answers a query. Callers use [`StoreExt::get`].
    fn read(&self, query: Query) -> impl Future<Output = Result<Answer, StoreError>> + Send;
}

impl<S: ManagedStore + ?Sized> ManagedStore for Arc<S> {
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, StoreError>> + Send {
        (**self).commit(commit)
    }

    fn read(&self, query: Query) -> impl Future<Output = Result<Answer, StoreError>> + Send {
        (**self).read(query)
    }
}

/// How often uses of keys are read, if each time some are stored meanwhile.
const READS: usize = 8;

/// Typed queries, on every [`ManagedStore`]. Not to be implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` answers no queries",
    note = "every `ManagedStore` has these methods; a store that only implements `KeyStore` checks keys and no more"
)]
pub trait StoreExt: ManagedStore {
    /// Answers a query with its own type of answer.
    ///
    /// ```
    /// use tower_api_key::key::{KeyId, OrganizationId};
    /// use tower_api_key::store::query::Keys;
    /// use tower_api_key::store::{MemoryStore, StoreExt};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let store = MemoryStore::new();
    /// assert_eq!(store.get(KeyId::new()).await?, None);
    /// let page = store.get(Keys::of(OrganizationId::new()).page(50)).await?;
    /// assert!(page.items.is_empty() && page.next.is_none());
    /// # Ok::<_, tower_api_key::store::StoreError>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    fn get<Q: TypedQuery>(&self, query: Q) -> impl Future<Output = Result<Q::Output, StoreError>> + Send {
        let query = query.query();
        async move {
            let pending = self.fence().filter(|_| query.is_of_use()).map(PendingUses::of);
            let other = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the answer to another query");
            for _ in 0..READS {
                let moves = pending.as_ref().map_or(0, |pending| pending.moves());
                let mut answer = self.read(query.clone()).await?;
                let is_whole = match (&pending, &mut answer) {
                    (Some(pending), Answer::KeyUses(uses)) => pending.add_to(uses, moves),
                    _ => true,
                };
                if is_whole {
                    return Q::take(answer).ok_or_else(other);
                }
            }
            Q::take(self.read(query).await?).ok_or_else(other)
        }
    }
}

impl<S: ManagedStore + ?Sized> StoreExt for S {}

/// Replaces a secret's hash if it is still the old one; whether it was.
pub(crate) async fn replace_hash<S: ManagedStore>(
    store: &S,
    lookup: &Lookup,
    old: &SecretHash,
    new: &SecretHash,
) -> Result<bool, StoreError> {
    let write = Write::ReplaceHash {
        lookup: lookup.clone(),
        old: old.clone(),
        new: new.clone(),
    };
    match store.commit(Commit::new().write(write)).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
