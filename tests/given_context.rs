//! `testing::auth_context`: contexts for tests of handlers, behind the crate's own layers.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(all(feature = "axum", feature = "testing"))]

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_key::key::{KeyRecord, Organization, RateLimit, Timestamp};
use tower_api_key::testing::auth_context;
use tower_api_key::{AuthContext, RequireScope};

fn given() -> AuthContext {
    let five = NonZeroU32::new(5).unwrap();
    let limit = |name| RateLimit::new(name, five, Duration::from_secs(60)).unwrap();
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
fn it_shows_what_it_was_given() {
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
fn it_never_ends() {
    let auth = given();
    let revoked = pin!(auth.revoked());
    drop(auth);
    assert_eq!(revoked.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
}

#[tokio::test]
async fn handlers_and_scopes_take_it_for_a_checked_one() {
    let app = Router::new()
        .route(
            "/orders",
            get(|auth: AuthContext| async move { auth.name().to_owned() }),
        )
        .route_layer(RequireScope::new("orders:read".parse().unwrap()))
        .merge(
            Router::new()
                .route("/admin", get(|| async { "not for everybody" }))
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
    assert_eq!(ask("/admin").await.status(), StatusCode::FORBIDDEN);
}
