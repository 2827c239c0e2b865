//! Hashes of an older policy are replaced as their keys are used, if that is enabled.

use std::time::Duration;

use crate::support::rows::Rows as _;
use tower_api_key::hash::{HashPolicy, HashPool};
use tower_api_key::key::KeyId;
use tower_api_key::store::{MemoryStore, StoreErrorKind};
use tower_api_key::testing::Fault;
use tower_api_key::{ApiKeys, Authenticator, IssueRequest, IssuedKey, RejectionKind};
use tracing::Level;

use crate::house::brake::Brake;
use crate::house::{House, argon2, check, kind, settle, text, until, with_other_secret};
use crate::support::audit::Audit;

async fn issued_by(policy: HashPolicy) -> (MemoryStore, IssuedKey) {
    let store = MemoryStore::new();
    let issuer = crate::house::acting(ApiKeys::builder(store.clone()).hash_policy(policy));
    let acme = issuer.create_organization("acme").await.unwrap();
    let issued = issuer.issue(IssueRequest::new(acme.id, "old")).await.unwrap();
    (store, issued)
}

async fn scheme(store: &MemoryStore, id: KeyId) -> String {
    let stored = store.key(id).await.unwrap().unwrap();
    stored.secrets[0].hash.scheme().to_owned()
}

async fn is_admitted(authenticator: &Authenticator<MemoryStore>, key: &IssuedKey) -> bool {
    check(authenticator, text(key)).await.is_ok()
}

#[tokio::test]
async fn obsolete_hash_is_replaced_after_verification() {
    let (store, key) = issued_by(HashPolicy::sha256()).await;
    let pool = HashPool::builder().build();
    let authenticator = Authenticator::builder(store.clone())
        .pool(pool)
        .rehash_obsolete()
        .build();
    let revision = store.key(key.record.id).await.unwrap().unwrap().record.revision;
    let changes = store_changes(&store);

    assert!(is_admitted(&authenticator, &key).await);
    let replaced = async {
        while scheme(&store, key.record.id).await != "argon2id" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), replaced).await.unwrap();

    // It is no change: no new revision, nothing announced, and the key is valid with the new hash as well.
    assert_eq!(
        store.key(key.record.id).await.unwrap().unwrap().record.revision,
        revision
    );
    assert_eq!(store_changes(&store), changes);
    assert!(is_admitted(&Authenticator::new(store.clone()), &key).await);
}

/// A re-hash runs on the pool that its key was verified on, so that pool shows whether one is in progress.
async fn is_at_rest(pool: &HashPool) {
    settle().await;
    until(|| pool.queued() == 0 && pool.running() == 0).await;
    settle().await;
}

#[tokio::test]
async fn hashes_stay_unless_rehash_is_enabled() {
    let (store, key) = issued_by(HashPolicy::sha256()).await;
    let pool = HashPool::builder().build();
    let authenticator = Authenticator::builder(store.clone()).pool(pool.clone()).build();
    assert!(is_admitted(&authenticator, &key).await);
    is_at_rest(&pool).await;
    assert_eq!(pool.hashes_run(), 0, "a SHA-256 hash is verified without the pool");
    assert_eq!(scheme(&store, key.record.id).await, "sha256");
}

#[tokio::test]
async fn wrong_key_replaces_no_hash() {
    let (store, key) = issued_by(HashPolicy::sha256()).await;
    let pool = HashPool::builder().build();
    let authenticator = Authenticator::builder(store.clone())
        .pool(pool.clone())
        .hash_policy(argon2())
        .rehash_obsolete()
        .build();
    let wrong = with_other_secret(text(&key), 1);
    let refused = check(&authenticator, &wrong).await;
    assert_eq!(kind(&refused), RejectionKind::WrongSecret);
    is_at_rest(&pool).await;
    assert_eq!(pool.hashes_run(), 0);
    assert_eq!(scheme(&store, key.record.id).await, "sha256");
    // The right key does, on the same pool.
    assert!(is_admitted(&authenticator, &key).await);
    until(|| pool.hashes_run() == 1).await;
}

fn store_changes(store: &MemoryStore) -> u64 {
    use tower_api_key::store::KeyStore;
    store.fence().unwrap().changes()
}

#[tokio::test]
async fn hash_is_replaced_only_while_the_pool_has_room() {
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(HashPolicy::sha256(), pool.clone(), |builder| {
        builder.hash_policy(argon2()).rehash_obsolete()
    })
    .await;
    let (crowded_out, replaced) = (house.key().await, house.key().await);
    let mut crowd = Vec::new();
    let hash = async |crowd: &mut Vec<_>| {
        let (pool, key) = (pool.clone(), tower_api_key::key::ApiKey::from("another".to_owned()));
        crowd.push(tokio::spawn(async move { pool.hash(&argon2(), &key).await }));
        settle().await;
    };
    hash(&mut crowd).await;
    brake.reached(1).await;
    while !pool.is_more_than_half_full() {
        hash(&mut crowd).await;
    }
    let waiting = pool.queued();
    assert!(waiting < pool.capacity(), "the queue has room");
    house.check(text(&crowded_out)).await.unwrap();
    settle().await;
    assert_eq!(pool.queued(), waiting);

    crowd.pop().unwrap().abort();
    settle().await;
    assert_eq!(pool.queued(), waiting - 1);
    house.check(text(&replaced)).await.unwrap();
    settle().await;
    assert_eq!(pool.queued(), waiting);

    brake.open();
    for hashing in crowd {
        let _hash = hashing.await.unwrap().unwrap();
    }
    house.is_at_rest().await;
    let inner = house.store.inner();
    until(|| pool.hashes_run() == waiting as u64 + 1).await;
    assert_eq!(scheme(inner, crowded_out.record.id).await, "sha256");
    while scheme(inner, replaced.record.id).await != "argon2id" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn store_that_rejects_the_new_hash_is_logged_and_the_key_works() {
    let pool = HashPool::builder().build();
    let house = House::with_pool(HashPolicy::sha256(), pool.clone(), |builder| {
        builder.hash_policy(argon2()).rehash_obsolete()
    })
    .await;
    let key = house.key().await;
    house.faults().every_manage(Fault::Error(StoreErrorKind::Unavailable));
    let (audit, _guard) = Audit::start();
    house.check(text(&key)).await.unwrap();
    until(|| !audit.of_level(Level::WARN).is_empty()).await;
    let said = audit.of_level(Level::WARN).remove(0).fields;
    assert!(said.contains("new hash") && said.contains("kind=Unavailable"), "{said}");
    assert_eq!(scheme(house.store.inner(), key.record.id).await, "sha256");
    house.check(text(&key)).await.unwrap();
}
