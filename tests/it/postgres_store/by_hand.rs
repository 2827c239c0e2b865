//! Rows, triggers and tables that somebody changes in psql: it is seen in time, whatever was switched off for it.

use std::time::Duration;

use tower_api_key::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

use super::{BOUND, Node, builder, chain};
use crate::support::postgres::{psql, schema_name, shared, try_psql};

/// Within what a change is seen.
const SEEN: Duration = Duration::from_secs(2);

async fn node(schema: &str) -> Node {
    Node::over(builder().schema(schema).open(&shared()).await.unwrap()).await
}

/// What ends a key, and an organization, by hand.
const ENDINGS: &[&str] = &[
    "UPDATE {s}.keys SET status = 'revoked'",
    "UPDATE {s}.keys SET expires_at = 1",
    "UPDATE {s}.keys SET networks = '[\"192.0.2.0/24\"]'",
    "UPDATE {s}.key_secrets SET expires_at = 1",
    "UPDATE {s}.key_secrets SET lookup = 'another' || lookup",
    "UPDATE {s}.organizations SET status = 'inactive'",
    "DELETE FROM {s}.key_secrets",
    "DELETE FROM {s}.key_secrets; DELETE FROM {s}.keys",
    "UPDATE {s}.keys SET requires = '[\"a feature of the future\"]'",
];

