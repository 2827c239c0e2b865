//! What statements read, over many rows: 1,000 organizations with 100 keys each, and one with 20,000.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, StatementStatus};
use uuid::Uuid;

use super::{SCHEMA, migrate, statements};
use crate::key::{KeyStatus, Lookup, OrganizationStatus, PlanId, SecretForm, Timestamp, UserStatus};
use crate::store::query::*;
use crate::store::sql::many_rows::{fruitless, large, led, of_one_row, pages, rows};
use crate::store::sql::migration::SQLITE;
use crate::store::sql::{self, Dialect, Statement, Statements, at_once};
use crate::store::{Candidate, StoreError};

/// The instructions of SQLite's machine for a read of one row, whatever the row.
const FEW: i64 = 1_000;

/// Scans that are no scans of a table, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "SCAN k",
        ") k LEFT JOIN",
        "the rows of a page, which was cut out before",
    ),
    (
        "SCAN counted",
        ") counted",
        "the rows that were counted, which an index led to",
    ),
    (
        "SCAN e VIRTUAL TABLE INDEX 1:",
        "json_each(k.roles) e",
        "the roles of one key",
    ),
    (
        "SCAN t",
        "WITH RECURSIVE tree",
        "the keys of a tree, to which an index led",
    ),
];

/// Statements that sort, and what.
const SORTS: &[(&str, &str)] = &[
    (") k LEFT JOIN", "the rows of a page, again, with their secrets"),
    ("commit_id =", "the events of one commit"),
    ("SELECT DISTINCT", "keys that are counted, up to 10,000"),
    ("h.hash =", "the keys with one hash, of which there is one"),
    ("key_use WHERE key_id =", "the secrets of one key"),
    ("WITH RECURSIVE tree", "the keys of a tree"),
    (
        "count(DISTINCT u.key_id)",
        "statistics: the keys of an organization that were used, by their secrets",
    ),
];

fn find(connection: &Connection, sql: &Statements, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
    at_once(sql::find(connection, sql, lookup))
}

fn answer(connection: &Connection, sql: &Statements, query: Query) -> Result<Answer, StoreError> {
    at_once(sql::answer(connection, sql, query))
}

fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate::upgrade(&mut connection, SQLITE, false).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    // As in `Location::connect`.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .unwrap();
    connection.set_prepared_statement_cache_capacity(Statements::COUNT + 16);
    connection
}

fn filled() -> Connection {
    let connection = empty();
    connection
        .execute_batch(
            "CREATE TEMP TABLE numbers (n INTEGER PRIMARY KEY);
             WITH RECURSIVE up (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM up WHERE n < 119999)
             INSERT INTO numbers SELECT n FROM up; BEGIN",
        )
        .unwrap();
    for sql in rows(&Dialect::sqlite(SCHEMA)) {
        connection
            .execute(&sql, [])
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    connection.execute_batch("COMMIT; DROP TABLE numbers; ANALYZE").unwrap();
    connection
}

/// The steps of each statement's plan.
fn check_plans(connection: &Connection) {
    for sql in statements().all().into_iter().map(Statement::text) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut plan = statement.raw_query();
        let mut details: Vec<String> = Vec::new();
        while let Some(step) = plan.next().unwrap() {
            details.push(step.get("detail").unwrap());
        }
        for detail in &details {
            let is_made = |name: &str| {
                let mut how = ["CO-ROUTINE", "MATERIALIZE"].into_iter();
                how.any(|how| details.contains(&format!("{how} {name}")))
            };
            let is_there = |scan: &str| match scan {
                "SCAN k" => is_made("k"),
                "SCAN counted" => is_made("counted"),
                "SCAN t" => is_made("tree"),
                _ => true,
            };
            let allowed =
                |(scan, within, _): &(&str, &str, &str)| detail == scan && sql.contains(within) && is_there(scan);
            let is_scan = detail.starts_with("SCAN");
            assert!(!is_scan || ALLOWED.iter().any(allowed), "{sql}\n{details:#?}");
            // An index that SQLite makes for one query is a scan too.
            assert!(!detail.contains("AUTOMATIC"), "{sql}\n{details:#?}");
            let is_sort = detail.starts_with("USE TEMP B-TREE FOR");
            let may_sort = SORTS.iter().any(|(within, _)| sql.contains(within));
            assert!(!is_sort || may_sort, "{sql}\n{details:#?}");
        }
    }
}

#[test]
fn no_statement_reads_a_whole_table() {
    check_plans(&empty());
    check_plans(&filled());
}

