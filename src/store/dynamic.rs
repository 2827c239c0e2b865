//! A store chosen at run time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::fence::Fence;
use crate::key::Lookup;
use crate::store::{Candidate, KeyStore, Sharing, StoreError};

/// Any [`KeyStore`] behind one type, for a program that decides at start which one it uses.
///
/// Each [`find`](KeyStore::find) boxes a future; the fence and the sharing are those of the store inside, so what
/// was issued through that store is seen here. Clones share the store.
///
/// ```
/// use tower_api_key::store::{DynKeyStore, KeyStore, MemoryStore, Sharing};
///
/// let memory = MemoryStore::new();
/// let store = DynKeyStore::new(memory.clone());
/// assert_eq!(store.sharing(), Sharing::Exclusive);
/// assert!(store.fence().is_some());
/// ```
#[derive(Clone)]
pub struct DynKeyStore(Arc<dyn Mirror>);

impl DynKeyStore {
    /// Hides the store's type.
    pub fn new(store: impl KeyStore) -> Self {
        Self(Arc::new(store))
    }
}

impl KeyStore for DynKeyStore {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.0.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.0.fence()
    }

    fn sharing(&self) -> Sharing {
        self.0.sharing()
    }
}

impl fmt::Debug for DynKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynKeyStore").finish_non_exhaustive()
    }
}

/// `KeyStore` with a boxed future: `impl Future` in a return type cannot be called through a pointer.
#[async_trait]
trait Mirror: Send + Sync {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError>;
    fn fence(&self) -> Option<&Fence>;
    fn sharing(&self) -> Sharing;
}

#[async_trait]
impl<S: KeyStore> Mirror for S {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        KeyStore::find(self, lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        KeyStore::fence(self)
    }

    fn sharing(&self) -> Sharing {
        KeyStore::sharing(self)
    }
}
