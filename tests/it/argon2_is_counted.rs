//! Which checks cost an Argon2 hash and which do not. Hashes are counted, not timed.

use std::time::Duration;

use tower_api_key::key::{KeyFormat, KeyId, OrganizationId};
use tower_api_key::store::Change;
use tower_api_key::store::KeyStore;
use tower_api_key::{PresentedKey, RejectionKind};

use crate::house::brake::Brake;
use crate::house::*;

const TTL: Duration = Duration::from_secs(300);

#[tokio::test]
async fn warm_check_costs_no_hash_and_no_read() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
    for _ in 0..100 {
        house.check(text(&issued)).await.unwrap();
        let presented = PresentedKey::new(text(&issued).as_bytes());
        house.authenticator.try_check(presented).unwrap().unwrap();
    }
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
}

#[tokio::test]
async fn change_on_a_shared_stripe_costs_a_read_and_no_hash() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    let fence = house.store.fence().unwrap();
    // There are 4,096 stripes; after this many random ids all of them have changed.
    for _ in 0..60_000 {
        fence.announce(&[Change::new(KeyId::new(), 1), Change::new(OrganizationId::new(), 1)]);
    }
    let presented = PresentedKey::new(text(&issued).as_bytes());
    assert!(
        house.authenticator.try_check(presented).is_none(),
        "no stripe has changed"
    );
    house.check(text(&issued)).await.unwrap();
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 2));

    house.everything_changed();
    house.check(text(&issued)).await.unwrap();
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 3));
}

#[tokio::test]
async fn end_of_time_to_live_costs_a_read_and_no_hash() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    house.hand.advance(TTL);
    house.check(text(&issued)).await.unwrap();
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
    house.hand.advance(Duration::from_nanos(1));
    house.check(text(&issued)).await.unwrap();
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 2));
    house.check(text(&issued)).await.unwrap();
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 2));
}

#[tokio::test]
async fn changed_record_costs_a_read_and_no_hash() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    let rename = |record: &mut tower_api_key::key::KeyRecord| record.name = "renamed".into();
    house.issuer.update(issued.record.id, rename).await.unwrap();
    assert_eq!(house.check(text(&issued)).await.unwrap().name(), "renamed");
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 2));
}

#[tokio::test]
async fn wrong_secret_of_fresh_key_costs_no_hash_and_no_read() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    for n in 0..50 {
        let wrong = with_other_secret(text(&issued), n);
        assert_eq!(house.refusal(&wrong).await, RejectionKind::WrongSecret);
        let now = house
            .authenticator
            .try_check(PresentedKey::new(wrong.as_bytes()))
            .unwrap();
        assert_eq!(kind(&now), RejectionKind::WrongSecret);
    }
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
}

#[tokio::test]
async fn wrong_secret_of_stale_key_costs_a_read_and_no_hash() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    house.everything_changed();
    let wrong = with_other_secret(text(&issued), 1);
    assert_eq!(house.refusal(&wrong).await, RejectionKind::WrongSecret);
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 2));
    // And it has not evicted the right one.
    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.pool.hashes_run(), 1);
}

#[tokio::test]
async fn revoked_key_that_is_cached_costs_one_read() {
    let house = House::with_argon2().await;
    let issued = house.known_key().await;
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    for _ in 0..50 {
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
    }
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 2));
}

#[tokio::test]
async fn revoked_key_that_was_never_used_costs_one_hash() {
    let house = House::with_argon2().await;
    let issued = house.key().await;
    house.issuer.revoke(issued.record.id, "lost").await.unwrap();
    for _ in 0..50 {
        assert_eq!(house.refusal(text(&issued)).await, RejectionKind::KeyRevoked);
    }
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
}

#[tokio::test]
async fn sixty_four_first_requests_of_one_key_cost_one_hash() {
    let house = House::with_argon2().await;
    let issued = house.key().await;
    let checks: Vec<_> = (0..64)
        .map(|_| tokio::spawn(house.authenticator.check(presented(text(&issued)))))
        .collect();
    for check in checks {
        check.await.unwrap().unwrap();
    }
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
}

#[tokio::test]
async fn wrong_secret_costs_one_hash_and_another_after_a_second() {
    let house = House::with_argon2().await;
    let issued = house.key().await;
    let wrong = with_other_secret(text(&issued), 1);
    for _ in 0..20 {
        assert_eq!(house.refusal(&wrong).await, RejectionKind::WrongSecret);
    }
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
    // Another wrong secret is not the remembered one.
    assert_eq!(
        house.refusal(&with_other_secret(text(&issued), 2)).await,
        RejectionKind::WrongSecret
    );
    assert_eq!(house.pool.hashes_run(), 2);

    house.hand.advance(Duration::from_secs(1));
    assert_eq!(house.refusal(&wrong).await, RejectionKind::WrongSecret);
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (3, 3));
}

#[tokio::test]
async fn unknown_key_with_unguessable_lookup_costs_no_hash() {
    let house = House::with_argon2().await;
    assert_eq!(house.refusal(&unknown_key(1)).await, RejectionKind::UnknownKey);
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (0, 1));
}

#[tokio::test]
async fn unknown_key_with_guessable_lookup_costs_one_hash() {
    let house = House::with(argon2(), |builder| builder.formats(KeyFormat::cmpz())).await;
    let unknown = "cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV";
    assert_eq!(house.refusal(unknown).await, RejectionKind::UnknownKey);
    assert_eq!((house.pool.hashes_run(), house.faults().finds()), (1, 1));
}

#[tokio::test]
async fn rotation_costs_one_hash_for_the_new_secret_only() {
    let house = House::with_argon2().await;
    let old = house.known_key().await;
    let new = house
        .issuer
        .rotate(old.record.id, Duration::from_secs(60))
        .await
        .unwrap();
    house.check(text(&old)).await.unwrap();
    assert_eq!(house.pool.hashes_run(), 1);
    house.check(text(&new)).await.unwrap();
    assert_eq!(house.pool.hashes_run(), 2);
}

#[tokio::test]
async fn requests_dropped_before_their_hash_cost_none() {
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let blocking = house.key().await;
    let blocked = tokio::spawn(house.authenticator.check(presented(text(&blocking))));
    brake.reached(1).await;

    let mut others = Vec::new();
    for _ in 0..10 {
        let issued = house.key().await;
        others.push(tokio::spawn(house.authenticator.check(presented(text(&issued)))));
    }
    until(|| house.pool.queued() == 10).await;
    for other in &others {
        other.abort();
    }
    until(|| house.pool.queued() == 0 && house.authenticator.loads_in_flight() == 1).await;

    brake.open();
    blocked.await.unwrap().unwrap();
    house.is_at_rest().await;
    assert_eq!(house.pool.hashes_run(), 1);
}

#[tokio::test]
async fn abandoned_request_costs_one_hash_and_the_next_one_more() {
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let issued = house.key().await;
    let gone = tokio::spawn(house.authenticator.check(presented(text(&issued))));
    brake.reached(1).await;
    gone.abort();
    until(|| house.authenticator.loads_in_flight() == 0).await;
    brake.open();
    house.is_at_rest().await;
    assert_eq!(house.pool.hashes_run(), 1);

    house.check(text(&issued)).await.unwrap();
    assert_eq!(house.pool.hashes_run(), 2);
}
