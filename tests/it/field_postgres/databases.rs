//! Databases that are not as a new one: other encodings, locales and defaults, other columns, large numbers.

use std::time::Duration;

use tower_api_key::IssueRequest;
use tower_api_key::key::{Labels, Metadata, UserId};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::store::query::Keys;
use tower_api_key::testing::store_conformance;

use super::{Shop, builder, chain, database, new_database};
use crate::support::postgres::{psql, schema_name, shared};

/// The kit on a store that no handle follows.
async fn keeps_the_rules(url: &str) {
    let store = builder().open(url).await.unwrap();
    store_conformance(async || store.clone()).await;
}

/// One that takes no other encoding would refuse a name, or give it back as another one.
#[rstest::rstest]
#[case("SQL_ASCII")]
#[case("LATIN1")]
#[case("EUC_JP")]
#[tokio::test]
async fn database_of_another_encoding_is_refused(#[case] encoding: &str) {
    let options = format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
    let url = new_database(&shared(), &schema_name(), &options);
    let error = builder().open(&url).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(chain(&error).contains(encoding), "{}", chain(&error));
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'api_keys'";
    assert_eq!(psql(&url, schemas), "0");
}

/// What an operating system sorts otherwise after an upgrade, and a database of a language that has letters of its own.
#[tokio::test]
async fn nothing_depends_on_the_language_of_the_database() {
    let turkish = "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C'";
    let url = new_database(&shared(), &schema_name(), turkish);
    let shop = Shop::open(&url).await;
    let key = shop.issue_named("TITLES I İ ı i").await;
    for prefix in ["titles i", "TITLES I", "Titles i i\u{307}"] {
        let found = shop.keys.read(Keys::of(shop.acme.id).name_starts_with(prefix)).await;
        assert_eq!(found.unwrap().items[0].record.id, key.record.id, "{prefix}");
    }
    // 950 is "C".
    let others = "SELECT string_agg(i.indexrelid::regclass::text, ',') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid, \
         unnest(i.indcollation::oid[]) l WHERE c.relnamespace = 'api_keys'::regnamespace AND l NOT IN (0, 950)";
    assert_eq!(psql(&url, others), "");
    keeps_the_rules(&url).await;
}

/// Numbers of rows that are counted for years.
#[tokio::test]
async fn numbers_beyond_32_bits_are_numbers() {
    let schema = schema_name();
    let (shop, other) = (
        Shop::of_schema(&shared(), &schema).await,
        Shop::of_schema(&shared(), &schema).await,
    );
    let key = shop.issue().await;
    other.until(&key, 200, &[503]).await;
    let many = "UPDATE {s}.keys SET revision = 2147483647; \
         INSERT INTO {s}.key_changes (seq, tag, kind, id, revision, at) VALUES (4294967295, gen_random_uuid(), 5, gen_random_uuid(), 0, 0); \
         UPDATE {s}.key_use SET requests = 4294967295";
    psql(&shared(), &many.replace("{s}", &schema));
    shop.until(&key, 200, &[503]).await;
    shop.keys.flush().await.unwrap();
    let used = format!("SELECT requests > 4294967295 FROM {schema}.key_use");
    assert_eq!(psql(&shared(), &used), "t");
    shop.revoke(&key).await;
    other.until(&key, 401, &[200, 503]).await;
    shop.works().await;
    let small = format!(
        "SELECT string_agg(attrelid::regclass || '.' || attname, ',') FROM pg_attribute JOIN pg_class c ON c.oid = attrelid \
         WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'S') AND attnum > 0 \
         AND atttypid IN ('int2'::regtype, 'int4'::regtype, 'oid'::regtype, 'money'::regtype)"
    );
    assert_eq!(psql(&shared(), &small), "");
}

