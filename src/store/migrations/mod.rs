//! The schema, as numbered steps up and down, and the little that runs them.
//!
//! Which steps a file has seen is kept in it, with a checksum of each: a step that was edited after it was applied
//! somewhere would leave files that claim one schema and have another.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sqlite::Unusable;

/// One step of the schema. Versions count from 1 without gaps.
#[derive(Clone, Copy)]
pub(super) struct Migration {
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

pub(super) const SQLITE: &[Migration] = &[Migration {
    name: "keys",
    up: include_str!("sqlite/0001_keys.up.sql"),
    down: include_str!("sqlite/0001_keys.down.sql"),
}];

/// Brings the schema up to date. One transaction that locks out other writers from its start: of two processes that
/// open a new file at once, the second finds everything done.
pub(super) fn upgrade(connection: &mut Connection, migrations: &[Migration]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(LEDGER)?;
    let applied = applied(&transaction, migrations)?;
    for (index, migration) in migrations.iter().enumerate().skip(applied) {
        transaction.execute_batch(migration.up)?;
        let row = params![number(index + 1), migration.name, checksum(migration), now()];
        transaction.execute("INSERT INTO key_store_migrations VALUES (?1, ?2, ?3, ?4)", row)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Takes the schema back to `version`, with all that the steps above it added.
pub(super) fn downgrade(connection: &mut Connection, migrations: &[Migration], version: u32) -> Result<(), StoreError> {
    let known = number(migrations.len());
    if version > known {
        return Err(Unusable::NoSuchVersion { version, known }.into());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(LEDGER)?;
    let found = applied(&transaction, migrations)?;
    let target = version as usize;
    if target > found {
        let found = number(found);
        return Err(Unusable::NotThatFar { version, found }.into());
    }
    for index in (target..found).rev() {
        transaction.execute_batch(migrations[index].down)?;
        transaction.execute(
            "DELETE FROM key_store_migrations WHERE version = ?1",
            [number(index + 1)],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// A name in this file that a step would need, and that no step has made. Of a file with a ledger its steps are known.
pub(super) fn name_taken(connection: &Connection, migrations: &[Migration]) -> rusqlite::Result<Option<String>> {
    let theirs = names(connection)?;
    if theirs.is_empty() || theirs.iter().any(|name| name == "key_store_migrations") {
        return Ok(None);
    }
    let ours = Connection::open_in_memory()?;
    for migration in migrations {
        ours.execute_batch(migration.up)?;
    }
    let ours = names(&ours)?;
    // As SQLite compares them.
    let is_ours = |name: &String| ours.iter().any(|other| other.eq_ignore_ascii_case(name));
    Ok(theirs.into_iter().find(is_ours))
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS key_store_migrations (
    version    INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    checksum   TEXT    NOT NULL,
    applied_at BIGINT  NOT NULL
)";

/// How many steps this file has seen, after a look at whether they are those that this version knows.
fn applied(transaction: &Transaction<'_>, migrations: &[Migration]) -> Result<usize, StoreError> {
    // Under the lock of the transaction: what fails here is the table.
    let rows = ledger(transaction).map_err(Unusable::NoLedger)?;
    if let Some((found, ..)) = rows.last()
        && *found as usize > migrations.len()
    {
        return Err(Unusable::Newer {
            found: *found,
            known: number(migrations.len()),
        }
        .into());
    }
    for (index, (version, name, stored)) in rows.iter().enumerate() {
        if *version as usize != index + 1 {
            return Err(Unusable::Gap {
                version: number(index + 1),
            }
            .into());
        }
        if *stored != checksum(&migrations[index]) {
            return Err(Unusable::Altered {
                version: *version,
                name: name.clone(),
            }
            .into());
        }
    }
    Ok(rows.len())
}

fn ledger(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(u32, String, String)>> {
    let mut statement =
        transaction.prepare("SELECT version, name, checksum FROM key_store_migrations ORDER BY version")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// Over the text with Unix line ends: a checkout on Windows may have changed them.
fn checksum(migration: &Migration) -> String {
    let mut hash = Sha256::new();
    for part in [migration.name, migration.up, migration.down] {
        let part = part.replace("\r\n", "\n");
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(version: usize) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}

fn now() -> i64 {
    Timestamp::now().as_millis()
}

#[cfg(test)]
mod tests;
