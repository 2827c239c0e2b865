//! Whether guards hold.

use super::super::Value;
use super::super::database::{Database, any, first};
use super::Command;
use crate::store::{Guard, StoreError, StoreErrorKind};

impl<D: Database> Command<'_, D> {
    pub(super) async fn holds(&self, guard: &Guard) -> Result<bool, StoreError> {
        Ok(match guard {
            Guard::KeyRevision(id, revision) => {
                self.number(&self.sql.key_revision, id.as_uuid()).await? == Some(*revision)
            }
            Guard::OrganizationRevision(id, revision) => {
                self.number(&self.sql.organization_revision, id.as_uuid()).await? == Some(*revision)
            }
            Guard::PlanRevision(id, revision) => {
                let plan = first(self.database, &self.sql.plan, &[id.as_uuid().into()], |row| row.plan()).await?;
                plan.is_some_and(|plan| plan.revision == *revision)
            }
            Guard::UserRevision(organization, user, revision) => {
                let user = self.stored_user(*organization, user).await?;
                user.is_some_and(|user| user.revision == *revision)
            }
            Guard::RoleRevision(name, revision) => {
                let role = self.stored_role(name).await?;
                role.is_some_and(|role| role.revision == *revision)
            }
            Guard::RoleScopes(name, scopes) => {
                let role = first(self.database, &self.sql.role, &[Value::from(&**name)], |row| row.role()).await?;
                role.is_some_and(|role| role.scopes == *scopes)
            }
            Guard::KnownScopesBelow(limit) => {
                let values = [Value::Integer((*limit).into())];
                let known = first(self.database, &self.sql.some_known_scopes, &values, |row| {
                    row.count("count")
                })
                .await?;
                known.is_some_and(|known| known < (*limit).into())
            }
            Guard::LiveKeysBelow(id, limit) => {
                let values = [id.as_uuid().into(), Value::Integer((*limit).into())];
                let live = first(self.database, &self.sql.live_keys, &values, |row| row.count("count")).await?;
                live.is_some_and(|live| live < (*limit).into())
            }
            Guard::UserIsActive(organization, user) => {
                let values = [organization.as_uuid().into(), user.as_str().into()];
                !self.exists(&self.sql.disabled_user, &values).await?
            }
            Guard::SecretEnds {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                let (lookup, key) = (lookup.as_str().into(), key.as_uuid().into());
                let values = [lookup, key, (*expires_at).into(), (*grace_ends_at).into()];
                self.exists(&self.sql.secret_with_ends, &values).await?
            }
            Guard::OperatorKeyLives { beside, at } => {
                any(self.database, &self.sql.operator_keys, &[], |row| {
                    match row.candidate() {
                        Ok(key) => Ok(!beside.contains(&key.record.id) && key.administers(*at)),
                        // One that cannot be read opens nothing, and must not keep another one from being revoked.
                        Err(error) if error.kind() == StoreErrorKind::InvalidRecord => Ok(false),
                        Err(error) => Err(error),
                    }
                })
                .await?
            }
        })
    }
}
