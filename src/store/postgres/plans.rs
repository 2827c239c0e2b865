//! What statements read, over many rows: 1,000 organizations with 100 keys each, and one with 20,000.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::session::Session;
use super::tests::{schema_name, server};
use super::*;
use crate::store::query::{ChangesAfter, Keys, TypedQuery};
use crate::store::sql::many_rows::{fruitless, large, led, of_one_row, pages, rows};
use crate::store::sql::migration::POSTGRES;

/// Rows and entries of indexes for an answer of one row, whatever the row.
const FEW: i64 = 50;

/// What steps may do in some statements, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("Sort", ") k LEFT JOIN", "the rows of a page, again, with their secrets"),
    ("Sort", "h.hash =", "the keys with one hash, of which there is one"),
    ("Sort", "WHERE k.id = $1 ORDER BY s.position", "the secrets of one key"),
    ("Sort", "key_use WHERE key_id =", "the secrets of one key"),
    ("Sort", "commit_id =", "the events of one commit"),
    ("Sort", "WITH RECURSIVE tree", "the keys of a tree"),
    ("Sort", "unnest($1::uuid[])", "the ids that were given"),
    ("(s.key_id = k.id)", "WHERE k.id =", "one key, and its secrets"),
    ("all of operator_organization", "o.is_operator = TRUE", "one row"),
];
/// Kinds of steps that go through a table, or that make plans which do.
const FORBIDDEN: &[&str] = &[
    "Seq Scan",
    "Bitmap Heap Scan",
    "Bitmap Index Scan",
    "Tid Scan",
    "Hash Join",
    "Merge Join",
    "Materialize",
];

/// A store with these rows, and a connection to it with the settings of those that serve.
struct Filled {
    store: PostgresStore,
    client: deadpool_postgres::ClientWrapper,
    schema: Schema,
}

impl Filled {
    async fn new(of: &str) -> Self {
        let name = schema_name(of);
        let schema = Schema::new(&name).unwrap();
        let store = PostgresStore::builder().schema(&name).open(&server()).await.unwrap();
        let client = store.0.connections.alone().await.unwrap();
        let mut filled = Self { store, client, schema };
        filled.fill().await;
        filled
    }

