//! Every row of the table of refusals, and the headers of admitted responses.

use std::future::ready;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode};
use tower::{Layer, ServiceExt};
use tower_api_key::key::{OrganizationStatus, RateLimit, Scope, SecretHash, Timestamp};
use tower_api_key::store::MemoryStore;
use tower_api_key::testing::ManualClock;
use tower_api_key::{
    ApiKeyLayer, ApiKeys, Authenticator, ClientAddress, HeadersOnly, KeySource, ProblemJson, RateLimitHeaders,
    Rejection, RejectionKind, RequireHttps, RequireScope, respond_fn,
};

use crate::support::down::Down;
use crate::support::rows::Rows as _;
use crate::support::{Echo, House, ask, ask_inner, bearer, field, json, request, seen, text, wrong_secret};

const OWN: &str = "urn:problem-type:tower-api-key:";
const REGISTERED: &str = "https://iana.org/assignments/http-problem-types#";

fn limit(name: &str, limit: u32, seconds: u64, burst: u32) -> RateLimit {
    let limit = RateLimit::new(name, limit, Duration::from_secs(seconds)).unwrap();
    limit.burst(burst).unwrap()
}

fn kind(response: &Response<Bytes>) -> RejectionKind {
    response.extensions().get::<Rejection>().unwrap().kind()
}

/// A layer with a manual clock.
fn layer_by(hand: &ManualClock, house: &House) -> ApiKeyLayer<MemoryStore> {
    let builder = Authenticator::builder(house.store.clone());
    ApiKeyLayer::from(builder.clock(hand.clock()).build())
}

fn days_from_now(days: u64) -> Timestamp {
    Timestamp::from(SystemTime::now() + Duration::from_secs(days * 86_400))
}

/// Asserts what all refusals have in common.
fn assert_refused(response: &Response<Bytes>, status: u16, problem: &str) {
    assert_eq!(response.status(), status);
    assert!(seen(response).is_none(), "the inner service was called");
    assert_eq!(field(response, "content-type"), Some("application/problem+json"));
    assert_eq!(field(response, "cache-control"), Some("no-store"));
    assert_eq!(field(response, "vary"), Some("authorization, x-api-key"));
    assert_eq!(json(response)["type"], problem);
    assert_eq!(json(response)["status"], status);
}

#[tokio::test]
async fn no_credential_is_a_401_without_an_error_code() {
    let layer = House::new().await.layer();
    for request in [
        request(&[]),
        request(&[("authorization", "Bearer")]),
        request(&[("authorization", "Bearer   ")]),
        request(&[("x-api-key", "")]),
        request(&[("authorization", "Digest nonce")]),
    ] {
        let response = ask(&layer, request).await;
        assert_refused(&response, 401, &format!("{OWN}unauthenticated"));
        assert_eq!(field(&response, "www-authenticate"), Some("Bearer realm=\"api\""));
        assert_eq!(kind(&response), RejectionKind::MissingCredential);
    }
}

#[tokio::test]
async fn every_invalid_key_gets_the_same_response_byte_for_byte() {
    let house = House::new().await;
    let (layer, issuer) = (house.layer(), &house.issuer);
    let good = house.key().await;
    let [disabled, revoked, expired] = [house.request(), house.request(), house.request()];
    let (disabled, revoked) = (house.issue(disabled).await, house.issue(revoked).await);
    let expired = house.issue(expired.expires_at(days_from_now(1))).await;
    issuer.disable(disabled.record.id).await.unwrap();
    issuer.revoke(revoked.record.id, "lost").await.unwrap();
    issuer
        .update(expired.record.id, |record| {
            record.expires_at = Some(Timestamp::from_millis(1))
        })
        .await
        .unwrap();
    let other = issuer.create_organization("inactive").await.unwrap();
    let inactive = issuer
        .issue(tower_api_key::IssueRequest::new(other.id, "a key"))
        .await
        .unwrap();
    issuer
        .update_organization(other.id, |organization| {
            organization.status = OrganizationStatus::Inactive
        })
        .await
        .unwrap();

    let cases = [
        ("rubbish".to_owned(), RejectionKind::MalformedKey),
        (format!("{good} {good}"), RejectionKind::MalformedKey),
        ("k".repeat(257), RejectionKind::MalformedKey),
        ("k".repeat(100_000), RejectionKind::MalformedKey),
        (crate::support::unknown(&good), RejectionKind::UnknownKey),
        (wrong_secret(&good), RejectionKind::WrongSecret),
        (text(&disabled), RejectionKind::KeyDisabled),
        (text(&revoked), RejectionKind::KeyRevoked),
        (text(&expired), RejectionKind::KeyExpired),
        (text(&inactive), RejectionKind::OrganizationInactive),
    ];
    let mut answers = Vec::new();
    for (key, expected) in &cases {
        // The second time it is cached. That must not show either.
        for _ in 0..2 {
            let response = ask(&layer, bearer(key)).await;
            assert_refused(&response, 401, &format!("{OWN}unauthenticated"));
            assert_eq!(kind(&response), *expected);
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            answers.push(format!("{} {:?} {body}", response.status(), response.headers()));
        }
    }
    assert!(
        answers[0].contains("Bearer realm=\\\"api\\\", error=\\\"invalid_token\\\""),
        "{}",
        answers[0]
    );
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
}

