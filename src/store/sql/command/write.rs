//! Writes, one arm for each.

use super::super::database::Database;
use super::super::{
    Value, key_values, known_scope_values, organization_values, plan_values, realm_values, refusal_count_values,
    refusal_values, role_values, secret_values, server_secret_values, user_values,
};
use super::{Command, next_revision, realm_changed};
use crate::fence::Change;
use crate::store::{StoreError, StoreErrorKind, Write};

impl<D: Database> Command<'_, D> {
    pub(super) async fn write(&self, write: &Write) -> Result<Option<Change>, StoreError> {
        match write {
            Write::InsertOrganization(row) => {
                self.insert(&self.sql.insert_organization, &organization_values(row)?)
                    .await?;
                Ok(Some(Change::new(row.id, row.revision)))
            }
            Write::UpdateOrganization(row) => self.update_organization(row).await.map(Some),
            Write::DeleteOrganization(id) => {
                if self
                    .exists(&self.sql.organization_is_used, &[id.as_uuid().into()])
                    .await?
                {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
                self.execute(&self.sql.idempotency.delete_of_organization, &[id.as_uuid().into()])
                    .await?;
                let revision = self.delete(&self.sql.delete_organization, id.as_uuid()).await?;
                Ok(Some(Change::new(*id, revision)))
            }
            Write::InsertKey(record) => {
                self.insert(&self.sql.insert_key, &key_values(record)?).await?;
                Ok(Some(Change::new(record.id, record.revision)))
            }
            Write::UpdateKey(record) => self.update_key(record).await.map(Some),
            Write::SetKeyState(change) => self.set_key_state(change).await.map(Some),
            Write::DeleteKey(id) => {
                self.execute(&self.sql.delete_secrets, &[id.as_uuid().into()]).await?;
                let revision = self.delete(&self.sql.delete_key, id.as_uuid()).await?;
                Ok(Some(Change::new(*id, revision)))
            }
            Write::InsertSecret(key, secret) => {
                self.insert(&self.sql.insert_secret, &secret_values(key.as_uuid(), secret))
                    .await?;
                Ok(None)
            }
            Write::UpdateSecret {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                self.update_secret(key.as_uuid(), lookup, *expires_at, *grace_ends_at)
                    .await
            }
            Write::DeleteSecret { key, lookup } => {
                let values = [lookup.as_str().into(), key.as_uuid().into()];
                self.one(&self.sql.delete_secret, &values, StoreErrorKind::NotFound)
                    .await
            }
            Write::ReplaceHash { lookup, old, new } => self.replace_hash(lookup, old, new).await,
            Write::UpdateRealm { was, row } => {
                let values = realm_values(row, was);
                self.one(&self.sql.update_realm, &values, StoreErrorKind::Conflict)
                    .await?;
                Ok(Some(realm_changed()))
            }
            Write::AdoptRealm { was, row } => {
                let values = [row.id.as_uuid().into(), was.id.as_uuid().into()];
                self.one(&self.sql.adopt_realm, &values, StoreErrorKind::Conflict)
                    .await?;
                Ok(Some(realm_changed()))
            }
            Write::InsertServerSecret(row) => {
                self.insert(&self.sql.insert_server_secret, &server_secret_values(row))
                    .await?;
                Ok(Some(realm_changed()))
            }
            Write::UpdateServerSecret { was, row } => self.update_server_secret(was, row).await.map(Some),
            Write::PurgeChanges { older_than } => self.purge_changes(*older_than).await,
            Write::DeleteServerSecret { purpose, id, number } => {
                let values = [
                    purpose.as_str().into(),
                    Value::from(&**id),
                    Value::Integer((*number).into()),
                ];
                self.one(&self.sql.delete_server_secret, &values, StoreErrorKind::NotFound)
                    .await?;
                Ok(Some(realm_changed()))
            }
            Write::CountRefusals(count) => {
                self.insert(&self.sql.audit.count_refusals, &refusal_count_values(count)?)
                    .await?;
                Ok(None)
            }
            Write::InsertRefusal(sample) => {
                self.insert(&self.sql.audit.insert_refusal, &refusal_values(sample))
                    .await?;
                Ok(None)
            }
            Write::PruneRefusals { before } => {
                for statement in [&self.sql.audit.prune_refusal_counts, &self.sql.audit.prune_refusals] {
                    self.execute(statement, &[(*before).into()]).await?;
                }
                Ok(None)
            }
            Write::ForgetOrigins { before } => {
                for statement in [&self.sql.audit.forget_origins, &self.sql.uses.forget_old_addresses] {
                    self.execute(statement, &[(*before).into()]).await?;
                }
                Ok(None)
            }
            Write::ForgetPersonal(forget) => self.forget(forget).await.map(|()| None),
            Write::PruneAudit { organization, through } => self.prune(*organization, *through).await.map(|()| None),
            Write::AddUses(batch) => self.add_uses(batch).await.map(|()| None),
            Write::PruneUseSources { before } => {
                self.execute(&self.sql.uses.prune_sources, &[(*before).into()]).await?;
                Ok(None)
            }
            Write::InsertIdempotency(row) => self.insert_idempotency(row).await.map(|()| None),
            Write::PruneIdempotency { before } => {
                self.execute(&self.sql.idempotency.delete_over, &[(*before).into()])
                    .await?;
                Ok(None)
            }
            Write::HoldLease { task, holder, lasts } => self.hold_lease(task, *holder, *lasts).await.map(|()| None),
            Write::InsertPlan(row) => {
                self.insert(&self.sql.insert_plan, &plan_values(row)?).await?;
                Ok(Some(Change::new(row.id, row.revision)))
            }
            Write::UpdatePlan(row) => {
                let revision = next_revision(row.revision)?;
                self.replace(&self.sql.update_plan, &plan_values(row)?, &self.sql.plan_exists, 1)
                    .await?;
                Ok(Some(Change::new(row.id, revision)))
            }
            Write::DeletePlan(id) => {
                if self.exists(&self.sql.plan_is_used, &[id.as_uuid().into()]).await? {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
                let revision = self.delete(&self.sql.delete_plan, id.as_uuid()).await?;
                Ok(Some(Change::new(*id, revision)))
            }
            Write::InsertUser(row) => {
                self.insert(&self.sql.insert_user, &user_values(row)?).await?;
                self.of_owner(row.organization_id).await.map(Some)
            }
            Write::UpdateUser(row) => {
                next_revision(row.revision)?;
                self.replace(&self.sql.update_user, &user_values(row)?, &self.sql.user_exists, 2)
                    .await?;
                self.of_owner(row.organization_id).await.map(Some)
            }
            Write::DeleteUser(organization, user) => {
                let values = [organization.as_uuid().into(), user.as_str().into()];
                if self.exists(&self.sql.user_is_used, &values).await?
                    && self.exists(&self.sql.user_exists, &values).await?
                {
                    return Err(StoreError::new(StoreErrorKind::Conflict));
                }
                self.one(&self.sql.delete_user, &values, StoreErrorKind::NotFound)
                    .await?;
                self.of_owner(*organization).await.map(Some)
            }
            Write::InsertRole(row) => {
                self.insert(&self.sql.insert_role, &role_values(row)?).await?;
                Ok(Some(realm_changed()))
            }
            Write::UpdateRole(row) => {
                next_revision(row.revision)?;
                self.replace(&self.sql.update_role, &role_values(row)?, &self.sql.role_exists, 1)
                    .await?;
                Ok(Some(realm_changed()))
            }
            Write::DeleteRole(name) => {
                self.one(&self.sql.delete_role, &[Value::from(&**name)], StoreErrorKind::NotFound)
                    .await?;
                Ok(Some(realm_changed()))
            }
            Write::InsertScope(row) => {
                self.insert(&self.sql.insert_scope, &known_scope_values(row)).await?;
                Ok(Some(realm_changed()))
            }
            Write::DeleteScope(scope) => {
                self.one(
                    &self.sql.delete_scope,
                    &[scope.as_str().into()],
                    StoreErrorKind::NotFound,
                )
                .await?;
                Ok(Some(realm_changed()))
            }
        }
    }
}