    async fn fill(&mut self) {
        self.client.batch_execute("SET statement_timeout = 0").await.unwrap();
        let transaction = self.client.transaction().await.unwrap();
        for sql in rows(&self.schema.dialect()) {
            let ran = transaction.batch_execute(&sql).await;
            ran.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        transaction.commit().await.unwrap();
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1";
        for row in self.client.query(tables, &[&self.schema.name()]).await.unwrap() {
            let table: String = row.get(0);
            let analyze = self.schema.rendered(&format!("ANALYZE {{s}}{table}"));
            self.client.batch_execute(&analyze).await.unwrap();
        }
    }

    /// The plan of a statement, whatever its values are.
    async fn plan(&self, sql: &str) -> Value {
        let values = match self.client.prepare(sql).await.unwrap().params().len() {
            0 => String::new(),
            count => format!("({})", vec!["NULL"; count].join(", ")),
        };
        let explain =
            format!("DEALLOCATE ALL; PREPARE one AS {sql}; EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE one{values}");
        let said = self.client.simple_query(&explain).await.unwrap();
        let plan = said.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        serde_json::from_str::<Value>(plan.unwrap()).unwrap()[0]["Plan"].take()
    }

    /// The first column of each index.
    async fn leads(&self) -> BTreeMap<String, String> {
        let leads = "SELECT c.relname::text, a.attname::text FROM pg_class c \
                     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 \
                     WHERE c.relkind = 'i' AND c.relnamespace IN (to_regnamespace($1), to_regnamespace('pg_catalog'))";
        let rows = self.client.query(leads, &[&self.schema.name()]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// What is wrong with the plans of all statements.
    async fn problems(&self) -> BTreeSet<String> {
        let leads = self.leads().await;
        let mut problems = BTreeSet::new();
        for sql in self.store.0.texts() {
            let plan = self.plan(&sql).await;
            let mut steps = vec![&plan];
            while let Some(step) = steps.pop() {
                steps.extend(step["Plans"].as_array().into_iter().flatten());
                if let Some(problem) = problem(&sql, step, &leads) {
                    problems.insert(format!("{problem}\n{sql}\n{}", outline(&plan, 0)));
                }
            }
        }
        problems
    }

    /// How many rows and entries of indexes it reads to answer.
    async fn reads(&mut self, query: Query) -> i64 {
        let transaction = self.client.transaction().await.unwrap();
        let name = self.schema.name();
        let read = async || -> i64 {
            let row = transaction.query_one(READ, &[&name]).await.unwrap();
            row.get(0)
        };
        let before = read().await;
        let session = Session::within(&transaction, std::time::Duration::from_secs(60));
        sql::answer(&session, &self.store.0.sql, query).await.unwrap();
        read().await - before
    }
}

/// Of tables and indexes, in this transaction.
const READ: &str = "SELECT sum(pg_catalog.pg_stat_get_xact_tuples_returned(c.oid) \
     + pg_catalog.pg_stat_get_xact_tuples_fetched(c.oid))::bigint FROM pg_catalog.pg_class c \
     WHERE c.relnamespace = to_regnamespace($1)";

impl Inner {
    /// All statements that a connection of the store runs while it serves.
    fn texts(&self) -> Vec<String> {
        let shared = self.sql.all().into_iter().map(|statement| statement.text().to_owned());
        let (locks, state) = (self.locks.texts(), self.state.texts());
        let look = look::Look::of(&self.schema, POSTGRES).text().to_owned();
        let copy = sql::copy::texts_of_pages(&self.schema.dialect());
        shared.chain(locks).chain(state).chain([look]).chain(copy).collect()
    }
}

fn problem(sql: &str, step: &Value, leads: &BTreeMap<String, String>) -> Option<String> {
    let kind = step["Node Type"].as_str().unwrap();
    let name = step["Index Name"].as_str().or(step["Relation Name"].as_str());
    let name = name.unwrap_or_default();
    let problem = if FORBIDDEN.contains(&kind) {
        format!("{kind} of {name}")
    } else if let Some(filter) = step["Join Filter"].as_str() {
        format!("{kind} that compares row by row {filter}")
    } else if kind.ends_with("Sort") {
        kind.to_owned()
    } else if kind.starts_with("Index") && !is_by_lead(step, &leads[name]) {
        format!("{kind} of all of {name}, not by {}", leads[name])
    } else {
        return None;
    };
    let is_allowed = ALLOWED
        .iter()
        .any(|(what, within, _)| problem.contains(what) && sql.contains(within));
    (!is_allowed).then_some(problem)
}

/// A condition on later columns alone goes through the whole index.
fn is_by_lead(step: &Value, lead: &str) -> bool {
    let condition = step["Index Cond"].as_str().unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    condition.split(|c| !is_word(c)).any(|word| word == lead)
}

/// The steps of a plan, each below the one that it is for.
fn outline(step: &Value, depth: usize) -> String {
    let of = [
        "Index Name",
        "Relation Name",
        "Index Cond",
        "Filter",
        "Join Filter",
        "Sort Key",
    ];
    let said: Vec<String> = of
        .iter()
        .filter(|name| !step[**name].is_null())
        .map(|name| step[*name].to_string())
        .collect();
    let kind = step["Node Type"].as_str().unwrap();
    let mut text = format!("{:1$}{kind} {2}\n", "", 2 * depth, said.join(" "));
    for below in step["Plans"].as_array().into_iter().flatten() {
        text += &outline(below, depth + 1);
    }
    text
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let filled = Filled::new("plans").await;
    let problems = Vec::from_iter(filled.problems().await);
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    // The check sees an index that is missing.
    for (index, table) in [("keys_of_creator", "keys"), ("organizations_by_slug", "organizations")] {
        let drop = filled.schema.rendered(&format!("BEGIN; DROP INDEX {{s}}{index}"));
        filled.client.batch_execute(&drop).await.unwrap();
        let problems = filled.problems().await;
        filled.client.batch_execute("ROLLBACK").await.unwrap();
        let names = |problem: &String| problem.lines().next().unwrap().contains(table);
        assert!(problems.iter().any(names), "without {index}: {problems:#?}");
    }
}

#[tokio::test]
async fn reads_take_rows_for_what_they_answer_alone() {
    let mut filled = Filled::new("reads").await;
    let mut all: Vec<(String, i64, i64, Query)> = Vec::new();
    let mut of = |what: &str, least: i64, most: i64, query: Query| all.push((what.to_owned(), least, most, query));
    of_one_row()
        .into_iter()
        .for_each(|(what, query)| of(what, 1, FEW, query));
    pages()
        .into_iter()
        .for_each(|(what, query)| of(what, 50, 8 * 51, query));
    of("changes", 1_000, 2_100, ChangesAfter(19_000).query());
    of("count", 10_000, 20_100, Keys::of(large()).count().query());
    // With what it takes to find where 10,000 rows end.
    let environment = Keys::of(large()).environment("live");
    of("environment", 10_000, 21_000, environment.query());
    for (what, query) in fruitless() {
        of(&format!("nothing by {what}"), 10_000, 60_000, query);
    }
    for (what, list) in led() {
        of(&format!("counting by {what}"), 0, FEW, list.clone().count().query());
        of(&format!("index by {what}"), 0, FEW, list.query());
    }
    let mut problems = Vec::new();
    for (what, least, most, query) in all {
        let read = filled.reads(query).await;
        println!("{what}: {read}");
        if !(least..=most).contains(&read) {
            problems.push(format!("{what} reads {read} rows, not {least} to {most}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
