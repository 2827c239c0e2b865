//! Brings the schema of a file up and down.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::SCHEMA;
use super::fault::{Unusable, is_busy};
use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sql::migration::{Applied, Migration, Outgrown, SQLITE, check, number, triggers_of, way_down};

/// Brings the schema up to date. One transaction that locks out other writers from its start: of two processes that
/// open a new file at once, the second finds everything done.
pub(super) fn upgrade(
    connection: &mut Connection,
    migrations: &[Migration],
    is_copy_target: bool,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&rendered(LEDGER))?;
    let applied = check(&ledger(&transaction, is_copy_target)?, migrations)?;
    for (index, migration) in migrations.iter().enumerate().skip(applied) {
        transaction.execute_batch(&rendered(migration.up))?;
        let checksum = migration.checksum();
        let row = params![
            number(index + 1),
            migration.name,
            checksum,
            migration.min_program,
            now()
        ];
        transaction.execute(&rendered(INSERT), row)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Takes the schema back to `version`, with all that the steps above it added.
pub(super) fn downgrade(connection: &mut Connection, migrations: &[Migration], version: u32) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&rendered(LEDGER))?;
    let found = check(&ledger(&transaction, false)?, migrations)?;
    for index in way_down(found, version, migrations)? {
        transaction.execute_batch(&rendered(migrations[index].down))?;
        transaction.execute(&rendered(DELETE), [number(index + 1)])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Of a file that is not changed.
pub(super) fn version(connection: &Connection, migrations: &[Migration]) -> Result<u32, StoreError> {
    match contents(connection, migrations)? {
        Contents::Ours => Ok(number(check(&read_ledger(connection, false)?, migrations)?)),
        _ => Ok(0),
    }
}

/// The schema that asks for a newer program than this one.
pub(super) fn outgrown(connection: &Connection) -> Result<Option<u32>, StoreError> {
    let found = connection
        .prepare_cached(&rendered(&Outgrown::asked()))?
        .query_row([], |row| row.get(0))?;
    Ok(found)
}

/// What a file holds, seen without changing it.
pub(super) enum Contents {
    /// A schema of this store.
    Ours,
    /// Nothing, or tables of others beside which there is room.
    Room { is_shared: bool },
    /// The schema of a version before the first release.
    Unreleased,
    /// A table or an index that has a name of this store, and is not of it.
    NameTaken(String),
}

pub(super) fn contents(connection: &Connection, migrations: &[Migration]) -> rusqlite::Result<Contents> {
    let theirs = names(connection)?;
    let ledger = format!("{SCHEMA}schema_migrations");
    // Without case, as SQLite compares names.
    if theirs.iter().any(|name| name.eq_ignore_ascii_case(&ledger)) {
        return Ok(Contents::Ours);
    }
    if theirs.is_empty() {
        return Ok(Contents::Room { is_shared: false });
    }
    if theirs.iter().any(|name| name == "key_store_migrations") {
        return Ok(Contents::Unreleased);
    }
    let ours = Connection::open_in_memory()?;
    for migration in migrations {
        ours.execute_batch(&rendered(migration.up))?;
    }
    let ours = names(&ours)?;
    let is_taken = |name: &String| ours.iter().any(|other| other.eq_ignore_ascii_case(name));
    Ok(match theirs.into_iter().find(is_taken) {
        Some(name) => Contents::NameTaken(name),
        None => Contents::Room { is_shared: true },
    })
}

/// Whether this program may use the schema that it found.
pub(super) fn check_ledger(
    connection: &Connection,
    migrations: &[Migration],
    is_copy_target: bool,
) -> Result<(), StoreError> {
    match read_ledger(connection, is_copy_target) {
        Ok(applied) => check(&applied, migrations).map(drop).map_err(StoreError::from),
        Err(error) if is_busy(&error) => Err(error.into()),
        Err(error) => Err(Unusable::NoLedger(error.into()).into()),
    }
}

/// The names of all triggers that a file has.
pub(super) fn triggers() -> BTreeSet<String> {
    triggers_of(SQLITE).iter().map(|name| rendered(name)).collect()
}

/// Whether the file has these triggers. One that is of another version may have more.
pub(super) fn has_triggers(connection: &Connection, names: &BTreeSet<String>) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'trigger'")?;
    let found: rusqlite::Result<BTreeSet<String>> = statement.query_map([], |row| row.get(0))?.collect();
    Ok(names.is_subset(&found?))
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS {s}schema_migrations (
    version     INTEGER NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    checksum    TEXT    NOT NULL,
    min_program INTEGER NOT NULL,
    applied_at  INTEGER NOT NULL
)";
const SELECT: &str = "SELECT version, name, checksum, min_program FROM {s}schema_migrations ORDER BY version";
const INSERT: &str = "INSERT INTO {s}schema_migrations (version, name, checksum, min_program, applied_at) \
     VALUES (?1, ?2, ?3, ?4, ?5)";
const DELETE: &str = "DELETE FROM {s}schema_migrations WHERE version = ?1";

fn ledger(transaction: &Transaction<'_>, is_copy_target: bool) -> Result<Vec<Applied>, StoreError> {
    // Under the lock of the transaction: what fails here is the table.
    Ok(read_ledger(transaction, is_copy_target).map_err(|error| Unusable::NoLedger(error.into()))?)
}

/// Without the row of a copy that is not finished, if that is to be finished.
fn read_ledger(connection: &Connection, is_copy_target: bool) -> rusqlite::Result<Vec<Applied>> {
    let mut statement = connection.prepare(&rendered(SELECT))?;
    let rows = statement.query_map([], |row| {
        Ok(Applied {
            version: row.get(0)?,
            name: row.get(1)?,
            checksum: row.get(2)?,
            min_program: row.get(3)?,
        })
    })?;
    let mut applied = rows.collect::<rusqlite::Result<Vec<Applied>>>()?;
    applied.retain(|row| !(is_copy_target && row.is_unfinished_copy()));
    Ok(applied)
}

fn rendered(sql: &str) -> String {
    sql.replace("{s}", SCHEMA)
}

fn now() -> i64 {
    Timestamp::now().as_millis()
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