#[tokio::test]
async fn two_credentials_are_a_400() {
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    let bearer_line = format!("Bearer {key}");
    for lines in [
        &[("authorization", &*bearer_line), ("x-api-key", &*key)][..],
        &[("authorization", &*bearer_line), ("authorization", &*bearer_line)],
        &[("x-api-key", &*key), ("x-api-key", "other")],
        &[("authorization", "Bearer"), ("x-api-key", &*key)],
    ] {
        let response = ask(&layer, request(lines)).await;
        assert_refused(&response, 400, &format!("{OWN}multiple-credentials"));
        let challenge = "Bearer realm=\"api\", error=\"invalid_request\"";
        assert_eq!(field(&response, "www-authenticate"), Some(challenge));
    }
}

#[tokio::test]
async fn missing_scope_is_a_403_that_names_it() {
    let house = House::new().await;
    let key = text(
        &house
            .issue(house.request().scopes("orders:read".parse().unwrap()))
            .await,
    );
    let layer = house.layer().challenge_realm("acme api").unwrap();
    let ask = async |scope: &str| {
        let scoped = RequireScope::new(scope.parse().unwrap()).layer(Echo::default());
        layer.layer(scoped).oneshot(bearer(&key)).await.unwrap()
    };
    assert_eq!(ask("orders:read").await.status(), StatusCode::OK);
    let response = ask("orders:write").await;
    assert_refused(&response, 403, &format!("{OWN}forbidden"));
    let challenge = "Bearer realm=\"acme api\", error=\"insufficient_scope\", scope=\"orders:write\"";
    assert_eq!(field(&response, "www-authenticate"), Some(challenge));
    assert_eq!(json(&response)["scope"], "orders:write");
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::InsufficientScope);
    assert_eq!(rejection.organization_id(), Some(house.organization.id));
}

/// Sends requests with keys that have these scopes, and returns the refusals.
async fn answers_by_scope(needs: RequireScope, cases: &[(&str, http::Method, u16)]) -> Vec<Response<Bytes>> {
    let house = House::new().await;
    let service = house.layer().layer(needs.layer(Echo::default()));
    let mut refused = Vec::new();
    for (scopes, method, status) in cases {
        let issued = house.issue(house.request().scopes(scopes.parse().unwrap())).await;
        let mut request = bearer(&text(&issued));
        *request.method_mut() = method.clone();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), *status, "{scopes} {method}");
        assert_eq!(seen(&response).is_some(), *status == 200);
        if *status != 200 {
            assert_refused(&response, 403, &format!("{OWN}forbidden"));
            assert_eq!(kind(&response), RejectionKind::InsufficientScope);
            refused.push(response);
        }
    }
    refused
}

fn scopes<const N: usize>(texts: [&str; N]) -> [Scope; N] {
    texts.map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn any_needs_one_of_its_scopes_and_names_them_all() {
    let get = http::Method::GET;
    let any = RequireScope::any(scopes(["orders:read", "admin"])).unwrap();
    let cases = [
        ("orders:read", get.clone(), 200),
        ("admin", get.clone(), 200),
        ("orders:*", get.clone(), 200),
        ("*", get.clone(), 200),
        ("orders:write admins", get.clone(), 403),
        ("", get, 403),
    ];
    for response in answers_by_scope(any, &cases).await {
        let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"orders:read admin\"";
        assert_eq!(field(&response, "www-authenticate"), Some(challenge));
        assert_eq!(json(&response)["scope"], "orders:read admin");
        assert!(
            json(&response)["detail"]
                .as_str()
                .unwrap()
                .contains("one of several scopes")
        );
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.required_scopes(), scopes(["orders:read", "admin"]));
        assert!(rejection.any_scope_suffices());
    }
}

