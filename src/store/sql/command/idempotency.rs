//! What was made for idempotency keys.

use super::super::database::Database;
use super::super::idempotency_values;
use super::Command;
use crate::key::IdempotencyRecord;
use crate::store::{StoreError, StoreErrorKind};

impl<D: Database> Command<'_, D> {
    pub(super) async fn insert_idempotency(&self, row: &IdempotencyRecord) -> Result<(), StoreError> {
        let sql = &self.sql.idempotency;
        if self.execute(&sql.insert, &idempotency_values(row)).await? == 0 {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists));
        }
        self.execute(&sql.delete_oldest, &[row.organization_id.as_uuid().into()])
            .await
            .map(drop)
    }
}
