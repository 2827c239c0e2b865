//! Audit events and refusals of a commit.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::database::{Database, all, first};
use super::super::{InvalidColumn, Value, audit_values, personal_values, revision_value};
use super::Command;
use crate::audit::{AuditEntry, AuditEvent, AuditHead, Forget};
use crate::key::{Actor, OrganizationId};
use crate::store::{Commit, StoreError, StoreErrorKind};

impl<D: Database> Command<'_, D> {
    /// The ends of the chains that the commit's events go to.
    pub(super) async fn audit_heads(&self, commit: &Commit) -> Result<BTreeMap<Uuid, AuditHead>, StoreError> {
        let mut heads = BTreeMap::new();
        for event in &commit.audit {
            heads.insert(event.organization_id.as_uuid(), AuditHead::default());
        }
        for (organization, head) in &mut heads {
            let values = [(*organization).into()];
            let found = first(self.database, &self.sql.audit.audit_head, &values, |row| {
                row.audit_head()
            })
            .await?;
            *head = found.unwrap_or_default();
        }
        Ok(heads)
    }

    /// Links the events, each to the chain of its organization.
    pub(super) async fn audit(
        &self,
        commit: &Commit,
        heads: &mut BTreeMap<Uuid, AuditHead>,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut entries = Vec::new();
        for event in &commit.audit {
            let head = heads.entry(event.organization_id.as_uuid()).or_default();
            let entry = head.link(event.clone(), commit.id, commit.audit_key.as_ref());
            let inserted = self
                .insert(&self.sql.audit.insert_audit_event, &audit_values(&entry)?)
                .await;
            inserted.map_err(|error| match error.kind() {
                // "Taken" would let the caller try again, and find the same.
                StoreErrorKind::AlreadyExists => BEHIND.into(),
                _ => error,
            })?;
            if let Some(personal) = entry.event.personal.row() {
                self.insert(
                    &self.sql.audit.insert_audit_personal,
                    &personal_values(&entry, &personal)?,
                )
                .await?;
            }
            entries.push(entry);
        }
        for (organization, head) in heads {
            let values = [
                (*organization).into(),
                revision_value(head.seq)?,
                Value::Bytes(&head.hash),
                Value::Bytes(&[0; 32]),
            ];
            self.insert(&self.sql.audit.set_audit_head, &values).await?;
        }
        Ok(entries)
    }

    /// Keeps an event until a commit with the key links it.
    pub(in crate::store) async fn add_waiting(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.insert(&self.sql.audit.insert_waiting, &[event.to_text().into()])
            .await
    }

    /// Events that wait and can be linked, and the number of the last one that was looked at; `None` if there are none.
    pub(in crate::store) async fn to_carry(&self) -> Result<Option<(Vec<AuditEvent>, u64)>, StoreError> {
        let Some((waiting, last)) = self.waiting().await? else {
            return Ok(None);
        };
        let mut events = Vec::new();
        for event in waiting {
            // One that cannot be linked would keep every commit that carries it from being made.
            match self.can_link(event.organization_id).await? {
                true => events.push(event),
                false => tracing::error!(
                    organization = %event.organization_id,
                    action = event.action.as_str(),
                    key = event.key_id.map(tracing::field::display),
                    "what was taken again after a restored backup is not in the audit trail: the organization's chain is damaged"
                ),
            }
        }
        Ok(Some((events, last)))
    }

    /// The first events that wait, and the number of the last one; `None` if there are none.
    async fn waiting(&self) -> Result<Option<(Vec<AuditEvent>, u64)>, StoreError> {
        let most = Value::Integer(MOST_WAITING as i64);
        let found = all(self.database, &self.sql.audit.waiting, &[most], |row| {
            row.waiting_event()
        })
        .await?;
        let last = found.last().map(|(number, _)| *number);
        // One that was damaged is left out, so that it does not keep the others waiting.
        let events = found.into_iter().filter_map(|(_, event)| event).collect();
        Ok(last.map(|last| (events, last)))
    }

    pub(in crate::store) async fn delete_waiting(&self, through: u64) -> Result<(), StoreError> {
        self.execute(&self.sql.audit.delete_waiting, &[revision_value(through)?])
            .await
            .map(drop)
    }

    /// Whether the chain of an organization can go on: its end can be read, and is not before events that are in it.
    async fn can_link(&self, organization: OrganizationId) -> Result<bool, StoreError> {
        let id: Value<'_> = organization.as_uuid().into();
        let values = [id.clone()];
        let head = first(self.database, &self.sql.audit.audit_head, &values, |row| {
            row.audit_head()
        })
        .await;
        let Ok(head) = head.map(Option::unwrap_or_default) else {
            return Ok(false);
        };
        let Ok(next) = revision_value(head.seq.saturating_add(1)) else {
            return Ok(false);
        };
        let is_taken = self.exists(&self.sql.audit.audit_hash, &[id, next]).await;
        Ok(!is_taken.unwrap_or(true))
    }

    pub(super) async fn forget(&self, forget: &Forget) -> Result<(), StoreError> {
        self.forget_uses(forget).await?;
        let organization = forget.organization().map(|id| id.as_uuid());
        self.forget_requests(forget, organization).await?;
        if forget.is_everyone() {
            let values = [organization.into(), Uuid::nil().into(), Uuid::max().into()];
            self.execute(&self.sql.audit.forget_everyone, &values).await?;
            let [organization, ..] = values;
            self.execute(&self.sql.audit.forget_everyone_in_refusals, &[organization])
                .await?;
        }
        if let Some(user) = forget.user_id() {
            let values = [organization.into(), user.as_str().into()];
            for statement in [
                &self.sql.audit.forget_actor,
                &self.sql.audit.forget_user,
                &self.sql.audit.forget_user_in_refusals,
            ] {
                self.execute(statement, &values).await?;
            }
        }
        if let Some(address) = forget.address_text() {
            let values = [organization.into(), address.into()];
            for statement in [
                &self.sql.audit.forget_address,
                &self.sql.audit.forget_address_in_refusals,
            ] {
                self.execute(statement, &values).await?;
            }
        }
        Ok(())
    }

    /// Idempotency keys, of a user or of everyone.
    async fn forget_requests(&self, forget: &Forget, organization: Option<Uuid>) -> Result<(), StoreError> {
        if forget.address_text().is_some() {
            return Ok(());
        }
        let caller = forget.user_id().map(|user| Actor::user(user.as_str()).to_string());
        let values = [
            organization.into(),
            Uuid::nil().into(),
            Uuid::max().into(),
            caller.as_deref().into(),
        ];
        self.execute(&self.sql.idempotency.forget, &values).await.map(drop)
    }

    pub(super) async fn prune(&self, organization: OrganizationId, through: u64) -> Result<(), StoreError> {
        let values = [organization.as_uuid().into(), revision_value(through)?];
        let hash = first(self.database, &self.sql.audit.audit_hash, &values, |row| {
            row.hash("audit_events.hash")
        })
        .await?;
        let is_known = |head: Option<u64>| head.is_some_and(|pruned| pruned >= through);
        let Some(hash) = hash else {
            let pruned = self.number(&self.sql.audit.pruned_seq, organization.as_uuid()).await?;
            return Err(StoreError::new(match is_known(pruned) {
                true => StoreErrorKind::Conflict,
                false => StoreErrorKind::NotFound,
            }));
        };
        let [id, number] = values;
        let ends = [id.clone(), number.clone(), Value::Bytes(&hash)];
        self.one(&self.sql.audit.set_pruned, &ends, StoreErrorKind::Conflict)
            .await?;
        let values = [id, number];
        self.execute(&self.sql.audit.prune_personal, &values).await?;
        self.execute(&self.sql.audit.prune_events, &values).await?;
        Ok(())
    }
}

/// Events of the store's own that one commit links.
const MOST_WAITING: usize = 1000;

/// The end of an audit chain is before events that are in the chain.
const BEHIND: InvalidColumn = InvalidColumn {
    column: "organization_state.audit_seq",
    problem: "must not be below that of the organization's audit events",
};
