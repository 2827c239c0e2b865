//! When keys were last used: counted in memory, stored in batches, shown at once.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_key::audit::{Audit, Forget};
use tower_api_key::key::{Actor, KeyId, Lookup, OrganizationId, Timestamp};
use tower_api_key::last_use::UseOfKey;
use tower_api_key::store::query::{ChangesAfter, KeyUses};
use tower_api_key::store::{Commit, ManagedStore, MemoryStore, StoreErrorKind, StoreExt, Write};
use tower_api_key::testing::{Fault, FaultStore, ManualClock, cheap_hashes};
use tower_api_key::{ApiKeys, AuthContext, ClientAddress, IssueRequest, IssuedKey, Issuer, Rejection, RequireScope};

use crate::support::stores::Database;

const MINUTE: Duration = Duration::from_secs(60);

/// A service behind a layer, and its keys.
struct Service<S> {
    keys: ApiKeys<S>,
    app: Router,
    hand: ManualClock,
    acme: OrganizationId,
}

impl<S: ManagedStore + Clone> Service<S> {
    async fn over(store: S) -> Self {
        let hand = ManualClock::new();
        let builder = ApiKeys::builder(store).hash_policy(cheap_hashes()).clock(hand.clock());
        Self::of(builder.open().await.unwrap(), hand).await
    }

    async fn of(keys: ApiKeys<S>, hand: ManualClock) -> Self {
        let issuer = keys.issuer().acting_as(Actor::operator("test"));
        let acme = issuer.create_organization("acme").await.unwrap().id;
        let app = app(&keys);
        Self { keys, app, hand, acme }
    }

    fn issuer(&self) -> Issuer<S> {
        self.keys.issuer().acting_as(Actor::operator("test"))
    }

    async fn issue(&self) -> IssuedKey {
        let request = IssueRequest::new(self.acme, "orders").user("alice".parse().unwrap());
        let scopes = "orders:* reports:read payroll:read".parse().unwrap();
        self.issuer().issue(request.scopes(scopes)).await.unwrap()
    }

    async fn get(&self, path: &str, key: &IssuedKey, address: &str) -> StatusCode {
        let request = Request::get(path).header("x-api-key", key.key.expose_secret());
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ClientAddress(address.parse().unwrap()));
        self.app.clone().oneshot(request).await.unwrap().status()
    }

    async fn use_it(&self, key: &IssuedKey, times: u64) {
        for _ in 0..times {
            assert_eq!(self.get("/", key, "192.0.2.1").await, StatusCode::OK);
        }
    }

    async fn uses(&self, key: KeyId) -> UseOfKey {
        self.keys.read(KeyUses::of(key)).await.unwrap().pop().unwrap()
    }

    fn now(&self) -> Timestamp {
        self.hand.clock().wall()
    }
}

fn app<S: ManagedStore + Clone>(keys: &ApiKeys<S>) -> Router {
    async fn reports(auth: AuthContext) -> Result<&'static str, Rejection> {
        auth.require("reports:read")?;
        Ok("reports")
    }
    let layer = keys.layer();
    let payroll = layer.clone().require_scope("payroll:read".parse().unwrap());
    let orders = RequireScope::new("orders:read".parse().unwrap());
    let any = RequireScope::any(["none:read", "orders:write"].map(|scope| scope.parse().unwrap())).unwrap();
    Router::new()
        .route("/", get(|| async {}))
        .route("/orders", get(|| async {}).layer(orders))
        .route("/any", get(|| async {}).layer(any))
        .route("/reports", get(reports))
        .route_layer(layer)
        .merge(Router::new().route("/payroll", get(|| async {})).route_layer(payroll))
}

fn close(one: Option<Timestamp>, other: Timestamp) -> bool {
    one.is_some_and(|one| one.as_millis().abs_diff(other.as_millis()) <= 2)
}

#[tokio::test]
async fn use_is_shown_before_it_is_stored_and_counted_once() {
    let service = Service::over(MemoryStore::new()).await;
    let key = service.issue().await;
    let id = key.record.id;
    assert_eq!(service.uses(id).await.last_used_at(), None);
    service.hand.advance(MINUTE);
    service.use_it(&key, 3).await;
    let at = service.now();
    service.hand.advance(MINUTE / 2);
    for flushes in 0..3 {
        let uses = service.uses(id).await;
        assert_eq!(uses.requests(), 3, "{flushes}");
        assert!(close(uses.last_used_at(), at), "{uses:?} {at}");
        service.keys.flush().await.unwrap();
    }
    service.use_it(&key, 4).await;
    assert_eq!(service.uses(id).await.requests(), 7);
    assert!(close(service.uses(id).await.last_used_at(), service.now()));
}

