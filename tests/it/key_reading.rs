//! Keys found by lookup, hash or the key itself; their states; and their deletion after a retention.

use std::time::Duration;

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{KeyLife, Lookup, OrganizationStatus, SecretHash, User, UserStatus};
use tower_api_key::store::query::{AuditEvents, Keys};
use tower_api_key::store::{DynStore, MemoryStore, StoreExt, Write};
use tower_api_key::testing::{Barrier, Fault, FaultStore};
use tower_api_key::{ApiKeys, IssueErrorKind, IssueRequest, IssuedKey, PresentedKey};

use crate::house::place::{DAY, Place, detail};
use crate::house::{acting, argon2, crc_format, in_test_environment, text, with_other_secret};

#[tokio::test]
async fn key_is_found_by_lookup_and_by_hash() {
    for place in Place::all().await {
        let first = place.issue(place.request()).await;
        let second = place.issuer.rotate(first.record.id, DAY).await.unwrap();
        let other = place.issue(place.request()).await;
        let stored = place.issuer.key(first.record.id).await.unwrap();
        for key in [&first, &second] {
            assert_eq!(place.issuer.key_by_lookup(&key.lookup).await.unwrap(), stored);
            let hash = tower_api_key::hash::sha256(&key.key);
            assert_eq!(place.issuer.key_by_hash(hash).await.unwrap(), stored);
        }
        let found = place.issuer.key_by_lookup(&other.lookup).await.unwrap().unwrap();
        assert_eq!(found.record.id, other.record.id);
        let nobody = Lookup::new("nobody").unwrap();
        assert_eq!(place.issuer.key_by_lookup(&nobody).await.unwrap(), None);
        let nobody = tower_api_key::hash::sha256(&String::from("nobody").into());
        assert_eq!(place.issuer.key_by_hash(nobody).await.unwrap(), None);
    }
}

