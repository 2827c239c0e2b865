//! What a copy has.

use tower_api_key::AuditAnchors;
use tower_api_key::store::copy;

use super::*;

async fn keeps_everything<S: ManagedStore + Clone>(
    store: S,
    has_root_key: bool,
    of: &Verdicts,
    anchors: &AuditAnchors,
) {
    let keys = handle(store, has_root_key).await;
    assert_eq!(verdicts(&keys, of).await, *of);
    keys.audit().verify(anchors).await.unwrap();
}

async fn goes_to_postgres_and_back(has_root_key: bool) {
    let places = Places::new();
    let (of, anchors) = live(places.sqlite("old").await, has_root_key).await;
    assert!(
        of.iter().filter(|(_, verdict)| verdict.starts_with("KeyId")).count() >= 4,
        "{of:?}"
    );
    let before = rows(&places.file("old"));
    is_full(&before);

    let schema = schema_name();
    let target = postgres_target(&schema).await;
    let copied = copy(&places.sqlite("old").await, &target).await.unwrap();
    let keys = before.iter().filter(|row| row.starts_with("api_keys_keys ")).count();
    assert_eq!((copied.rows("keys"), copied.rows("no such table")), (keys as u64, 0));
    // Others that follow the target read everything anew.
    assert_ne!(
        by_hand(&schema, "SELECT count(*) FROM {s}key_changes WHERE kind = 5").trim(),
        "0"
    );

    let back = places.sqlite_target("back").await;
    let again = copy(&postgres(&schema).await.unwrap(), &back).await.unwrap();
    assert_eq!(copied, again);
    assert_eq!(rows(&places.file("back")), before);

    // Between two of a kind.
    let other = schema_name();
    let copied = copy(&postgres(&schema).await.unwrap(), &postgres_target(&other).await).await;
    assert_eq!(copied.unwrap(), again);
    let copied = copy(&back, &places.sqlite_target("third").await).await;
    assert_eq!(copied.unwrap(), again);
    assert_eq!(rows(&places.file("third")), before);

    // Each serves, those that were copied into at once.
    keeps_everything(target, has_root_key, &of, &anchors).await;
    keeps_everything(back, has_root_key, &of, &anchors).await;
    keeps_everything(postgres(&other).await.unwrap(), has_root_key, &of, &anchors).await;
    keeps_everything(places.sqlite("third").await, has_root_key, &of, &anchors).await;
    // What it copied from has not changed.
    let since: Vec<String> = rows(&places.file("old"));
    assert_eq!(since, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_goes_to_postgres_and_back_with_root_key() {
    goes_to_postgres_and_back(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_goes_to_postgres_and_back_without_root_key() {
    goes_to_postgres_and_back(false).await;
}

/// Of events that wait to be linked, numbers go on behind those that were copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copy_goes_on_where_the_source_stopped() {
    let places = Places::new();
    let (of, mut anchors) = live(places.sqlite("old").await, true).await;
    let by_hand_there = Connection::open(places.file("old")).unwrap();
    by_hand_there
        .execute("INSERT INTO api_keys_audit_waiting (n, event) VALUES (41, 'event')", [])
        .unwrap();
    let schema = schema_name();
    let target = postgres_target(&schema).await;
    copy(&places.sqlite("old").await, &target).await.unwrap();
    let number = by_hand(
        &schema,
        "INSERT INTO {s}audit_waiting (event) VALUES ('next') RETURNING n",
    );
    assert_eq!(number, "42");
    by_hand(&schema, "DELETE FROM {s}audit_waiting");

    let keys = handle(target, true).await;
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    assert_eq!(verdict(&keys, &of[0].0).await, of[0].1);
    let acme = issuer.organization_by_slug("acme").await.unwrap().unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "new")).await;
    assert!(issued.is_ok(), "{issued:?}");
    keys.audit().verify(&anchors).await.unwrap();
    assert_eq!(keys.audit().anchor(&mut anchors).await.unwrap(), 1);
}
