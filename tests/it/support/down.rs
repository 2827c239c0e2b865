//! A store that is down, and has nothing but `find`.

use tower_api_key::key::Lookup;
use tower_api_key::store::{Candidate, KeyStore, StoreError, StoreErrorKind};

pub(crate) struct Down;

impl KeyStore for Down {
    async fn find(&self, _: &Lookup) -> Result<Option<Candidate>, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unavailable))
    }
}
