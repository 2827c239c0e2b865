//! Finding a key by the key itself.

use crate::check::{AuthContext, PresentedKey};
use crate::keys::ApiKeys;
use crate::store::{ManagedStore, StoreError, StoreErrorKind, StoreExt, StoredKey};

impl<S: ManagedStore + Clone> ApiKeys<S> {
    /// The stored key that this one is, if its secret is right: a revoked, disabled or expired one too. `None` for every other
    /// text.
    ///
    /// For people who have a key in their hand and want to know whose it is. It is no request: nothing is charged, and no use is
    /// recorded.
    ///
    /// ```
    /// use tower_api_key::{IssueRequest, PresentedKey};
    /// use tower_api_key::key::Actor;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = tower_api_key::testing::api_keys().open().await?;
    /// let issuer = keys.issuer().acting_as(Actor::user("alice"));
    /// let acme = issuer.create_organization("acme").await?;
    /// let issued = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
    /// issuer.revoke(issued.record.id, "leaked").await?;
    ///
    /// let found = keys.find_key(PresentedKey::new(issued.key.expose_secret().as_bytes())).await?;
    /// assert_eq!(found.unwrap().record.id, issued.record.id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Security
    /// The key is verified as a check does it: in constant time, and an unknown one takes as long as a wrong one where its lookup
    /// could be guessed. A wrong one counts against the failure budget of its client.
    ///
    /// # Errors
    /// [`Unavailable`](StoreErrorKind::Unavailable) when the store, the secrets of the realm or the hash pool cannot answer now.
    pub async fn find_key(&self, key: PresentedKey<'_>) -> Result<Option<StoredKey>, StoreError> {
        let unavailable = |rejection| StoreError::with_source(StoreErrorKind::Unavailable, rejection);
        match self.authenticator.identify(key).await.map_err(unavailable)? {
            Some(id) => self.authenticator.store().get(id).await,
            None => Ok(None),
        }
    }

    /// The same for a request with a key: that of its own organization, or of any for a key of the operator. For one of another
    /// organization the answer is that for a text that is no key.
    ///
    /// # Errors
    /// Those of [`find_key`](Self::find_key); [`Forbidden`](StoreErrorKind::Forbidden) when the key of the request does not work any
    /// more.
    pub async fn find_key_for(
        &self,
        context: &AuthContext,
        key: PresentedKey<'_>,
    ) -> Result<Option<StoredKey>, StoreError> {
        match self.find_key(key).await? {
            Some(found) => self.issuer_for(context).get(found.record.id).await,
            None => Ok(None),
        }
    }
}
