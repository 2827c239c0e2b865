//! Where a database stands in its own history: its identity, and the rows of its change log.

use uuid::Uuid;

use super::database::{Database, first};
use super::follower::Place;
use super::record::revision_value;
use super::statement::Statements;
use super::value::Value;
use crate::store::{StoreError, StoreErrorKind};

/// Whether the log has this row, or had it before old rows were deleted.
pub(in crate::store) async fn is_there(
    database: &impl Database,
    sql: &Statements,
    place: Place,
) -> Result<bool, StoreError> {
    if place == Place::START {
        return Ok(true);
    }
    let values = [revision_value(place.seq)?];
    if let Some(there) = first(database, &sql.change, &values, |row| row.place()).await? {
        return Ok(there == place);
    }
    // Old rows are deleted in time, up to one that is kept.
    let values = [Value::Integer(1)];
    let oldest = first(database, &sql.oldest_changes, &values, |row| {
        row.count("key_changes.seq")
    })
    .await?;
    Ok(oldest.is_some_and(|oldest| oldest > place.seq))
}

/// The last row of the change log.
pub(in crate::store) async fn latest(database: &impl Database, sql: &Statements) -> Result<Option<Place>, StoreError> {
    first(database, &sql.last_change, &[], |row| row.place()).await
}

pub(in crate::store) async fn realm(database: &impl Database, sql: &Statements) -> Result<Uuid, StoreError> {
    let realm = first(database, &sql.realm, &[], |row| row.realm()).await?;
    let missing = || StoreError::with_source(StoreErrorKind::InvalidRecord, "the row of the realm is missing");
    Ok(realm.ok_or_else(missing)?.id.as_uuid())
}
