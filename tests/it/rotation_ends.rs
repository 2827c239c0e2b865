//! Rotations that are finished early or taken back, and secrets that are changed by hand meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyStatus, Lookup, Timestamp};
use tower_api_key::last_use::{SecretUse, UseBatch, UseSource};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, StoreExt, Write};
use tower_api_key::testing::{Barrier, Fault, FaultStore};
use tower_api_key::{ApiKeys, IfUsed, IssueErrorKind, IssueRequest, IssuedKey, RejectionKind};

use crate::house::place::{DAY, Place, detail};
use crate::house::{acting, check, crc_format, kind, text};

const HOUR: Duration = Duration::from_secs(3_600);

/// The secret of this key was used now.
async fn used(place: &Place, key: &IssuedKey) {
    let mut secret = SecretUse::new(key.lookup.clone(), key.record.id, place.acme.id);
    (secret.last_used_at, secret.requests) = (Some(place.in_days(0)), 1);
    let mut batch = UseBatch::new(UseSource::new(), 1);
    batch.secrets.push(secret);
    place.write(Write::AddUses(Arc::new(batch))).await;
}

/// A key and its successor, with a week of grace.
async fn rotated(place: &Place) -> (IssuedKey, IssuedKey) {
    let first = place.issue(place.request()).await;
    let second = place.issuer.rotate(first.record.id, 7 * DAY).await.unwrap();
    (first, second)
}

async fn admits(place: &Place, key: &IssuedKey) -> bool {
    check(&place.authenticator, text(key)).await.is_ok()
}

async fn last_action(place: &Place, key: &IssuedKey) -> (String, Option<String>) {
    let events = place.store.get(AuditEvents::all().key(key.record.id)).await.unwrap();
    let mut changes = events
        .items
        .iter()
        .filter(|entry| entry.event.action.as_str() != "key.used");
    let event = &changes.next_back().unwrap().event;
    (event.action.to_string(), detail(event, "lookup").map(Into::into))
}

#[tokio::test]
async fn finished_rotation_ends_the_old_secret_at_once() {
    for place in Place::all().await {
        let (first, second) = rotated(&place).await;
        assert!(admits(&place, &first).await && admits(&place, &second).await);
        let finished = place.issuer.finish(first.record.id, Duration::ZERO).await.unwrap();
        assert_eq!(finished.revision, second.record.revision + 1);
        assert!(!admits(&place, &first).await && admits(&place, &second).await);
        let stored = place.issuer.key(first.record.id).await.unwrap().unwrap();
        assert_eq!(stored.secrets[0].grace_ends_at, Some(place.in_days(0)));
        let said = ("key.rotation_finished".to_owned(), Some(first.lookup.to_string()));
        assert_eq!(last_action(&place, &first).await, said);

        // Once more changes nothing, and there is nothing to take back.
        let again = place.issuer.finish(first.record.id, Duration::ZERO).await.unwrap();
        assert_eq!(again, finished);
        let refused = place
            .issuer
            .take_back(first.record.id, IfUsed::Override)
            .await
            .unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (IssueErrorKind::NoRotation, Some("key"))
        );
        // The next one begins as ever.
        let third = place.issuer.rotate(first.record.id, DAY).await.unwrap();
        assert!(admits(&place, &second).await && admits(&place, &third).await);
    }
}

#[tokio::test]
async fn rotation_whose_old_secret_is_used_is_not_finished() {
    for place in Place::all().await {
        let (first, second) = rotated(&place).await;
        used(&place, &first).await;
        place.hand.advance(HOUR - Duration::from_millis(1));
        // The new one may be used.
        used(&place, &second).await;
        let refused = place.issuer.finish(first.record.id, HOUR).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (IssueErrorKind::InUse, Some("secret"))
        );
        assert!(
            refused.to_string().starts_with("the old secret was used at "),
            "{refused}"
        );
        assert!(admits(&place, &first).await);
        place.hand.advance(Duration::from_millis(1));
        place.issuer.finish(first.record.id, HOUR).await.unwrap();
        assert!(!admits(&place, &first).await);

        let (first, _) = rotated(&place).await;
        used(&place, &first).await;
        place.issuer.finish(first.record.id, Duration::ZERO).await.unwrap();
        assert!(!admits(&place, &first).await);
    }
}

