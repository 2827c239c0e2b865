//! Rows of idempotency keys.

use super::row::{Columns, read_actor};
use crate::key::{IdempotencyKey, IdempotencyRecord, KeyId, OrganizationId};
use crate::store::StoreError;

impl Columns<'_> {
    pub(in crate::store) fn idempotency(&mut self) -> Result<IdempotencyRecord, StoreError> {
        let organization = OrganizationId::from(self.uuid("idempotency.organization_id")?);
        let caller = self.parsed("idempotency.actor", read_actor)?;
        let invalid = |_| "invalid idempotency key";
        let key: IdempotencyKey = self.parsed("idempotency.key", |text| text.parse().map_err(invalid))?;
        let request_hash = self.hash("idempotency.request_hash")?;
        let key_id = KeyId::from(self.uuid("idempotency.key_id")?);
        let created_at = self.time("idempotency.created_at")?;
        let mut row = IdempotencyRecord::new(organization, caller, key, request_hash, key_id, created_at);
        row.expires_at = self.time("idempotency.expires_at")?;
        Ok(row)
    }
}
