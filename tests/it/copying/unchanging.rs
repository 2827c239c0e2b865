//! Nothing is revoked behind the back of a copy, and what was revoked stays so.

use tower_api_key::key::KeyStatus;
use tower_api_key::store::copy;

use super::*;

/// Until the copy is finished, a revoke in the source fails, and its caller knows.
async fn source_takes_no_changes<S>(source: S, of: &Verdicts, file: &str, places: &Places)
where
    S: ManagedStore + Clone + tower_api_key::store::Copyable,
{
    let keys = handle(source.clone(), false).await;
    let id = keys
        .authenticator()
        .check(PresentedKey::new(of[0].0.as_bytes()))
        .await
        .unwrap()
        .key_id();
    let target = places.sqlite_target(file).await;
    // The copy waits for this one, and holds the source meanwhile.
    let hand = Connection::open(places.file(file)).unwrap();
    hand.execute_batch("BEGIN IMMEDIATE").unwrap();
    let copying = tokio::spawn({
        let (source, target) = (source.clone(), target.clone());
        async move { copy(&source, &target).await }
    });
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let mut number = 0;
    let error = loop {
        number += 1;
        let rename = |record: &mut tower_api_key::key::KeyRecord| record.name = format!("name {number}");
        if let Err(error) = issuer.update(id, rename).await {
            break error;
        }
    };
    assert!(text(&error).contains("unavailable"), "{}", text(&error));
    assert!(issuer.revoke(id, "lost").await.is_err());
    // Keys are checked as before.
    assert_eq!(verdicts(&keys, of).await, *of);
    hand.execute_batch("ROLLBACK").unwrap();
    copying.await.unwrap().unwrap();

    // Nothing of it is in either one; then it can be revoked again.
    let copied = handle(target, false).await;
    assert_eq!(verdicts(&copied, of).await, *of);
    assert_eq!(
        copied
            .issuer()
            .acting_as(Actor::service())
            .key(id)
            .await
            .unwrap()
            .unwrap()
            .record
            .status,
        KeyStatus::Active
    );
    issuer.revoke(id, "lost").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_takes_no_changes_while_it_is_copied() {
    let places = Places::new();
    let builder = SqliteStore::builder().busy_timeout(Duration::from_millis(100));
    let source = builder.open(places.file("old")).await.unwrap();
    let (of, _) = live(source.clone(), false).await;
    source_takes_no_changes(source, &of, "new", &places).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn schema_takes_no_changes_while_it_is_copied() {
    let places = Places::new();
    let builder = PostgresStore::builder()
        .schema(schema_name())
        .statement_timeout(Duration::from_millis(500));
    let source = builder.open(&shared()).await.unwrap();
    let (of, _) = live(source.clone(), false).await;
    source_takes_no_changes(source, &of, "new", &places).await;
}

/// Someone puts an old backup of the source in the place of the file that it was copied into.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn backup_from_before_the_copy_brings_nothing_back() {
    let places = Places::new();
    let source = places.sqlite("old").await;
    let keys = handle(source.clone(), false).await;
    let issuer = keys.issuer().acting_as(Actor::user("alice"));
    let acme = issuer.create_organization("acme").await.unwrap();
    let [revoked, disabled, rotated, of_user] = ["revoked", "disabled", "rotated", "of a user"]
        .map(|name| IssueRequest::new(acme.id, name).user("bob".parse().unwrap()));
    let revoked = issuer.issue(revoked).await.unwrap();
    let disabled = issuer.issue(disabled).await.unwrap();
    let rotated = issuer.issue(rotated).await.unwrap();
    let of_user = issuer.issue(of_user).await.unwrap();
    let plain = issuer.issue(IssueRequest::new(acme.id, "plain")).await.unwrap();
    let backup = places.file("backup");
    Connection::open(places.file("old"))
        .unwrap()
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    issuer.revoke(revoked.record.id, "lost").await.unwrap();
    issuer.disable(disabled.record.id).await.unwrap();
    let _ = issuer.rotate(rotated.record.id, Duration::ZERO).await.unwrap();
    issuer
        .disable_user(acme.id, &"bob".parse().unwrap(), "left")
        .await
        .unwrap();
    let target = places.sqlite_target("new").await;
    copy(&source, &target).await.unwrap();
    drop(target);

    let path = places.file("new");
    let open = async || {
        for _ in 0..10_000 {
            match SqliteStore::builder().exclusive().open(&path).await {
                Ok(store) => return store,
                Err(_) => tokio::task::yield_now().await,
            }
        }
        panic!("cannot be opened");
    };
    // Until its threads have ended.
    let store = open().await;
    drop(store);
    for _ in 0..10_000 {
        if !places.file("new-wal").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::copy(&backup, &path).unwrap();
    let keys = handle(SqliteStore::open(&path).await.unwrap(), false).await;
    for (issued, passes) in [
        (revoked, false),
        (disabled, false),
        (rotated, false),
        (of_user, false),
        (plain, true),
    ] {
        let said = verdict(&keys, issued.key.expose_secret()).await;
        assert_eq!(said.starts_with("KeyId"), passes, "{}: {said}", issued.record.name);
    }
}
