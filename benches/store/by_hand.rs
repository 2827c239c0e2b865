//! The same rows, written by hand: statements that are prepared once, and one connection with the settings of the store's.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

/// A connection of the store's own settings.
pub fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a file");
    for (name, value) in [
        ("journal_mode", "WAL"),
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("secure_delete", "ON"),
    ] {
        let set = format!("PRAGMA {name} = {value}");
        connection
            .query_row(&set, [], |_| Ok(()))
            .optional()
            .expect("a setting");
    }
    connection
        .execute_batch("PRAGMA cache_size = -65536")
        .expect("a setting");
    connection
}

/// A statement and the values of each row that it writes.
pub struct Rows {
    sql: String,
    values: Vec<Vec<Value>>,
}

impl Rows {
    /// Reads the rows of a table that a condition selects, to insert them elsewhere.
    pub fn insert(from: &Connection, table: &str, condition: &str) -> Self {
        let mut select = from
            .prepare(&format!("SELECT * FROM {table} WHERE {condition}"))
            .expect("a table");
        let columns: Vec<String> = select.column_names().map(|name| format!("\"{name}\"")).collect();
        let numbers: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        let values = select
            .query_map([], |row| (0..columns.len()).map(|index| row.get(index)).collect())
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("values");
        let (columns, numbers) = (columns.join(", "), numbers.join(", "));
        Self {
            sql: format!("INSERT INTO {table} ({columns}) VALUES ({numbers})"),
            values,
        }
    }

    /// The same rows, to replace those with the same first column.
    pub fn update(from: &Connection, table: &str, condition: &str) -> Self {
        let insert = Self::insert(from, table, condition);
        let select = from.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let set: Vec<String> = (1..)
            .zip(select.column_names())
            .skip(1)
            .map(|(number, name)| format!("\"{name}\" = ?{number}"))
            .collect();
        let id = select.column_name(0).expect("a column").to_owned();
        Self {
            sql: format!("UPDATE {table} SET {} WHERE {id} = ?1", set.join(", ")),
            values: insert.values,
        }
    }

    /// The same rows, in the place of those with the same key if there are any.
    pub fn upsert(from: &Connection, table: &str, condition: &str, key: &str) -> Self {
        let insert = Self::insert(from, table, condition);
        let select = from.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let set: Vec<String> = select
            .column_names()
            .map(|name| format!("\"{name}\" = excluded.\"{name}\""))
            .collect();
        Self {
            sql: format!("{} ON CONFLICT ({key}) DO UPDATE SET {}", insert.sql, set.join(", ")),
            values: insert.values,
        }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }
}

/// Writes all rows in one transaction.
pub fn write(connection: &Connection, tables: &[Rows]) -> Duration {
    let began = Instant::now();
    connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
    for rows in tables {
        let mut statement = connection.prepare_cached(&rows.sql).expect("a statement");
        for values in &rows.values {
            statement.execute(params_from_iter(values)).expect("a row");
        }
    }
    connection.execute_batch("COMMIT").expect("a commit");
    began.elapsed()
}