#[tokio::test]
async fn rotation_taken_back_leaves_the_old_secret_alone() {
    for place in Place::all().await {
        let (first, second) = rotated(&place).await;
        let before = place.issuer.key(first.record.id).await.unwrap().unwrap();
        assert!(admits(&place, &second).await);
        // Uses by the old secret do not matter.
        used(&place, &first).await;
        place.issuer.take_back(first.record.id, IfUsed::Refuse).await.unwrap();
        assert!(admits(&place, &first).await);
        assert_eq!(
            kind(&check(&place.authenticator, text(&second)).await),
            RejectionKind::UnknownKey
        );
        let stored = place.issuer.key(first.record.id).await.unwrap().unwrap();
        let mut old = before.secrets[0].clone();
        old.grace_ends_at = None;
        assert_eq!(stored.secrets, [old]);
        let said = ("key.rotation_taken_back".to_owned(), Some(second.lookup.to_string()));
        assert_eq!(last_action(&place, &first).await, said);
        // Long after the grace period would have ended.
        place.hand.advance(30 * DAY);
        assert!(admits(&place, &first).await);
        let third = place.issuer.rotate(first.record.id, DAY).await.unwrap();
        assert!(admits(&place, &first).await && admits(&place, &third).await);
    }
}

#[tokio::test]
async fn rotation_whose_new_secret_is_used_is_not_taken_back() {
    for place in Place::all().await {
        let (first, second) = rotated(&place).await;
        used(&place, &second).await;
        let refused = place
            .issuer
            .take_back(first.record.id, IfUsed::Refuse)
            .await
            .unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (IssueErrorKind::InUse, Some("secret"))
        );
        assert!(admits(&place, &second).await);
        place.issuer.take_back(first.record.id, IfUsed::Override).await.unwrap();
        assert!(admits(&place, &first).await && !admits(&place, &second).await);
    }
}

#[tokio::test]
async fn key_without_a_rotation_has_none_to_end() {
    for place in Place::all().await {
        let key = place.issue(place.request()).await;
        let id = key.record.id;
        for refused in [
            place.issuer.finish(id, Duration::ZERO).await.unwrap_err(),
            place.issuer.take_back(id, IfUsed::Override).await.unwrap_err(),
        ] {
            assert_eq!(refused.kind(), IssueErrorKind::NoRotation);
        }
        // A grace period that is over is not brought back.
        let second = place.issuer.rotate(id, DAY).await.unwrap();
        place.hand.advance(DAY);
        let refused = place.issuer.take_back(id, IfUsed::Override).await.unwrap_err();
        assert_eq!(refused.kind(), IssueErrorKind::NoRotation);
        assert!(admits(&place, &second).await);
        let _third = place.issuer.rotate(id, DAY).await.unwrap();
        place.issuer.revoke(id, "").await.unwrap();
        for refused in [
            place.issuer.finish(id, Duration::ZERO).await.unwrap_err(),
            place.issuer.take_back(id, IfUsed::Override).await.unwrap_err(),
        ] {
            assert_eq!(refused.kind(), IssueErrorKind::Revoked);
        }
        let nobody = tower_api_key::key::KeyId::new();
        let refused = place.issuer.finish(nobody, Duration::ZERO).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (IssueErrorKind::NotFound, Some("key"))
        );
    }
}

/// What is done to a secret by hand raises no revision of its key.
#[tokio::test]
async fn secret_changed_by_hand_during_a_rotation_stays_so() {
    for what in ["rotate", "finish", "take back"] {
        let store = FaultStore::new(MemoryStore::new());
        let settings = ApiKeys::builder(store.clone()).formats(crc_format());
        let issuer = acting(settings.hash_policy(HashPolicy::sha256()));
        let acme = issuer.create_organization("acme").await.unwrap();
        let first = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
        let id = first.record.id;
        if what != "rotate" {
            let _second = issuer.rotate(id, 7 * DAY).await.unwrap();
        }
        let barrier = Barrier::new();
        store.faults().next_manage(Fault::After(barrier.clone()));
        let slow = tokio::spawn({
            let issuer = issuer.clone();
            async move {
                match what {
                    "rotate" => issuer.rotate(id, 7 * DAY).await.map(drop),
                    "finish" => issuer.finish(id, Duration::ZERO).await.map(drop),
                    _ => issuer.take_back(id, IfUsed::Refuse).await.map(drop),
                }
            }
        });
        barrier.reached(1).await;
        // Its end is set, and the revision put back as a change by hand leaves it.
        let ended = Timestamp::from_millis(1);
        by_hand(store.inner(), id, &first.lookup, ended).await;
        barrier.open();
        let done = slow.await.unwrap();
        let stored = issuer.key(id).await.unwrap().unwrap();
        let old = stored.secret(&first.lookup);
        match what {
            // The old one has ended, and is not given another end.
            "rotate" => assert!(old.is_none() && done.is_ok(), "{what}"),
            "finish" => assert_eq!(old.unwrap().expires_at, Some(ended)),
            _ => {
                assert_eq!(done.unwrap_err().kind(), IssueErrorKind::NoRotation);
                assert_eq!(old.unwrap().expires_at, Some(ended));
                assert_eq!(stored.secrets.len(), 2);
            }
        }
    }
}

