//! What a copy runs.

use super::super::dialect::{Dialect, Statement};
use super::table::{REALM, TABLES, Table};

/// Rows of one statement. PostgreSQL takes 65,535 values, SQLite 32,766.
pub(super) const ROWS: usize = 100;

/// The statements of one database.
pub(super) struct Statements {
    pub(super) begin: Statement,
    pub(super) commit: Statement,
    pub(super) roll_back: Statement,
    /// Keeps others from writing, or from reading as well. SQLite does the former from the beginning of a transaction on.
    pub(super) freeze: Option<Statement>,
    pub(super) lock: Option<Statement>,
    /// A row, if there is anything that a new database does not have.
    pub(super) is_used: Statement,
    pub(super) wipe: Vec<Statement>,
    pub(super) steps: Statement,
    pub(super) marker: Statement,
    pub(super) insert_marker: Statement,
    pub(super) delete_marker: Statement,
    pub(super) last_change: Statement,
    pub(super) log_everything: Statement,
    /// Numbers that the database gives go on behind those that were copied.
    pub(super) renumber: Option<Statement>,
    pub(super) stopped: [Stopped; 4],
    pub(super) realm: OfTable,
    pub(super) replace_realm: Statement,
    pub(super) hide_realm: Statement,
    /// In the order of [`TABLES`].
    pub(super) tables: Vec<OfTable>,
}

pub(super) struct OfTable {
    pub(super) table: &'static Table,
    /// ?1 rows from the first on.
    pub(super) first: Statement,
    /// ?1 rows after the one whose key is ?2 and so on.
    pub(super) after: Statement,
    pub(super) insert: Statement,
    /// As many as [`ROWS`].
    pub(super) insert_many: Statement,
    pub(super) delete: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let render = |text: &str| dialect.render(text);
        let (is_postgres, all) = (dialect.is_postgres(), all_tables());
        let of_postgres = |text: String| is_postgres.then(|| render(&text));
        Self {
            // Of PostgreSQL, the triggers of the change log ask for it.
            begin: render(match is_postgres {
                true => "BEGIN ISOLATION LEVEL READ COMMITTED",
                false => "BEGIN IMMEDIATE",
            }),
            commit: render("COMMIT"),
            roll_back: render("ROLLBACK"),
            freeze: of_postgres(format!("LOCK TABLE {all}, {{s}}realm IN SHARE MODE")),
            lock: of_postgres(format!("LOCK TABLE {all}, {{s}}realm IN ACCESS EXCLUSIVE MODE")),
            is_used: render(&is_used()),
            wipe: match is_postgres {
                true => vec![render(&format!("TRUNCATE {all}"))],
                false => TABLES
                    .iter()
                    .rev()
                    .map(|table| render(&format!("DELETE FROM {{s}}{}", table.name)))
                    .collect(),
            },
            steps: render("SELECT count(*) FROM {s}schema_migrations WHERE version <> ?1"),
            marker: render("SELECT checksum FROM {s}schema_migrations WHERE version = ?1"),
            insert_marker: render(
                "INSERT INTO {s}schema_migrations (version, name, checksum, min_program, applied_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (version) DO NOTHING",
            ),
            delete_marker: render("DELETE FROM {s}schema_migrations WHERE version = ?1"),
            last_change: render("SELECT seq, tag FROM {s}key_changes WHERE seq > 0 ORDER BY seq DESC LIMIT 1"),
            log_everything: render(match is_postgres {
                true => "SELECT {s}log_change(5, '00000000-0000-0000-0000-000000000000', 0, NULL)",
                false => {
                    "INSERT INTO {s}key_changes (tag, kind, id, revision, at) VALUES (randomblob(16), 5, zeroblob(16), 0, \
                     CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))"
                }
            }),
            renumber: of_postgres(
                "SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence('{s}audit_waiting', 'n'), \
                 coalesce(max(n), 1), max(n) IS NOT NULL) FROM {s}audit_waiting"
                    .to_owned(),
            ),
            stopped: Stopped::all(dialect),
            realm: OfTable::new(dialect, &REALM),
            replace_realm: render(
                "UPDATE {s}realm SET realm_id = ?2, crc_accepted_until = ?3, created_at = ?4 WHERE one = TRUE",
            ),
            hide_realm: render("UPDATE {s}realm SET realm_id = ?1 WHERE one = TRUE"),
            tables: TABLES.iter().map(|table| OfTable::new(dialect, table)).collect(),
        }
    }
}

