//! Browsers on other origins, behind tower-http's `CorsLayer`.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use tower::ServiceExt;
use tower_api_key::key::{RateLimit, Timestamp};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeyLayer, KeySource};
use tower_http::cors::CorsLayer;

use crate::support::{House, text};

const ORIGIN: &str = "https://app.example.com";

/// What scripts may read without being told (Fetch, "CORS-safelisted response-header name"), and what browsers use themselves.
const READABLE: [&str; 4] = ["cache-control", "content-length", "content-type", "vary"];

fn app(keys: ApiKeyLayer<MemoryStore>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin([ORIGIN.parse().unwrap()])
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(keys.cors_request_headers())
        .expose_headers(keys.cors_response_headers());
    Router::new()
        .route("/", get(|| async { "served" }))
        .route_layer(keys)
        .layer(cors)
}

async fn ask(app: &Router, method: Method, lines: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri("/").header("origin", ORIGIN);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn listed(response: &Response<Body>, name: &str) -> Vec<String> {
    let lines = response.headers().get_all(name).iter();
    let names = lines.flat_map(|line| line.to_str().unwrap().split(','));
    names.map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn preflight_passes_without_a_key_and_names_its_headers() {
    let house = House::new().await;
    let keys = house.layer().source(KeySource::header("x-my-key").unwrap()).unwrap();
    let app = app(keys);
    let preflight = [
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,x-api-key,x-my-key"),
    ];
    let response = ask(&app, Method::OPTIONS, &preflight).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], ORIGIN);
    let mut allowed = listed(&response, "access-control-allow-headers");
    allowed.sort();
    assert_eq!(allowed, ["authorization", "x-api-key", "x-my-key"]);
}

#[tokio::test]
async fn every_header_of_the_layer_is_exposed() {
    let house = House::new().await;
    let limited = house
        .request()
        .limit(RateLimit::per_hour("requests", 1).unwrap())
        .expires_at(Timestamp::from(SystemTime::now() + Duration::from_secs(3600)));
    let key = text(&house.issue(limited).await);
    let app = app(house.layer().legacy_rate_limit_headers(true));
    let with_key: [(&str, &str); 1] = [("x-api-key", &key)];
    let mut seen = Vec::new();
    for (lines, status) in [
        (&[][..], StatusCode::UNAUTHORIZED),
        (&with_key, StatusCode::OK),
        (&with_key, StatusCode::TOO_MANY_REQUESTS),
    ] {
        let response = ask(&app, Method::GET, lines).await;
        assert_eq!(response.status(), status);
        let exposed = listed(&response, "access-control-expose-headers");
        for name in response.headers().keys().map(HeaderName::as_str) {
            let is_readable = READABLE.contains(&name) || name.starts_with("access-control-");
            assert!(is_readable || exposed.iter().any(|exposed| exposed == name), "{name}");
            seen.push(name.to_owned());
        }
    }
    for name in [
        "www-authenticate",
        "retry-after",
        "ratelimit",
        "x-ratelimit-reset",
        "api-key-expires",
    ] {
        assert!(seen.iter().any(|seen| seen == name), "{name} was never there");
    }
}

#[test]
fn headers_follow_the_settings() {
    let layer = ApiKeyLayer::new(MemoryStore::new());
    let names = |names: Vec<HeaderName>| names.iter().map(HeaderName::to_string).collect::<Vec<_>>();
    let basic = layer.clone().sources([KeySource::basic()]).unwrap();
    assert_eq!(names(basic.cors_request_headers()), ["authorization"]);
    let in_query = KeySource::dangerous_query_parameter("api_key").unwrap();
    let in_query = layer.clone().sources([in_query]).unwrap();
    assert!(in_query.cors_request_headers().is_empty());
    let plain = layer.clone().success_headers(false);
    assert_eq!(
        names(plain.cors_response_headers()),
        [
            header::WWW_AUTHENTICATE.as_str(),
            "retry-after",
            "ratelimit-policy",
            "ratelimit"
        ]
    );
    assert_eq!(layer.legacy_rate_limit_headers(true).cors_response_headers().len(), 8);
}
