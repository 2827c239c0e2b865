//! The conformance kit over this store, and what it keeps when the process ends.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyRecord, UserId};
use tower_api_key::secrets::RootKey;
use tower_api_key::store::query::{AuditEvents, Keys, Organizations, Plans, Users};
use tower_api_key::store::{Commit, DynStore, KeyStore as _, ManagedStore as _, Write};
use tower_api_key::testing::store_conformance;
use tower_api_key::{ApiKeys, AuditAnchors, IssueRequest};

use crate::RedbStore;

#[test]
fn example_runs() {
    crate::main().unwrap();
}

struct Files(TempDir, AtomicUsize);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), AtomicUsize::new(0))
    }

    async fn another(&self) -> RedbStore {
        let number = self.1.fetch_add(1, Ordering::SeqCst);
        RedbStore::open(self.0.path().join(format!("{number}.redb")))
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redb_conforms() {
    let files = Files::new();
    store_conformance(async || files.another().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redb_chosen_at_run_time_conforms() {
    let files = Files::new();
    store_conformance(async || DynStore::new(files.another().await)).await;
}

/// The same store for every rule.
#[tokio::test]
async fn redb_that_is_not_empty_conforms_on_one_thread() {
    let store = Files::new().another().await;
    store_conformance(async || store.clone()).await;
}

async fn handle(files: &Files) -> ApiKeys<RedbStore> {
    let store = RedbStore::open(files.0.path().join("keys.redb")).await.unwrap();
    let builder = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    builder.root_keys(RootKey::new(&[7; 32]).unwrap()).open().await.unwrap()
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let files = Files::new();
    let keys = handle(&files).await;
    let root = keys.issuer().acting_as(Actor::operator("root"));
    let acme = root.create_organization("acme").await.unwrap();
    let alice: UserId = "alice".parse().unwrap();
    let issued = root
        .issue(IssueRequest::new(acme.id, "orders").user(alice.clone()))
        .await
        .unwrap();
    let rename = |record: &mut KeyRecord| record.name = "renamed".to_owned();
    root.update(issued.record.id, rename).await.unwrap();
    let user = tower_api_key::key::User::new(acme.id, alice, acme.created_at);
    root.commit(Commit::new().write(Write::InsertUser(user))).await.unwrap();
    let mut plan = keys.read(Plans::all()).await.unwrap().items.remove(0);
    root.commit(Commit::new().write(Write::DeletePlan(plan.id)))
        .await
        .unwrap();
    plan.name = "another".to_owned();
    plan.id = tower_api_key::key::PlanId::new();
    root.commit(Commit::new().write(Write::InsertPlan(plan))).await.unwrap();

    let mut anchors = AuditAnchors::default();
    keys.audit().anchor(&mut anchors).await.unwrap();
    let everything = async |keys: &ApiKeys<RedbStore>| {
        (
            keys.read(Organizations::all()).await.unwrap().items,
            keys.read(Keys::all()).await.unwrap().items,
            keys.read(Users::of(acme.id)).await.unwrap().items,
            keys.read(Plans::all()).await.unwrap().items,
            keys.read(AuditEvents::all()).await.unwrap().items,
        )
    };
    let before = everything(&keys).await;
    drop((root, keys));

    let keys = handle(&files).await;
    assert_eq!(everything(&keys).await, before);
    assert_eq!(
        (before.0.len(), before.1.len(), before.2.len(), before.3.len()),
        (1, 1, 1, 3)
    );
    let verified = keys.audit().verify(&anchors).await.unwrap();
    assert_eq!(verified.entries, before.4.len() as u64);
}

#[tokio::test]
async fn commit_that_fails_leaves_no_trace() {
    let files = Files::new();
    let store = files.another().await;
    let acme = tower_api_key::key::Organization::new("Acme");
    let key = KeyRecord::new(acme.id, "orders", acme.created_at);
    let commit = Commit::new()
        .write(Write::InsertOrganization(acme.clone()))
        .write(Write::InsertKey(key.clone()))
        .write(Write::InsertKey(key));
    store.commit(commit).await.unwrap_err();
    assert!(store.fence().unwrap().changes() == 0);
    store
        .commit(Commit::new().write(Write::InsertOrganization(acme)))
        .await
        .unwrap();
}
