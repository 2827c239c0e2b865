//! Refusals of gRPC requests: their headers, and the status that a tonic client reads.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt};
use tower_api_key::key::RateLimit;
use tower_api_key::store::KeyStore;
use tower_api_key::{ApiKeyLayer, GrpcStatus, Rejection, RequireScope};

use crate::support::down::Down;
use crate::support::{Echo, House, ask, field, request, text};

fn post(content_type: &str, lines: &[(&str, &str)]) -> Request<()> {
    let mut lines = lines.to_vec();
    lines.push(("content-type", content_type));
    let mut request = request(&lines);
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    request
}

fn grpc(lines: &[(&str, &str)]) -> Request<()> {
    post("application/grpc+proto", lines)
}

fn assert_status(response: &Response<Bytes>, code: &str) {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(field(response, "content-type"), Some("application/grpc"));
    assert_eq!(field(response, "grpc-status"), Some(code));
    assert!(!field(response, "grpc-message").unwrap().is_empty());
    assert!(response.body().is_empty());
    assert!(response.extensions().get::<Rejection>().is_some());
    // Headers of plain HTTP refusals.
    assert!(field(response, "www-authenticate").is_none());
    assert!(field(response, "retry-after").is_none());
    // For a cache this is a 200.
    assert_eq!(field(response, "cache-control"), Some("no-store"));
    assert_eq!(field(response, "vary"), Some("authorization, x-api-key"));
}

fn once_a_minute() -> RateLimit {
    RateLimit::per_minute("requests", 1).unwrap()
}

#[tokio::test]
async fn every_refusal_has_its_grpc_status() {
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    assert_status(&ask(&layer, grpc(&[])).await, "16");
    assert_status(&ask(&layer, grpc(&[("x-api-key", "rubbish")])).await, "16");
    assert_status(
        &ask(&layer, grpc(&[("x-api-key", &crate::support::unknown(&key))])).await,
        "16",
    );
    assert_status(
        &ask(&layer, grpc(&[("x-api-key", &key), ("x-api-key", &key)])).await,
        "3",
    );

    let scoped = RequireScope::new("orders:write".parse().unwrap()).layer(Echo::default());
    let response = layer.layer(scoped).oneshot(grpc(&[("x-api-key", &key)])).await.unwrap();
    assert_status(&response, "7");
    assert!(field(&response, "grpc-message").unwrap().contains("orders:write"));

    let scopes = || ["orders:write".parse().unwrap(), "admin".parse().unwrap()];
    let by_method = RequireScope::by_method("orders:read".parse().unwrap(), "orders:write".parse().unwrap());
    for (needs, message) in [
        (
            RequireScope::any(scopes()).unwrap(),
            "one of several scopes, and the API key has none of them. (orders:write admin)",
        ),
        (
            RequireScope::all(scopes()).unwrap(),
            "lacks at least one of them. (orders:write admin)",
        ),
        (by_method, "lacks the scope that this needs. (orders:write)"),
    ] {
        let service = layer.layer(needs.responder(GrpcStatus).layer(Echo::default()));
        let response = service.oneshot(grpc(&[("x-api-key", &key)])).await.unwrap();
        assert_status(&response, "7");
        let told = field(&response, "grpc-message").unwrap();
        assert!(told.ends_with(message), "{told}");
    }

    let limited = text(&house.issue(house.request().limit(once_a_minute())).await);
    assert_eq!(
        field(&ask(&layer, grpc(&[("x-api-key", &limited)])).await, "grpc-status"),
        None
    );
    let response = ask(&layer, grpc(&[("x-api-key", &limited)])).await;
    assert_status(&response, "8");
    let pushback: u64 = field(&response, "grpc-retry-pushback-ms").unwrap().parse().unwrap();
    assert!((50_000..=60_000).contains(&pushback), "{pushback}");
    // A client would wait an hour if it were told to.
    let used_up = text(
        &house
            .issue(house.request().limit(RateLimit::per_hour("requests", 1).unwrap()))
            .await,
    );
    for status in [None, Some("8")] {
        let response = ask(&layer, grpc(&[("x-api-key", &used_up)])).await;
        assert_eq!(field(&response, "grpc-status"), status);
        assert_eq!(field(&response, "grpc-retry-pushback-ms"), status.map(|_| "-1"));
    }

    let response = ask(&ApiKeyLayer::new(Down), grpc(&[("x-api-key", &key)])).await;
    assert_status(&response, "14");
    let pushback: u64 = field(&response, "grpc-retry-pushback-ms").unwrap().parse().unwrap();
    assert!(pushback >= 1_000, "{pushback}");
}

