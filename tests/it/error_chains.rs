//! Chains of errors: each link says something of its own.

use std::error::Error;
use std::time::Duration;

use tower_api_key::key::{Actor, KeyId};
use tower_api_key::store::{MemoryStore, StoreError, StoreErrorKind};
use tower_api_key::testing::{Fault, FaultStore};
use tower_api_key::{ApiKeys, IssueError};

const KINDS: [StoreErrorKind; 13] = [
    StoreErrorKind::Unavailable,
    StoreErrorKind::Overloaded,
    StoreErrorKind::Conflict,
    StoreErrorKind::AlreadyExists,
    StoreErrorKind::NotFound,
    StoreErrorKind::LimitReached,
    StoreErrorKind::InvalidCommit,
    StoreErrorKind::InvalidCursor,
    StoreErrorKind::ReadOnly,
    StoreErrorKind::Unsupported,
    StoreErrorKind::InvalidRecord,
    StoreErrorKind::Unusable,
    StoreErrorKind::OutcomeUnknown,
];

/// The texts of an error and of its causes.
pub(crate) fn links(error: &(dyn Error + 'static)) -> Vec<String> {
    let links = std::iter::successors(Some(error), |&error| error.source());
    links.map(ToString::to_string).collect()
}

#[track_caller]
pub(crate) fn each_says_something_of_its_own(error: &(dyn Error + 'static)) {
    let links = links(error);
    for (index, link) in links.iter().enumerate() {
        let repeats = links[..index].iter().any(|earlier| {
            let (earlier, link) = (earlier.to_lowercase(), link.to_lowercase());
            earlier.contains(&link) || link.contains(&earlier)
        });
        assert!(!repeats && !link.is_empty(), "{links:#?}");
    }
}

async fn revoke(fault: Fault) -> IssueError {
    let store = FaultStore::new(MemoryStore::new());
    let keys = ApiKeys::builder(store.clone()).open().await.unwrap();
    store.faults().next_manage(fault);
    let operator = keys.issuer().acting_as(Actor::operator("test"));
    operator.revoke(KeyId::new(), "leaked").await.unwrap_err()
}

#[tokio::test]
async fn errors_of_issuing_do_not_repeat_those_of_the_store() {
    for kind in KINDS {
        each_says_something_of_its_own(&StoreError::new(kind));
        each_says_something_of_its_own(&revoke(Fault::Error(kind)).await);
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn locked_database_is_told_once() {
    use tower_api_key::store::SqliteStore;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.sqlite");
    let store = SqliteStore::builder()
        .busy_timeout(Duration::from_millis(10))
        .open(&path)
        .await
        .unwrap();
    let keys = ApiKeys::builder(store).open().await.unwrap();
    let operator = keys.issuer().acting_as(Actor::operator("test"));
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = operator.create_organization("acme").await.unwrap_err();
    each_says_something_of_its_own(&error);
    let links = links(&error);
    assert!(links.len() > 2 && links[2].contains("locked"), "{links:#?}");
}

#[cfg(all(feature = "postgres", target_os = "linux"))]
#[tokio::test]
async fn locked_table_is_told_once() {
    use crate::support::stores::Database;

    let database = Database::shared().find(Database::is_postgres).unwrap();
    let Database::Postgres { url, schema } = &database else {
        panic!("a server")
    };
    let store = tower_api_key::store::PostgresStore::builder().schema(schema);
    let store = store.statement_timeout(Duration::from_millis(200)).open(url).await;
    let keys = ApiKeys::builder(store.unwrap()).open().await.unwrap();
    let operator = keys.issuer().acting_as(Actor::operator("test"));
    let other = database.hand().await;
    other.run("BEGIN; LOCK TABLE api_keys_organizations", &[]).await;
    let error = operator.create_organization("acme").await.unwrap_err();
    each_says_something_of_its_own(&error);
    let links = links(&error);
    assert!(links.len() > 2 && links[2].contains("statement timeout"), "{links:#?}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn file_that_cannot_be_opened_is_told_once() {
    for url in ["sqlite:/no/such/folder/keys.sqlite", "sqlite:/", "mysql:x"] {
        let error = ApiKeys::open(url).await.unwrap_err();
        each_says_something_of_its_own(&error);
    }
}
