//! What a write takes from keys, found before it is made.

use uuid::Uuid;

use super::super::Value;
use super::super::database::{Database, all, first};
use super::Command;
use crate::key::{
    KeyId, KeyRecord, Lookup, Organization, OrganizationId, OrganizationStatus, Plan, PlanId, Realm, Role, Timestamp,
    User, UserId, UserStatus, earlier,
};
use crate::store::journal::{Narrowed, RowName};
use crate::store::{StoreError, StoreErrorKind, StoredKey, Write};

impl<D: Database> Command<'_, D> {
    /// What the journal gets of a write, which is not made yet.
    pub(super) async fn taken(&self, write: &Write) -> Result<Option<Narrowed>, StoreError> {
        Ok(match write {
            Write::UpdateKey(row) => {
                let stored = self.stored_record(row.id).await?;
                stored.and_then(|stored| Narrowed::of_key(&stored, row))
            }
            Write::SetKeyState(change) => self.stored_record(change.key).await?.and_then(|stored| {
                let mut row = stored.clone();
                change.state.clone().set(&mut row);
                Narrowed::of_key(&stored, &row)
            }),
            Write::DeleteKey(id) => {
                let stored = self.stored_record(*id).await?;
                stored.and_then(|stored| Narrowed::of_deleted_key(&stored, Timestamp::now()))
            }
            Write::UpdateSecret {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => {
                self.taken_of_secret(*key, lookup, earlier(*expires_at, *grace_ends_at))
                    .await?
            }
            Write::DeleteSecret { key, lookup } => {
                self.taken_of_secret(*key, lookup, Some(Timestamp::from_millis(0)))
                    .await?
            }
            Write::UpdateOrganization(row) => {
                let stored = self.stored_organization(row.id).await?;
                let before = match stored {
                    Some(stored) => Some(self.bounds_of(&stored).await?),
                    None => None,
                };
                let after = self.bounds_of(row).await?;
                before.is_some_and(|before| before != after).then_some(after)
            }
            Write::DeleteOrganization(id) => {
                let stored = self.stored_organization(*id).await?;
                let active = stored.filter(|stored| stored.status == OrganizationStatus::Active);
                let inactive = active.map(inactive);
                match inactive {
                    Some(row) => Some(self.bounds_of(&row).await?),
                    None => None,
                }
            }
            Write::InsertUser(row) => Narrowed::of_user(None, row),
            Write::UpdateUser(row) => {
                let stored = self.stored_user(row.organization_id, &row.id).await?;
                Narrowed::of_user(stored.as_ref(), row)
            }
            Write::DeleteUser(organization, user) => {
                // A user without a row is active, whatever an older line says.
                let stored = self.stored_user(*organization, user).await?;
                let active = User::new(*organization, user.clone(), Timestamp::from_millis(0));
                Narrowed::of_user(stored.as_ref(), &active)
            }
            Write::UpdatePlan(row) => {
                let stored = self.stored_plan(row.id).await?;
                let before = stored.as_ref().map(Narrowed::of_plan);
                let after = Narrowed::of_plan(row);
                before.is_some_and(|before| before != after).then_some(after)
            }
            Write::UpdateRole(row) => {
                let stored = self.stored_role(&row.name).await?;
                stored.and_then(|stored| Narrowed::of_role(&stored, &row.scopes))
            }
            Write::DeleteRole(name) => {
                let stored = self.stored_role(name).await?;
                stored.and_then(|stored| Narrowed::of_role(&stored, &Default::default()))
            }
            Write::UpdateRealm { was, row } if was.crc_accepted_until != row.crc_accepted_until => {
                Some(Narrowed::Crc {
                    until: row.crc_accepted_until,
                })
            }
            // What gives something, or decides nothing about a key that is there. Each is named, so that none is forgotten.
            Write::InsertOrganization(_)
            | Write::InsertKey(_)
            | Write::InsertSecret(..)
            | Write::ReplaceHash { .. }
            | Write::UpdateRealm { .. }
            | Write::AdoptRealm { .. }
            | Write::InsertServerSecret(_)
            | Write::UpdateServerSecret { .. }
            | Write::DeleteServerSecret { .. }
            | Write::InsertPlan(_)
            | Write::DeletePlan(_)
            | Write::InsertRole(_)
            | Write::InsertScope(_)
            | Write::DeleteScope(_)
            | Write::PurgeChanges { .. }
            | Write::ForgetPersonal(_)
            | Write::ForgetOrigins { .. }
            | Write::PruneAudit { .. }
            | Write::CountRefusals(_)
            | Write::InsertRefusal(_)
            | Write::PruneRefusals { .. }
            | Write::AddUses(_)
            | Write::PruneUseSources { .. }
            | Write::InsertIdempotency(_)
            | Write::PruneIdempotency { .. }
            | Write::HoldLease { .. } => None,
        })
    }

    async fn taken_of_secret(
        &self,
        key: KeyId,
        lookup: &Lookup,
        ends_at: Option<Timestamp>,
    ) -> Result<Option<Narrowed>, StoreError> {
        let stored = self.stored_key(key).await?;
        let secret = stored.as_ref().and_then(|stored| stored.secret(lookup));
        Ok(secret.and_then(|secret| Narrowed::of_secret(key, secret, ends_at)))
    }

    /// What a row allows now, whatever it allowed before. The id is that of its entry in the change log.
    pub(in crate::store) async fn as_it_is(&self, row: &RowName, id: Uuid) -> Result<Option<Narrowed>, StoreError> {
        Ok(Some(match row {
            RowName::Key(id) => match self.stored_record(*id).await? {
                Some(stored) => Narrowed::of_key_as_it_is(&stored),
                None => Narrowed::of_missing_key(*id),
            },
            RowName::Secret(lookup) => {
                let stored = self.stored_key(id.into()).await?;
                let secret = stored.as_ref().and_then(|stored| stored.secret(lookup));
                Narrowed::Secret {
                    key: id.into(),
                    lookup: lookup.clone(),
                    ends_at: secret.map_or(Some(Timestamp::from_millis(0)), |secret| secret.ends_at()),
                }
            }
            RowName::Organization(id) => match self.stored_organization(*id).await? {
                Some(stored) => self.bounds_of(&stored).await?,
                None => {
                    let mut gone = Organization::new("");
                    gone.id = *id;
                    self.bounds_of(&inactive(gone)).await?
                }
            },
            RowName::User(organization, user) => {
                let stored = self.stored_user(*organization, user).await?;
                Narrowed::User {
                    organization: *organization,
                    user: user.clone(),
                    is_active: stored.is_none_or(|stored| stored.status == UserStatus::Active),
                }
            }
            RowName::Role(name) => Narrowed::Role {
                name: name.clone(),
                scopes: self
                    .stored_role(name)
                    .await?
                    .map(|role| role.scopes)
                    .unwrap_or_default(),
            },
            RowName::Plan(id) => match self.stored_plan(*id).await? {
                Some(stored) => Narrowed::of_plan(&stored),
                // No organization has it.
                None => return Ok(None),
            },
            RowName::Crc => Narrowed::Crc {
                until: self.stored_realm().await?.crc_accepted_until,
            },
        }))
    }

    async fn bounds_of(&self, organization: &Organization) -> Result<Narrowed, StoreError> {
        let plan = self.plan_of(organization).await?;
        Ok(Narrowed::of_organization(organization, plan.as_ref()))
    }

    pub(super) async fn plan_of(&self, organization: &Organization) -> Result<Option<Plan>, StoreError> {
        match organization.plan {
            Some(id) => self.stored_plan(id).await,
            None => Ok(None),
        }
    }

    pub(super) async fn stored_plan(&self, id: PlanId) -> Result<Option<Plan>, StoreError> {
        first(self.database, &self.sql.plan, &[id.as_uuid().into()], |row| row.plan()).await
    }

    pub(super) async fn stored_realm(&self) -> Result<Realm, StoreError> {
        let realm = first(self.database, &self.sql.realm, &[], |row| row.realm()).await?;
        let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
        realm.ok_or_else(missing)
    }

    /// A key without its secrets, which take twice the time.
    async fn stored_record(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        first(self.database, &self.sql.key_record, &[id.as_uuid().into()], |row| {
            row.key()
        })
        .await
    }

    pub(super) async fn stored_key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let rows = all(self.database, &self.sql.key, &[id.as_uuid().into()], |row| {
            let record = row.key()?;
            let secret = match row.is_next_set() {
                true => Some(row.secret()?),
                false => None,
            };
            Ok((record, secret))
        })
        .await?;
        let mut rows = rows.into_iter();
        let Some((record, first)) = rows.next() else {
            return Ok(None);
        };
        let secrets = first.into_iter().chain(rows.filter_map(|(_, secret)| secret));
        Ok(Some(StoredKey::new(record, secrets.collect())))
    }

    pub(super) async fn stored_organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        first(self.database, &self.sql.organization, &[id.as_uuid().into()], |row| {
            row.organization()
        })
        .await
    }

    pub(super) async fn stored_user(
        &self,
        organization: OrganizationId,
        user: &UserId,
    ) -> Result<Option<User>, StoreError> {
        let values = [organization.as_uuid().into(), user.as_str().into()];
        first(self.database, &self.sql.user, &values, |row| row.user()).await
    }

    pub(super) async fn stored_role(&self, name: &str) -> Result<Option<Role>, StoreError> {
        // One row of a list by name.
        let values = [Value::Integer(1), Value::Integer(0), "".into(), name.into()];
        first(self.database, &self.sql.roles, &values, |row| row.role()).await
    }
}

fn inactive(mut organization: Organization) -> Organization {
    organization.status = OrganizationStatus::Inactive;
    organization
}
