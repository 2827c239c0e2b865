//! What public reports say of other systems that keep keys, sessions or queues in PostgreSQL, tried here through the layer.

mod databases;
mod permissions;
mod pools;
mod restores;
mod servers;

use std::error::Error;
use std::time::{Duration, Instant};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Organization};
use tower_api_key::store::{PostgresStore, PostgresStoreBuilder};
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey, Issuer};

use crate::support::postgres::psql;
use crate::support::{ask, bearer, text};

/// How late a process may see what another one has changed.
const BOUND: Duration = Duration::from_secs(1);
/// After which a test gives up: no promise, since other tests run beside it.
const LONG: Duration = Duration::from_secs(60);

fn builder() -> PostgresStoreBuilder {
    PostgresStore::builder().max_staleness(BOUND)
}

/// A process of a service, with one organization.
struct Shop {
    keys: ApiKeys<PostgresStore>,
    acme: Organization,
}

impl Shop {
    async fn open(url: &str) -> Self {
        Self::over(builder().open(url).await.unwrap()).await
    }

    async fn of_schema(url: &str, schema: &str) -> Self {
        Self::over(builder().schema(schema).open(url).await.unwrap()).await
    }

    async fn over(store: PostgresStore) -> Self {
        let settings = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
        let keys = settings.open().await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::operator("test"));
        let acme = match issuer.organization_by_slug("acme").await.unwrap() {
            Some(acme) => acme,
            None => issuer.create_organization("acme").await.unwrap(),
        };
        Self { keys, acme }
    }

    fn issuer(&self) -> Issuer<PostgresStore> {
        self.keys.issuer().acting_as(Actor::operator("test"))
    }

    async fn issue(&self) -> IssuedKey {
        self.issue_named("orders").await
    }

    async fn issue_named(&self, name: &str) -> IssuedKey {
        let request = IssueRequest::new(self.acme.id, name);
        self.issuer().issue(request).await.unwrap()
    }

    async fn revoke(&self, key: &IssuedKey) {
        self.issuer().revoke(key.record.id, "leaked").await.unwrap();
    }

    /// The status of the answer to a request with this key.
    async fn asks(&self, key: &IssuedKey) -> u16 {
        ask(&self.keys.layer(), bearer(&text(key))).await.status().as_u16()
    }

    /// Asks until the answer is this one; meanwhile it may be one of `others`.
    async fn until(&self, key: &IssuedKey, answer: u16, others: &[u16]) {
        let begun = Instant::now();
        loop {
            let status = self.asks(key).await;
            if status == answer {
                return;
            }
            assert!(others.contains(&status), "{status} instead of {answer}");
            assert!(begun.elapsed() < LONG, "{status} for too long, instead of {answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Issues, checks, revokes and lists.
    async fn works(&self) {
        let (key, other) = (self.issue().await, self.issue().await);
        self.until(&key, 200, &[503]).await;
        self.revoke(&key).await;
        self.until(&key, 401, &[503]).await;
        self.until(&other, 200, &[503]).await;
        let listed = tower_api_key::store::query::Keys::of(self.acme.id);
        assert!(!self.keys.read(listed).await.unwrap().items.is_empty());
        self.keys.audit().verify(&Default::default()).await.unwrap();
    }
}

/// The URL of another database of the same server.
fn database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// A new database with these options; its URL.
fn new_database(url: &str, name: &str, options: &str) -> String {
    psql(url, &format!("CREATE DATABASE {name} TEMPLATE template0 {options}"));
    database(url, name)
}

/// The URL of the same database for another user.
fn as_user(url: &str, user: &str) -> String {
    url.replacen("postgres@", &format!("{user}@"), 1)
}

/// The error and all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" / {error}");
        cause = error.source();
    }
    text
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until a query answers `t`.
async fn until_so(url: &str, query: &str) {
    let begun = Instant::now();
    while psql(url, query) != "t" {
        assert!(begun.elapsed() < LONG, "not so for too long: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