#[tokio::test]
async fn refused_requests_are_no_use() {
    let service = Service::over(MemoryStore::new()).await;
    let key = service.issue().await;
    service.issuer().disable(key.record.id).await.unwrap();
    assert_eq!(service.get("/", &key, "192.0.2.1").await, StatusCode::UNAUTHORIZED);
    assert_eq!(service.uses(key.record.id).await.requests(), 0);
}

#[tokio::test]
async fn each_secret_is_counted_for_itself() {
    let service = Service::over(MemoryStore::new()).await;
    let old = service.issue().await;
    let new = service.issuer().rotate(old.record.id, MINUTE * 60).await.unwrap();
    service.use_it(&old, 2).await;
    service.use_it(&new, 5).await;
    for _ in 0..2 {
        let uses = service.uses(old.record.id).await;
        let lookup =
            |key: &IssuedKey| -> Lookup { key.key.expose_secret()["key_live_".len()..][..12].parse().unwrap() };
        let requests = [&old, &new].map(|key| uses.secret(&lookup(key)).unwrap().requests);
        assert_eq!((requests, uses.requests()), ([2, 5], 7));
        service.keys.flush().await.unwrap();
    }
}

#[tokio::test]
async fn use_changes_neither_key_nor_change_log() {
    let service = Service::over(MemoryStore::new()).await;
    let key = service.issue().await;
    let before = service.keys.read(key.record.id).await.unwrap();
    let log = service.keys.read(ChangesAfter(0)).await.unwrap().len();
    service.use_it(&key, 2).await;
    service.keys.flush().await.unwrap();
    assert_eq!(service.keys.read(key.record.id).await.unwrap(), before);
    assert_eq!(service.keys.read(ChangesAfter(0)).await.unwrap().len(), log);
}

#[tokio::test]
async fn batch_that_failed_is_kept_and_counted_once() {
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        // Stored, and the answer was lost.
        Fault::ErrorAfter(StoreErrorKind::OutcomeUnknown),
    ] {
        let store = FaultStore::new(MemoryStore::new());
        let faults = store.faults().clone();
        let service = Service::over(store).await;
        let key = service.issue().await;
        service.use_it(&key, 3).await;
        for _ in 0..3 {
            faults.next_manage(fault.clone());
            assert!(service.keys.flush().await.is_err());
            let shown = service.uses(key.record.id).await;
            assert!(shown.last_used_at().is_some());
            service.use_it(&key, 1).await;
        }
        service.keys.flush().await.unwrap();
        assert_eq!(service.uses(key.record.id).await.requests(), 6, "{fault:?}");
    }
}

#[tokio::test]
async fn slow_store_holds_up_neither_requests_nor_reads() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    let service = Service::over(store).await;
    let key = service.issue().await;
    service.use_it(&key, 3).await;
    faults.next_manage(Fault::Hang);
    let keys = service.keys.clone();
    let flush = tokio::spawn(async move { keys.flush().await });
    tokio::task::yield_now().await;
    service.use_it(&key, 2).await;
    let shown = service.uses(key.record.id).await;
    // Those that are under way may be there or not: none is counted twice.
    assert!((2..=5).contains(&shown.requests()) && shown.last_used_at().is_some());
    faults.release();
    flush.await.unwrap().unwrap();
    service.keys.flush().await.unwrap();
    assert_eq!(service.uses(key.record.id).await.requests(), 5);
}

#[tokio::test]
async fn use_of_a_key_that_is_deleted_fails_nothing() {
    let service = Service::over(MemoryStore::new()).await;
    let (gone, stays) = (service.issue().await, service.issue().await);
    service.use_it(&gone, 1).await;
    service.use_it(&stays, 2).await;
    let delete = Commit::new().write(Write::DeleteKey(gone.record.id));
    service.issuer().commit(delete).await.unwrap();
    service.keys.flush().await.unwrap();
    assert!(service.keys.read(KeyUses::of(gone.record.id)).await.unwrap().is_empty());
    assert_eq!(service.uses(stays.record.id).await.requests(), 2);
}

