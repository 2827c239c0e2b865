//! Organizations, plans, policies, roles and the catalogue of scopes, through the issuer, on each store.

mod deleting;
mod plans;
mod policies;
mod rows;
mod scopes;

use std::time::Duration;

use tower_api_key::audit::AuditEvent;
use tower_api_key::key::{Actor, OrganizationId};
use tower_api_key::store::query::AuditEvents;
use tower_api_key::store::{DynStore, MemoryStore};
use tower_api_key::testing::{ManualClock, cheap_hashes};
use tower_api_key::{
    ApiKeys, AuthContext, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer, PresentedKey, Rejection,
};

use crate::support::stores::Database;

const DAY: Duration = Duration::from_secs(86_400);

/// A handle over some store, with a clock that is moved by hand.
struct Realm {
    keys: ApiKeys,
    issuer: Issuer<DynStore>,
    hand: ManualClock,
    store: DynStore,
    _database: Database,
}

impl Realm {
    async fn over(database: Database) -> Self {
        let store = database.open().await;
        let hand = ManualClock::new();
        let settings = ApiKeys::builder(store.clone())
            .hash_policy(cheap_hashes())
            .clock(hand.clock());
        let keys = settings.open().await.unwrap();
        Self {
            issuer: keys.issuer().acting_as(Actor::operator("root")),
            keys,
            hand,
            store,
            _database: database,
        }
    }

    async fn in_memory() -> Self {
        Self::over(Database::Memory(MemoryStore::new())).await
    }

    /// One over each store, all of them through the dynamic handle.
    async fn each() -> Vec<Self> {
        let mut realms = Vec::new();
        for database in Database::each() {
            realms.push(Self::over(database).await);
        }
        realms
    }

    async fn issue(&self, organization: OrganizationId, name: &str) -> IssuedKey {
        let request = IssueRequest::new(organization, name);
        self.issuer.issue(request).await.unwrap()
    }

    async fn check(&self, issued: &IssuedKey) -> Result<AuthContext, Rejection> {
        let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
        self.keys.authenticator().check(key).await
    }

    async fn events(&self, organization: OrganizationId) -> Vec<AuditEvent> {
        let list = AuditEvents::of(organization).page(1000);
        let page = self.keys.read(list).await.unwrap();
        page.items.into_iter().map(|entry| entry.event).collect()
    }
}

fn system() -> OrganizationId {
    uuid::Uuid::nil().into()
}

/// Kind and field of the error.
fn problem<T: std::fmt::Debug>(result: Result<T, IssueError>) -> (IssueErrorKind, Option<String>) {
    let error = result.unwrap_err();
    (error.kind(), error.field().map(str::to_owned))
}

fn invalid(field: &str) -> (IssueErrorKind, Option<String>) {
    about(IssueErrorKind::InvalidRequest, field)
}

fn about(kind: IssueErrorKind, field: &str) -> (IssueErrorKind, Option<String>) {
    (kind, Some(field.to_owned()))
}