/// What somebody may do first, and undo afterwards.
const BYPASSES: &[(&str, &str)] = &[
    ("", ""),
    (
        "SET session_replication_role = replica",
        "SET session_replication_role = origin",
    ),
    (
        "ALTER TABLE {s}.keys DISABLE TRIGGER ALL; ALTER TABLE {s}.key_secrets DISABLE TRIGGER ALL; ALTER TABLE {s}.organizations DISABLE TRIGGER ALL",
        "",
    ),
    (
        "ALTER TABLE {s}.keys DISABLE TRIGGER ALL; ALTER TABLE {s}.key_secrets DISABLE TRIGGER ALL; ALTER TABLE {s}.organizations DISABLE TRIGGER ALL",
        "ALTER TABLE {s}.keys ENABLE TRIGGER ALL; ALTER TABLE {s}.key_secrets ENABLE TRIGGER ALL; ALTER TABLE {s}.organizations ENABLE TRIGGER ALL",
    ),
    (
        "ALTER TABLE {s}.keys DISABLE TRIGGER keys_log_update; ALTER TABLE {s}.keys DISABLE TRIGGER keys_log_delete; \
         ALTER TABLE {s}.key_secrets DISABLE TRIGGER USER; ALTER TABLE {s}.organizations DISABLE TRIGGER USER",
        "ALTER TABLE {s}.keys ENABLE ALWAYS TRIGGER keys_log_update; ALTER TABLE {s}.keys ENABLE ALWAYS TRIGGER keys_log_delete",
    ),
    (
        "BEGIN; ALTER TABLE {s}.keys DISABLE TRIGGER USER; ALTER TABLE {s}.key_secrets DISABLE TRIGGER USER; \
         ALTER TABLE {s}.organizations DISABLE TRIGGER USER",
        "COMMIT",
    ),
    (
        "DROP TRIGGER keys_log_update ON {s}.keys; DROP TRIGGER keys_log_delete ON {s}.keys; \
         DROP TRIGGER secrets_log_update ON {s}.key_secrets; DROP TRIGGER secrets_log_delete ON {s}.key_secrets; \
         DROP TRIGGER organizations_log_update ON {s}.organizations",
        "",
    ),
    (
        "CREATE OR REPLACE FUNCTION {s}.log_change(of_kind bigint, of_id uuid, at_revision bigint, about text) RETURNS void \
         LANGUAGE plpgsql AS 'BEGIN END'",
        "",
    ),
    (
        "CREATE OR REPLACE FUNCTION {s}.raise_revision() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "",
    ),
    (
        "CREATE TEMP TABLE own AS SELECT pg_get_functiondef('{s}.log_row()'::regprocedure) AS text; \
         CREATE OR REPLACE FUNCTION {s}.log_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DO $$ BEGIN EXECUTE (SELECT text FROM own); END $$",
    ),
    (
        "ALTER TABLE {s}.keys RENAME TO keys2; ALTER TABLE {s}.keys2 RENAME TO keys",
        "",
    ),
    ("BEGIN ISOLATION LEVEL READ COMMITTED", "COMMIT"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_by_hand_is_seen_whatever_is_bypassed() {
    for (before, after) in BYPASSES {
        let mut waiting = Vec::new();
        for ending in ENDINGS {
            let schema = schema_name();
            let node = node(&schema).await;
            let key = node.issue().await;
            assert_eq!(node.asks(&key).await, 200);
            waiting.push((schema, node, key, ending));
        }
        for (schema, ..) in &waiting {
            let ending = waiting.iter().find(|one| one.0 == *schema).unwrap().3;
            psql(
                &shared(),
                &format!("{before};\n{ending};\n{after};").replace("{s}", schema),
            );
        }
        let done = std::time::Instant::now();
        for (_, node, key, ending) in &waiting {
            let left = SEEN.saturating_sub(done.elapsed()).max(Duration::from_millis(50));
            loop {
                // 403: of another network. 503: a feature that this version does not know.
                let status = node.asks(key).await;
                if matches!(status, 401 | 403) || status == 503 && ending.contains("requires") {
                    break;
                }
                assert!(
                    matches!(status, 200 | 503) && done.elapsed() < left + SEEN,
                    "{status}: {before}; {ending}"
                );
                assert!(
                    status == 503 || done.elapsed() < SEEN,
                    "admitted {:?} after: {before}; {ending}",
                    done.elapsed()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for _ in 0..5 {
                assert_ne!(node.asks(key).await, 200, "{before}; {ending}");
            }
        }
    }
}

/// After it, a node that knew the key answers as one that is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_table_is_seen() {
    let first = schema_name();
    node(&first).await;
    let tables = psql(
        &shared(),
        &format!("SELECT tablename FROM pg_tables WHERE schemaname = '{first}' ORDER BY 1"),
    );
    let mut nodes = Vec::new();
    for table in tables.lines() {
        let schema = schema_name();
        let node = node(&schema).await;
        let key = node.issue().await;
        assert_eq!(node.asks(&key).await, 200);
        psql(&shared(), &format!("TRUNCATE {schema}.{table} CASCADE"));
        nodes.push((table, schema, node, key));
    }
    tokio::time::sleep(SEEN).await;
    for (table, schema, node, key) in &nodes {
        let known = node.asks(key).await;
        // A busy machine may take longer than a check may.
        let mut new = 503;
        for _ in 0..if known == 503 { 1 } else { 5 } {
            new = match builder().schema(schema).without_migrations().open(&shared()).await {
                Ok(store) => {
                    let settings =
                        tower_api_key::ApiKeys::builder(store).hash_policy(tower_api_key::hash::HashPolicy::sha256());
                    let layer = settings.checking().layer();
                    let status = crate::support::ask(&layer, crate::support::bearer(&crate::support::text(key))).await;
                    status.status().as_u16()
                }
                Err(_) => 503,
            };
            if new != 503 {
                break;
            }
        }
        let expected: &[u16] = match *table {
            "keys" | "key_secrets" | "organizations" | "plans" => &[401],
            "realm" => &[503],
            _ => &[200],
        };
        assert!(expected.contains(&known), "{known} after {table} was emptied");
        // One that is new has no secret of the realm to begin with, and cannot be opened without a ledger.
        if *table != "server_secrets" && *table != "schema_migrations" {
            assert_eq!(known, new, "{table}");
        }
    }
    // What is changed now is seen, or cannot be changed.
    let mut revoked = Vec::new();
    for (table, schema, node, key) in nodes {
        if node.asks(&key).await == 200 {
            let revoking = try_psql(&shared(), &format!("UPDATE {schema}.keys SET status = 'revoked'"));
            match revoking {
                Ok(_) => revoked.push((table, node, key)),
                Err(said) => assert!(
                    table == "change_counter" && said.contains("change_counter"),
                    "{table}: {said}"
                ),
            }
        }
    }
    assert!(revoked.len() > 10, "{}", revoked.len());
    tokio::time::sleep(SEEN).await;
    for (table, node, key) in revoked {
        assert_eq!(node.asks(&key).await, 401, "{table}");
    }
}

#[tokio::test]
async fn update_prepared_before_a_change_by_hand_is_a_conflict() {
    let schema = schema_name();
    let node = node(&schema).await;
    let key = node.issue().await;
    assert_eq!(node.asks(&key).await, 200);
    let prepared = node.store.get(key.record.id).await.unwrap().unwrap().record;
    let acme = node.store.get(prepared.organization_id).await.unwrap().unwrap();
    psql(
        &shared(),
        &format!("UPDATE {schema}.keys SET status = 'revoked'; UPDATE {schema}.organizations SET status = 'inactive'"),
    );
    for write in [Write::UpdateKey(prepared), Write::UpdateOrganization(acme)] {
        let error = node.store.commit(Commit::new().write(write)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict, "{}", chain(&error));
    }
    let stored = psql(
        &shared(),
        &format!("SELECT k.status, o.status FROM {schema}.keys k, {schema}.organizations o"),
    );
    assert_eq!(stored, "revoked|inactive");
    node.until(&key, 401, &[200], SEEN).await;
}

/// Somebody whose transaction is open for long holds up no other, and is seen when it ends.
#[tokio::test]
async fn open_transaction_holds_up_nothing() {
    let schema = schema_name();
    let node = node(&schema).await;
    let (key, other) = (node.issue().await, node.issue().await);
    assert_eq!((node.asks(&key).await, node.asks(&other).await), (200, 200));
    let mut hand = super::connect(&shared()).await;
    let open = hand.transaction().await.unwrap();
    let id = other.record.id;
    open.batch_execute(&format!(
        "UPDATE {schema}.keys SET status = 'revoked' WHERE id = '{id}'"
    ))
    .await
    .unwrap();
    let begun = std::time::Instant::now();
    node.revoke(key.record.id).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((node.asks(&key).await, node.asks(&other).await), (401, 200));
    tokio::time::sleep(2 * BOUND).await;
    assert_eq!(node.asks(&other).await, 200);
    open.commit().await.unwrap();
    node.until(&other, 401, &[200], SEEN).await;
}