/// An entry of an index has room for 2,704 bytes, and what cannot be made smaller takes all of them.
#[tokio::test]
async fn longest_names_fit_into_every_index() {
    let schema = schema_name();
    let shop = Shop::of_schema(&shared(), &schema).await;
    // Letters of which a searched form has many more.
    let long = |bytes: usize| -> String {
        let letters = ['\u{fdfa}', '\u{fdfb}', '\u{3300}', '\u{1f12d}', '\u{33a7}'];
        let mut text = String::new();
        while text.len() + 4 <= bytes {
            match rand::random_range(0..3) {
                0 => text.push(letters[rand::random_range(0..letters.len())]),
                _ => text.push(rand::random_range('\u{4e00}'..'\u{9fff}')),
            }
        }
        text
    };
    for _ in 0..20 {
        let organization = shop.issuer().create_organization(long(255)).await.unwrap();
        let user: UserId = long(255).parse().unwrap();
        let mut metadata = Metadata::default();
        metadata.set("note", &long(1024)).unwrap();
        let request = IssueRequest::new(organization.id, long(255))
            .user(user)
            .metadata(metadata)
            .labels(Labels::new([&*"l".repeat(64), &*"m".repeat(64)]).unwrap());
        let key = shop.issuer().issue(request).await.unwrap();
        assert_eq!(shop.asks(&key).await, 200);
        shop.issuer().revoke(key.record.id, &long(1024)).await.unwrap();
        assert_eq!(shop.asks(&key).await, 401);
    }
    shop.works().await;
}

/// JSON has a character that no text of the database has. Only what has it is refused.
#[tokio::test]
async fn nul_in_metadata_is_refused_by_itself() {
    let schema = schema_name();
    let shop = Shop::of_schema(&shared(), &schema).await;
    let key = shop.issue().await;
    let mut metadata = Metadata::default();
    metadata.set("note", "a\0b \\u0000 \u{1}\u{7f}").unwrap();
    let request = || IssueRequest::new(shop.acme.id, "nul");
    let refused = shop.issuer().issue(request().metadata(metadata)).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        tower_api_key::IssueErrorKind::InvalidRequest,
        "{}",
        chain(&refused)
    );
    // What only looks like it is text.
    let mut metadata = Metadata::default();
    metadata.set("note", "\\u0000 \u{1}\u{7f}").unwrap();
    let kept = shop.issuer().issue(request().metadata(metadata.clone())).await.unwrap();
    let read = shop.keys.read(kept.record.id).await.unwrap().unwrap();
    assert_eq!(read.record.metadata, metadata);
    assert_eq!((shop.asks(&key).await, shop.asks(&kept).await), (200, 200));
}

/// As somebody may have set them for all that are in the database, long ago.
const DEFAULTS: &[&str] = &[
    "row_security = off",
    "quote_all_identifiers = on",
    "check_function_bodies = off",
    "plpgsql.variable_conflict = 'use_column'",
    "plpgsql.extra_errors = 'all'",
    "client_encoding = 'LATIN1'",
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "standard_conforming_strings = off",
    "bytea_output = 'escape'",
    "intervalstyle = 'sql_standard'",
    "datestyle = 'SQL, DMY'",
    "timezone = 'Pacific/Apia'",
    "array_nulls = off",
    "search_path = ''",
    "statement_timeout = '250ms'",
    "lock_timeout = '250ms'",
    "default_statistics_target = 1",
    "join_collapse_limit = 1",
    "cursor_tuple_fraction = 0",
    "jit_above_cost = 0",
    "force_parallel_mode = on",
    "default_table_access_method = 'heap'",
    "work_mem = '64kB'",
];

#[tokio::test]
async fn defaults_of_a_database_change_no_answer() {
    let name = schema_name();
    let url = new_database(&shared(), &name, "");
    for setting in DEFAULTS {
        psql(&shared(), &format!("ALTER DATABASE {name} SET {setting}"));
    }
    Shop::open(&url).await.works().await;
    keeps_the_rules(&url).await;
    assert_eq!(psql(&url, "SHOW plpgsql.variable_conflict"), "use_column");
}

