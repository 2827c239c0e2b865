//! Whether a key works.

use super::{Command, missed};
use crate::fence::Change;
use crate::key::StateChange;
use crate::store::StoreError;
use crate::store::sql::key_state_values;
use crate::store::sqlite::value::all;

impl Command<'_> {
    pub(super) fn set_key_state(&self, change: &StateChange) -> Result<Change, StoreError> {
        let (key, values) = (change.key, key_state_values(change)?);
        let revisions = all(self.connection, &self.sql.set_key_state, &values, |row| {
            row.count("revision")
        })?;
        match revisions.first() {
            Some(revision) => Ok(Change::new(key, *revision)),
            None => Err(missed(self.number(&self.sql.key_revision, key.as_uuid())?.is_some())),
        }
    }
}
