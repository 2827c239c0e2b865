//! What a write takes from keys, found before it is made.

use super::Command;
use crate::key::{KeyId, Lookup, OrganizationId, Timestamp, UserId, earlier};
use crate::store::journal::Narrowed;
use crate::store::sql::Value;
use crate::store::sqlite::value::{all, first};
use crate::store::{StoreError, StoreErrorKind, StoredKey, Write};

impl Command<'_> {
    /// What the journal gets of a write, which is not made yet.
    pub(super) fn taken(&self, write: &Write) -> Result<Option<Narrowed>, StoreError> {
        Ok(match write {
            Write::UpdateKey(row) => {
                let stored = self.stored_key(row.id)?;
                stored.and_then(|stored| Narrowed::of_key(&stored.record, row))
            }
            Write::SetKeyState(change) => self.stored_key(change.key)?.and_then(|stored| {
                let mut row = stored.record.clone();
                change.state.clone().set(&mut row);
                Narrowed::of_key(&stored.record, &row)
            }),
            Write::DeleteKey(id) => {
                let stored = self.stored_key(*id)?;
                stored.and_then(|stored| Narrowed::of_deleted_key(&stored.record, Timestamp::now()))
            }
            Write::UpdateSecret {
                key,
                lookup,
                expires_at,
                grace_ends_at,
            } => self.taken_of_secret(*key, lookup, earlier(*expires_at, *grace_ends_at))?,
            Write::DeleteSecret { key, lookup } => {
                self.taken_of_secret(*key, lookup, Some(Timestamp::from_millis(0)))?
            }
            Write::UpdateOrganization(row) => {
                let stored = self.stored_organization(row.id)?;
                stored.and_then(|stored| Narrowed::of_organization(&stored, row))
            }
            Write::DeleteOrganization(id) => {
                let stored = self.stored_organization(*id)?;
                stored.and_then(|stored| Narrowed::of_deleted_organization(&stored))
            }
            Write::InsertUser(row) => Narrowed::of_user(None, row),
            Write::UpdateUser(row) => {
                let stored = self.stored_user(row.organization_id, &row.id)?;
                Narrowed::of_user(stored.as_ref(), row)
            }
            Write::UpdateRole(row) => {
                let stored = self.stored_role(&row.name)?;
                stored.and_then(|stored| Narrowed::of_role(&stored, &row.scopes))
            }
            Write::DeleteRole(name) => {
                let stored = self.stored_role(name)?;
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
            | Write::UpdatePlan(_)
            | Write::DeletePlan(_)
            | Write::DeleteUser(..)
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
            | Write::HoldLease { .. } => None,
        })
    }

    fn taken_of_secret(
        &self,
        key: KeyId,
        lookup: &Lookup,
        ends_at: Option<Timestamp>,
    ) -> Result<Option<Narrowed>, StoreError> {
        let stored = self.stored_key(key)?;
        let secret = stored.as_ref().and_then(|stored| stored.secret(lookup));
        Ok(secret.and_then(|secret| Narrowed::of_secret(key, secret, ends_at)))
    }

    pub(in crate::store::sqlite) fn stored_realm(&self) -> Result<crate::key::Realm, StoreError> {
        let realm = first(self.connection, &self.sql.realm, &[], |row| row.realm())?;
        let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
        realm.ok_or_else(missing)
    }

    pub(in crate::store::sqlite) fn stored_key(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let rows = all(self.connection, &self.sql.key, &[id.as_uuid().into()], |row| {
            let record = row.key()?;
            let secret = match row.is_next_set() {
                true => Some(row.secret()?),
                false => None,
            };
            Ok((record, secret))
        })?;
        let mut rows = rows.into_iter();
        let Some((record, first)) = rows.next() else {
            return Ok(None);
        };
        let secrets = first.into_iter().chain(rows.filter_map(|(_, secret)| secret));
        Ok(Some(StoredKey::new(record, secrets.collect())))
    }

    pub(in crate::store::sqlite) fn stored_organization(
        &self,
        id: OrganizationId,
    ) -> Result<Option<crate::key::Organization>, StoreError> {
        first(self.connection, &self.sql.organization, &[id.as_uuid().into()], |row| {
            row.organization()
        })
    }

    pub(in crate::store::sqlite) fn stored_user(
        &self,
        organization: OrganizationId,
        user: &UserId,
    ) -> Result<Option<crate::key::User>, StoreError> {
        let values = [organization.as_uuid().into(), user.as_str().into()];
        first(self.connection, &self.sql.user, &values, |row| row.user())
    }

    pub(in crate::store::sqlite) fn stored_role(&self, name: &str) -> Result<Option<crate::key::Role>, StoreError> {
        // One row of a list by name.
        let values = [Value::Integer(1), Value::Integer(0), "".into(), name.into()];
        first(self.connection, &self.sql.roles, &values, |row| row.role())
    }
}
