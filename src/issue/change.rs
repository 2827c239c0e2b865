//! Changing a key's record.

use super::bounds::{check_calendar, check_limits, check_name};
use super::difference;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::{ATTEMPTS, Issuer};
use crate::audit::{AuditAction, AuditEvent};
use crate::key::{KeyId, KeyRecord, KeyState, KeyStatus};
use crate::store::{Change, Commit, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Changes what a key may do: scopes, networks, limits, expiry, name, metadata. Id, organization, prefix, environment,
    /// revision and creation stay, and so does the status: for that there are [`disable`](Self::disable),
    /// [`enable`](Self::enable) and [`revoke`](Self::revoke). The closure may run more than once, when others change the
    /// same row.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, the change contradicts itself, or the store fails;
    /// [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update(
        &self,
        id: KeyId,
        change: impl Fn(&mut KeyRecord) + Send + Sync,
    ) -> Result<KeyRecord, IssueError> {
        let keeping_status = |record: &mut KeyRecord| {
            let state = KeyState::of(record);
            change(record);
            state.set(record);
        };
        let event = |before: &KeyRecord, after: &KeyRecord| {
            let event = self.key_event(after, AuditAction::KEY_UPDATED);
            difference::of_key(
                event.detail("changed", changed_fields(before, after)),
                Some(before),
                after,
            )
        };
        self.change(id, ATTEMPTS, keeping_status, event).await
    }

    /// Changes a record that is not revoked, in at most so many attempts. `event` gets the record of before and after.
    pub(super) async fn change(
        &self,
        id: KeyId,
        attempts: usize,
        change: impl Fn(&mut KeyRecord) + Send + Sync,
        event: impl Fn(&KeyRecord, &KeyRecord) -> AuditEvent + Send + Sync,
    ) -> Result<KeyRecord, IssueError> {
        for _ in 0..attempts {
            let before = self.stored(id).await?.record;
            if before.status == KeyStatus::Revoked {
                return Err(IssueError::new(IssueErrorKind::Revoked));
            }
            let mut record = before.clone();
            change(&mut record);
            keep_identity(&mut record, &before);
            if record == before {
                self.announce_again(Change::new(id, before.revision));
                return Ok(before);
            }
            // Only what is new: an imported key that would be refused here must not be impossible to revoke.
            if record.name != before.name {
                check_name(&record.name)?;
            }
            if record.expires_at != before.expires_at {
                check_calendar(record.expires_at)?;
            }
            if record.limits != before.limits {
                let organization = self.store.get(before.organization_id).await?;
                check_limits(&record.limits, organization.as_ref().map_or(&[], |o| &o.limits))?;
            }
            let commit = Commit::new()
                .write(Write::UpdateKey(record.clone()))
                .audit(event(&before, &record));
            match self.commit(commit).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
                Ok(committed) => {
                    record.revision = committed.revision_of(id).unwrap_or(record.revision);
                    return Ok(record);
                }
            }
        }
        Err(IssueError::new(IssueErrorKind::Conflict))
    }

    pub(super) async fn stored(&self, id: KeyId) -> Result<StoredKey, IssueError> {
        let stored = self.store.get(id).await?;
        stored.ok_or_else(|| IssueError::new(IssueErrorKind::NotFound))
    }

    /// What was found done may have been committed by someone else a moment ago and not be announced yet. The caller who
    /// gets "done" relies on it from now on, not from when the other call returns.
    pub(super) fn announce_again(&self, change: Change) {
        if let Some(fence) = self.store.fence() {
            fence.announce(&[change]);
        }
    }
}

fn keep_identity(record: &mut KeyRecord, before: &KeyRecord) {
    record.id = before.id;
    record.organization_id = before.organization_id;
    record.prefix.clone_from(&before.prefix);
    record.environment.clone_from(&before.environment);
    record.created_at = before.created_at;
    record.created_by.clone_from(&before.created_by);
    record.revision = before.revision;
}

fn changed_fields(before: &KeyRecord, after: &KeyRecord) -> String {
    let fields = [
        ("user", before.user != after.user),
        ("name", before.name != after.name),
        ("scopes", before.scopes != after.scopes),
        ("networks", before.networks != after.networks),
        ("limits", before.limits != after.limits),
        ("metadata", before.metadata != after.metadata),
        ("expires_at", before.expires_at != after.expires_at),
    ];
    names(&fields)
}

/// The names that are true, with spaces between.
pub(super) fn names(fields: &[(&str, bool)]) -> String {
    let changed = fields.iter().filter(|(_, is_changed)| *is_changed);
    changed.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}
