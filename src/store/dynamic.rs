//! A store chosen at run time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::fence::Fence;
use crate::key::{KeyFormats, Lookup};
use crate::store::query::{Answer, Query};
use crate::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError, StoreErrorKind};

/// Any store behind one type, for a program that chooses its store when it starts: for checking, issuing and managing.
///
/// Each call boxes a future. Fence and sharing are those of the store inside, so what was issued through that store is
/// seen here. Clones share the store.
///
/// ```
/// use tower_api_key::store::{DynStore, KeyStore, MemoryStore, Sharing};
///
/// let memory = MemoryStore::new();
/// let store = DynStore::new(memory.clone());
/// assert_eq!(store.sharing(), Sharing::Exclusive);
/// assert!(store.fence().is_some());
/// ```
#[derive(Clone)]
pub struct DynStore(Arc<dyn Mirror>);

impl DynStore {
    /// A store for checking, issuing and managing.
    pub fn new(store: impl ManagedStore) -> Self {
        Self(Arc::new(store))
    }

    /// A store for checking alone. A commit is [`ReadOnly`](StoreErrorKind::ReadOnly), a query
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    pub fn find_only(store: impl KeyStore) -> Self {
        Self(Arc::new(FindOnly(store)))
    }
}

impl KeyStore for DynStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.0.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.0.fence()
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing()
    }

    fn formats(&self) -> Option<KeyFormats> {
        self.0.formats()
    }

    fn follow(&self, clock: &Clock) {
        self.0.follow(clock);
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl ManagedStore for DynStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.0.commit(commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.0.read(query).await
    }
}

impl fmt::Debug for DynStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynStore").finish_non_exhaustive()
    }
}

/// `ManagedStore` with boxed futures: `impl Future` in a return type cannot be called through a pointer.
#[async_trait]
trait Mirror: Send + Sync {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError>;
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;
    async fn read(&self, query: Query) -> Result<Answer, StoreError>;
    async fn close(&self);
    fn fence(&self) -> Option<&Fence>;
    fn sharing(&self) -> Sharing;
    fn formats(&self) -> Option<KeyFormats>;
    fn follow(&self, clock: &Clock);
}

#[async_trait]
impl<S: ManagedStore> Mirror for S {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        KeyStore::find(self, lookup).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        ManagedStore::commit(self, commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        ManagedStore::read(self, query).await
    }

    async fn close(&self) {
        KeyStore::close(self).await;
    }

    fn fence(&self) -> Option<&Fence> {
        KeyStore::fence(self)
    }

    fn sharing(&self) -> Sharing {
        KeyStore::sharing(self)
    }

    fn formats(&self) -> Option<KeyFormats> {
        KeyStore::formats(self)
    }

    fn follow(&self, clock: &Clock) {
        KeyStore::follow(self, clock);
    }
}

struct FindOnly<S>(S);

impl<S: KeyStore> KeyStore for FindOnly<S> {
    fn find(&self, lookup: &Lookup) -> impl Future<Output = Result<Option<Candidate>, StoreError>> + Send {
        self.0.find(lookup)
    }

    fn fence(&self) -> Option<&Fence> {
        self.0.fence()
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing()
    }

    fn formats(&self) -> Option<KeyFormats> {
        self.0.formats()
    }

    fn follow(&self, clock: &Clock) {
        self.0.follow(clock);
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        self.0.close()
    }
}

impl<S: KeyStore> ManagedStore for FindOnly<S> {
    async fn commit(&self, _: Commit) -> Result<Committed, StoreError> {
        Err(StoreError::new(StoreErrorKind::ReadOnly))
    }

    async fn read(&self, _: Query) -> Result<Answer, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unsupported))
    }
}
