//! Deleting keys that ended long ago.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::IssueError;
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, retried};
use crate::audit::AuditAction;
use crate::key::{KeyId, KeyRecord, Timestamp};
use crate::store::query::EndedKeys;
use crate::store::{Commit, Guard, ManagedStore, StoreErrorKind, StoreExt, Write};

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
        let mut stays = BTreeSet::new();
        loop {
            let piece = retried!(ATTEMPTS, async {
                let mut records = self.store.get(ended).await?;
                records.retain(|record| !stays.contains(&record.id));
                if records.is_empty() {
                    return Ok((0, true));
                }
                // In a conflict one of them was changed or deleted: it may live longer now.
                match self.commit(self.deletion_of(&records, reason)).await {
                    Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                        let deleted = self.delete_apart(&records, reason, &mut stays).await?;
                        return Ok((deleted, false));
                    }
                    made => drop(made?),
                }
                Ok((records.len() as u64, false))
            });
            // Those that made them may go next.
            match piece? {
                (_, true) => return Ok(deleted),
                (keys, false) => deleted += keys,
            }
        }
    }

    /// Deletes each alone: a secret of one, or the audit chain of its organization, cannot be read. Such a key stays, and must not
    /// keep the others.
    async fn delete_apart(
        &self,
        records: &[KeyRecord],
        reason: &str,
        stays: &mut BTreeSet<KeyId>,
    ) -> Result<u64, IssueError> {
        let mut deleted = 0;
        for record in records {
            match self
                .commit(self.deletion_of(std::slice::from_ref(record), reason))
                .await
            {
                Ok(_) => deleted += 1,
                // The next call looks at it again.
                Err(error) if error.kind() == StoreErrorKind::Conflict => drop(stays.insert(record.id)),
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                    let source = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::warn!(key = %record.id, source, "a key that ended long ago is damaged, and stays");
                    stays.insert(record.id);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(deleted)
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
