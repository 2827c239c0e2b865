//! Reading back what was issued.

use super::error::IssueError;
use super::issuer::Issuer;
use crate::key::KeyId;
use crate::store::query::{Keys, Paged, TypedQuery};
use crate::store::{ManagedStore, StoreExt, StoredKey};

/// What there is, read from the store: none of these needs an actor.
///
/// ```
/// use tower_api_key::key::Actor;
/// use tower_api_key::store::query::Keys;
/// use tower_api_key::testing::api_keys;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = api_keys().open().await?;
/// keys.ensure("acme", "nightly export").await?;
///
/// // After a restart, without any id at hand:
/// let issuer = keys.issuer().acting_as(Actor::operator("root"));
/// let acme = issuer.organization_by_slug("acme").await?.ok_or("no such organization")?;
/// let query = Keys::of(acme.id).page(100);
/// let mut page = issuer.keys(query.clone()).await?;
/// loop {
///     for key in &page.items {
///         issuer.revoke(key.record.id, "spring cleaning").await?;
///     }
///     let Some(next) = page.next else { break };
///     page = issuer.keys(query.clone().after(next)).await?;
/// }
/// # Ok(())
/// # }
/// ```
impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// A key with its secrets, which are hashes; `None` if there is no such key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn key(&self, id: KeyId) -> Result<Option<StoredKey>, IssueError> {
        Ok(self.store.get(id).await?)
    }

    /// A page of keys: of an organization, by its id, or any that [`Keys`] selects.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list.
    pub async fn keys(&self, keys: impl Into<Keys>) -> Result<Paged<StoredKey>, IssueError> {
        self.page(keys.into()).await
    }

    /// A page whose cursors are those of [`ApiKeys::read`](crate::ApiKeys::read).
    pub(super) async fn page<Q: TypedQuery>(&self, query: Q) -> Result<Q::Output, IssueError> {
        let key = self.secrets.cursor_key(&self.store, &self.clock).await?;
        Ok(self.store.get(query.with_cursor_key(&key)).await?)
    }
}