#[tokio::test]
async fn all_needs_every_scope_and_names_them_all() {
    let get = http::Method::GET;
    let all = RequireScope::all(scopes(["orders:read", "reports"])).unwrap();
    let cases = [
        ("orders:read reports", get.clone(), 200),
        ("orders:* reports other", get.clone(), 200),
        ("*", get.clone(), 200),
        ("orders:read", get.clone(), 403),
        ("reports", get.clone(), 403),
        ("", get, 403),
    ];
    for response in answers_by_scope(all, &cases).await {
        let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"orders:read reports\"";
        assert_eq!(field(&response, "www-authenticate"), Some(challenge));
        assert_eq!(json(&response)["scope"], "orders:read reports");
        assert!(
            json(&response)["detail"]
                .as_str()
                .unwrap()
                .contains("lacks at least one")
        );
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.required_scopes(), scopes(["orders:read", "reports"]));
        assert!(!rejection.any_scope_suffices());
    }
}

#[tokio::test]
async fn by_method_needs_read_for_safe_methods_else_write() {
    use http::Method;
    let [read, write] = scopes(["orders:read", "orders:write"]);
    let other = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
    let purge = || other("PURGE");
    let mut cases = Vec::new();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        cases.extend([("orders:read", method.clone(), 200), ("orders:write", method, 403)]);
    }
    let reads_refused = cases.len() / 2;
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
        Method::CONNECT,
        purge(),
        other("QUERY"),
        other("PROPFIND"),
        other("X"),
        // Methods are compared byte by byte.
        other("get"),
        other("Head"),
    ] {
        cases.extend([("orders:read", method.clone(), 403), ("orders:write", method, 200)]);
    }
    cases.extend([
        ("orders:*", Method::GET, 200),
        ("orders:*", Method::POST, 200),
        ("", purge(), 403),
    ]);
    let refused = answers_by_scope(RequireScope::by_method(read, write), &cases).await;
    for (index, response) in refused.iter().enumerate() {
        let needed = if index < reads_refused {
            "orders:read"
        } else {
            "orders:write"
        };
        let challenge = format!("Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"{needed}\"");
        assert_eq!(field(response, "www-authenticate"), Some(&*challenge));
        assert_eq!(json(response)["scope"], needed);
    }
}

/// What decides is the method that the inner service sees.
#[tokio::test]
async fn method_override_header_changes_no_scope() {
    let house = House::new().await;
    let issued = house
        .issue(house.request().scopes("orders:read".parse().unwrap()))
        .await;
    let [read, write] = scopes(["orders:read", "orders:write"]);
    let service = house
        .layer()
        .layer(RequireScope::by_method(read, write).layer(Echo::default()));
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let key = format!("Bearer {}", text(&issued));
        let mut request = request(&[("authorization", &key), (name, "GET")]);
        *request.method_mut() = http::Method::POST;
        let response = service.clone().oneshot(request).await.unwrap();
        assert_refused(&response, 403, &format!("{OWN}forbidden"));
    }
}

