//! Changing a key's record.

use super::bounds::{check_calendar, check_metadata, check_name, check_owner};
use super::difference;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, retried};
use crate::audit::{AuditAction, AuditEvent};
use crate::key::{KeyId, KeyRecord, KeyState, KeyStatus};
use crate::store::{Change, Commit, KeyStore, ManagedStore, StoreErrorKind, StoreExt, StoredKey, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Changes what a key may do: scopes, roles, networks, limits, expiry, user, name, labels, metadata. Id, organization,
    /// prefix, environment, revision and creation stay, and a canary stays one. So does the status: for that there are
    /// [`disable`](Self::disable), [`enable`](Self::enable) and [`revoke`](Self::revoke). The closure may run more than once,
    /// when others change the same row.
    ///
    /// What is new is judged as for a new key. What the key has already is not, so that a key that no longer keeps to a policy
    /// can be narrowed.
    ///
    /// # Errors
    /// When there is no such key, it is revoked, the change contradicts itself, or the store fails;
    /// [`InvalidRequest`](IssueErrorKind::InvalidRequest) and [`NotAllowed`](IssueErrorKind::NotAllowed) as for
    /// [`issue`](Self::issue); [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
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
        retried!(attempts, async {
            let before = self.stored(id).await?.record;
            if before.status == KeyStatus::Revoked {
                return Err(IssueError::new(IssueErrorKind::Revoked));
            }
            let mut record = before.clone();
            change(&mut record);
            keep_identity(&mut record, &before);
            if record == before {
                self.announce_again(Change::new(id, before.revision)).await?;
                return Ok(before);
            }
            // Only what is new: an imported key that would be refused here must not be impossible to revoke.
            if record.name != before.name {
                check_name(&record.name)?;
            }
            if record.expires_at != before.expires_at {
                check_calendar(record.expires_at)?;
            }
            if record.metadata != before.metadata {
                check_metadata(&record.metadata)?;
            }
            if (&record.user, record.ends_with_user) != (&before.user, before.ends_with_user) {
                check_owner(record.user.as_ref(), record.ends_with_user)?;
            }
            let mut commit = Commit::new()
                .write(Write::UpdateKey(record.clone()))
                .audit(event(&before, &record));
            commit.guards = self.may_change(&before, &record).await?;
            let committed = self.commit(commit).await?;
            record.revision = committed.revision_of(id).unwrap_or(record.revision);
            Ok(record)
        })
    }

    pub(super) async fn stored(&self, id: KeyId) -> Result<StoredKey, IssueError> {
        let stored = self.store.get(id).await?;
        stored.ok_or_else(|| IssueError::about(IssueErrorKind::NotFound, "key", "no such key"))
    }

    /// What was found done may have been committed by someone else a moment ago and not be announced yet. The caller who gets
    /// "done" relies on it from now on, not from when the other call returns.
    pub(super) async fn announce_again(&self, change: Change) -> Result<(), IssueError> {
        if let Some(fence) = self.store.fence() {
            fence.announce(&[change]);
        }
        self.confirm_done().await
    }

    /// What was found done may not be where the store keeps it besides, such as in a revocation journal. A commit without writes
    /// returns once it is.
    pub(in crate::issue) async fn confirm_done(&self) -> Result<(), IssueError> {
        match self.commit(Commit::new()).await {
            // It has nothing besides.
            Err(error) if error.kind() == StoreErrorKind::ReadOnly => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }
}

/// What never changes. Every field is named here, so that a new one is not forgotten.
fn keep_identity(record: &mut KeyRecord, before: &KeyRecord) {
    let KeyRecord {
        id,
        organization_id,
        user: _,
        ends_with_user: _,
        name: _,
        labels: _,
        prefix,
        environment,
        scopes: _,
        roles: _,
        networks: _,
        limits: _,
        lifted_limits: _,
        metadata: _,
        status: _,
        revocation: _,
        holds: _,
        created_at,
        created_by,
        created_by_key,
        is_canary,
        requires: _,
        expires_at: _,
        revision,
    } = before;
    (record.id, record.organization_id, record.revision) = (*id, *organization_id, *revision);
    record.prefix.clone_from(prefix);
    record.environment.clone_from(environment);
    record.created_at = *created_at;
    record.created_by.clone_from(created_by);
    record.created_by_key = *created_by_key;
    // A canary lies where others find it: it must never open anything.
    record.is_canary = *is_canary;
}

/// The fields that differ, apart from those that never change and from the status, which has events of its own.
fn changed_fields(before: &KeyRecord, after: &KeyRecord) -> String {
    let KeyRecord {
        id: _,
        organization_id: _,
        user,
        ends_with_user,
        name,
        labels,
        prefix: _,
        environment: _,
        scopes,
        roles,
        networks,
        limits,
        lifted_limits,
        metadata,
        status: _,
        revocation: _,
        holds: _,
        created_at: _,
        created_by: _,
        created_by_key: _,
        is_canary: _,
        requires,
        expires_at,
        revision: _,
    } = before;
    let fields = [
        ("user", *user != after.user),
        ("ends_with_user", *ends_with_user != after.ends_with_user),
        ("name", *name != after.name),
        ("labels", *labels != after.labels),
        ("scopes", *scopes != after.scopes),
        ("roles", *roles != after.roles),
        ("networks", *networks != after.networks),
        ("limits", *limits != after.limits),
        ("lifted_limits", *lifted_limits != after.lifted_limits),
        ("metadata", *metadata != after.metadata),
        ("requires", *requires != after.requires),
        ("expires_at", *expires_at != after.expires_at),
    ];
    names(&fields)
}

/// The names that are true, with spaces between.
pub(super) fn names(fields: &[(&str, bool)]) -> String {
    let changed = fields.iter().filter(|(_, is_changed)| *is_changed);
    changed.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}
