//! Ends a key with all that it made.

use super::change::{Bulk, BulkChange};
use super::selection::KeySelection;
use crate::issue::error::IssueError;
use crate::issue::issuer::Issuer;
use crate::key::{KeyId, KeyStatus, Timestamp};
use crate::store::ManagedStore;

/// What becomes of the keys that a revoked key made, and of those that they made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Descendants {
    /// They stay as they are.
    #[default]
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
    /// Ends a key permanently, and disables or ends what it made: the keys that were issued with it as
    /// [creator](crate::IssueRequest::created_by_key), those that were issued with them, and so on. All of it is one
    /// transaction. Look at the keys first with a [`preview`](Self::preview) of [`KeySelection::descendants_of`], and
    /// [`since`](KeySelection::since) when if the key is known to have leaked at some time.
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
        if descendants == Descendants::None {
            let is_new = before.status != KeyStatus::Revoked;
            let record = self.revoke(id, reason).await?;
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
            Descendants::Disable | Descendants::DisableSince(_) if record.id != id => state.held(&hold),
            _ => state.revoked(&revocation),
        })
        .await
    }
}