/// Plans, the chain of the system and the realm are there from the beginning.
fn is_used() -> String {
    let others = TABLES
        .iter()
        .filter(|table| !["plans", "organization_state"].contains(&table.name));
    let tests: Vec<String> = others
        .map(|table| format!("EXISTS (SELECT 1 FROM {{s}}{})", table.name))
        .collect();
    format!(
        "SELECT 1 WHERE {} OR EXISTS (SELECT 1 FROM {{s}}organization_state WHERE audit_seq <> 0) \
         OR EXISTS (SELECT 1 FROM {{s}}key_changes WHERE kind <> 0) OR (SELECT count(*) FROM {{s}}plans) <> 3",
        tests.join(" OR ")
    )
}

/// Those to be copied.
fn all_tables() -> String {
    let names: Vec<String> = TABLES.iter().map(|table| format!("{{s}}{}", table.name)).collect();
    names.join(", ")
}

impl OfTable {
    fn new(dialect: &Dialect, table: &'static Table) -> Self {
        let render = |text: &str| dialect.render(text);
        let (name, columns, key) = (table.name, table.list(), table.key_list());
        let select = format!("SELECT {columns} FROM {{s}}{name}");
        let places: Vec<String> = (0..table.key).map(|index| format!("?{}", index + 2)).collect();
        let is_row: Vec<String> = (1..)
            .zip(key.split(", "))
            .map(|(number, column)| format!("{column} = ?{number}"))
            .collect();
        let insert = |rows: usize| {
            let width = table.columns.len();
            let row = |row: usize| {
                let numbers: Vec<String> = (1..=width).map(|number| format!("?{}", row * width + number)).collect();
                format!("({})", numbers.join(", "))
            };
            let values: Vec<String> = (0..rows).map(row).collect();
            let overriding = match (dialect.is_postgres(), name) {
                (true, "audit_waiting") => " OVERRIDING SYSTEM VALUE",
                _ => "",
            };
            let replace = if table.is_replaced {
                replace(table)
            } else {
                String::new()
            };
            render(&format!(
                "INSERT INTO {{s}}{name} ({columns}){overriding} VALUES {}{replace}",
                values.join(", ")
            ))
        };
        Self {
            table,
            first: render(&format!("{select} ORDER BY {key} LIMIT ?1")),
            after: render(&format!(
                "{select} WHERE ({key}) > ({}) ORDER BY {key} LIMIT ?1",
                places.join(", ")
            )),
            insert: insert(1),
            insert_many: insert(ROWS),
            delete: render(&format!("DELETE FROM {{s}}{name} WHERE {}", is_row.join(" AND "))),
        }
    }
}

/// What an insert does with a row that is there.
fn replace(table: &Table) -> String {
    let others: Vec<String> = table
        .columns
        .iter()
        .skip(table.key)
        .map(|column| format!("\"{0}\" = excluded.\"{0}\"", column.name))
        .collect();
    format!(
        " ON CONFLICT ({}) DO UPDATE SET {}",
        table.key_list(),
        others.join(", ")
    )
}

/// The statements that read a source from one row on.
#[cfg(all(test, feature = "postgres"))]
pub(in crate::store) fn texts_of_pages(dialect: &Dialect) -> Vec<String> {
    let Statements { tables, stopped, .. } = Statements::new(dialect);
    let tables = tables.iter().map(|table| &table.after);
    let all = tables.chain(stopped.iter().map(|stopped| &stopped.rows));
    all.map(|statement| statement.text().to_owned()).collect()
}

/// Rows of one table: their kind in the change log, and a statement with ids and parts.
pub(super) struct Stopped {
    pub(super) kind: u64,
    pub(super) rows: Statement,
}

impl Stopped {
    /// Each answers ?1 rows after id ?2 and part ?3.
    fn all(dialect: &Dialect) -> [Self; 4] {
        let of = |kind, text: &str| Self {
            kind,
            rows: dialect.render(text),
        };
        [
            of(
                2,
                "SELECT id, NULL FROM {s}organizations WHERE status <> 'active' AND id > ?2 ORDER BY id LIMIT ?1",
            ),
            of(
                2,
                "SELECT organization_id, user_id FROM {s}users WHERE status <> 'active' \
                 AND (organization_id, user_id) > (?2, ?3) ORDER BY organization_id, user_id LIMIT ?1",
            ),
            of(
                1,
                "SELECT id, NULL FROM {s}keys WHERE status <> 'active' AND id > ?2 ORDER BY id LIMIT ?1",
            ),
            of(
                1,
                "SELECT key_id, lookup FROM {s}key_secrets WHERE (expires_at IS NOT NULL OR grace_ends_at IS NOT NULL) \
                 AND lookup > ?3 ORDER BY lookup LIMIT ?1",
            ),
        ]
    }
}