#[tokio::test]
async fn options_without_a_key_is_refused_like_any_other() {
    let house = House::new().await;
    let [read, write] = scopes(["orders:read", "orders:write"]);
    let scoped = RequireScope::by_method(read, write).layer(Echo::default());
    for layer in [house.layer(), house.layer().optional()] {
        let mut preflight = request(&[
            ("origin", "https://example.com"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization"),
        ]);
        *preflight.method_mut() = http::Method::OPTIONS;
        let response = layer.layer(scoped.clone()).oneshot(preflight).await.unwrap();
        assert_refused(&response, 401, &format!("{OWN}unauthenticated"));
    }
}

#[tokio::test]
async fn two_scope_layers_both_hold() {
    let house = House::new().await;
    let needs = |text: &str| RequireScope::new(text.parse().unwrap());
    let service = house.layer().layer(needs("a").layer(needs("b").layer(Echo::default())));
    for (granted, status) in [("a b", 200), ("a", 403), ("b", 403)] {
        let issued = house.issue(house.request().scopes(granted.parse().unwrap())).await;
        let response = service.clone().oneshot(bearer(&text(&issued))).await.unwrap();
        assert_eq!(response.status(), status, "{granted}");
    }
}

/// Neither a wrong key nor a right one learns from the answer that it was found.
#[tokio::test]
async fn broken_stored_hash_is_the_same_503_for_every_key() {
    let house = House::new().await;
    let issued = house.issue(house.request()).await;
    let mut stored = house.store.key(issued.record.id).await.unwrap().unwrap();
    let right = stored.secrets[0].hash.as_str().to_owned();
    let mut answers = Vec::new();
    for broken in [
        "sha256:",
        &right[..right.len() - 1],
        "sha999:00",
        &format!("{right}\n"),
        "text",
    ] {
        let Ok(hash) = SecretHash::new(broken) else { continue };
        stored.secrets[0].hash = hash;
        stored.record = house.store.update_key(stored.clone()).await.unwrap();
        let key = text(&issued);
        for key in [&key, &wrong_secret(&key)] {
            let response = ask(&house.layer(), bearer(key)).await;
            assert!(seen(&response).is_none(), "{broken}");
            assert_eq!(kind(&response), RejectionKind::InvalidRecord, "{broken}");
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            answers.push(response.into_body());
        }
    }
    assert!(answers.len() >= 8);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn no_scope_or_more_than_16_is_a_config_error() {
    let scopes = |count| vec!["admin".parse::<Scope>().unwrap(); count];
    for (count, is_ok) in [(0, false), (1, true), (16, true), (17, false)] {
        assert_eq!(RequireScope::any(scopes(count)).is_ok(), is_ok, "{count}");
        assert_eq!(RequireScope::all(scopes(count)).is_ok(), is_ok, "{count}");
    }
    let error = RequireScope::all([]).unwrap_err();
    assert_eq!(error.to_string(), "invalid required scopes: must be 1 to 16, got none");
}

#[tokio::test]
async fn require_scope_without_a_layer_is_a_500_that_says_so() {
    let service = RequireScope::new("orders:read".parse().unwrap()).layer(Echo::default());
    let response = service.oneshot(request(&[])).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(seen(&response).is_none());
    assert!(json(&response)["detail"].as_str().unwrap().contains("ApiKeyLayer"));
}

#[tokio::test]
async fn require_scope_refuses_the_anonymous_with_a_challenge() {
    let layer = House::new().await.layer().optional();
    let scoped = RequireScope::new("orders:read".parse().unwrap()).layer(Echo::default());
    let response = layer.layer(scoped).oneshot(request(&[])).await.unwrap();
    assert_refused(&response, 401, &format!("{OWN}unauthenticated"));
    assert_eq!(field(&response, "www-authenticate"), Some("Bearer realm=\"api\""));
}

#[tokio::test]
async fn exhausted_limit_is_a_429_with_retry_after() {
    let house = House::new().await;
    let limited = house
        .request()
        .limit(limit("requests", 1, 60, 2))
        .limit(limit("daily", 1_000, 86_400, 1_000));
    let key = text(&house.issue(limited).await);
    let hand = ManualClock::new();
    let layer = layer_by(&hand, &house).legacy_rate_limit_headers(true);

    let policy = "\"requests\";q=2;w=120, \"daily\";q=1000;w=86400";
    for remaining in [1, 0] {
        let response = ask(&layer, bearer(&key)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(&response, "ratelimit-policy"), Some(policy));
        let daily = 998 + remaining;
        let state = format!("\"requests\";r={remaining};t=60, \"daily\";r={daily};t=87");
        assert_eq!(field(&response, "ratelimit"), Some(&*state));
        assert_eq!(field(&response, "x-ratelimit-limit"), Some("2"));
        assert_eq!(field(&response, "x-ratelimit-remaining"), Some(&*remaining.to_string()));
        assert!(field(&response, "retry-after").is_none());
    }
    let response = ask(&layer, bearer(&key)).await;
    assert_refused(&response, 429, &format!("{REGISTERED}quota-exceeded"));
    assert_eq!(field(&response, "ratelimit-policy"), Some(policy));
    let state = "\"requests\";r=0;t=60, \"daily\";r=998;t=87";
    assert_eq!(field(&response, "ratelimit"), Some(state));
    assert_eq!(field(&response, "retry-after"), Some("60"));
    assert_eq!(field(&response, "x-ratelimit-remaining"), Some("0"));
    assert_eq!(json(&response)["violated-policies"], serde_json::json!(["requests"]));
    assert!(field(&response, "www-authenticate").is_none());
    hand.advance(Duration::from_secs(60));
    assert_eq!(ask(&layer, bearer(&key)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn failing_store_is_a_503_even_if_optional() {
    let key = House::new().await.key().await;
    let response = ask(&ApiKeyLayer::new(Down), bearer(&key)).await;
    assert_refused(&response, 503, &format!("{REGISTERED}temporary-reduced-capacity"));
    let seconds: u64 = field(&response, "retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    assert!(field(&response, "www-authenticate").is_none());
    // An optional layer must not treat a key that could not be checked as no key.
    let response = ask(&ApiKeyLayer::new(Down).optional(), bearer(&key)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn require_https_admits_only_what_a_trusted_proxy_vouches_for() {
    let layer = ApiKeyLayer::new(MemoryStore::new());
    let https = layer
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let ask = async |https: RequireHttps, peer: &str, uri: &str, proto: Option<&str>| {
        let mut builder = http::Request::builder().uri(uri);
        if let Some(proto) = proto {
            builder = builder.header("x-forwarded-proto", proto);
        }
        builder = builder.header("host", "localhost:8080");
        let mut request = builder.body(()).unwrap();
        if !peer.is_empty() {
            request.extensions_mut().insert(ClientAddress(peer.parse().unwrap()));
        }
        https.layer(Echo::default()).oneshot(request).await.unwrap()
    };
    let dev = https.clone().allow_loopback();
    for (https, peer, uri, proto, admitted) in [
        (&https, "10.0.0.1", "/", Some("https"), true),
        (&https, "::ffff:10.0.0.1", "/", Some("HTTPS"), true),
        (&https, "10.0.0.1", "/", Some("http"), false),
        (&https, "10.0.0.1", "/", None, false),
        (&https, "192.0.2.7", "/", Some("https"), false),
        (&https, "192.0.2.7", "https://example.com/", None, false),
        (&https, "", "/", Some("https"), false),
        (&https, "127.0.0.1", "/", None, false),
        (&dev, "127.0.0.1", "/", None, true),
        (&dev, "::1", "/", None, true),
        (&dev, "127.0.0.1", "/", Some("http"), false),
        (&dev, "127.0.0.1", "/", Some("https"), false),
        (&dev, "192.0.2.7", "/", None, false),
    ] {
        let response = ask(https.clone(), peer, uri, proto).await;
        assert_eq!(response.status() == StatusCode::OK, admitted, "{peer} {uri} {proto:?}");
        if !admitted {
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            assert_eq!(json(&response)["type"], format!("{OWN}insecure-transport"));
            assert_eq!(kind(&response), RejectionKind::InsecureTransport);
        }
    }
}

#[tokio::test]
async fn refusals_echo_nothing_of_the_request() {
    let house = House::new().await;
    let scoped = text(
        &house
            .issue(house.request().scopes("orders:read".parse().unwrap()))
            .await,
    );
    let layer = house.layer();
    let asked_by_query = KeySource::dangerous_query_parameter("api_key").unwrap();
    let by_query = layer.clone().source(asked_by_query).unwrap();
    let canary = "canary-7c1e\"\\<script>";
    let bearer = format!("Bearer {canary}");
    let mut requests = vec![
        request(&[("authorization", &bearer)]),
        request(&[("x-api-key", canary), ("authorization", &bearer)]),
        request(&[
            ("authorization", &format!("{canary} {canary}")),
            ("content-type", canary),
        ]),
        request(&[]),
        // Cached, and refused for its scope.
        request(&[("x-api-key", &scoped)]),
    ];
    for request in &mut requests {
        *request.uri_mut() = "/canary-7c1e?canary-7c1e=canary-7c1e".parse().unwrap();
    }
    let mut in_query = request(&[]);
    *in_query.uri_mut() = "/canary-7c1e?api_key=canary-7c1e".parse().unwrap();
    requests.push(in_query);
    let may_write = RequireScope::new("orders:write".parse().unwrap());
    for layer in [layer, by_query] {
        for request in &requests {
            let inner = may_write.layer(Echo::default());
            let response = layer.layer(inner).oneshot(request.clone()).await.unwrap();
            assert!(response.status().is_client_error());
            assert!(seen(&response).is_none());
            assert!(!format!("{response:?}").contains("canary"), "{response:?}");
        }
    }
}

#[tokio::test]
async fn layer_completes_what_a_responder_leaves_out() {
    let layer = House::new().await.layer();
    let response = ask(&layer.clone().responder(HeadersOnly), request(&[])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.body().is_empty());
    assert_eq!(field(&response, "www-authenticate"), Some("Bearer realm=\"api\""));

    // A closure that sets only the body. It sees no credential.
    let closure = layer.clone().responder(respond_fn(|rejection, request| {
        assert!(!request.headers.contains_key("authorization"));
        Response::new(Bytes::from(format!(
            "{}: {}",
            request.uri.path(),
            rejection.kind().as_str()
        )))
    }));
    let response = ask(&closure, bearer("rubbish")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.body(), "/orders: malformed_key");
    assert_eq!(field(&response, "cache-control"), Some("no-store"));
    assert_eq!(kind(&response), RejectionKind::MalformedKey);

    let based = ProblemJson::new().type_base("https://errors.example.com/").unwrap();
    let response = ask(&layer.clone().responder(based), request(&[])).await;
    assert_eq!(json(&response)["type"], "https://errors.example.com/unauthenticated");

    let boxed = layer.responder(ProblemJson::new().with_body(|bytes| Box::new(bytes.to_vec())));
    let inner = tower::service_fn(|_: http::Request<()>| ready(Ok::<_, &str>(Response::new(Box::new(Vec::new())))));
    let response = boxed.layer(inner).oneshot(request(&[])).await.unwrap();
    assert!(response.body().starts_with(b"{\"type\":"));
}

#[tokio::test]
async fn challenges_and_vary_follow_the_sources() {
    let house = House::new().await;
    let schemes = [
        KeySource::authorization("ApiKey").unwrap(),
        KeySource::basic().challenge(),
    ];
    let layer = house.layer().sources(schemes).unwrap();
    let response = ask(&layer, request(&[("authorization", "APIKEY rubbish")])).await;
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(
        challenges,
        [
            "ApiKey realm=\"api\", error=\"invalid_token\"",
            "Basic realm=\"api\", charset=\"UTF-8\""
        ]
    );
    assert_eq!(field(&response, "vary"), Some("authorization"));
    let key = house.key().await;
    // `RequireScope` inside uses the layer's sources.
    let scoped = RequireScope::new("orders:write".parse().unwrap());
    let request_of = request(&[("authorization", &format!("ApiKey {key}"))]);
    let response = layer
        .layer(scoped.layer(Echo::default()))
        .oneshot(request_of)
        .await
        .unwrap();
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(
        challenges,
        [
            "ApiKey realm=\"api\", error=\"insufficient_scope\", scope=\"orders:write\"",
            "Basic realm=\"api\", charset=\"UTF-8\""
        ]
    );
    let layer = house.layer().source(KeySource::header("x-my-key").unwrap()).unwrap();
    let response = ask(&layer, request(&[("x-my-key", "rubbish")])).await;
    assert_eq!(field(&response, "vary"), Some("authorization, x-api-key, x-my-key"));
}

#[test]
fn challenge_realm_must_fit_a_quoted_string() {
    let layer = || ApiKeyLayer::new(MemoryStore::new());
    for realm in ["", "a\"b", "a\\b", "a\nb", "\u{e9}", &"x".repeat(129)] {
        assert!(layer().challenge_realm(realm).is_err(), "{realm:?}");
    }
    for realm in ["my api", "~", &"x".repeat(128)] {
        assert!(layer().challenge_realm(realm).is_ok(), "{realm:?}");
    }
}

/// With two layers over one authenticator, refusals inside follow the layer that admitted the request.
#[tokio::test]
async fn refusals_inside_use_the_settings_of_the_admitting_layer() {
    let house = House::new().await;
    let key = house.key().await;
    let authenticator = Authenticator::new(house.store.clone());
    let layer = |realm: &str, scheme: &str| {
        let layer = ApiKeyLayer::from(authenticator.clone()).challenge_realm(realm).unwrap();
        layer
            .sources([KeySource::authorization(scheme).unwrap()])
            .unwrap()
            .optional()
    };
    let scoped = RequireScope::new("orders:write".parse().unwrap());
    for (realm, scheme) in [("one", "Token"), ("two", "ApiKey")] {
        let layer = layer(realm, scheme);
        // The key is read, then cached; an anonymous request has no context.
        for (credential, error) in [
            (
                format!("{scheme} {key}"),
                ", error=\"insufficient_scope\", scope=\"orders:write\"",
            ),
            (
                format!("{scheme} {key}"),
                ", error=\"insufficient_scope\", scope=\"orders:write\"",
            ),
            ("Other scheme".to_owned(), ""),
        ] {
            let service = layer.layer(scoped.layer(Echo::default()));
            let response = service
                .oneshot(request(&[("authorization", &credential)]))
                .await
                .unwrap();
            assert!(seen(&response).is_none());
            let challenge = format!("{scheme} realm=\"{realm}\"{error}");
            assert_eq!(field(&response, "www-authenticate"), Some(&*challenge));
            assert_eq!(field(&response, "vary"), Some("authorization"));
        }
    }
}

#[tokio::test]
async fn admitted_responses_vary_and_are_private_by_default() {
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    let fields = async |layer: &ApiKeyLayer<_>, lines: &[(&'static str, &str)]| {
        let response = ask_inner(layer, Echo::answering(lines), bearer(&key)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.body(), "served");
        let own = |name| field(&response, name).map(str::to_owned);
        (own("vary"), own("cache-control"))
    };
    let some = |text: &str| Some(text.to_owned());
    // The first check waits, the others are answered from the cache.
    assert_eq!(
        fields(&layer, &[]).await,
        (some("authorization, x-api-key"), some("private"))
    );
    assert_eq!(
        fields(&layer, &[]).await,
        (some("authorization, x-api-key"), some("private"))
    );
    let own = fields(
        &layer,
        &[("vary", "accept-encoding"), ("cache-control", "public, max-age=60")],
    )
    .await;
    assert_eq!(
        own,
        (
            some("accept-encoding, authorization, x-api-key"),
            some("public, max-age=60")
        )
    );
    assert_eq!(fields(&layer, &[("vary", "*")]).await.0, some("*"));
    let silent = layer.clone().vary(false).cache_control(false);
    assert_eq!(fields(&silent, &[]).await, (None, None));
    assert_eq!(fields(&layer.success_headers(false), &[]).await, (None, None));
}

#[tokio::test]
async fn anonymous_responses_vary_and_are_not_private() {
    let layer = House::new().await.layer().optional();
    let response = ask(&layer, request(&[])).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(field(&response, "vary"), Some("authorization, x-api-key"));
    assert_eq!(field(&response, "cache-control"), None);
    assert!(seen(&response).unwrap().context().is_none());
}

#[tokio::test]
async fn rate_limit_headers_are_written_as_configured() {
    let house = House::new().await;
    let plain = house.key().await;
    let key = text(&house.issue(house.request().limit(limit("requests", 20, 60, 20))).await);
    let always = layer_by(&ManualClock::new(), &house);
    let (near, never) = (
        always.clone().rate_limit_headers(RateLimitHeaders::NearExhaustion),
        always.clone().rate_limit_headers(RateLimitHeaders::Never),
    );
    let header = async |layer: &ApiKeyLayer<_>, key: &str| {
        let response = ask(layer, bearer(key)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (policy, state) = (field(&response, "ratelimit-policy"), field(&response, "ratelimit"));
        assert_eq!(policy.is_some(), state.is_some());
        assert!(field(&response, "x-ratelimit-limit").is_none());
        state.is_some()
    };
    assert!(
        !header(&always, &plain).await,
        "a key without limits has no rate-limit headers"
    );
    assert!(header(&always, &key).await);
    assert!(!header(&never, &key).await);
    for remaining in (0..18).rev() {
        assert_eq!(header(&near, &key).await, remaining <= 2, "{remaining} left of 20");
    }
}

#[tokio::test]
async fn expiry_header_for_keys_near_their_end_or_superseded() {
    let house = House::new().await;
    let layer = house.layer();
    let (soon, late) = (days_from_now(6), days_from_now(8));
    let near = text(&house.issue(house.request().expires_at(soon)).await);
    let far = text(&house.issue(house.request().expires_at(late)).await);
    let rotated = house.issue(house.request()).await;
    let newer = house
        .issuer
        .rotate(rotated.record.id, Duration::from_secs(30 * 86_400))
        .await
        .unwrap();

    let header = async |layer: &ApiKeyLayer<_>, key: &str| {
        let response = ask(layer, bearer(key)).await;
        assert_eq!(response.status(), StatusCode::OK);
        field(&response, "api-key-expires").map(str::to_owned)
    };
    assert_eq!(header(&layer, &near).await, Some(soon.to_string()));
    assert_eq!(header(&layer, &far).await, None);
    assert_eq!(header(&layer, &text(&newer)).await, None);
    // It expires in thirty days, but was replaced.
    assert!(header(&layer, &text(&rotated)).await.is_some());
    assert_eq!(header(&layer.expiry_header(false), &near).await, None);
}

#[tokio::test]
async fn responder_that_prints_the_request_prints_no_key() {
    let house = House::new().await;
    let key = house.key().await;
    let respond = |_: &Rejection, request: &http::request::Parts| Response::new(Bytes::from(format!("{request:?}")));
    let assert_hidden = |response: Response<Bytes>, status: u16| {
        assert_eq!(response.status(), status);
        let printed = String::from_utf8(response.into_body().to_vec()).unwrap();
        assert!(printed.contains("Sensitive") && !printed.contains(&key), "{printed}");
    };
    let presented = [
        ("authorization", format!("Bearer {key}")),
        ("x-api-key", key.clone()),
        ("proxy-authorization", format!("Bearer {key}")),
    ];
    let keeping = house.layer().keep_credential();
    let https = keeping
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    for (name, value) in &presented {
        let service = https.clone().responder(respond).layer(Echo::default());
        let twice = request(&[(name, value), (name, value)]);
        assert_hidden(service.oneshot(twice).await.unwrap(), 403);
    }
    let own = house.layer().source(KeySource::header("x-my-key").unwrap()).unwrap();
    let https = own
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let service = https.responder(respond).layer(Echo::default());
    assert_hidden(service.oneshot(request(&[("x-my-key", &key)])).await.unwrap(), 403);
    let scoped = RequireScope::new("orders:read".parse().unwrap()).responder(respond);
    for (name, value) in &presented[..2] {
        let service = keeping.layer(scoped.layer(Echo::default()));
        assert_hidden(service.oneshot(request(&[(name, value)])).await.unwrap(), 403);
        let service = keeping.clone().responder(respond).layer(Echo::default());
        let twice = request(&[(name, value), (name, value)]);
        assert_hidden(service.oneshot(twice).await.unwrap(), 400);
    }
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn expiry_header_uses_the_authenticators_clock() {
    const DAY: Duration = Duration::from_secs(86_400);
    let house = House::new().await;
    let hand = ManualClock::new();
    // Far from the system clock, before and after it.
    for start in [hand.clock().wall(), days_from_now(3650)] {
        hand.step_wall(start.as_millis() - hand.clock().wall().as_millis());
        let issuer = crate::house::acting(
            ApiKeys::builder(house.store.clone())
                .hash_policy(tower_api_key::hash::HashPolicy::sha256())
                .clock(hand.clock()),
        );
        let end = start.after(DAY * 8);
        let issued = issuer.issue(house.request().expires_at(end)).await.unwrap();
        let authenticator = Authenticator::builder(house.store.clone()).clock(hand.clock());
        let layer = ApiKeyLayer::from(authenticator.build());
        let header = async || {
            let response = ask(&layer, bearer(&text(&issued))).await;
            assert_eq!(response.status(), StatusCode::OK);
            field(&response, "api-key-expires").map(str::to_owned)
        };
        assert_eq!(header().await, None, "eight days before");
        hand.advance(DAY - Duration::from_millis(1));
        assert_eq!(header().await, None);
        hand.advance(Duration::from_millis(1));
        assert_eq!(header().await, Some(end.to_string()), "seven days before");
    }
}
