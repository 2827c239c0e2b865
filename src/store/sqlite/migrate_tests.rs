use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::StoreErrorKind;
use crate::store::sql::migration::{PROGRAM, SQLITE};

fn upgrade(connection: &mut Connection, migrations: &[Migration]) -> Result<(), StoreError> {
    super::upgrade(connection, migrations, false)
}

const TWO: &[Migration] = &[
    Migration {
        name: "first",
        up: "CREATE TABLE first (a INTEGER); INSERT INTO first VALUES (1);",
        down: "DROP TABLE first;",
        min_program: 1,
    },
    Migration {
        name: "second",
        up: "CREATE TABLE second (a INTEGER);",
        down: "DROP TABLE second;",
        min_program: 1,
    },
];

fn schema(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare(
            "SELECT coalesce(sql, name) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name <> 'api_keys_schema_migrations' ORDER BY name",
        )
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap)
        .filter(|sql: &String| !sql.contains("api_keys_schema_migrations"))
        .collect()
}

fn cause(error: StoreError) -> String {
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    error.source().unwrap().to_string()
}

#[test]
fn every_step_goes_up_down_and_up_again() {
    let mut connection = Connection::open_in_memory().unwrap();
    upgrade(&mut connection, SQLITE).unwrap();
    let whole = schema(&connection);
    assert!(
        whole
            .iter()
            .any(|sql| sql.contains("CREATE TABLE api_keys_key_secrets"))
    );
    for version in (0..SQLITE.len()).rev() {
        downgrade(&mut connection, SQLITE, number(version)).unwrap();
    }
    assert_eq!(schema(&connection), Vec::<String>::new());
    upgrade(&mut connection, SQLITE).unwrap();
    assert_eq!(schema(&connection), whole);
    upgrade(&mut connection, SQLITE).unwrap();
    assert_eq!(schema(&connection), whole);
}

#[test]
fn only_missing_steps_are_made() {
    let mut connection = Connection::open_in_memory().unwrap();
    upgrade(&mut connection, &TWO[..1]).unwrap();
    upgrade(&mut connection, TWO).unwrap();
    let count = connection.query_row("SELECT count(*) FROM first", [], |row| row.get(0));
    assert_eq!(count, Ok(1));
    downgrade(&mut connection, TWO, 1).unwrap();
    assert_eq!(schema(&connection).len(), 1);
    assert!(cause(downgrade(&mut connection, TWO, 3).unwrap_err()).contains("no migration 3"));
}

#[test]
fn edited_step_is_refused_and_other_line_ends_are_not() {
    let mut connection = Connection::open_in_memory().unwrap();
    let unix = [Migration {
        name: "first",
        up: "CREATE TABLE first\n(a INTEGER);",
        down: "DROP TABLE first;",
        min_program: 1,
    }];
    upgrade(&mut connection, &unix).unwrap();
    let windows = [Migration {
        up: "CREATE TABLE first\r\n(a INTEGER);",
        ..unix[0]
    }];
    upgrade(&mut connection, &windows).unwrap();
    for edited in [
        Migration {
            up: "CREATE TABLE first (b INTEGER);",
            ..unix[0]
        },
        Migration {
            down: "SELECT 1;",
            ..unix[0]
        },
    ] {
        assert!(cause(upgrade(&mut connection, &[edited]).unwrap_err()).contains("migration 1 (first)"));
    }
}

/// What a later version added is used by those programs that it allows.
#[test]
fn newer_schema_is_refused_by_its_min_program() {
    let mut connection = Connection::open_in_memory().unwrap();
    upgrade(&mut connection, TWO).unwrap();
    upgrade(&mut connection, &TWO[..1]).unwrap();
    let way_down = downgrade(&mut connection, &TWO[..1], 0).unwrap_err();
    assert!(cause(way_down).contains("newer version"));

    let demanding = [
        TWO[0],
        TWO[1],
        Migration {
            name: "third",
            min_program: PROGRAM + 1,
            ..TWO[1]
        },
    ];
    connection.execute_batch("DROP TABLE second").unwrap();
    upgrade(&mut connection, &demanding).unwrap();
    let problem = cause(upgrade(&mut connection, TWO).unwrap_err());
    assert!(
        problem.contains("newer version") && problem.contains("schema is 3"),
        "{problem}"
    );
}

#[test]
fn missing_step_is_refused() {
    let mut connection = Connection::open_in_memory().unwrap();
    upgrade(&mut connection, TWO).unwrap();
    connection
        .execute("DELETE FROM api_keys_schema_migrations WHERE version = 1", [])
        .unwrap();
    assert!(cause(upgrade(&mut connection, TWO).unwrap_err()).contains("migration 1 is missing"));
}

#[test]
fn failing_step_leaves_nothing_behind() {
    let mut connection = Connection::open_in_memory().unwrap();
    let broken = [Migration {
        name: "first",
        up: "CREATE TABLE first (a INTEGER); CREATE TABLE first (a INTEGER);",
        down: "DROP TABLE first;",
        min_program: 1,
    }];
    assert!(upgrade(&mut connection, &broken).is_err());
    assert_eq!(schema(&connection), Vec::<String>::new());
    upgrade(&mut connection, TWO).unwrap();
}

/// Another process is in the middle of the same upgrade. A program that reads the ledger before it waits for the lock would
/// make the step a second time, or fail because its read is out of date.
#[test]
fn upgrade_waits_for_the_lock_before_it_reads_the_ledger() {
    static WAITING: AtomicBool = AtomicBool::new(false);
    let folder = tempfile::tempdir().unwrap();
    let open = || Connection::open(folder.path().join("keys.sqlite")).unwrap();
    let (mut first, mut second) = (open(), open());
    first.pragma_update(None, "journal_mode", "WAL").unwrap();
    upgrade(&mut first, &TWO[..1]).unwrap();
    let step = first.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    step.execute_batch(TWO[1].up).unwrap();
    let row = params![2, TWO[1].name, TWO[1].checksum(), 0];
    step.execute("INSERT INTO api_keys_schema_migrations VALUES (?1, ?2, ?3, 1, ?4)", row)
        .unwrap();

    let waits = |_| {
        WAITING.store(true, Ordering::SeqCst);
        std::thread::yield_now();
        true
    };
    second.busy_handler(Some(waits)).unwrap();
    let upgraded = std::thread::spawn(move || upgrade(&mut second, TWO));
    while !WAITING.load(Ordering::SeqCst) && !upgraded.is_finished() {
        std::thread::yield_now();
    }
    step.commit().unwrap();
    upgraded.join().unwrap().unwrap();
}
