//! Whether a key works.

use super::super::database::{Database, all};
use super::super::key_state_values;
use super::{Command, missed};
use crate::fence::Change;
use crate::key::StateChange;
use crate::store::StoreError;

impl<D: Database> Command<'_, D> {
    pub(super) async fn set_key_state(&self, change: &StateChange) -> Result<Change, StoreError> {
        let (key, values) = (change.key, key_state_values(change)?);
        let revisions = all(self.database, &self.sql.set_key_state, &values, |row| {
            row.count("revision")
        })
        .await?;
        match revisions.first() {
            Some(revision) => Ok(Change::new(key, *revision)),
            None => Err(missed(
                self.number(&self.sql.key_revision, key.as_uuid()).await?.is_some(),
            )),
        }
    }
}
