//! What a row loses again that the revocation journal knows more of.

use super::super::database::Database;
use super::Command;
use crate::audit::{AuditAction, AuditEvent};
use crate::key::{Actor, KeyStatus, OrganizationId, Timestamp, User, UserStatus, earlier};
use crate::store::effective::key_limits;
use crate::store::journal::{Lost, Narrowed, tighter_plan};
use crate::store::{Commit, StoreError, StoreErrorKind, Write};

/// What is taken again from one row.
struct Again {
    writes: Vec<Write>,
    event: AuditEvent,
}

impl<D: Database> Command<'_, D> {
    /// Takes all of it again; from how many rows there was something to take.
    pub(in crate::store) async fn take_all_again(&self, lost: &[Lost], now: Timestamp) -> Result<usize, StoreError> {
        let mut applied = 0;
        for Lost { narrowed, .. } in lost {
            match self.take_again(narrowed, now).await {
                Ok(taken) => applied += usize::from(taken),
                // It opens nothing, and must not keep the service from starting. The journal still has what was taken from it.
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                    let source = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::error!(
                        source,
                        row = ?narrowed.row(),
                        "a row that something was taken from since the backup cannot be read: do it again once it can"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(applied)
    }

    /// Takes from a row what the journal says, and keeps the event of it. Whether there was something to take.
    async fn take_again(&self, narrowed: &Narrowed, now: Timestamp) -> Result<bool, StoreError> {
        let Some(again) = self.again(narrowed, now).await? else {
            return Ok(false);
        };
        let mut commit = Commit::new();
        commit.writes = again.writes;
        self.make(&commit).await?;
        self.add_waiting(&again.event).await?;
        Ok(true)
    }

    /// The writes that take from a row what the journal says; `None` if it is not there, or has no more than that.
    async fn again(&self, narrowed: &Narrowed, now: Timestamp) -> Result<Option<Again>, StoreError> {
        let event = |organization: OrganizationId, action| {
            AuditEvent::new(organization, now, Actor::system(), action)
                .detail("restored", "from the revocation journal")
        };
        let system = || AuditEvent::of_system(now, Actor::system(), AuditAction::JOURNAL_APPLIED);
        let again = |writes, event| Some(Again { writes, event });
        Ok(match narrowed {
            Narrowed::Key(bounds) => {
                let Some(stored) = self.stored_key(bounds.id()).await? else {
                    return Ok(None);
                };
                let given = match self.stored_organization(stored.record.organization_id).await? {
                    Some(acme) => key_limits(&acme, self.plan_of(&acme).await?.as_ref()),
                    None => Vec::new(),
                };
                let row = bounds.applied(&stored.record, &given, now);
                if row == stored.record {
                    return Ok(None);
                }
                let action = match (stored.record.status == row.status, row.status) {
                    (false, KeyStatus::Revoked) => AuditAction::KEY_REVOKED,
                    (false, KeyStatus::Disabled) => AuditAction::KEY_DISABLED,
                    _ => AuditAction::KEY_UPDATED,
                };
                let event = event(row.organization_id, action).key(row.id).user(row.user.clone());
                again(vec![Write::UpdateKey(row)], event)
            }
            Narrowed::Secret { key, lookup, ends_at } => self.stored_key(*key).await?.and_then(|stored| {
                let secret = stored.secret(lookup)?;
                let grace_ends_at = earlier(secret.grace_ends_at, *ends_at);
                if earlier(secret.expires_at, grace_ends_at) == secret.ends_at() {
                    return None;
                }
                let update = Write::UpdateSecret {
                    key: *key,
                    lookup: lookup.clone(),
                    expires_at: secret.expires_at,
                    grace_ends_at,
                };
                let event = event(stored.record.organization_id, AuditAction::KEY_UPDATED).key(*key);
                let event = event.detail("lookup", lookup.to_string());
                again(vec![Write::UpdateKey(stored.record), update], event)
            }),
            Narrowed::Organization(bounds) => {
                let Some(stored) = self.stored_organization(bounds.id()).await? else {
                    return Ok(None);
                };
                let row = bounds.applied(&stored, self.plan_of(&stored).await?.as_ref());
                let event = event(row.id, AuditAction::ORGANIZATION_UPDATED);
                match row == stored {
                    true => None,
                    false => again(vec![Write::UpdateOrganization(row)], event),
                }
            }
            Narrowed::User {
                organization,
                user,
                is_active: false,
            } => {
                let stored = self.stored_user(*organization, user).await?;
                let is_new = stored.is_none();
                if is_new && self.stored_organization(*organization).await?.is_none() {
                    return Ok(None);
                }
                let mut row = stored.unwrap_or_else(|| User::new(*organization, user.clone(), now));
                if row.status == UserStatus::Disabled {
                    return Ok(None);
                }
                row.status = UserStatus::Disabled;
                let event = system().user(Some(user.clone()));
                let write = match is_new {
                    true => Write::InsertUser(row),
                    false => Write::UpdateUser(row),
                };
                again(vec![write], event)
            }
            Narrowed::User { .. } => None,
            Narrowed::Role { name, scopes } => self.stored_role(name).await?.and_then(|stored| {
                if scopes.includes(&stored.scopes) {
                    return None;
                }
                let mut row = stored;
                row.scopes = row.scopes.intersection(scopes);
                let event = system().detail("role", row.name.clone());
                again(vec![Write::UpdateRole(row)], event)
            }),
            Narrowed::Plan {
                id,
                limits,
                key_limits,
                max_keys,
            } => self.stored_plan(*id).await?.and_then(|stored| {
                let row = tighter_plan(&stored, limits, key_limits, *max_keys);
                if row == stored {
                    return None;
                }
                let event = system().detail("plan", row.name.clone());
                again(vec![Write::UpdatePlan(row)], event)
            }),
            Narrowed::Crc { until } => {
                let was = self.stored_realm().await?;
                if was.crc_accepted_until <= *until {
                    return Ok(None);
                }
                let mut row = was;
                row.crc_accepted_until = *until;
                let event = AuditEvent::of_system(now, Actor::system(), AuditAction::CRC_KEYS_ENDED);
                again(vec![Write::UpdateRealm { was, row }], event)
            }
        })
    }
}
