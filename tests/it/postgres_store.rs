//! What only the PostgreSQL store must do: outlive its server, ask the one that decides, and be safe in a database of others.

use std::time::{Duration, Instant};

use http::StatusCode;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, OrganizationId};
use tower_api_key::store::{Commit, ManagedStore, PostgresStore, PostgresStoreBuilder, StoreError, Write};
use tower_api_key::{ApiKeys, IssueError, IssueRequest, IssuedKey, Issuer};

use crate::support::postgres::psql;
use crate::support::{ask, bearer, chain, text};

mod attack;
mod by_hand;
mod faults;
mod hostile;
mod inspect;
mod mute;
mod neighbours;
mod one_user;
mod outcomes;
mod own_changes;
mod pools;
mod proxy;
mod roles;
mod secrets;
mod silence;
mod standby;
#[cfg(feature = "postgres-tls")]
mod tls;
mod upgrade;
mod url;

/// How late a change by another process may be seen here.
const BOUND: Duration = Duration::from_secs(1);
/// What a check may take whatever the database does: four reads of 250 ms, and what a busy machine adds.
const PROMISED: Duration = Duration::from_millis(1500);
const SCHEMA: &str = "api_keys";

fn builder() -> PostgresStoreBuilder {
    PostgresStore::builder().max_staleness(BOUND)
}

/// A process of a service: a store, and a handle over it.
struct Node {
    store: PostgresStore,
    keys: ApiKeys<PostgresStore>,
}

impl Node {
    async fn open(url: &str) -> Self {
        Self::over(builder().open(url).await.unwrap()).await
    }

    async fn over(store: PostgresStore) -> Self {
        let settings = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
        let keys = settings.open().await.unwrap();
        Self { store, keys }
    }

    fn issuer(&self) -> Issuer<PostgresStore> {
        self.keys.issuer().acting_as(Actor::operator("test"))
    }

    async fn acme(&self) -> OrganizationId {
        let issuer = self.issuer();
        match issuer.organization_by_slug("acme").await.unwrap() {
            Some(acme) => acme.id,
            None => issuer.create_organization("acme").await.unwrap().id,
        }
    }

    async fn issue(&self) -> IssuedKey {
        let request = IssueRequest::new(self.acme().await, "orders");
        self.issuer().issue(request).await.unwrap()
    }

    async fn revoke(&self, key: KeyId) -> Result<(), IssueError> {
        self.issuer().revoke(key, "leaked").await.map(drop)
    }

    async fn delete(&self, key: KeyId) {
        let commit = Commit::new().write(Write::DeleteKey(key));
        self.store.commit(commit).await.unwrap();
    }

    /// What a request with this key gets. In time, whatever the database does; and a key that is good is never refused.
    async fn status(&self, key: &str) -> u16 {
        let begun = Instant::now();
        let response = ask(&self.keys.layer(), bearer(key)).await;
        assert!(begun.elapsed() < PROMISED, "answered after {:?}", begun.elapsed());
        let status = response.status();
        assert_eq!(
            status == StatusCode::SERVICE_UNAVAILABLE,
            response.headers().contains_key("retry-after")
        );
        status.as_u16()
    }

    async fn asks(&self, key: &IssuedKey) -> u16 {
        self.status(&text(key)).await
    }

    /// Asks until the answer is this one, which must be within `longest`; meanwhile it may be one of `others`.
    #[track_caller]
    fn until(&self, key: &IssuedKey, answer: u16, others: &[u16], longest: Duration) -> impl Future<Output = Duration> {
        let caller = std::panic::Location::caller();
        let begun = Instant::now();
        async move {
            loop {
                let asked_at = begun.elapsed();
                let status = self.asks(key).await;
                if status == answer {
                    return asked_at;
                }
                assert!(others.contains(&status), "{status} at {caller}");
                assert!(asked_at < longest, "{status} for {asked_at:?} at {caller}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// The error of what must fail.
#[track_caller]
fn error(opened: Result<PostgresStore, StoreError>) -> StoreError {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// The URL of the same database for another user.
fn as_user(url: &str, user: &str) -> String {
    url.replacen("postgres@", &format!("{user}@"), 1)
}

/// The status of a key as it is stored, and how many events say that it was revoked.
fn stored(url: &str, schema: &str, key: KeyId) -> String {
    psql(
        url,
        &format!(
            "SELECT status, (SELECT count(*) FROM {schema}.audit_events e WHERE e.key_id = k.id AND e.action = 'key.revoked') \
             FROM {schema}.keys k WHERE id = '{key}'"
        ),
    )
}

/// A connection of the test's own.
async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}
