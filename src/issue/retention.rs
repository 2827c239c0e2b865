//! Deleting keys that ended long ago.

use std::time::Duration;

use super::error::IssueError;
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, retried};
use crate::audit::AuditAction;
use crate::key::{KeyRecord, Timestamp};
use crate::store::query::EndedKeys;
use crate::store::{Commit, Guard, ManagedStore, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Deletes keys of all organizations that expired so long ago, with their secrets; how many those were. Revoked keys stay.
    /// Their audit events stay, and each gets one more. A key stays while one that it made is there, so that
    /// [`revoke_with_descendants`](Self::revoke_with_descendants) finds that one.
    ///
    /// It deletes in pieces of 1,000 keys, each of which is one commit. After an error the pieces before it are gone, and another
    /// call goes on.
    ///
    /// # Errors
    /// [`Conflict`](crate::IssueErrorKind::Conflict) when keys of one piece were changed meanwhile, 8 times; those of the store.
    pub async fn delete_expired(&self, older_than: Duration) -> Result<u64, IssueError> {
        self.delete_ended(EndedKeys::expired(self.so_long_ago(older_than)), "expired")
            .await
    }

    /// The same for keys that were revoked so long ago. What is known of a leaked key is then in the audit trail alone.
    ///
    /// # Errors
    /// Those of [`delete_expired`](Self::delete_expired).
    pub async fn delete_revoked(&self, older_than: Duration) -> Result<u64, IssueError> {
        self.delete_ended(EndedKeys::revoked(self.so_long_ago(older_than)), "revoked")
            .await
    }

    fn so_long_ago(&self, time: Duration) -> Timestamp {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.clock.wall().as_millis().saturating_sub(millis))
    }

    async fn delete_ended(&self, ended: EndedKeys, reason: &str) -> Result<u64, IssueError> {
        let mut deleted = 0;
        loop {
            let piece = retried!(ATTEMPTS, async {
                let records = self.store.get(ended).await?;
                if !records.is_empty() {
                    // In a conflict one of them was changed or deleted: it may live longer now.
                    self.commit(self.deletion_of(&records, reason)).await?;
                }
                Ok(records.len() as u64)
            });
            // Those that made them may go next.
            match piece? {
                0 => return Ok(deleted),
                keys => deleted += keys,
            }
        }
    }

    /// Deletes keys that are as they were read, with one event for each.
    fn deletion_of(&self, records: &[KeyRecord], reason: &str) -> Commit {
        let mut commit = Commit::new();
        for record in records {
            let event = self.key_event(record, AuditAction::KEY_DELETED);
            commit.guards.push(Guard::KeyRevision(record.id, record.revision));
            commit.writes.push(Write::DeleteKey(record.id));
            commit.audit.push(event.detail("reason", reason));
        }
        commit
    }
}
