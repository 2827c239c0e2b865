//! Rows of the source that are damaged, or that the other database does not take, are named and not shown.

use tower_api_key::store::{CopyErrorKind, copy};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damaged_rows_are_named_and_not_shown() {
    const NUL: &str = "has a NUL character";
    for (change, column, problem, is_taken_by_sqlite) in [
        (
            "UPDATE api_keys_keys SET metadata = '{\"hunter2' WHERE name = 'plain'",
            "keys.metadata",
            "must be JSON",
            false,
        ),
        (
            "UPDATE api_keys_keys SET scopes = '{\"hunter2\":1}' WHERE name = 'plain'",
            "keys.scopes",
            "must be a JSON list",
            false,
        ),
        (
            "UPDATE api_keys_keys SET created_at = 'hunter2' WHERE name = 'plain'",
            "keys.created_at",
            "unexpected type",
            false,
        ),
        (
            "UPDATE api_keys_users SET display_name = 'hunter2' || char(0)",
            "users.display_name",
            NUL,
            true,
        ),
        (
            "UPDATE api_keys_organizations SET metadata = '{\"a\":\"hunter2\\u0000\"}' WHERE slug = 'acme'",
            "organizations.metadata",
            NUL,
            true,
        ),
        (
            "UPDATE api_keys_roles SET description = CAST(x'68756e74657232ff' AS TEXT)",
            "roles.description",
            "unexpected type",
            false,
        ),
        (
            "UPDATE api_keys_audit_events SET hash = x'00' WHERE seq = 2",
            "audit_events.hash",
            "must have 32 bytes",
            false,
        ),
        (
            "PRAGMA foreign_keys = OFF; UPDATE api_keys_key_secrets SET key_id = zeroblob(16) WHERE position = 0",
            "key_secrets.key_id",
            "the row that it names is missing",
            false,
        ),
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE api_keys_keys SET status = 'hunter2'",
            "keys.status",
            "unknown value",
            false,
        ),
    ] {
        let places = Places::new();
        let source = places.sqlite("old").await;
        live(source.clone(), false).await;
        Connection::open(places.file("old"))
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let target = postgres_target(&schema_name()).await;
        let error = copy(&source, &target).await.expect_err(change);
        assert_eq!(error.kind(), CopyErrorKind::InvalidRow, "{change}: {}", text(&error));
        let said = text(&error);
        assert!(said.contains(column) && said.contains(problem), "{change}: {said}");
        assert!(!format!("{said} {error:?}").contains("hunter2"), "{said}");
        let to_file = copy(&source, &places.sqlite_target("new").await).await;
        assert_eq!(to_file.is_ok(), is_taken_by_sqlite, "{change}: {to_file:?}");
    }
}

/// Once the row is mended, the copy goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copy_goes_on_once_the_row_is_mended() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    let (of, _) = live(source.clone(), false).await;
    let hand = Connection::open(places.file("old")).unwrap();
    hand.execute_batch("UPDATE api_keys_key_use SET last_address = 'a' || char(0)")
        .unwrap();
    let target = postgres_target(&schema_name()).await;
    let error = copy(&source, &target).await.unwrap_err();
    assert!(text(&error).contains("key_use.last_address"), "{}", text(&error));
    hand.execute_batch("UPDATE api_keys_key_use SET last_address = NULL")
        .unwrap();
    copy(&source, &target).await.unwrap();
    assert_eq!(verdicts(&handle(target, false).await, &of).await, of);
}
