//! The store with injected faults.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::support::rows::Rows as _;
use tower_api_key::key::{KeyRecord, KeySecret, KeyStatus, Lookup, Organization, SecretHash, Timestamp};
use tower_api_key::store::{Commit, KeyStore, ManagedStore, MemoryStore, StoreErrorKind, StoredKey, Write};
use tower_api_key::testing::{Barrier, Fault, FaultStore};

const NOW: Timestamp = Timestamp::from_millis(0);

async fn store_with_two_keys() -> (FaultStore<MemoryStore>, StoredKey, StoredKey) {
    let store = FaultStore::new(MemoryStore::new());
    let organization = Organization::new("Acme");
    store.inner().insert_organization(organization.clone()).await.unwrap();
    let mut keys = ["first", "second"].map(|name| {
        let secret = KeySecret::new(Lookup::new(name).unwrap(), SecretHash::new("sha256:00").unwrap(), NOW);
        Some(StoredKey::new(KeyRecord::new(organization.id, name, NOW), vec![secret]))
    });
    for key in keys.iter().flatten() {
        store
            .inner()
            .insert_key(key.record.clone(), key.secrets[0].clone())
            .await
            .unwrap();
    }
    let [first, second] = &mut keys;
    (store, first.take().unwrap(), second.take().unwrap())
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn faults_come_in_their_order() {
    let (store, first, second) = store_with_two_keys().await;
    let [first, second] = [&first, &second].map(|key| key.secrets[0].lookup.clone());
    let faults = store.faults().clone();
    faults.every_find(Fault::Error(StoreErrorKind::InvalidRecord));
    faults.next_find(Fault::None);
    faults.next_find(Fault::Error(StoreErrorKind::Unavailable));
    faults.next_find(Fault::AnotherKey(second.clone()));
    faults.next_find(Fault::ErrorAfter(StoreErrorKind::OutcomeUnknown));

    let name = |found: Option<tower_api_key::store::Candidate>| found.unwrap().record.name;
    assert_eq!(name(store.find(&first).await.unwrap()), "first");
    assert_eq!(
        store.find(&first).await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    assert_eq!(name(store.find(&first).await.unwrap()), "second");
    assert_eq!(
        store.find(&first).await.unwrap_err().kind(),
        StoreErrorKind::OutcomeUnknown
    );
    for _ in 0..2 {
        assert_eq!(
            store.find(&first).await.unwrap_err().kind(),
            StoreErrorKind::InvalidRecord
        );
    }
    faults.heal();
    assert_eq!(name(store.clone().find(&first).await.unwrap()), "first");
    assert_eq!((faults.finds(), faults.finds_in_progress()), (7, 0));
}

#[tokio::test]
async fn stale_fault_answers_the_kept_record() {
    let (store, key, _) = store_with_two_keys().await;
    let lookup = &key.secrets[0].lookup;
    let kept = store.inner().find(lookup).await.unwrap().unwrap();
    let mut revoked = key.clone();
    revoked.record.status = KeyStatus::Revoked;
    store.update_key(revoked).await.unwrap();
    store.faults().next_find(Fault::Stale(Box::new(kept.clone())));
    assert_eq!(store.find(lookup).await.unwrap(), Some(kept));
    assert_eq!(store.find(lookup).await.unwrap().unwrap().record.revision, 2);
}

#[tokio::test]
async fn barrier_before_or_after_a_read_decides_what_it_shows() {
    for (after, revision) in [(false, 2), (true, 1)] {
        let (store, key, _) = store_with_two_keys().await;
        let barrier = Barrier::new();
        store.faults().next_find(if after {
            Fault::After(barrier.clone())
        } else {
            Fault::Before(barrier.clone())
        });
        let find = tokio::spawn({
            let (store, lookup) = (store.clone(), key.secrets[0].lookup.clone());
            async move { store.find(&lookup).await }
        });
        barrier.reached(1).await;
        store.update_key(key).await.unwrap();
        assert_eq!(store.faults().finds_in_progress(), 1);
        barrier.open();
        assert_eq!(find.await.unwrap().unwrap().unwrap().record.revision, revision);
    }
}

#[tokio::test]
async fn hanging_call_is_released_or_dropped() {
    let (store, key, _) = store_with_two_keys().await;
    let lookup = &key.secrets[0].lookup;
    store.faults().every_find(Fault::Hang);
    {
        let mut dropped = Box::pin(store.find(lookup));
        assert!(poll(dropped.as_mut()).is_pending());
        let mut hanging = pin!(store.find(lookup));
        assert!(poll(hanging.as_mut()).is_pending());
        assert_eq!(store.faults().finds_in_progress(), 2);
        drop(dropped);
        assert_eq!(store.faults().finds_in_progress(), 1);
        store.faults().release();
        assert!(hanging.await.unwrap().is_some());
    }
    let mut again = pin!(store.find(lookup));
    assert!(poll(again.as_mut()).is_pending(), "only calls that hung were released");
}

#[tokio::test]
async fn panicking_find_counts_as_ended() {
    let (store, key, _) = store_with_two_keys().await;
    store.faults().next_find(Fault::Panic);
    let find = tokio::spawn({
        let (store, lookup) = (store.clone(), key.secrets[0].lookup.clone());
        async move { store.find(&lookup).await }
    });
    assert!(find.await.unwrap_err().is_panic());
    assert_eq!((store.faults().finds(), store.faults().finds_in_progress()), (1, 0));
}

#[tokio::test]
async fn commits_fail_before_or_after_they_are_made() {
    let (store, key, _) = store_with_two_keys().await;
    let id = key.record.id;
    let update = || Commit::new().write(Write::UpdateKey(key.record.clone()));
    store.faults().next_manage(Fault::Error(StoreErrorKind::Unavailable));
    assert!(store.commit(update()).await.is_err());
    assert_eq!(store.inner().key(id).await.unwrap().unwrap().record.revision, 1);

    store
        .faults()
        .next_manage(Fault::ErrorAfter(StoreErrorKind::OutcomeUnknown));
    let error = store.commit(update()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OutcomeUnknown);
    assert_eq!(store.inner().key(id).await.unwrap().unwrap().record.revision, 2);
    assert_eq!(store.faults().manages(), 2);
    assert_eq!(store.faults().finds(), 0);
}