#[tokio::test]
async fn salted_hash_finds_no_key_and_is_an_error() {
    let store = DynStore::new(MemoryStore::new());
    let settings = ApiKeys::builder(store.clone()).formats(crc_format());
    let issuer = acting(settings.hash_policy(argon2()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    let stored = issuer.key(issued.record.id).await.unwrap().unwrap();
    let plain = SecretHash::new("plain:abcdefgh").unwrap();
    for salted in [stored.secrets[0].hash.clone(), plain] {
        let refused = issuer.key_by_hash(salted.clone()).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (IssueErrorKind::InvalidRequest, Some("hash"))
        );
        assert!(!refused.to_string().contains(salted.as_str()), "{refused}");
    }
}

#[tokio::test]
async fn presented_key_is_found_whatever_its_state() {
    for place in Place::all().await {
        let key = place
            .issue(place.request().limit("requests=1/60s".parse().unwrap()))
            .await;
        let disabled = place.issue(place.request()).await;
        place.issuer.disable(disabled.record.id).await.unwrap();
        let revoked = place.issue(place.request()).await;
        place.issuer.revoke(revoked.record.id, "").await.unwrap();
        let expired = place.issue(place.request().expires_in(DAY)).await;
        let canary = place.issue(place.request().canary()).await;
        let elsewhere = place
            .issue(place.request().networks("192.0.2.0/24".parse().unwrap()))
            .await;
        place.hand.advance(DAY);
        for key in [&key, &disabled, &revoked, &expired, &canary, &elsewhere] {
            // Twice: nothing is charged.
            for _ in 0..2 {
                let found = find(&place, text(key)).await;
                assert_eq!(found.map(|found| found.record.id), Some(key.record.id));
            }
            for wrong in [
                with_other_secret(text(key), 7),
                in_test_environment(text(key)),
                format!("{}x", text(key)),
            ] {
                assert!(find(&place, &wrong).await.is_none(), "{wrong}");
            }
        }
        for text in ["", "x", "key_live_"] {
            assert!(find(&place, text).await.is_none());
        }
        // It is no use of the key.
        let events = place.store.get(AuditEvents::all().key(key.record.id)).await.unwrap();
        assert!(
            events
                .items
                .iter()
                .all(|entry| entry.event.action.as_str() == "key.issued")
        );
    }
}

async fn find(place: &Place, text: &str) -> Option<tower_api_key::store::StoredKey> {
    place.keys.find_key(PresentedKey::new(text.as_bytes())).await.unwrap()
}

#[tokio::test]
async fn store_that_fails_is_no_answer_about_a_presented_key() {
    let store = FaultStore::new(MemoryStore::new());
    let settings = || {
        ApiKeys::builder(store.clone())
            .formats(crc_format())
            .hash_policy(HashPolicy::sha256())
    };
    let issuer = acting(settings());
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap();
    let keys = settings().checking();
    store
        .faults()
        .every_find(Fault::Error(tower_api_key::store::StoreErrorKind::Unavailable));
    let error = keys.find_key(PresentedKey::new(text(&issued).as_bytes())).await;
    assert_eq!(
        error.unwrap_err().kind(),
        tower_api_key::store::StoreErrorKind::Unavailable
    );
    store.faults().heal();
    let found = keys.find_key(PresentedKey::new(text(&issued).as_bytes())).await;
    assert_eq!(found.unwrap().unwrap().record, issued.record);
}

#[tokio::test]
async fn lives_partition_the_keys_and_are_computed_when_read() {
    for place in Place::all().await {
        let day = |days: u32| place.request().expires_in(days * DAY);
        let endless = place.issue(place.request()).await;
        let soon = place.issue(day(2)).await;
        let late = place.issue(day(40)).await;
        let disabled = place.issue(day(1)).await;
        place.issuer.disable(disabled.record.id).await.unwrap();
        let revoked = place.issue(day(1)).await;
        place.issuer.revoke(revoked.record.id, "").await.unwrap();
        let lives = [KeyLife::Active, KeyLife::Disabled, KeyLife::Revoked, KeyLife::Expired];
        for (days, expected) in [
            (
                0,
                [vec![&endless, &soon, &late], vec![&disabled], vec![&revoked], vec![]],
            ),
            (2, [vec![&endless, &late], vec![&disabled], vec![&revoked], vec![&soon]]),
            (
                40,
                [vec![&endless], vec![&disabled], vec![&revoked], vec![&soon, &late]],
            ),
        ] {
            let now = place.in_days(days);
            for (life, expected) in lives.into_iter().zip(expected) {
                let query = || Keys::of(place.acme.id).life(life, now);
                let listed = place.issuer.keys(query()).await.unwrap();
                assert!(listed.items.iter().all(|key| key.record.life(now) == life));
                assert_eq!(
                    ids(&listed.items),
                    expected.iter().map(|key| key.record.id).collect::<Vec<_>>()
                );
                let count = place.store.get(query().count()).await.unwrap();
                assert_eq!(count.number, expected.len() as u64);
            }
        }
        let expiring = |days| Keys::of(place.acme.id).expiring(place.in_days(0), days * DAY);
        for (days, expected) in [(1, vec![]), (2, vec![&soon]), (40, vec![&soon, &late])] {
            let listed = place.issuer.keys(expiring(days)).await.unwrap();
            assert_eq!(
                ids(&listed.items),
                expected.iter().map(|key| key.record.id).collect::<Vec<_>>()
            );
        }
    }
}

fn ids(keys: &[tower_api_key::store::StoredKey]) -> Vec<tower_api_key::key::KeyId> {
    keys.iter().map(|key| key.record.id).collect()
}

#[tokio::test]
async fn valid_key_is_one_that_would_open() {
    for place in Place::all().await {
        let valid = async |key: &IssuedKey| place.issuer.is_valid(key.record.id).await.unwrap();
        let key = place.issue(place.request().user("alice".parse().unwrap())).await;
        assert!(valid(&key).await);
        let second = place.issuer.rotate(key.record.id, DAY).await.unwrap();
        assert!(valid(&key).await && valid(&second).await);
        place.issuer.disable(key.record.id).await.unwrap();
        assert!(!valid(&key).await);
        place.issuer.enable(key.record.id).await.unwrap();

        let mut row = User::new(place.acme.id, "alice".parse().unwrap(), place.in_days(0));
        row.status = UserStatus::Disabled;
        place.write(Write::InsertUser(row.clone())).await;
        assert!(!valid(&key).await);
        row.status = UserStatus::Active;
        place.write(Write::UpdateUser(row)).await;
        assert!(valid(&key).await);
        for (change, back) in [
            (
                Box::new(|acme: &mut tower_api_key::key::Organization| acme.status = OrganizationStatus::Inactive)
                    as Box<dyn Fn(&mut tower_api_key::key::Organization) + Send + Sync>,
                Box::new(|acme: &mut tower_api_key::key::Organization| acme.status = OrganizationStatus::Active)
                    as Box<dyn Fn(&mut tower_api_key::key::Organization) + Send + Sync>,
            ),
            (
                Box::new(|acme| acme.policy.longest_life = Some(Duration::from_secs(1))),
                Box::new(|acme| acme.policy.longest_life = None),
            ),
            (
                Box::new(|acme| acme.policy.requires_networks = true),
                Box::new(|acme| acme.policy.requires_networks = false),
            ),
        ] {
            place.organization(&change).await;
            place.hand.advance(Duration::from_secs(1));
            assert!(!valid(&key).await);
            place.organization(&back).await;
            assert!(valid(&key).await);
        }
        let canary = place.issue(place.request().canary()).await;
        assert!(!valid(&canary).await);
        let expired = place.issue(place.request().expires_in(DAY)).await;
        place.hand.advance(DAY);
        assert!(!valid(&expired).await && valid(&key).await);
        place.issuer.revoke(key.record.id, "").await.unwrap();
        assert!(!valid(&key).await);
        let nobody = place.issuer.is_valid(tower_api_key::key::KeyId::new()).await;
        assert_eq!(nobody.unwrap_err().kind(), IssueErrorKind::NotFound);
    }
}

#[tokio::test]
async fn keys_that_ended_long_ago_are_deleted_with_an_event_each() {
    for place in Place::all().await {
        let early = place.issue(place.request().expires_in(DAY)).await;
        let disabled = place.issue(place.request().expires_in(DAY)).await;
        place.issuer.disable(disabled.record.id).await.unwrap();
        let late = place.issue(place.request().expires_in(3 * DAY)).await;
        let endless = place.issue(place.request()).await;
        let revoked = place.issue(place.request().expires_in(DAY)).await;
        place.issuer.revoke(revoked.record.id, "leaked").await.unwrap();
        place.hand.advance(31 * DAY - Duration::from_millis(1));
        assert_eq!(place.issuer.delete_expired(30 * DAY).await.unwrap(), 0);
        place.hand.advance(Duration::from_millis(1));
        assert_eq!(place.issuer.delete_expired(30 * DAY).await.unwrap(), 2);
        assert_eq!(place.issuer.delete_expired(30 * DAY).await.unwrap(), 0);
        let left = place.issuer.keys(place.acme.id).await.unwrap();
        assert_eq!(ids(&left.items), [late.record.id, endless.record.id, revoked.record.id]);
        assert_eq!(place.issuer.key_by_lookup(&early.lookup).await.unwrap(), None);
        for key in [&early, &disabled] {
            let events = place.store.get(AuditEvents::all().key(key.record.id)).await.unwrap();
            let last = &events.items.last().unwrap().event;
            assert_eq!(
                (last.action.as_str(), detail(last, "reason")),
                ("key.deleted", Some("expired"))
            );
        }
        assert_eq!(place.issuer.delete_revoked(32 * DAY).await.unwrap(), 0);
        assert_eq!(place.issuer.delete_revoked(31 * DAY).await.unwrap(), 1);
        let left = place.issuer.keys(place.acme.id).await.unwrap();
        assert_eq!(ids(&left.items), [late.record.id, endless.record.id]);
    }
}

/// A key that is prolonged after it was read as expired stays.
#[tokio::test]
async fn key_prolonged_during_the_deletion_stays() {
    let store = FaultStore::new(MemoryStore::new());
    let hand = tower_api_key::testing::ManualClock::new();
    let settings = ApiKeys::builder(store.clone())
        .formats(crc_format())
        .clock(hand.clock());
    let issuer = acting(settings.hash_policy(HashPolicy::sha256()));
    let acme = issuer.create_organization("acme").await.unwrap();
    let request = || IssueRequest::new(acme.id, "key").expires_in(DAY);
    let (first, second) = (
        issuer.issue(request()).await.unwrap(),
        issuer.issue(request()).await.unwrap(),
    );
    hand.advance(DAY);
    let barrier = Barrier::new();
    store.faults().next_manage(Fault::After(barrier.clone()));
    let deletion = tokio::spawn({
        let issuer = issuer.clone();
        async move { issuer.delete_expired(Duration::ZERO).await }
    });
    barrier.reached(1).await;
    issuer
        .update(first.record.id, |key| key.expires_at = None)
        .await
        .unwrap();
    barrier.open();
    assert_eq!(deletion.await.unwrap().unwrap(), 1);
    assert!(issuer.key(first.record.id).await.unwrap().is_some());
    assert!(issuer.key(second.record.id).await.unwrap().is_none());
}