/// Runs something; how many instructions all statements took.
fn steps(connection: &Connection, sql: &Statements, run: impl FnOnce()) -> i64 {
    let of_all = |reset: bool| {
        let texts = sql.all();
        let steps = texts.iter().map(|statement| {
            let statement = connection.prepare_cached(statement.text()).unwrap();
            match reset {
                true => i64::from(statement.reset_status(StatementStatus::VmStep)),
                false => i64::from(statement.get_status(StatementStatus::VmStep)),
            }
        });
        steps.sum::<i64>()
    };
    of_all(true);
    run();
    of_all(false)
}

#[test]
fn reads_take_steps_for_what_they_answer_alone() {
    let (connection, sql) = (filled(), statements());
    let lookup = Lookup::new("lookup119999").unwrap();
    let take = |what: &str, most: i64, query: Query| {
        let steps = steps(&connection, &sql, || drop(answer(&connection, &sql, query).unwrap()));
        println!("{what}: {steps}");
        assert!(steps > 0 && steps <= most, "{what} took {steps} steps");
    };
    let found = steps(&connection, &sql, || {
        assert!(find(&connection, &sql, &lookup).unwrap().is_some())
    });
    assert!(found <= FEW, "finding a key took {found} steps");
    of_one_row()
        .into_iter()
        .for_each(|(what, query)| take(what, FEW, query));
    take("changes", 100 * FEW, ChangesAfter(19_000).query());
    take("count", 400 * FEW, Keys::of(large()).count().query());
    pages()
        .into_iter()
        .for_each(|(what, query)| take(what, 20 * FEW, query));
    // With what it takes to find where 10,000 rows end.
    let environment = Keys::of(large()).environment("live");
    take("environment", 100 * FEW, environment.query());
}

/// How many steps a page takes whose filter matches no row.
fn steps_to_nothing<F>(connection: &Connection, sql: &Statements, list: &List<F>) -> i64
where
    List<F>: TypedQuery + Clone,
{
    steps(connection, sql, || {
        drop(answer(connection, sql, list.clone().query()).unwrap())
    })
}

#[test]
fn page_that_matches_nothing_looks_at_ten_thousand_rows() {
    let (connection, sql) = (filled(), statements());
    for (what, query) in fruitless() {
        let steps = steps(&connection, &sql, || drop(answer(&connection, &sql, query).unwrap()));
        println!("{what}: {steps}");
        // Some 5 of each row to find the last one, and 5 to 50 to look at it. Without the bound, twice or twelve times as many.
        assert!(steps > 50_000 && steps < 600_000, "{what} took {steps} steps");
    }
}

#[test]
fn index_leads_to_keys_of_a_user_a_label_a_creator_and_a_status() {
    let (connection, sql) = (filled(), statements());
    for (what, list) in led() {
        let listed = steps_to_nothing(&connection, &sql, &list);
        assert!(listed <= FEW, "{what} took {listed} steps");
        let counted = steps(&connection, &sql, || {
            drop(answer(&connection, &sql, list.clone().count().query()).unwrap())
        });
        assert!(counted <= FEW, "counting by {what} took {counted} steps");
    }
}

#[test]
fn index_leads_to_organizations_of_a_plan_and_a_status() {
    let (connection, sql) = (filled(), statements());
    let one = "UPDATE api_keys_organizations SET status = 'inactive' WHERE slug = 'org-700'";
    connection
        .execute("UPDATE api_keys_organizations SET status = 'active'", [])
        .unwrap();
    connection.execute(one, []).unwrap();
    for (what, list) in [
        ("status", Organizations::all().status(OrganizationStatus::Inactive)),
        ("plan", Organizations::all().plan(PlanId::new())),
    ] {
        let listed = steps_to_nothing(&connection, &sql, &list);
        assert!(listed <= FEW, "{what} took {listed} steps");
        let counted = steps(&connection, &sql, || {
            drop(answer(&connection, &sql, list.clone().count().query()).unwrap())
        });
        assert!(counted <= FEW, "counting by {what} took {counted} steps");
    }
}

fn counted(connection: &Connection, sql: &Statements, list: &Keys) -> Count {
    let answer = answer(connection, sql, list.clone().count().query()).unwrap();
    CountKeys::take(answer).unwrap()
}

