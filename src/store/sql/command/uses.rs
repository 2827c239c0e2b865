//! Uses of keys, and leases.

use std::time::Duration;

use uuid::Uuid;

use super::super::database::Database;
use super::super::{Value, revision_value};
use super::Command;
use crate::audit::Forget;
use crate::key::Timestamp;
use crate::last_use::UseBatch;
use crate::store::{StoreError, StoreErrorKind, Write};

impl<D: Database> Command<'_, D> {
    pub(super) async fn add_uses(&self, batch: &UseBatch) -> Result<(), StoreError> {
        let sql = &self.sql.uses;
        let source = [
            batch.source.node.into(),
            revision_value(batch.source.epoch)?,
            revision_value(batch.number)?,
            self.database.now().await?.into(),
        ];
        if self.execute(&sql.take_batch, &source).await? == 0 {
            return Ok(());
        }
        for used in &batch.secrets {
            let values = [
                used.lookup.as_str().into(),
                used.key_id.as_uuid().into(),
                Value::Integer(used.last_used_at.map_or(0, Timestamp::as_millis)),
                used.last_address.map(|address| address.to_string()).into(),
                revision_value(used.requests)?,
            ];
            self.execute(&sql.add_use, &values).await?;
        }
        for used in &batch.scopes {
            let values = [
                used.key_id.as_uuid().into(),
                used.scope.as_str().into(),
                used.last_used_at.into(),
            ];
            self.execute(&sql.add_scope, &values).await?;
        }
        for seen in &batch.networks {
            let values = [
                seen.key_id.as_uuid().into(),
                Value::from(&*seen.network),
                seen.first_seen.into(),
            ];
            self.execute(&sql.add_network, &values).await?;
        }
        Ok(())
    }

    pub(super) async fn forget_uses(&self, forget: &Forget) -> Result<(), StoreError> {
        let organization = Value::from(forget.organization().map(|id| id.as_uuid()));
        if forget.is_everyone() {
            let values = [organization.clone(), Uuid::nil().into(), Uuid::max().into()];
            self.execute(&self.sql.uses.forget_everyone, &values).await?;
            self.execute(&self.sql.uses.forget_all_networks, &values).await?;
        }
        if let Some(user) = forget.user_id() {
            let values = [organization.clone(), user.as_str().into(), Uuid::nil().into()];
            self.execute(&self.sql.uses.forget_user, &values).await?;
            self.execute(&self.sql.uses.forget_networks_of_user, &values).await?;
        }
        if let Some(address) = forget.address_text() {
            self.execute(&self.sql.uses.forget_address, &[organization, address.into()])
                .await?;
        }
        Ok(())
    }

    pub(super) async fn hold_lease(&self, task: &str, holder: Uuid, lasts: Duration) -> Result<(), StoreError> {
        let now = self.database.now().await?;
        let lasts = lasts.min(Write::LONGEST_LEASE);
        // One that ends later was taken by a clock that was set back since. Nobody would do the task until then.
        let latest = now.after(2 * Write::LONGEST_LEASE);
        let values = [
            task.into(),
            holder.into(),
            now.after(lasts).into(),
            now.into(),
            latest.into(),
        ];
        match self.execute(&self.sql.uses.hold_lease, &values).await? {
            0 => Err(StoreError::new(StoreErrorKind::Conflict)),
            _ => Ok(()),
        }
    }
}
