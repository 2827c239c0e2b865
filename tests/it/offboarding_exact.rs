//! Bulk changes of exactly the keys that a preview named.

use tower_api_key::key::{KeyStatus, Timestamp};
use tower_api_key::store::MemoryStore;
use tower_api_key::{IssueErrorKind, IssueRequest, Issuer, KeySelection, SelectionDigest};

use crate::house::issuer;
use crate::offboarding::{Issues, Toggles, changed, issue, meddled, of};
use crate::users::{issue_for, stores, user_id};

async fn digest<S: tower_api_key::store::ManagedStore>(
    issuer: &Issuer<S>,
    selection: &KeySelection,
) -> SelectionDigest {
    issuer.preview(selection).await.unwrap().digest().unwrap()
}

#[tokio::test]
async fn keys_that_a_preview_named_are_changed_or_none() {
    for (store, _database) in stores().await {
        let issuer = issuer(&store);
        let acme = issuer.create_organization("acme").await.unwrap();
        let request = || IssueRequest::new(acme.id, "key").labels("ci".parse().unwrap());
        let (one, two) = (issue(&issuer, request()).await, issue(&issuer, request()).await);
        let ci = KeySelection::label("ci").within(acme.id);
        let seen = digest(&issuer, &ci).await;
        let exactly = ci.clone().exactly(seen.to_string().parse().unwrap());

        // Whatever the status of a key is, it is the same key.
        issuer.disable(one.record.id).await.unwrap();
        assert_eq!(digest(&issuer, &ci).await, seen);
        let done = issuer.disable_all(&exactly, "").await.unwrap();
        assert_eq!(changed(&done), of(&[&one, &two]));
        assert_eq!(issuer.enable_all(&exactly).await.unwrap().total, 2);
        assert_eq!(issuer.enable_all(&exactly).await.unwrap().total, 0);

        // One joins, and leaves again.
        let third = issue(&issuer, request()).await;
        for _ in 0..2 {
            let error = issuer.revoke_all(&exactly, "").await.unwrap_err();
            assert_eq!(error.kind(), IssueErrorKind::SelectionChanged);
        }
        assert_eq!(issuer.preview(&ci).await.unwrap().revoked, 0);
        issuer
            .update(third.record.id, |record| record.labels = Default::default())
            .await
            .unwrap();
        let done = issuer.revoke_all(&exactly, "left").await.unwrap();
        assert_eq!((changed(&done), done.total), (of(&[&one, &two]), 2));
        let stored = issuer.key(third.record.id).await.unwrap().unwrap();
        assert_eq!(stored.record.status, KeyStatus::Active);
        assert_eq!(
            done.changed[0].revision,
            issuer.key(done.changed[0].id).await.unwrap().unwrap().record.revision
        );
    }
}

#[tokio::test]
async fn digest_tells_selections_apart() {
    let issuer = issuer(&MemoryStore::new());
    let (acme, other) = (
        issuer.create_organization("acme").await.unwrap(),
        issuer.create_organization("other").await.unwrap(),
    );
    let selections = [
        KeySelection::label("ci"),
        KeySelection::label("prod"),
        KeySelection::label("ci").within(acme.id),
        KeySelection::label("ci").within(other.id),
        KeySelection::label("ci").since(Timestamp::from_millis(0)),
        KeySelection::user(acme.id, user_id("ci")),
    ];
    let mut digests = Vec::new();
    for selection in &selections {
        digests.push(digest(&issuer, selection).await.to_string());
    }
    let all = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all);
    for text in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
        assert!(text.parse::<SelectionDigest>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn key_that_joins_after_the_read_is_left_alone() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let key = issue_for(&issuer(&rows), &acme, "alice").await.unwrap();
    let hers = KeySelection::user(acme.id, user_id("alice"));
    let exactly = hers.clone().exactly(digest(&issuer(&rows), &hers).await);
    let store = meddled(&rows, 1, Issues(key.record.clone()));
    let done = issuer(&store).revoke_all(&exactly, "").await.unwrap();
    assert_eq!(changed(&done), of(&[&key]));
    let found = issuer(&rows).preview(&hers).await.unwrap();
    assert_eq!((found.revoked, found.active), (1, 1));
    assert_eq!(*store.status_commits.lock().unwrap(), [1]);
}

#[tokio::test]
async fn state_that_changes_in_between_is_read_again() {
    let rows = MemoryStore::new();
    let acme = issuer(&rows).create_organization("acme").await.unwrap();
    let key = issue_for(&issuer(&rows), &acme, "alice").await.unwrap();
    let hers = KeySelection::user(acme.id, user_id("alice"));
    let exactly = hers.clone().exactly(digest(&issuer(&rows), &hers).await);
    let store = meddled(&rows, 3, Toggles(key.record.id));
    let done = issuer(&store).revoke_all(&exactly, "").await.unwrap();
    assert_eq!((done.total, done.changed[0].status), (1, KeyStatus::Revoked));
}