#[test]
fn counts_are_exact_where_an_index_counts_and_say_where_not() {
    let (connection, sql) = (filled(), statements());
    let large = large();
    let at = Timestamp::from_millis;
    let ending = || Keys::of(large).status(KeyStatus::Active);
    // Nine of ten are active, one of three ends, at its number; the large organization has those from 100,000 on.
    for (list, expected) in [
        (Keys::of(large), Count::of(20_000)),
        (Keys::of(large).user("user7".parse().unwrap()), Count::of(1_000)),
        (Keys::all().label("l7"), Count::of(2_400)),
        (Keys::of(large).label("l7"), Count::of(400)),
        (Keys::of(large).status(KeyStatus::Disabled), Count::of(2_000)),
        (ending().ends_until(at(100_299)), Count::of(90)),
        (ending().ends_after(at(119_699)), Count::of(90 + 12_000)),
        (ending().ends_after(at(99_999)).ends_until(at(100_299)), Count::of(90)),
        (Keys::of(large).environment("none"), Count::of(0)),
        // Of 120,000 keys 100,000 are looked at.
        (Keys::all().environment("none"), Count::at_least(0)),
        (Keys::all().environment("live"), Count::of(10_001)),
        (
            Keys::all().status(KeyStatus::Disabled).environment("live"),
            Count::at_least(0),
        ),
    ] {
        assert_eq!(counted(&connection, &sql, &list), expected, "{list:?}");
    }
    let query = Keys::all().environment("none").count().query();
    let steps = steps(&connection, &sql, || drop(answer(&connection, &sql, query).unwrap()));
    assert!(steps > 1_000_000 && steps < 6_000_000, "{steps}");
    for of in [Count::at_least(0), Count::at_least(20_000)] {
        assert!(!of.is_exact && of.to_string().ends_with('+'));
    }
}

/// All rows of a list, and in how many pages.
fn walk<F>(connection: &Connection, sql: &Statements, list: &List<F>) -> (Vec<F::Row>, usize)
where
    F: Filter + Clone + Send,
{
    let (mut rows, mut pages, mut list) = (Vec::new(), 0, list.clone().page(1000));
    loop {
        let page = List::<F>::take(answer(connection, sql, list.clone().query()).unwrap()).unwrap();
        rows.extend(page.items);
        pages += 1;
        match page.next {
            Some(next) => list = list.after(next),
            None => return (rows, pages),
        }
    }
}

#[test]
fn walk_goes_on_where_nothing_matched() {
    let (connection, sql) = (filled(), statements());
    let large = large();
    // The last key of all, and of its organization.
    let last = "SELECT max(id) FROM api_keys_keys WHERE organization_id = ?1";
    let last: Uuid = connection.query_row(last, [large.as_uuid()], |row| row.get(0)).unwrap();
    connection
        .execute("UPDATE api_keys_keys SET status = 'revoked' WHERE id = ?1", [last])
        .unwrap();
    for (list, pages) in [
        (Keys::of(large).status(KeyStatus::Revoked), 1),
        (Keys::all().status(KeyStatus::Revoked), 13),
        (Keys::of(large).status(KeyStatus::Revoked).name_starts_with("key"), 3),
        (Keys::all().status(KeyStatus::Revoked).name_starts_with("key"), 13),
    ] {
        let (rows, walked) = walk(&connection, &sql, &list);
        assert_eq!(
            rows.iter().map(|key| key.record.id.as_uuid()).collect::<Vec<_>>(),
            [last]
        );
        assert_eq!(walked, pages, "{list:?}");
    }
    // Every tenth: full pages, which end before 10,000 rows were looked at.
    let (rows, _) = walk(&connection, &sql, &Keys::of(large).status(KeyStatus::Disabled));
    assert_eq!(rows.len(), 2_000);
    connection
        .execute(
            "UPDATE api_keys_users SET status = 'disabled' WHERE user_id = 'user59999'",
            [],
        )
        .unwrap();
    let (rows, walked) = walk(&connection, &sql, &Users::of(large).status(UserStatus::Disabled));
    assert_eq!((rows.len(), walked), (1, 5));
    // Fewer rows than that are looked at in one page.
    let (rows, walked) = walk(
        &connection,
        &sql,
        &Organizations::all().status(OrganizationStatus::Inactive),
    );
    assert_eq!((rows.len(), walked), (100, 1));
    let (_, walked) = walk(
        &connection,
        &sql,
        &AuditEvents::all().actor(crate::key::Actor::user("nobody")),
    );
    assert_eq!(walked, 13);
}

#[test]
fn count_of_a_form_reads_the_secrets_of_that_form() {
    let (connection, sql) = (filled(), statements());
    let query = CountKeysOfForm {
        form: SecretForm::Crc32,
        at: Timestamp::from_millis(0),
    };
    let steps = steps(&connection, &sql, || {
        drop(answer(&connection, &sql, query.query()).unwrap())
    });
    assert!(steps <= FEW, "{steps}");
}
