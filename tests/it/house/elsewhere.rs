//! A store as a second process sees it: changes of others are in its rows, but not on its fence.

use tower_api_key::Fence;
use tower_api_key::key::Lookup;
use tower_api_key::store::{Candidate, KeyStore, Sharing, StoreError};

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
