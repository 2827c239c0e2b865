//! Reading back what was issued.

use super::error::IssueError;
use super::issuer::Issuer;
use super::trail::AuditTrail;
use crate::key::KeyId;
use crate::store::query::{Keys, Paged, TypedQuery};
use crate::store::{ManagedStore, StoreError, StoreExt, StoredKey};

/// What there is, read from the store: none of these needs an actor. An issuer that acts [with a
/// key](crate::ApiKeys::issuer_for) reads that key's organization, unless it is the operator's, and one that acts [for a
/// user](crate::ApiKeys::issuer_for_principal) what that user may see: others are not there.
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

    /// Answers a query, as [`ApiKeys::read`](crate::ApiKeys::read) does, whose cursors it shares.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list. Of an issuer that acts with a key:
    /// [`Forbidden`](crate::IssueErrorKind::Forbidden) for lists of all organizations and for what is the realm's.
    pub async fn read<Q: TypedQuery>(&self, query: Q) -> Result<Q::Output, IssueError> {
        Ok(self.get(query).await?)
    }

    /// The audit trail: what [`ApiKeys::audit`](crate::ApiKeys::audit) gives, as far as the issuer may read and cut it.
    pub fn audit(&self) -> AuditTrail<S>
    where
        S: Clone,
    {
        AuditTrail::within(self.store.clone(), self.secrets.clone(), self.clock.clone())
    }

    pub(super) async fn page<Q: TypedQuery>(&self, query: Q) -> Result<Q::Output, IssueError> {
        self.read(query).await
    }

    pub(crate) async fn get<Q: TypedQuery>(&self, query: Q) -> Result<Q::Output, StoreError> {
        if !Q::HAS_CURSORS {
            return self.store.get(query).await;
        }
        let key = self.secrets.cursor_key(self.store.unbounded(), &self.clock).await?;
        self.store.get(query.with_cursor_key(&key)).await
    }
}
