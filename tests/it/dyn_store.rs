//! A store chosen at run time is the store inside.

use tower_api_key::Fence;
use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
use tower_api_key::store::{Candidate, DynKeyStore, KeyStore, ManageKeys, MemoryStore, Sharing, StoreErrorKind};

use crate::support::down::Down;

fn chosen(name: &str, memory: &MemoryStore) -> DynKeyStore {
    match name {
        "memory" => DynKeyStore::new(memory.clone()),
        _ => DynKeyStore::new(Down),
    }
}

#[tokio::test]
async fn it_finds_and_is_fenced_like_the_store_inside() {
    let memory = MemoryStore::new();
    let store = chosen("memory", &memory);
    let acme = Organization::new("Acme");
    let now = Timestamp::from_millis(0);
    let record = KeyRecord::new(acme.id, "orders", now);
    let lookup = Lookup::new("4kTz0Q2mVbXw").unwrap();
    let secret = KeySecret::new(lookup.clone(), SecretHash::new("sha256:00").unwrap(), now);

    assert_eq!(store.find(&lookup).await.unwrap(), None);
    memory.insert_organization(acme.clone()).await.unwrap();
    memory.insert_key(record.clone(), secret.clone()).await.unwrap();
    let found = store.find(&lookup).await.unwrap();
    assert_eq!(found, Some(Candidate::new(record, secret, acme)));
    assert_eq!(store.fence().map(Fence::changes), Some(2));
    assert_eq!(store.sharing(), Sharing::Exclusive);
}

#[tokio::test]
async fn what_the_store_inside_does_not_have_it_does_not_have() {
    let store = chosen("down", &MemoryStore::new());
    let lookup = Lookup::new("4kTz0Q2mVbXw").unwrap();
    assert_eq!(
        store.find(&lookup).await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    assert!(store.fence().is_none());
    assert_eq!(store.sharing(), Sharing::Unknown);
    let clone = store.clone();
    assert!(
        tokio::spawn(async move { clone.find(&lookup).await })
            .await
            .unwrap()
            .is_err()
    );
}
