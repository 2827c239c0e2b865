//! `AuthContext` as an axum extractor.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tower::ServiceExt;
use tower_api_key::{AuthContext, Rejection, RequireScope};

use crate::support::{House, text};

async fn whoami(auth: AuthContext) -> String {
    format!("{} of {}", auth.name(), auth.organization().name)
}

async fn greet(auth: Option<AuthContext>) -> String {
    auth.map_or_else(|| "anonymous".to_owned(), |auth| auth.name().to_owned())
}

async fn ask(app: &Router, path: &str, key: Option<&str>) -> (StatusCode, String, Option<String>) {
    let mut request = Request::builder().uri(path);
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let bytes = to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap(), challenge)
}

#[tokio::test]
async fn handler_extracts_the_context_of_its_request() {
    let house = House::new().await;
    let key = house.key().await;
    let app = Router::new().route("/whoami", get(whoami)).route_layer(house.layer());
    for _ in 0..2 {
        let (status, body, _) = ask(&app, "/whoami", Some(&key)).await;
        assert_eq!((status, &*body), (StatusCode::OK, "a key of acme"));
    }
    assert_eq!(ask(&app, "/whoami", None).await.0, StatusCode::UNAUTHORIZED);
    // `route_layer` leaves unknown paths alone.
    assert_eq!(ask(&app, "/nowhere", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn missing_layer_is_a_500_that_names_it() {
    let app = Router::new().route("/whoami", get(whoami)).route("/greet", get(greet));
    for path in ["/whoami", "/greet"] {
        let (status, body, _) = ask(&app, path, None).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(body.contains("`ApiKeyLayer`"), "{body}");
    }
}

#[tokio::test]
async fn optional_extractor_admits_the_anonymous() {
    let house = House::new().await;
    let key = house.key().await;
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/greet", get(greet))
        .route_layer(house.layer().optional());
    assert_eq!(ask(&app, "/greet", None).await.1, "anonymous");
    assert_eq!(ask(&app, "/greet", Some(&key)).await.1, "a key");
    assert_eq!(ask(&app, "/greet", Some("rubbish")).await.0, StatusCode::UNAUTHORIZED);
    // The handler needs a key although the layer does not: 401, not 500.
    let (status, body, challenge) = ask(&app, "/whoami", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains(":unauthenticated"), "{body}");
    assert_eq!(challenge.as_deref(), Some("Bearer realm=\"api\""));
}

#[tokio::test]
async fn extractor_answers_with_the_layers_responder() {
    let house = House::new().await;
    let plain = |_: &Rejection, _: &Parts| Response::new(Body::from("in our own words"));
    let route = |_: &Rejection, _: &Parts| Response::new(Body::from("in the route's words"));
    let scope = || RequireScope::new("orders:read".parse().unwrap());
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/scoped", get(whoami).layer(scope()))
        .route("/route", get(whoami).layer(scope().responder(route)))
        .route_layer(house.layer().optional().responder(plain));
    for (path, key, body) in [
        ("/whoami", Some("rubbish"), "in our own words"),
        ("/whoami", None, "in our own words"),
        ("/scoped", None, "in our own words"),
        ("/route", None, "in the route's words"),
    ] {
        let answer = ask(&app, path, key).await;
        assert_eq!((answer.0, &*answer.1), (StatusCode::UNAUTHORIZED, body), "{path}");
    }
}

#[tokio::test]
async fn scopes_are_required_by_route_and_method() {
    let house = House::new().await;
    let reader = text(
        &house
            .issue(house.request().scopes("orders:read".parse().unwrap()))
            .await,
    );
    let may_write = RequireScope::new("orders:write".parse().unwrap());
    let orders = get(greet).merge(axum::routing::post(greet).layer(may_write));
    let app = Router::new().route("/orders", orders).route_layer(house.layer());
    assert_eq!(ask(&app, "/orders", Some(&reader)).await.0, StatusCode::OK);
    let post = Request::post("/orders")
        .header("x-api-key", &reader)
        .body(Body::empty())
        .unwrap();
    let response = app.oneshot(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["vary"], "authorization, x-api-key");
}