/// Ends a secret, and leaves its key at the revision that it has.
async fn by_hand(store: &MemoryStore, id: tower_api_key::key::KeyId, lookup: &Lookup, end: Timestamp) {
    let stored = store.get(id).await.unwrap().unwrap();
    let (record, mut secrets) = (stored.record, stored.secrets);
    let secret = secrets.iter_mut().find(|secret| secret.lookup == *lookup).unwrap();
    secret.expires_at = Some(end);
    let mut commit = Commit::new()
        .write(Write::DeleteKey(id))
        .write(Write::InsertKey(record));
    let inserts = secrets.into_iter().map(|secret| Write::InsertSecret(id, secret));
    commit.writes.extend(inserts);
    store.commit(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_rotations_at_once_have_one_successor() {
    for place in Place::all().await {
        let first = place.issue(place.request()).await;
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let (issuer, id) = (place.issuer.clone(), first.record.id);
            tasks.spawn(async move { issuer.rotate(id, DAY).await });
        }
        let mut made = 0;
        for rotation in tasks.join_all().await {
            match rotation {
                Ok(_) => made += 1,
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        IssueErrorKind::RotationInProgress | IssueErrorKind::Conflict
                    ),
                    "{error}"
                ),
            }
        }
        assert_eq!(made, 1);
        let stored = place.issuer.key(first.record.id).await.unwrap().unwrap();
        assert_eq!(stored.secrets.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn finish_and_take_back_at_once_leave_one_secret_that_works() {
    for place in Place::all().await {
        for _ in 0..20 {
            let (first, second) = rotated(&place).await;
            let id = first.record.id;
            let (one, other) = (place.issuer.clone(), place.issuer.clone());
            let finish = tokio::spawn(async move { one.finish(id, Duration::ZERO).await });
            let taken = tokio::spawn(async move { other.take_back(id, IfUsed::Override).await });
            let (finished, taken) = (finish.await.unwrap().is_ok(), taken.await.unwrap().is_ok());
            assert!(finished != taken, "{finished} {taken}");
            assert_eq!(
                (admits(&place, &first).await, admits(&place, &second).await),
                (taken, finished)
            );
        }
    }
}

#[tokio::test]
async fn key_ended_by_the_policy_is_not_rotated() {
    for place in Place::all().await {
        let key = place.issue(place.request()).await;
        place.organization(|acme| acme.policy.longest_life = Some(DAY)).await;
        place.hand.advance(DAY);
        let refused = place.issuer.rotate(key.record.id, HOUR).await.unwrap_err();
        assert_eq!(refused.kind(), IssueErrorKind::Expired);
        assert_eq!(key.record.status, KeyStatus::Active);
    }
}

/// A use that waits in this process to be stored counts.
#[tokio::test]
async fn use_a_moment_ago_keeps_both_from_ending_a_rotation() {
    let keys = ApiKeys::builder(MemoryStore::new()).hash_policy(HashPolicy::sha256());
    let keys = keys.open().await.unwrap();
    let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let first = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    let second = issuer.rotate(first.record.id, DAY).await.unwrap();
    for key in [&first, &second] {
        check(&keys.authenticator(), text(key)).await.unwrap();
    }
    let id = first.record.id;
    for refused in [
        issuer.finish(id, HOUR).await.unwrap_err(),
        issuer.take_back(id, IfUsed::Refuse).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), IssueErrorKind::InUse);
    }
}