#[tokio::test]
async fn handles_over_one_store_share_what_waits() {
    let store = MemoryStore::new();
    let service = Service::over(store.clone()).await;
    let key = service.issue().await;
    service.use_it(&key, 1).await;
    let erased = service.keys.erased();
    let other = app(&erased);
    let mut request = Request::get("/")
        .header("x-api-key", key.key.expose_secret())
        .body(Body::empty())
        .unwrap();
    request
        .extensions_mut()
        .insert(ClientAddress("192.0.2.1".parse().unwrap()));
    assert_eq!(other.oneshot(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(service.uses(key.record.id).await.requests(), 2);
    erased.flush().await.unwrap();
    assert_eq!(service.uses(key.record.id).await.requests(), 2);
}

#[tokio::test]
async fn scopes_that_decide_are_noted_and_others_are_not() {
    let service = Service::over(MemoryStore::new()).await;
    let key = service.issue().await;
    for path in ["/orders", "/any", "/reports", "/payroll", "/orders"] {
        assert_eq!(service.get(path, &key, "192.0.2.1").await, StatusCode::OK, "{path}");
    }
    for _ in 0..2 {
        let uses = service.uses(key.record.id).await;
        let scopes: Vec<_> = uses.scopes.iter().map(|used| used.scope.as_str()).collect();
        assert_eq!(scopes, ["orders:read", "orders:write", "payroll:read", "reports:read"]);
        service.keys.flush().await.unwrap();
    }
    // Again in the next minute.
    service.hand.advance(MINUTE);
    assert_eq!(service.get("/orders", &key, "192.0.2.1").await, StatusCode::OK);
    let uses = service.uses(key.record.id).await;
    assert_eq!(uses.scopes[0].last_used_at, service.now());
    assert!(uses.scopes[1].last_used_at < service.now());
}

#[tokio::test]
async fn networks_and_last_address_are_noted_whatever_becomes_an_event() {
    for audit in [Audit::first_use(), Audit::every_use(), Audit::no_use()] {
        let hand = ManualClock::new();
        let builder = ApiKeys::builder(MemoryStore::new()).hash_policy(cheap_hashes());
        let keys = builder.clock(hand.clock()).audit(audit).open().await.unwrap();
        let service = Service::of(keys, hand).await;
        let key = service.issue().await;
        for address in ["192.0.2.1", "198.51.100.7", "192.0.2.9", "2001:db8:1:2::3"] {
            assert_eq!(service.get("/", &key, address).await, StatusCode::OK);
        }
        for _ in 0..2 {
            let uses = service.uses(key.record.id).await;
            let networks: Vec<_> = uses.networks.iter().map(|seen| &*seen.network).collect();
            assert_eq!(
                networks,
                ["192.0.2.0/24", "198.51.100.0/24", "2001:db8:1::/48"],
                "{audit:?}"
            );
            assert_eq!(uses.secrets[0].last_address, "2001:db8:1:2::3".parse().ok());
            assert!(!format!("{uses:?}").contains("2001"));
            service.keys.flush().await.unwrap();
        }
    }
}

#[tokio::test]
async fn forgotten_user_leaves_no_address_and_no_network() {
    let service = Service::over(MemoryStore::new()).await;
    let key = service.issue().await;
    let use_and_forget = async |is_stored: bool, whom: Forget| {
        service.use_it(&key, 1).await;
        if is_stored {
            service.keys.flush().await.unwrap();
        }
        service.issuer().forget(whom).await.unwrap();
        service.keys.flush().await.unwrap();
        service.hand.advance(Duration::from_secs(86_400));
        // A new day begins with a flush.
        service.keys.flush().await.unwrap();
        service.uses(key.record.id).await
    };
    for is_stored in [true, false] {
        let uses = use_and_forget(is_stored, Forget::user("alice".parse().unwrap())).await;
        assert_eq!((uses.secrets[0].last_address, uses.networks.len()), (None, 0));
        let uses = use_and_forget(is_stored, Forget::address("192.0.2.1".parse().unwrap())).await;
        assert_eq!(uses.secrets[0].last_address, None);
    }
    assert_eq!(service.uses(key.record.id).await.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn handle_stores_uses_every_minute() {
    let store = MemoryStore::new();
    let service = Service::over(store.clone()).await;
    let key = service.issue().await;
    service.use_it(&key, 3).await;
    tokio::time::sleep(MINUTE * 2).await;
    // Without the handle, nothing waits: only what was stored is shown.
    let Service { keys, app, .. } = service;
    drop((keys, app));
    tokio::time::sleep(MINUTE * 2).await;
    let uses = store.get(KeyUses::of(key.record.id)).await.unwrap();
    assert_eq!(uses[0].requests(), 3);
}

/// The bound of an end without one is the last minute.
#[tokio::test]
async fn uses_that_are_flushed_at_the_end_outlast_the_process() {
    for database in Database::shared() {
        let service = Service::over(database.open().await).await;
        let key = service.issue().await;
        service.use_it(&key, 3).await;
        service.keys.flush().await.unwrap();
        service.use_it(&key, 2).await;
        drop(service);
        // As the next process finds it, which has nothing of what waits in this one.
        let copy = database.copy().await;
        let store = copy.open().await;
        let uses = store.get(KeyUses::of(key.record.id)).await.unwrap();
        assert_eq!(uses[0].requests(), 3);
    }
}
