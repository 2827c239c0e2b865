//! The end of a rotation: its grace period ends early, or it is taken back.

use std::time::Duration;

use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::policy::in_words;
use super::retry::{ATTEMPTS, retried};
use super::rotate::{as_it_is, is_live};
use super::uses::flush_uses;
use crate::audit::AuditAction;
use crate::key::{KeyId, KeyRecord, KeySecret, KeyStatus, Timestamp};
use crate::store::query::KeyUses;
use crate::store::{Change, Commit, ManagedStore, StoreExt, StoredKey, Write};

/// What to do when a secret that is to go was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfUsed {
    /// Nothing: clients have it, and would be locked out.
    Refuse,
    /// It goes all the same.
    Override,
}

impl<S: ManagedStore> Issuer<S> {
    /// Ends the grace period of a rotation now: the old secret stops working. What was finished before stays as it is.
    ///
    /// With `unused_for`, only if the old secret was not used for so long: then every client has the new one. With a duration of
    /// zero, in any case. Processes store uses once a minute, so those of others in the last minute may be missing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::IssueRequest;
    /// use tower_api_key::key::Actor;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = tower_api_key::testing::api_keys().open().await?;
    /// let issuer = keys.issuer().acting_as(Actor::user("alice"));
    /// let acme = issuer.create_organization("acme").await?;
    /// let first = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
    /// let second = issuer.rotate(first.record.id, Duration::from_secs(7 * 86_400)).await?;
    ///
    /// // Nobody has used the old secret for a day.
    /// issuer.finish(second.record.id, Duration::from_secs(86_400)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`InUse`](IssueErrorKind::InUse) when the old secret was used within that time.
    /// - [`NoRotation`](IssueErrorKind::NoRotation) when the key was not rotated, or the rotation was taken back.
    /// - `NotFound`, `Revoked`; `Conflict` when another change came first 8 times; those of the store.
    pub async fn finish(&self, id: KeyId, unused_for: Duration) -> Result<KeyRecord, IssueError> {
        retried!(ATTEMPTS, async {
            let StoredKey {
                mut record, secrets, ..
            } = self.changeable(id).await?;
            let superseded: Vec<&KeySecret> = secrets.iter().filter(|old| old.grace_ends_at.is_some()).collect();
            if superseded.is_empty() {
                return Err(IssueError::new(IssueErrorKind::NoRotation));
            }
            let live: Vec<&KeySecret> = superseded.into_iter().filter(|old| self.is_live(old)).collect();
            if live.is_empty() {
                self.announce_again(Change::new(id, record.revision)).await?;
                return Ok(record);
            }
            let now = self.clock.wall();
            let used_at = self.last_use_of(id, &live).await?;
            if let Some(at) = used_at.filter(|at| now.since(*at) < unused_for) {
                let sentence = format!(
                    "the old secret was used at {at}, less than {} ago",
                    in_words(unused_for)
                );
                return Err(IssueError::about(IssueErrorKind::InUse, "secret", sentence));
            }
            let event = self.key_event(&record, AuditAction::KEY_ROTATION_FINISHED);
            let mut commit = Commit::new()
                .write(Write::UpdateKey(record.clone()))
                .audit(event.detail("lookup", lookups(&live)));
            for old in live {
                commit.guards.push(as_it_is(id, old));
                commit.writes.push(with_grace(id, old, Some(now)));
            }
            let committed = self.commit(commit).await?;
            record.revision = committed.revision_of(id).unwrap_or(record.revision);
            Ok(record)
        })
    }

    /// Takes a rotation back: the new secret stops working at once, and the old one works again as if it had not been rotated.
    /// Its own end stays.
    ///
    /// # Errors
    /// - [`InUse`](IssueErrorKind::InUse) when the new secret was used, unless that is to be [overridden](IfUsed::Override).
    ///   Processes store uses once a minute, so those of others in the last minute may be missing.
    /// - [`NoRotation`](IssueErrorKind::NoRotation) when the key was not rotated, or the grace period of the old secret is over.
    /// - `NotFound`, `Revoked`; `Conflict` when another change came first 8 times; those of the store.
    pub async fn take_back(&self, id: KeyId, if_used: IfUsed) -> Result<KeyRecord, IssueError> {
        retried!(ATTEMPTS, async {
            let StoredKey {
                mut record, secrets, ..
            } = self.changeable(id).await?;
            let is_waiting = |secret: &&KeySecret| secret.grace_ends_at.is_some() && self.is_live(secret);
            let Some(old) = secrets.iter().rev().find(is_waiting) else {
                return Err(IssueError::new(IssueErrorKind::NoRotation));
            };
            let new: Vec<&KeySecret> = secrets.iter().filter(|secret| secret.grace_ends_at.is_none()).collect();
            let used_at = self.last_use_of(id, &new).await?;
            if let (IfUsed::Refuse, Some(at)) = (if_used, used_at) {
                let sentence = format!("the new secret was used at {at}");
                return Err(IssueError::about(IssueErrorKind::InUse, "secret", sentence));
            }
            let event = self.key_event(&record, AuditAction::KEY_ROTATION_TAKEN_BACK);
            let mut commit = Commit::new()
                .write(Write::UpdateKey(record.clone()))
                .write(with_grace(id, old, None))
                .audit(event.detail("lookup", lookups(&new)));
            commit.guards.push(as_it_is(id, old));
            for new in new {
                commit.guards.push(as_it_is(id, new));
                commit.writes.push(Write::DeleteSecret {
                    key: id,
                    lookup: new.lookup.clone(),
                });
            }
            let committed = self.commit(commit).await?;
            record.revision = committed.revision_of(id).unwrap_or(record.revision);
            Ok(record)
        })
    }

    /// A key that is not revoked.
    async fn changeable(&self, id: KeyId) -> Result<StoredKey, IssueError> {
        let stored = self.stored(id).await?;
        match stored.record.status {
            KeyStatus::Revoked => Err(IssueError::new(IssueErrorKind::Revoked)),
            _ => Ok(stored),
        }
    }

    fn is_live(&self, secret: &KeySecret) -> bool {
        is_live(secret, |end| self.clock.is_over(end))
    }

    /// When one of these secrets was last used: in this process until now, elsewhere as far as it is stored.
    async fn last_use_of(&self, id: KeyId, secrets: &[&KeySecret]) -> Result<Option<Timestamp>, IssueError> {
        flush_uses(self.store.unbounded()).await?;
        let uses = self.store.get(KeyUses::of(id)).await?;
        let of_secrets = uses.iter().flat_map(|of_key| &of_key.secrets);
        let of_these = of_secrets.filter(|used| secrets.iter().any(|secret| secret.lookup == used.lookup));
        Ok(of_these.filter_map(|used| used.last_used_at).max())
    }
}

fn with_grace(key: KeyId, secret: &KeySecret, grace_ends_at: Option<Timestamp>) -> Write {
    Write::UpdateSecret {
        key,
        lookup: secret.lookup.clone(),
        expires_at: secret.expires_at,
        grace_ends_at,
    }
}

fn lookups(secrets: &[&KeySecret]) -> String {
    let lookups: Vec<&str> = secrets.iter().map(|secret| secret.lookup.as_str()).collect();
    lookups.join(" ")
}