#[tokio::test]
async fn other_content_types_get_http_refusals() {
    let layer = House::new().await.layer();
    let mut get = grpc(&[]);
    *get.method_mut() = Method::GET;
    for plain in [post("application/json", &[]), get] {
        assert_eq!(ask(&layer, plain).await.status(), StatusCode::UNAUTHORIZED);
    }
    let web = ask(&layer, post("Application/gRPC-Web+proto", &[])).await;
    assert_eq!(field(&web, "content-type"), Some("application/grpc-web"));
    assert_eq!(field(&web, "grpc-status"), Some("16"));
    // `GrpcStatus` ignores the content type.
    let layer = layer.responder(GrpcStatus);
    let always = ask(&layer, post("application/json", &[])).await;
    assert_eq!(field(&always, "grpc-status"), Some("16"));
}

/// Otherwise a client that tries keys would leave a line of successes in every log.
#[cfg(all(feature = "axum", feature = "testing"))]
#[tokio::test]
async fn refusal_over_http1_is_no_success_whatever_its_type() {
    use axum::Router;
    use axum::routing::any;

    use crate::wire;

    let house = House::new().await;
    let key = house.key().await;
    let wrong = crate::support::wrong_secret(&key);
    let app = Router::new()
        .route("/json", any(|| async { "served" }).layer(house.layer()))
        .route(
            "/grpc",
            any(|| async { "served" }).layer(house.layer().responder(GrpcStatus)),
        );
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });

    for path in ["/json", "/grpc"] {
        for (method, content_type) in [
            ("POST", "application/grpc"),
            ("POST", "application/grpc+proto"),
            ("POST", "Application/GRPC;x"),
            ("POST", "application/json"),
            ("GET", "application/grpc"),
            ("GET", "application/grpc-web"),
        ] {
            for key in ["", "rubbish", &wrong] {
                let lines: [(&str, &[u8]); 2] =
                    [("content-type", content_type.as_bytes()), ("x-api-key", key.as_bytes())];
                let answer = wire::request(server, method, path, &lines).await;
                assert_eq!(answer.status, 401, "{path} {method} {content_type} {key}");
                assert!(answer.header("grpc-status").is_empty());
                assert!(!answer.header("www-authenticate").is_empty());
            }
        }
        // gRPC-Web is made for HTTP/1.1.
        let web: [(&str, &[u8]); 1] = [("content-type", b"application/grpc-web-text")];
        let answer = wire::request(server, "POST", path, &web).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, vec!["16"]));
    }
}

async fn served<S: KeyStore>(layer: ApiKeyLayer<S, GrpcStatus>) -> HealthClient<Channel> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    HealthClient::new(channel.connect().await.unwrap())
}

async fn check(client: &mut HealthClient<Channel>, key: Option<&str>) -> Result<(), Status> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    if let Some(key) = key {
        let value = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    client.check(request).await.map(|_| ())
}

#[tokio::test]
async fn tonic_client_reads_the_status() {
    let house = House::new().await;
    let key = house.key().await;
    let limited = text(&house.issue(house.request().limit(once_a_minute())).await);
    let mut client = served(house.layer().responder(GrpcStatus)).await;
    for _ in 0..2 {
        check(&mut client, Some(&key)).await.unwrap();
    }
    let code = async |client: &mut HealthClient<Channel>, key| check(client, key).await.unwrap_err().code();
    assert_eq!(code(&mut client, None).await, Code::Unauthenticated);
    assert_eq!(code(&mut client, Some("rubbish")).await, Code::Unauthenticated);
    check(&mut client, Some(&limited)).await.unwrap();
    let status = check(&mut client, Some(&limited)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "A rate limit of the API key or of its organization is exhausted."
    );

    let mut client = served(ApiKeyLayer::new(Down).responder(GrpcStatus)).await;
    assert_eq!(code(&mut client, Some(&key)).await, Code::Unavailable);
}
