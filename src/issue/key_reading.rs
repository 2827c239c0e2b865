//! Finding keys by something else than their ids, and what state they are in.

use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use crate::key::{KeyId, Lookup, SecretHash};
use crate::store::query::KeyByHash;
use crate::store::{KeyStore, ManagedStore, StoreExt, StoredKey};

/// # Keys, read from the store: none of these needs an actor
impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// The key with this lookup; `None` if there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn key_by_lookup(&self, lookup: &Lookup) -> Result<Option<StoredKey>, IssueError> {
        let Some(found) = self.store.find(lookup).await? else {
            return Ok(None);
        };
        // Another read: the secret may have gone in between.
        let stored = self.store.get(found.record.id).await?;
        Ok(stored.filter(|key| key.secret(lookup).is_some()))
    }

    /// The key with a secret of exactly this hash, as it is stored; `None` if there is none. See [`KeyByHash`].
    ///
    /// # Errors
    /// [`InvalidRequest`](IssueErrorKind::InvalidRequest) for a salted hash, which nobody can look for; when the store fails.
    pub async fn key_by_hash(&self, hash: SecretHash) -> Result<Option<StoredKey>, IssueError> {
        Ok(self.store.get(KeyByHash::new(hash)?).await?)
    }

    /// Whether the key opens anything now: it has a secret that has not ended, is no canary, and neither its status nor its end,
    /// its organization, its policy or its user keeps it from working. Scopes, networks and limits may still refuse a request.
    ///
    /// # Errors
    /// [`NotFound`](IssueErrorKind::NotFound) when there is no such key; when the store fails.
    pub async fn is_valid(&self, id: KeyId) -> Result<bool, IssueError> {
        let missing = || IssueError::about(IssueErrorKind::NotFound, "key", "no such key");
        let stored = self.store.get(id).await?.ok_or_else(missing)?;
        for secret in &stored.secrets {
            let found = self.store.find(&secret.lookup).await?;
            let opens = found.is_some_and(|key| {
                let has_ended = key.ends_at().is_some_and(|end| self.clock.is_over(end));
                key.record.id == id && key.barrier().is_none() && !has_ended && !key.lacks_networks()
            });
            if opens {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
