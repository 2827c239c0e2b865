//! Rows as records.

use rusqlite::Row;
use rusqlite::types::FromSql;
use uuid::Uuid;

use super::column;
use super::fault::InvalidColumn;
use crate::key::{
    KeyId, KeyRecord, KeySecret, Lookup, Organization, OrganizationId, Revocation, SecretHash, Timestamp,
};
use crate::store::StoreError;

/// Reads columns from left to right, in the order of the lists in `statement`.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn key(&mut self) -> Result<KeyRecord, StoreError> {
        let id = KeyId::from(self.take::<Uuid>("keys.id")?);
        let organization = OrganizationId::from(self.take::<Uuid>("keys.organization_id")?);
        let user = match self.take::<Option<String>>("keys.user_id")? {
            Some(user) => Some(
                user.parse()
                    .map_err(|_| invalid("keys.user_id", "a name that is not one"))?,
            ),
            None => None,
        };
        let name: String = self.take("keys.name")?;
        let prefix = self.take("keys.prefix")?;
        let environment = self.take("keys.environment")?;
        let scopes = self.parse("keys.scopes", column::read_scopes)?;
        let networks = self.parse("keys.networks", column::read_networks)?;
        let limits = self.parse("keys.limits", column::read_limits)?;
        let metadata = self.parse("keys.metadata", column::read_metadata)?;
        let status = self.parse("keys.status", column::read_key_status)?;
        let revocation = self.revocation()?;
        let created_at = self.time("keys.created_at")?;
        let expires_at = self.optional_time("keys.expires_at")?;
        let revision = self.revision("keys.revision")?;
        let mut record = KeyRecord::new(organization, name, created_at);
        record.id = id;
        record.user = user;
        record.prefix = prefix;
        record.environment = environment;
        record.scopes = scopes;
        record.networks = networks;
        record.limits = limits;
        record.metadata = metadata;
        record.status = status;
        record.revocation = revocation;
        record.expires_at = expires_at;
        record.revision = revision;
        Ok(record)
    }

    fn revocation(&mut self) -> Result<Option<Revocation>, StoreError> {
        let at = self.optional_time("keys.revoked_at")?;
        let reason: Option<String> = self.take("keys.revocation_reason")?;
        let actor: Option<String> = self.take("keys.revocation_actor")?;
        match (at, reason, actor) {
            (None, None, None) => Ok(None),
            (Some(at), Some(reason), Some(actor)) => Ok(Some(Revocation::new(at, reason, actor))),
            _ => Err(invalid("keys.revoked_at", "half of a revocation").into()),
        }
    }

    pub(super) fn secret(&mut self) -> Result<KeySecret, StoreError> {
        let lookup = self.parse("key_secrets.lookup", |text| {
            Lookup::new(text).map_err(|_| "text that is no lookup")
        })?;
        let hash = self.parse("key_secrets.hash", |text| {
            SecretHash::new(text).map_err(|_| "text that is no hash")
        })?;
        let created_at = self.time("key_secrets.created_at")?;
        let mut secret = KeySecret::new(lookup, hash, created_at);
        secret.expires_at = self.optional_time("key_secrets.expires_at")?;
        Ok(secret)
    }

    pub(super) fn organization(&mut self) -> Result<Organization, StoreError> {
        let id = OrganizationId::from(self.take::<Uuid>("organizations.id")?);
        let mut organization = Organization::new(self.take::<String>("organizations.name")?);
        organization.id = id;
        organization.status = self.parse("organizations.status", column::read_organization_status)?;
        organization.limits = self.parse("organizations.limits", column::read_limits)?;
        organization.revision = self.revision("organizations.revision")?;
        Ok(organization)
    }

    pub(super) fn flag(&mut self) -> Result<bool, StoreError> {
        self.take("key_secrets.lookup")
    }

    fn time(&mut self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.take(column).map(Timestamp::from_millis)
    }

    fn optional_time(&mut self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = self.take(column)?;
        Ok(millis.map(Timestamp::from_millis))
    }

    fn revision(&mut self, column: &'static str) -> Result<u64, StoreError> {
        let revision = self.take(column)?;
        column::read_revision(revision).map_err(|problem| invalid(column, problem).into())
    }

    fn parse<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<T, StoreError> {
        let text: String = self.take(column)?;
        read(&text).map_err(|problem| invalid(column, problem).into())
    }

    /// The driver's own error would quote what it found, so it goes no further.
    fn take<T: FromSql>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let index = self.next;
        self.next += 1;
        let value = self.row.get(index);
        value.map_err(|_| invalid(column, "a value of another type, or none").into())
    }
}

fn invalid(column: &'static str, problem: &'static str) -> InvalidColumn {
    InvalidColumn { column, problem }
}
