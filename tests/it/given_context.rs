//! `testing::auth_context`: contexts for tests of handlers, behind the crate's own layers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt};
use tower_api_key::key::{KeyRecord, Organization, RateLimit, Timestamp};
use tower_api_key::testing::auth_context;
use tower_api_key::{AuthContext, RequireScope, respond_fn};

use crate::support::{Echo, House, bearer, seen, text, unknown, wrong_secret};

fn given() -> AuthContext {
    let limit = |name| RateLimit::per_minute(name, 5).unwrap();
    let mut acme = Organization::new("acme");
    acme.limits = vec![limit("shared")];
    let mut record = KeyRecord::new(acme.id, "nightly export", Timestamp::from_millis(0));
    record.user = Some("alice".parse().unwrap());
    record.environment = Some("live".to_owned());
    record.scopes = "orders:read".parse().unwrap();
    record.limits = vec![limit("own")];
    record.metadata.set("team", "billing").unwrap();
    record.expires_at = Some(Timestamp::from_millis(1));
    auth_context(record, acme)
}

#[test]
fn context_shows_given_record() {
    let auth = given();
    assert_eq!((auth.name(), auth.user()), ("nightly export", Some("alice")));
    assert_eq!(
        (auth.organization().name.as_str(), auth.environment()),
        ("acme", Some("live"))
    );
    assert_eq!(auth.metadata().get("team"), Some("billing"));
    assert_eq!(auth.expires_at(), Some(Timestamp::from_millis(1)));
    let left: Vec<(&str, u32)> = auth
        .allowance()
        .map(|(limit, left)| (limit.name(), left.remaining()))
        .collect();
    assert_eq!(left, [("own", 5), ("shared", 5)]);
}

#[test]
fn context_is_never_revoked() {
    let auth = given();
    let revoked = pin!(auth.revoked());
    drop(auth);
    assert_eq!(revoked.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
}

#[tokio::test]
async fn handlers_and_scopes_accept_context() {
    let app = Router::new()
        .route(
            "/orders",
            get(|auth: AuthContext| async move { auth.name().to_owned() }),
        )
        .route_layer(RequireScope::new("orders:read".parse().unwrap()))
        .merge(
            Router::new()
                .route("/admin", get(|| async { "not for everyone" }))
                .route_layer(RequireScope::new("admin:all".parse().unwrap())),
        );
    let ask = async |path: &str| {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(given());
        app.clone().oneshot(request).await.unwrap()
    };
    let orders = ask("/orders").await;
    assert_eq!(orders.status(), StatusCode::OK);
    assert_eq!(to_bytes(orders.into_body(), 64).await.unwrap(), "nightly export");
    // No layer is there, so the challenge is the default one.
    let admin = ask("/admin").await;
    assert_eq!(admin.status(), StatusCode::FORBIDDEN);
    let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"admin:all\"";
    assert_eq!(admin.headers()["www-authenticate"], challenge);
}

/// The request with the context of another key, as a broken outer layer might leave it.
fn with_another(mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(given());
    request
}

#[tokio::test]
async fn foreign_context_is_replaced_on_admission() {
    let house = House::new().await;
    let issued = house.issue(house.request()).await;
    let layer = house.layer();
    // After a load, then cached.
    for _ in 0..3 {
        let request = with_another(bearer(&text(&issued)));
        let response = crate::support::ask(&layer, request).await;
        let context = seen(&response).unwrap().context().unwrap();
        assert_eq!(context.key_id(), issued.record.id);
    }
}

#[tokio::test]
async fn foreign_context_is_removed_from_anonymous_request() {
    let layer = House::new().await.layer().optional();
    let response = crate::support::ask(&layer, with_another(crate::support::request(&[]))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(seen(&response).unwrap().context().is_none());
}

#[tokio::test]
async fn foreign_context_is_hidden_from_responder() {
    let house = House::new().await;
    let key = house.key().await;
    let refusals = Arc::new(AtomicUsize::new(0));
    let layer = house.layer();
    assert_eq!(crate::support::ask(&layer, bearer(&key)).await.status(), StatusCode::OK);
    let counted = refusals.clone();
    let layer = layer.responder(respond_fn(move |_, parts| {
        assert!(parts.extensions.get::<AuthContext>().is_none());
        assert!(
            parts.extensions.get::<&str>().is_some(),
            "the other extensions are shown"
        );
        counted.fetch_add(1, Ordering::SeqCst);
        Response::new(Bytes::new())
    }));
    let refused = [
        // Without waiting: no key, a malformed one, a cached one.
        crate::support::request(&[]),
        crate::support::request(&[("x-api-key", &key), ("authorization", "Bearer x")]),
        bearer("rubbish"),
        bearer(&wrong_secret(&key)),
        // After a load.
        bearer(&unknown(&key)),
    ];
    for (number, request) in refused.into_iter().enumerate() {
        let mut request = with_another(request);
        request.extensions_mut().insert("something else");
        let echo = Echo::default();
        let response = layer.layer(echo.clone()).oneshot(request).await.unwrap();
        assert!(response.status().is_client_error());
        assert_eq!((refusals.load(Ordering::SeqCst), echo.calls()), (number + 1, 0));
    }
}
