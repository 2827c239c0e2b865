//! The realm: the secret that new keys are made with, and the end of keys with a CRC-32.

use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, conflict_if, retried};
use crate::audit::{AuditAction, AuditEvent};
use crate::error::ConfigError;
use crate::key::{KeyFormat, Timestamp};
use crate::secrets::NoRotation;
use crate::store::query::TheRealm;
use crate::store::{Commit, KeyStore, ManagedStore, StoreErrorKind, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Makes a new secret for the keyed checksums of keys, and returns from when on new keys are made with it: twice the
    /// [`max_staleness`](crate::ApiKeysBuilder::max_staleness) and a minute later, when every process knows it. Keys made with
    /// older secrets stay valid.
    ///
    /// If a secret has leaked, rotate it: the stored hashes still decide about every key, but anyone who has the secret can make
    /// each guess cost a read and, for an existing lookup, a hash. The rotation alone does not end that, because the keys made
    /// with the old secret stay valid.
    ///
    /// ```
    /// use tower_api_key::ApiKeys;
    /// use tower_api_key::key::{Actor, Timestamp};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeys::open("memory:").await?;
    /// let used_from = keys.issuer().acting_as(Actor::user("alice")).rotate_checksum_secret().await?;
    /// assert!(used_from > Timestamp::now());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RotationInProgress`](IssueErrorKind::RotationInProgress) while the secret of the latest rotation is not in use yet; a
    /// configuration error when the secret is [given](crate::ApiKeysBuilder::realm_secret);
    /// [`LimitReached`](IssueErrorKind::LimitReached) when there are 496 secrets; otherwise those of the store.
    pub async fn rotate_checksum_secret(&self) -> Result<Timestamp, IssueError> {
        self.require_fence()?;
        self.secrets.open(self.store.unbounded(), &self.clock).await?;
        retried!(ATTEMPTS, async {
            let now = self.clock.wall();
            let rotation = match self.secrets.rotation(self.store.unbounded(), now).await {
                Ok(rotation) => rotation,
                Err(NoRotation::InProgress) => return Err(IssueError::new(IssueErrorKind::RotationInProgress)),
                Err(NoRotation::Given) => {
                    let problem = "is given, so it is rotated where it comes from";
                    return Err(ConfigError::new("realm secret", problem).into());
                }
                Err(NoRotation::Store(error)) => return Err(error.into()),
            };
            let event = self.system_event(AuditAction::SERVER_SECRET_ROTATED);
            let mut commit = Commit::new().audit(event.detail("purpose", "checksum").detail("id", rotation.id));
            commit.writes = rotation.writes;
            let committed = self.commit(commit).await;
            committed.map_err(conflict_if(StoreErrorKind::AlreadyExists))?;
            self.secrets.read_again(self.store.unbounded()).await?;
            Ok(rotation.active_from)
        })
    }

    /// Ends all keys with a CRC-32 checksum, which were issued before this store had a secret for keyed ones. When it returns,
    /// they are invalid. [`CountKeysOfForm`](crate::store::query::CountKeysOfForm) tells how many there are; once there are
    /// none, the next [`open`](crate::ApiKeysBuilder::open) ends them by itself. A new store accepts none.
    ///
    /// A process that nothing tells of other processes' changes refuses them after the
    /// [`time_to_live`](crate::ApiKeysBuilder::time_to_live) at the latest, as it does with a key that was revoked elsewhere.
    ///
    /// While they are accepted, anyone can make well-formed keys that cost a read each. Nothing accepts them again, but a clock
    /// that was ahead when they were ended: until that time comes, call this once more. Of several ends the earliest counts.
    ///
    /// # Errors
    /// [`Conflict`](IssueErrorKind::Conflict) when others change the end again and again; otherwise those of the store.
    pub async fn end_crc_keys(&self) -> Result<(), IssueError> {
        self.require_fence()?;
        self.secrets.open(self.store.unbounded(), &self.clock).await?;
        retried!(ATTEMPTS, async {
            let was = self.store.get(TheRealm).await?;
            let now = self.clock.wall();
            if !was.accepts_crc(now) {
                return Ok(());
            }
            let mut row = was;
            row.crc_accepted_until = now;
            let event = self.system_event(AuditAction::CRC_KEYS_ENDED);
            let commit = Commit::new().audit(event).write(Write::UpdateRealm { was, row });
            // After a conflict someone else has set an end, which may be an earlier one.
            self.commit(commit).await?;
            self.secrets.read_again(self.store.unbounded()).await?;
            // Entries that were made between the commit and that read may have the end of before.
            if let Some(fence) = self.store.fence() {
                fence.everything_changed();
            }
            Ok(())
        })
    }

    /// The format of new keys, with the secret of the realm if it needs one.
    pub(super) async fn format_of_realm(&self) -> Result<KeyFormat, IssueError> {
        if !self.format.needs_realm() {
            return Ok(self.format.clone());
        }
        self.require_fence()?;
        Ok(match self.secrets.recent(self.store.unbounded(), &self.clock).await? {
            Some(checksum) => self.format.bound_to(checksum),
            None => self.format.clone(),
        })
    }

    fn system_event(&self, action: AuditAction) -> AuditEvent {
        self.described(AuditEvent::of_system(self.clock.wall(), self.actor.clone(), action))
    }
}
