//! Disabling, enabling and revoking one key.

use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, ATTEMPTS_TO_STOP};
use crate::audit::AuditAction;
use crate::key::{KeyId, KeyRecord, KeyState, shortened};
use crate::store::{Change, ManagedStore};

pub(super) const LONGEST_REASON: usize = 1024;

impl<S: ManagedStore> Issuer<S> {
    /// Stops a key until it is [enabled](Self::enable) again. Disabling a disabled key changes nothing.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another
    /// change came first 256 times.
    pub async fn disable(&self, id: KeyId) -> Result<KeyRecord, IssueError> {
        let change = |record: &mut KeyRecord| KeyState::of(record).disabled().set(record);
        let event = |_: &KeyRecord, record: &KeyRecord| self.key_event(record, AuditAction::KEY_DISABLED);
        self.change(id, ATTEMPTS_TO_STOP, change, event).await
    }

    /// Lets a disabled key work again, whatever disabled it: also a bulk change, such as the off-boarding of its user.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, or the store fails; [`Conflict`](IssueErrorKind::Conflict) when another
    /// change came first 8 times.
    pub async fn enable(&self, id: KeyId) -> Result<KeyRecord, IssueError> {
        let change = |record: &mut KeyRecord| KeyState::of(record).enabled().set(record);
        let event = |_: &KeyRecord, record: &KeyRecord| self.key_event(record, AuditAction::KEY_ENABLED);
        self.change(id, ATTEMPTS, change, event).await
    }

    /// Ends this key permanently, and no other one.
    pub(super) async fn revoke_alone(&self, id: KeyId, reason: &str) -> Result<KeyRecord, IssueError> {
        let reason = shortened(reason, LONGEST_REASON);
        let revocation = self.revocation(reason);
        let change = |record: &mut KeyRecord| KeyState::of(record).revoked(&revocation).set(record);
        let event = |_: &KeyRecord, record: &KeyRecord| {
            let event = self.key_event(record, AuditAction::KEY_REVOKED);
            event.detail("reason", reason)
        };
        match self.change(id, ATTEMPTS_TO_STOP, change, event).await {
            Err(error) if error.kind() == IssueErrorKind::Revoked => {
                let record = self.stored(id).await?.record;
                self.announce_again(Change::new(id, record.revision)).await?;
                Ok(record)
            }
            done => done,
        }
    }
}
