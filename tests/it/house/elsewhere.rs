//! A store as a second process sees it: changes of others are in its rows, but not on its fence.

use tower_api_key::Fence;
use tower_api_key::key::Lookup;
use tower_api_key::store::query::{Answer, Query};
use tower_api_key::store::{Candidate, Commit, Committed, KeyStore, ManagedStore, Sharing, StoreError};

#[derive(Clone)]
pub(crate) struct Elsewhere<S> {
    pub(crate) rows: S,
    pub(crate) fence: Option<Fence>,
    pub(crate) sharing: Sharing,
}

impl<S: KeyStore> KeyStore for Elsewhere<S> {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        self.rows.find(lookup).await
    }

    fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    fn sharing(&self) -> Sharing {
        self.sharing
    }
}

impl<S: ManagedStore> ManagedStore for Elsewhere<S> {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.rows.commit(commit).await
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        self.rows.read(query).await
    }
}
