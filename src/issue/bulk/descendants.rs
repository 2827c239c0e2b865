//! Ends a key, with all that it made.

use super::change::{Bulk, BulkChange};
use super::selection::KeySelection;
use crate::issue::error::{IssueError, IssueErrorKind};
use crate::issue::issuer::Issuer;
use crate::key::{KeyId, KeyRecord, KeyStatus, Timestamp};
use crate::store::ManagedStore;

/// What becomes of the keys that a revoked key made, and of those that they made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Descendants {
    /// They are [disabled](Self::Disable) if the key may manage keys, by a scope of its own or of a role that begins with `api-keys.`:
    /// a thief may have made others. Those of other keys stay as they are.
    #[default]
    DisableOfManaging,
    /// They stay as they are.
    None,
    /// They are disabled, and [`enable_all`](Issuer::enable_all) of
    /// [their selection](KeySelection::descendants_of) undoes that.
    Disable,
    /// They are revoked.
    Revoke,
    /// Those that were created at this time or later are disabled, and the others stay: what was made before the key leaked.
    DisableSince(Timestamp),
    /// Those that were created at this time or later are revoked, and the others stay.
    RevokeSince(Timestamp),
}

impl<S: ManagedStore> Issuer<S> {
    /// Ends a key permanently. Revoking a revoked key changes nothing: the first actor and reason stay. Of the reason, the
    /// first 1,024 bytes are kept: a reason that is too long must not keep a key alive.
    ///
    /// If the key may manage keys, those that it made are disabled in the same transaction, with all that they made: that is
    /// [`Descendants::DisableOfManaging`]. To leave them, or to revoke them too, call
    /// [`revoke_with_descendants`](Self::revoke_with_descendants).
    ///
    /// # Errors
    /// When there is no such key, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another change came first
    /// 256 times; of an issuer that acts with a key, [`LastOperatorKey`](IssueErrorKind::LastOperatorKey). The key still works then.
    ///
    /// When what it made cannot be disabled, the key is revoked alone, and the error says so about the field `descendants`: they
    /// were changed 256 times meanwhile, or the last key of the operator is among them.
    pub async fn revoke(&self, id: KeyId, reason: &str) -> Result<KeyRecord, IssueError> {
        let before = self.stored(id).await?.record;
        // Some may have been enabled on purpose after it was revoked.
        if before.status == KeyStatus::Revoked || !self.may_manage(&before).await? {
            return self.revoke_alone(id, reason).await;
        }
        match Box::pin(self.revoke_with_descendants(id, Descendants::Disable, reason)).await {
            Ok(done) => match done.changed.into_iter().find(|record| record.id == id) {
                Some(record) => Ok(record),
                // Someone else did it at the same time.
                None => Ok(self.stored(id).await?.record),
            },
            // What it made must not keep it alive.
            Err(error) if is_about_others(error.kind()) => {
                self.revoke_alone(id, reason).await?;
                let sentence = "the key is revoked, and not all that it made is disabled";
                Err(IssueError::about(error.kind(), "descendants", sentence))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a key permanently, and disables or ends what it made: the keys that were issued with it as
    /// [creator](crate::IssueRequest::created_by_key), those that were issued with them, and so on. All of it is one
    /// transaction. Look at the keys first with a [`preview`](Self::preview) of [`KeySelection::descendants_of`], and of
    /// [`since`](KeySelection::since) if it is known when the key leaked.
    ///
    /// More than 60,000 keys are stopped in pieces, in transactions of 60,000: the key itself with the first one, so that it makes
    /// no more. If that ends in the middle, call this again.
    ///
    /// A key that was stolen may have made others before it was revoked. Once this has returned, none of them works, and none can
    /// be made any more. Rotating a key moves nothing: what it made before stays its own.
    ///
    /// ```
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{Descendants, IssueRequest, Issuer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// let acme = issuer.create_organization("acme").await?;
    /// let stolen = issuer.issue(IssueRequest::new(acme.id, "administrator")).await?;
    /// let request = IssueRequest::new(acme.id, "back door").created_by_key(stolen.record.id);
    /// issuer.issue(request).await?;
    ///
    /// let done = issuer.revoke_with_descendants(stolen.record.id, Descendants::Revoke, "leaked").await?;
    /// assert_eq!(done.changed.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such key; otherwise as for [`disable_all`](Self::disable_all).
    pub async fn revoke_with_descendants(
        &self,
        id: KeyId,
        descendants: Descendants,
        reason: &str,
    ) -> Result<BulkChange, IssueError> {
        let before = self.stored(id).await?.record;
        let leaves_them = match descendants {
            Descendants::None => true,
            Descendants::DisableOfManaging => !self.may_manage(&before).await?,
            Descendants::Disable | Descendants::Revoke | Descendants::DisableSince(_) | Descendants::RevokeSince(_) => {
                false
            }
        };
        if leaves_them {
            let is_new = before.status != KeyStatus::Revoked;
            let record = self.revoke_alone(id, reason).await?;
            let changed = Vec::from_iter(is_new.then_some(record));
            let total = changed.len();
            return Ok(BulkChange { changed, total });
        }
        let mut selection = KeySelection::descendants_of(id).with_root();
        if let Descendants::DisableSince(time) | Descendants::RevokeSince(time) = descendants {
            selection = selection.since(time);
        }
        let hold = selection.to_string();
        let bulk = Bulk::to_stop(&selection, reason);
        let revocation = self.revocation(bulk.reason);
        self.change_all(&bulk, |record, state| match descendants {
            Descendants::Revoke | Descendants::RevokeSince(_) => state.revoked(&revocation),
            _ if record.id == id => state.revoked(&revocation),
            _ => state.held(&hold),
        })
        .await
    }

    /// Whether the key has a scope of managing keys, or a role has one for it. What its organization grants does not count: it may
    /// have been narrowed after the key was used.
    async fn may_manage(&self, record: &KeyRecord) -> Result<bool, IssueError> {
        if record.scopes.has_management() {
            return Ok(true);
        }
        for name in record.roles.iter() {
            if self.role(name).await?.is_some_and(|role| role.scopes.has_management()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_about_others(kind: IssueErrorKind) -> bool {
    matches!(kind, IssueErrorKind::Conflict | IssueErrorKind::LastOperatorKey)
}
