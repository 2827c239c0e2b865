//! Which targets are taken, and who is served by them.

use tower_api_key::store::{CopyErrorKind, DynStore, KeyStore, StoreErrorKind, copy};

use super::*;

fn log_of(schema: &str) -> String {
    by_hand(schema, "SELECT coalesce(max(seq), 0) FROM {s}key_changes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn target_must_be_opened_as_one_and_be_new() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    let (of, _) = live(source.clone(), false).await;
    let schema = schema_name();
    let open = postgres(&schema).await.unwrap();
    let error = copy(&source, &open).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::NotATarget);

    // Somebody else's.
    let used = handle(open, false).await;
    let _ = used.ensure("Other", "key").await.unwrap();
    let before = by_hand(&schema, "SELECT count(*) FROM {s}keys; SELECT realm_id FROM {s}realm") + &log_of(&schema);
    let target = postgres_target(&schema).await;
    let error = copy(&source, &target).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::TargetInUse);
    let after = by_hand(&schema, "SELECT count(*) FROM {s}keys; SELECT realm_id FROM {s}realm") + &log_of(&schema);
    assert_eq!(before, after);
    let file = places.sqlite("used").await;
    let _ = handle(file.clone(), false).await.ensure("Other", "key").await.unwrap();
    drop((file, used));
    let error = copy(&source, &places.sqlite_target("used").await).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::TargetInUse, "{}", text(&error));

    // Itself.
    let there = schema_name();
    copy(&source, &postgres_target(&there).await).await.unwrap();
    let error = copy(&postgres(&there).await.unwrap(), &postgres_target(&there).await).await;
    assert_eq!(error.unwrap_err().kind(), CopyErrorKind::SameDatabase);
    assert!(!of.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn finished_copy_can_be_asked_for_again_until_it_is_used() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    live(source.clone(), false).await;
    let schema = schema_name();
    let target = postgres_target(&schema).await;
    let copied = copy(&source, &target).await.unwrap();
    let log = log_of(&schema);
    assert_eq!(copy(&source, &target).await.unwrap(), copied);
    let reopened = postgres_target(&schema).await;
    assert!(reopened.find(&"abcdefgh".parse().unwrap()).await.is_err());
    assert_eq!(copy(&source, &reopened).await.unwrap(), copied);
    assert!(reopened.find(&"abcdefgh".parse().unwrap()).await.is_ok());
    assert_eq!(log_of(&schema), log);

    let _ = handle(target, false).await.ensure("Acme", "one more").await.unwrap();
    let error = copy(&source, &postgres_target(&schema).await).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::TargetInUse);
    // The same, if it is the source that has changed.
    let other = places.sqlite_target("other").await;
    copy(&source, &other).await.unwrap();
    let _ = handle(source.clone(), false)
        .await
        .ensure("Acme", "another one")
        .await
        .unwrap();
    let error = copy(&source, &other).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::TargetInUse);
}

/// A service that has opened the new database before the copy, or opens it meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_served_by_a_target_until_it_is_copied() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    let (of, _) = live(source.clone(), false).await;
    let schema = schema_name();
    let early = postgres(&schema).await.unwrap();
    let lookup = "abcdefgh".parse().unwrap();
    assert_eq!(early.find(&lookup).await.unwrap().map(drop), None);
    let target = postgres_target(&schema).await;
    by_hand(&schema, "ALTER TABLE {s}key_secrets ADD CONSTRAINT stop CHECK (false)");
    let error = copy(&source, &target).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::Target, "{}", text(&error));

    // Keys are there, and nobody is told anything about them.
    assert_ne!(by_hand(&schema, "SELECT count(*) FROM {s}keys"), "0");
    assert_eq!(
        early.find(&lookup).await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    let error = target.find(&lookup).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(text(&error).contains("copy_target"), "{}", text(&error));
    let error = postgres(&schema).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(text(&error).contains("is not finished"), "{}", text(&error));
    let builder = PostgresStore::builder().schema(&schema).without_migrations();
    assert!(text(&builder.open(&shared()).await.unwrap_err()).contains("is not finished"));

    // Another one's copy is not gone on with.
    let other = places.sqlite("another").await;
    let _ = handle(other.clone(), false).await.ensure("Other", "key").await.unwrap();
    let error = copy(&other, &target).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::OtherCopy);
    // Nor is a target a source.
    let error = copy(&target, &places.sqlite_target("of a target").await)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::Source);

    by_hand(&schema, "ALTER TABLE {s}key_secrets DROP CONSTRAINT stop");
    copy(&source, &target).await.unwrap();
    // It has another identity than when that was opened.
    assert!(early.find(&lookup).await.is_err());
    assert_eq!(verdicts(&handle(target, false).await, &of).await, of);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_of_an_unfinished_copy_is_refused() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    live(source.clone(), false).await;
    let path = places.file("new");
    let target = places.sqlite_target("new").await;
    let hand = Connection::open(&path).unwrap();
    hand.execute_batch(
        "CREATE TRIGGER stop BEFORE INSERT ON api_keys_key_secrets BEGIN SELECT RAISE(ABORT, 'stop'); END",
    )
    .unwrap();
    let error = copy(&source, &target).await.unwrap_err();
    assert_eq!(error.kind(), CopyErrorKind::Target, "{}", text(&error));
    // The same store, which this process has open.
    let again = SqliteStore::open(&path).await.unwrap();
    assert!(again.find(&"abcdefgh".parse().unwrap()).await.is_err());
    drop((again, target));
    let url = format!("sqlite:{}", path.display());
    let refused = async || {
        for _ in 0..1000 {
            match DynStore::open(&url).await {
                Err(error) => return text(&error),
                // The threads of the store before have not ended.
                Ok(_) => tokio::task::yield_now().await,
            }
        }
        panic!("it is served");
    };
    let error = refused().await;
    assert!(error.contains("is not finished"), "{error}");
    hand.execute_batch("DROP TRIGGER stop").unwrap();
    copy(&source, &places.sqlite_target("new").await).await.unwrap();
}
