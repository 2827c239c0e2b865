//! The stores of this crate keep their contract; and the kit that says so notices stores that do not.

use tower_api_key::store::{DynStore, MemoryStore};
use tower_api_key::testing::{FaultStore, store_conformance};

mod broken;
mod toy;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    store_conformance(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn memory_on_one_thread() {
    store_conformance(async || MemoryStore::new()).await;
}

/// The same store for every rule, as for a store in a database that the kit cannot empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_that_is_not_empty() {
    let store = MemoryStore::new();
    store_conformance(async || store.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn toy_over_maps() {
    store_conformance(async || toy::Toy(Default::default(), tower_api_key::Fence::new())).await;
}

#[test]
fn toy_is_small() {
    assert!(include_str!("store_conformance/toy.rs").lines().count() < 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_behind_an_arc() {
    store_conformance(async || std::sync::Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_chosen_at_run_time() {
    store_conformance(async || DynStore::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fault_store_without_faults() {
    store_conformance(async || FaultStore::new(std::sync::Arc::new(MemoryStore::new()))).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use tower_api_key::store::{DynStore, PostgresStore};
    use tower_api_key::testing::store_conformance;

    use crate::support::postgres;

    async fn opened(schema: &str) -> PostgresStore {
        let builder = PostgresStore::builder().schema(schema);
        builder.open(&postgres::shared()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn postgres() {
        store_conformance(async || opened(&postgres::schema_name()).await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn postgres_that_is_not_empty() {
        let store = opened(&postgres::schema_name()).await;
        store_conformance(async || store.clone()).await;
    }

    #[tokio::test]
    async fn postgres_on_one_thread() {
        let store = opened(&postgres::schema_name()).await;
        store_conformance(async || store.clone()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn postgres_chosen_at_run_time() {
        let store = DynStore::new(opened(&postgres::schema_name()).await);
        store_conformance(async || store.clone()).await;
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower_api_key::store::{DynStore, SqliteStore};
    use tower_api_key::testing::store_conformance;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sqlite_chosen_at_run_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("keys.sqlite")).await.unwrap();
        let store = DynStore::new(store);
        store_conformance(async || store.clone()).await;
    }

    async fn conforms() {
        let folder = tempfile::tempdir().unwrap();
        let files = AtomicUsize::new(0);
        store_conformance(async || {
            let file = files.fetch_add(1, Ordering::SeqCst);
            SqliteStore::open(folder.path().join(format!("{file}.sqlite")))
                .await
                .unwrap()
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sqlite() {
        conforms().await;
    }

    #[tokio::test]
    async fn sqlite_on_one_thread() {
        conforms().await;
    }
}
