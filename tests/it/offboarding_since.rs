//! What a key made since it leaked.

use std::time::Duration;

use tower_api_key::key::{KeyStatus, Timestamp};
use tower_api_key::{Descendants, IssueRequest, IssuedKey, KeySelection};

use crate::house::House;
use crate::offboarding::{changed, ids, issue, of};

/// An administrator's key, what it made before it leaked, and what was made with both afterwards.
struct Leak {
    house: House,
    administrator: IssuedKey,
    before: IssuedKey,
    at: Timestamp,
    after: IssuedKey,
    grandchild: IssuedKey,
}

async fn leak() -> Leak {
    let house = House::new().await;
    let made_by = |creator: &IssuedKey| house.request("key").created_by_key(creator.record.id);
    let administrator = issue(&house.issuer, IssueRequest::new(house.organization.id, "administrator")).await;
    let before = issue(&house.issuer, made_by(&administrator)).await;
    house.hand.advance(Duration::from_millis(1));
    let after = issue(&house.issuer, made_by(&administrator)).await;
    let grandchild = issue(&house.issuer, made_by(&before)).await;
    Leak {
        at: after.record.created_at,
        house,
        administrator,
        before,
        after,
        grandchild,
    }
}

#[tokio::test]
async fn preview_has_what_was_made_since_then() {
    let leak = leak().await;
    let all = KeySelection::descendants_of(leak.administrator.record.id);
    let late = of(&[&leak.after, &leak.grandchild]);
    for (selection, expected) in [
        (all.clone(), of(&[&leak.before, &leak.after, &leak.grandchild])),
        (all.clone().since(leak.at), late.clone()),
        (all.clone().since(leak.at.after(Duration::from_millis(1))), of(&[])),
        (
            KeySelection::created_by(leak.administrator.record.id).since(leak.at),
            of(&[&leak.after]),
        ),
    ] {
        let preview = leak.house.issuer.preview(&selection).await.unwrap();
        assert_eq!(ids(&preview.keys), expected, "{selection}");
        assert_eq!((preview.total, preview.active), (expected.len(), expected.len()));
    }
    assert_eq!(
        all.since(Timestamp::from_millis(1_767_225_600_000)).to_string(),
        format!(
            "since:2026-01-01T00:00:00Z descendants:{}",
            leak.administrator.record.id
        )
    );
}

#[tokio::test]
async fn leaked_key_ends_with_what_it_made_since_then() {
    for descendants in [Descendants::RevokeSince as fn(_) -> _, Descendants::DisableSince] {
        let leak = leak().await;
        let (house, root) = (&leak.house, leak.administrator.record.id);
        let how = descendants(leak.at);
        let done = house.issuer.revoke_with_descendants(root, how, "leaked").await.unwrap();
        assert_eq!(
            changed(&done),
            of(&[&leak.administrator, &leak.after, &leak.grandchild])
        );
        let status = async |key: &IssuedKey| house.issuer.key(key.record.id).await.unwrap().unwrap().record.status;
        let stopped = match how {
            Descendants::RevokeSince(_) => KeyStatus::Revoked,
            _ => KeyStatus::Disabled,
        };
        assert_eq!(status(&leak.administrator).await, KeyStatus::Revoked);
        assert_eq!(status(&leak.before).await, KeyStatus::Active);
        assert_eq!(
            [status(&leak.after).await, status(&leak.grandchild).await],
            [stopped; 2]
        );

        // That of another selection is not undone.
        let all = KeySelection::descendants_of(root);
        let undone = house.issuer.enable_all(&all).await.unwrap();
        assert_eq!(undone.total, 0);
        let undone = house.issuer.enable_all(&all.since(leak.at)).await.unwrap();
        assert_eq!(undone.total, if stopped == KeyStatus::Disabled { 2 } else { 0 });
    }
}

#[tokio::test]
async fn bulk_changes_leave_what_was_made_before() {
    let leak = leak().await;
    let issuer = &leak.house.issuer;
    let late = KeySelection::descendants_of(leak.administrator.record.id).since(leak.at);
    for done in [
        issuer.disable_all(&late, "leaked").await,
        issuer.revoke_all(&late, "leaked").await,
    ] {
        assert_eq!(changed(&done.unwrap()), of(&[&leak.after, &leak.grandchild]));
    }
    let before = issuer.key(leak.before.record.id).await.unwrap().unwrap();
    assert_eq!(before.record.status, KeyStatus::Active);
}