/// Some end whatever rests for a while.
#[tokio::test]
async fn connections_that_end_when_they_rest_are_replaced() {
    let name = schema_name();
    let url = new_database(&shared(), &name, "");
    psql(
        &shared(),
        &format!("ALTER DATABASE {name} SET idle_session_timeout = '300ms'"),
    );
    let (shop, other) = (Shop::open(&url).await, Shop::open(&url).await);
    let mut keys = Vec::new();
    for _ in 0..8 {
        keys.push(shop.issue().await);
    }
    for key in &keys {
        tokio::time::sleep(Duration::from_millis(700)).await;
        other.until(key, 200, &[503]).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        shop.revoke(key).await;
        other.until(key, 401, &[200, 503]).await;
    }
}

/// Statements that are prepared know the types of what they answer. A migration of a later version, or a hand, changes these.
#[tokio::test]
async fn tables_that_change_under_a_service_fail_no_key() {
    let schema = schema_name();
    let shop = Shop::of_schema(&shared(), &schema).await;
    for change in [
        "ALTER TABLE {s}.keys ADD COLUMN tenant text NOT NULL DEFAULT 'none'",
        "ALTER TABLE {s}.key_secrets ADD COLUMN tenant bigint, ADD COLUMN more jsonb NOT NULL DEFAULT '{}'",
        "ALTER TABLE {s}.key_secrets ALTER COLUMN hint TYPE varchar(500)",
        "CREATE INDEX ON {s}.keys (name)",
        "ALTER TABLE {s}.keys RENAME TO keys_before; ALTER TABLE {s}.keys_before RENAME TO keys",
        "ALTER TABLE {s}.organizations ADD CONSTRAINT short CHECK (length(name) < 1000)",
        "VACUUM FULL {s}.keys; VACUUM FULL {s}.key_secrets; VACUUM FULL {s}.key_changes; VACUUM FULL pg_trigger",
        "REINDEX SCHEMA {s}",
        "CLUSTER {s}.key_changes USING key_changes_pkey",
        "ALTER TABLE {s}.key_changes SET UNLOGGED; ALTER TABLE {s}.key_changes SET LOGGED",
        "ALTER TABLE {s}.keys DROP COLUMN tenant",
    ] {
        let (used, cold) = (shop.issue().await, shop.issue().await);
        shop.until(&used, 200, &[503]).await;
        psql(&shared(), &change.replace("{s}", &schema));
        shop.until(&cold, 200, &[503]).await;
        shop.until(&used, 200, &[503]).await;
        shop.revoke(&used).await;
        assert_eq!(shop.asks(&used).await, 401, "{change}");
    }
    shop.works().await;
}

/// Who renames a database or a user ends what is connected, or does not.
#[tokio::test]
async fn database_that_is_renamed_and_back_is_found_again() {
    let (name, user) = (schema_name(), schema_name());
    new_database(&shared(), &name, "");
    psql(&shared(), &format!("CREATE ROLE {user} LOGIN SUPERUSER"));
    let url = super::as_user(&database(&shared(), &name), &user);
    let shop = Shop::open(&url).await;
    let (cached, cold) = (shop.issue().await, shop.issue().await);
    assert_eq!(shop.asks(&cached).await, 200);
    psql(
        &shared(),
        &format!("ALTER ROLE {user} RENAME TO {user}_2; ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
    );
    let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'");
    psql(&shared(), &end);
    let gone = format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '{name}'");
    super::until_so(&shared(), &gone).await;
    psql(&shared(), &format!("ALTER DATABASE {name} RENAME TO {name}_2"));
    shop.until(&cold, 503, &[]).await;
    shop.until(&cached, 503, &[200]).await;
    let refused = shop.issuer().revoke(cold.record.id, "leaked").await.unwrap_err();
    assert_eq!(refused.kind(), tower_api_key::IssueErrorKind::StoreUnavailable);
    psql(
        &shared(),
        &format!(
            "ALTER DATABASE {name}_2 RENAME TO {name}; ALTER DATABASE {name} ALLOW_CONNECTIONS true; ALTER ROLE {user}_2 RENAME TO {user}"
        ),
    );
    shop.until(&cached, 200, &[503]).await;
    shop.until(&cold, 200, &[503]).await;
    shop.works().await;
}
