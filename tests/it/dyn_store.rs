//! A store chosen at run time behaves like the store inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_api_key::key::{KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
use tower_api_key::store::{
    Candidate, Commit, DynStore, KeyStore, ManagedStore, MemoryStore, Sharing, StoreError, StoreErrorKind, StoreExt,
    Write,
};
use tower_api_key::{ApiKeyLayer, Authenticator, Clock, Fence};

use crate::support::down::Down;

fn insert(organization: &Organization) -> Commit {
    Commit::new().write(Write::InsertOrganization(organization.clone()))
}

fn chosen(name: &str, memory: &MemoryStore) -> DynStore {
    match name {
        "memory" => DynStore::new(memory.clone()),
        _ => DynStore::find_only(Down),
    }
}

#[tokio::test]
async fn dynamic_store_is_the_store_inside() {
    let memory = MemoryStore::new();
    let store = chosen("memory", &memory);
    let acme = Organization::new("Acme");
    let now = Timestamp::from_millis(0);
    let record = KeyRecord::new(acme.id, "orders", now);
    let lookup = Lookup::new("4kTz0Q2mVbXw").unwrap();
    let secret = KeySecret::new(lookup.clone(), SecretHash::new("sha256:00").unwrap(), now);

    assert_eq!(store.find(&lookup).await.unwrap(), None);
    let commit = Commit::new()
        .write(Write::InsertOrganization(acme.clone()))
        .write(Write::InsertKey(record.clone()))
        .write(Write::InsertSecret(record.id, secret.clone()));
    memory.commit(commit).await.unwrap();
    let found = store.find(&lookup).await.unwrap();
    assert_eq!(found, Some(Candidate::new(record, secret, acme)));
    assert_eq!(store.fence().map(Fence::changes), Some(2));
    assert_eq!(store.sharing(), Sharing::Exclusive);
    let other = Organization::new("Other");
    store.commit(insert(&other)).await.unwrap();
    assert_eq!(memory.get(other.id).await.unwrap(), Some(other));
}

#[tokio::test]
async fn find_only_store_has_no_fence_and_is_read_only() {
    let store = chosen("down", &MemoryStore::new());
    let lookup = Lookup::new("4kTz0Q2mVbXw").unwrap();
    assert_eq!(
        store.find(&lookup).await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    assert!(store.fence().is_none());
    assert_eq!(store.sharing(), Sharing::Unknown);
    let written = store.commit(insert(&Organization::new("Acme"))).await;
    assert_eq!(written.unwrap_err().kind(), StoreErrorKind::ReadOnly);
    let read = store.get(Organization::new("Acme").id).await;
    assert_eq!(read.unwrap_err().kind(), StoreErrorKind::Unsupported);
    let clone = store.clone();
    assert!(
        tokio::spawn(async move { clone.find(&lookup).await })
            .await
            .unwrap()
            .is_err()
    );
}

/// A store that counts who asks it to follow its log.
#[derive(Clone, Default)]
struct Log(Arc<AtomicUsize>);

impl KeyStore for Log {
    async fn find(&self, _: &Lookup) -> Result<Option<Candidate>, StoreError> {
        Ok(None)
    }

    fn follow(&self, _: &Clock) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    async fn close(&self) {
        self.0.fetch_add(100, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn store_inside_is_closed() {
    let log = Log::default();
    Arc::new(log.clone()).close().await;
    DynStore::find_only(log.clone()).close().await;
    assert_eq!(log.0.load(Ordering::SeqCst), 200);
}

#[test]
fn log_is_followed_by_every_authenticator_over_it() {
    let log = Log::default();
    let _authenticator = Authenticator::new(log.clone());
    let _layer = ApiKeyLayer::new(Arc::new(log.clone()));
    let _dynamic = Authenticator::new(DynStore::find_only(log.clone()));
    assert_eq!(log.0.load(Ordering::SeqCst), 3);
}
