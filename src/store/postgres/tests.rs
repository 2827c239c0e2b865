//! What needs the statements themselves.

use std::time::Duration;

use super::*;
use crate::key::{KeyRecord, Organization, Timestamp};
use crate::store::sql::migration::{POSTGRES, number};
use crate::store::{StoreExt, Write};

/// The server of `scripts/services`.
pub(super) fn server() -> String {
    let name = "API_KEYS_TEST_POSTGRES";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run ./scripts/test, or scripts/services COMMAND"))
}

pub(super) fn schema_name(of: &str) -> String {
    format!("unit_{of}_{:x}", std::process::id())
}

#[tokio::test]
async fn every_statement_is_accepted() {
    let builder = PostgresStore::builder().schema(schema_name("statements"));
    let store = builder.open(&server()).await.unwrap();
    let mut lent = store.0.connections.for_read().await.unwrap();
    let client = lent.client().unwrap();
    let mut refused = Vec::new();
    for statement in store.0.sql.all() {
        if let Err(error) = client.prepare(statement.text()).await {
            let said = error.as_db_error().map(ToString::to_string);
            refused.push(format!(
                "{}\n{}",
                statement.text(),
                said.unwrap_or_else(|| error.to_string())
            ));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
}

/// A column that is forgotten would be empty in every copy.
#[tokio::test]
async fn copies_have_every_column() {
    use crate::store::sql::copy::{Kind, NOT_COPIED, REALM, TABLES};

    let name = schema_name("columns");
    let store = PostgresStore::builder().schema(&name).open(&server()).await.unwrap();
    let mut lent = store.0.connections.for_read().await.unwrap();
    let rows = "SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_nullable = 'YES', \
                coalesce((SELECT k.ordinal_position FROM information_schema.table_constraints t JOIN \
                information_schema.key_column_usage k USING (constraint_schema, constraint_name) WHERE \
                t.constraint_type = 'PRIMARY KEY' AND t.table_schema = c.table_schema AND t.table_name = c.table_name \
                AND k.column_name = c.column_name), 0)::bigint FROM information_schema.columns c WHERE c.table_schema = $1";
    let rows = lent.client().unwrap().query(rows, &[&name]).await.unwrap();
    let mut found: Vec<(String, String, String, bool, i64)> = rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .filter(|(table, ..)| !NOT_COPIED.contains(&&**table))
        .collect();
    let mut listed = Vec::new();
    for table in TABLES.iter().chain([&REALM]) {
        for (index, column) in table.columns.iter().enumerate() {
            let kind = match column.kind {
                Kind::Id => "uuid",
                Kind::Number => "bigint",
                Kind::Truth => "boolean",
                Kind::Text | Kind::OneOf(_) => "text",
                Kind::List | Kind::Object => "jsonb",
                Kind::Bytes | Kind::Hash => "bytea",
            };
            let place = if index < table.key { index as i64 + 1 } else { 0 };
            listed.push((
                table.name.into(),
                column.name.into(),
                kind.into(),
                column.is_nullable,
                place,
            ));
        }
    }
    listed.sort();
    found.sort();
    assert_eq!(listed, found);
}

/// Up, down to each earlier version and up again, with rows in it.
#[tokio::test]
async fn schema_goes_up_down_and_up_again_with_rows_in_it() {
    let name = schema_name("migrations");
    let schema = Schema::new(&name).unwrap();
    for version in 0..=POSTGRES.len() {
        let store = PostgresStore::builder().schema(&name).open(&server()).await.unwrap();
        let acme = Organization::new("Acme");
        let key = KeyRecord::new(acme.id, "orders", Timestamp::now());
        let insert = Commit::new()
            .write(Write::InsertOrganization(acme.clone()))
            .write(Write::InsertKey(key));
        store.commit(insert).await.unwrap();
        assert_eq!(store.get(acme.id).await.unwrap(), Some(acme));
        let mut client = store.0.connections.alone().await.unwrap();
        client
            .batch_execute(&schema.rendered("CREATE TABLE IF NOT EXISTS {s}another_one (a bigint)"))
            .await
            .unwrap();
        migrate::downgrade(&mut client, &schema, POSTGRES, number(version))
            .await
            .unwrap();
        let found = migrate::check_as_it_is(&mut client, &schema, POSTGRES, false).await;
        assert_eq!(found.is_ok(), version == POSTGRES.len());
        client
            .batch_execute(&schema.rendered("SELECT a FROM {s}another_one"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn follower_confirms_what_it_has_read() {
    let builder = PostgresStore::builder().schema(schema_name("follower"));
    let builder = builder.max_staleness(Duration::from_millis(250));
    let store = builder.open(&server()).await.unwrap();
    let clock = Clock::system();
    store.follow(&clock);
    is_confirmed_after(&store, clock.now()).await;
}

async fn is_confirmed_after(store: &PostgresStore, moment: crate::clock::Monotonic) {
    let is_confirmed = async {
        while store.0.fence.confirmed_at() <= moment {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_confirmed)
        .await
        .expect("nothing was confirmed");
}

/// It may log nothing. One that came with a migration is of a later version.
#[tokio::test]
async fn nothing_is_confirmed_beside_a_replaced_function() {
    let name = schema_name("functions");
    let builder = PostgresStore::builder()
        .schema(&name)
        .max_staleness(Duration::from_millis(250));
    let store = builder.open(&server()).await.unwrap();
    let clock = Clock::system();
    store.follow(&clock);
    is_confirmed_after(&store, clock.now()).await;
    let (schema, client) = (Schema::new(&name).unwrap(), store.0.connections.alone().await.unwrap());
    let run = async |text: &str| client.batch_execute(&schema.rendered(text)).await.unwrap();
    run("CREATE OR REPLACE FUNCTION {s}log_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'").await;
    let replaced = clock.now();
    // Twenty looks.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(store.0.fence.confirmed_at() <= replaced);

    let later = number(POSTGRES.len() + 1);
    run(&format!(
        "INSERT INTO {{s}}schema_migrations VALUES ({later}, 'later', '', 0, 0)"
    ))
    .await;
    is_confirmed_after(&store, clock.now()).await;
}

#[test]
fn functions_are_found_in_the_migrations() {
    use crate::store::sql::migration::functions_of;

    let functions = functions_of(POSTGRES);
    let texts = POSTGRES.iter().flat_map(|migration| migration.up.lines());
    assert_eq!(
        functions.len(),
        texts.filter(|line| line.starts_with("CREATE FUNCTION")).count()
    );
    let is_source = |source: &&str| source.starts_with("\nBEGIN\n") && source.ends_with("\nEND\n");
    assert!(
        functions.values().all(is_source) && functions.contains_key("log_change"),
        "{functions:?}"
    );
}
