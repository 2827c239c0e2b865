//! Where a database stands in its own history: its identity, and the rows of its change log.

use rusqlite::Connection;
use uuid::Uuid;

use super::value::first;
use crate::store::sql::{Place, Statements, Value, revision_value};
use crate::store::{StoreError, StoreErrorKind};

/// A row of the change log that no cached answer depends on.
pub(super) const QUIET: &str = "INSERT INTO api_keys_key_changes (tag, kind, id, revision, at) VALUES (randomblob(16), 0, zeroblob(16), 0, \
     CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))";

/// Whether the log has this row, or had it before old rows were deleted.
pub(super) fn is_there(connection: &Connection, sql: &Statements, place: Place) -> Result<bool, StoreError> {
    if place == Place::START {
        return Ok(true);
    }
    let there = first(connection, &sql.change, &[revision_value(place.seq)?], |row| {
        row.place()
    })?;
    if let Some(there) = there {
        return Ok(there == place);
    }
    // Old rows are deleted in time, up to one that is kept.
    let oldest = first(connection, &sql.oldest_changes, &[Value::Integer(1)], |row| {
        row.count("key_changes.seq")
    })?;
    Ok(oldest.is_some_and(|oldest| oldest > place.seq))
}

/// The last row of the change log.
pub(super) fn latest(connection: &Connection, sql: &Statements) -> Result<Option<Place>, StoreError> {
    first(connection, &sql.last_change, &[], |row| row.place())
}

pub(super) fn realm(connection: &Connection, sql: &Statements) -> Result<Uuid, StoreError> {
    let realm = first(connection, &sql.realm, &[], |row| row.realm())?;
    let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
    Ok(realm.ok_or_else(missing)?.id.as_uuid())
}
