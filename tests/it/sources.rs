//! Sources of keys, and the removal of keys from requests.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode, Uri};
use tower::{Layer, ServiceExt};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeyLayer, AuthContext, ClientAddress, KeySource, Rejection, RejectionKind, respond_fn};

use crate::support::{House, Seen, ask, bearer, request, seen, text};

fn admitted(response: &Response<Bytes>) -> &Seen {
    assert_eq!(response.status(), StatusCode::OK);
    let seen = seen(response).unwrap();
    assert!(seen.context().is_some());
    seen
}

fn refused(response: &Response<Bytes>) -> RejectionKind {
    assert!(seen(response).is_none(), "the inner service was called");
    response.extensions().get::<Rejection>().unwrap().kind()
}

fn at(uri: &str) -> Request<()> {
    Request::builder().uri(uri).body(()).unwrap()
}

#[tokio::test]
async fn keys_in_both_default_sources_are_found_and_removed() {
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    // The first is read from the store, the others are cached: both remove the key.
    for lines in [
        &[("authorization", &*format!("Bearer {key}")), ("accept", "*/*")][..],
        &[("authorization", &*format!("bEARER  {key} ")), ("accept", "*/*")],
        &[("x-api-key", &*key), ("accept", "*/*")],
        &[
            ("x-api-key", &*format!(" {key}\t")),
            ("authorization", "Digest d"),
            ("accept", "*/*"),
        ],
    ] {
        let response = ask(&layer, request(lines)).await;
        let seen = admitted(&response);
        assert!(!format!("{:?} {}", seen.headers, seen.uri).contains(&key));
        assert_eq!(seen.headers["accept"], "*/*");
        assert_eq!(seen.headers.len(), lines.len() - 1);
        assert_eq!(seen.context().unwrap().organization().name, "acme");
    }
}

#[tokio::test]
async fn second_layer_inside_finds_no_key() {
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    let nested = layer.layer(layer.layer(crate::support::Echo::default()));
    let response = nested.oneshot(bearer(&key)).await.unwrap();
    assert_eq!(refused(&response), RejectionKind::MissingCredential);
}

#[tokio::test]
async fn kept_credential_is_sensitive() {
    let house = House::new().await;
    let (layer, key) = (house.layer().keep_credential(), house.key().await);
    for lines in [("authorization", format!("Bearer {key}")), ("x-api-key", key.clone())] {
        let response = ask(&layer, request(&[(lines.0, &lines.1)])).await;
        let seen = admitted(&response);
        assert_eq!(seen.headers[lines.0], lines.1);
        assert!(seen.headers[lines.0].is_sensitive());
        assert!(!format!("{:?}", seen.headers).contains(&key));
    }
}

#[tokio::test]
async fn configured_sources_replace_the_defaults() {
    let house = House::new().await;
    let key = house.key().await;
    let sources = [
        KeySource::authorization("ApiKey").unwrap(),
        KeySource::basic(),
        KeySource::header("x-my-key").unwrap(),
        KeySource::dangerous_query_parameter("api_key").unwrap(),
    ];
    let layer = house.layer().sources(sources).unwrap();
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(user));
    for request in [
        request(&[("authorization", &format!("apikey {key}"))]),
        request(&[("authorization", &basic(&key))]),
        request(&[("authorization", &basic(&format!("{key}:")))]),
        request(&[("x-my-key", &key)]),
        at(&format!("/orders?api_key={key}")),
    ] {
        let response = ask(&layer, request).await;
        let seen = admitted(&response);
        assert!(seen.headers.is_empty());
        assert_eq!(seen.uri, "/orders");
    }
    for bad in [
        basic(&format!("{key}:password")),
        format!("Basic {key}"),
        basic("rubbish"),
    ] {
        let response = ask(&layer, request(&[("authorization", &bad)])).await;
        assert_eq!(refused(&response), RejectionKind::MalformedKey, "{bad}");
    }
    // The defaults are neither read nor removed.
    let response = ask(
        &layer,
        request(&[("x-my-key", &key), ("authorization", "Bearer jwt"), ("x-api-key", "x")]),
    );
    let response = response.await;
    let seen = admitted(&response);
    assert_eq!(seen.headers["authorization"], "Bearer jwt");
    assert_eq!(seen.headers["x-api-key"], "x");
    assert_eq!(
        refused(&ask(&layer, bearer(&key)).await),
        RejectionKind::MissingCredential
    );
}

#[test]
fn contradicting_sources_are_config_errors() {
    let layer = || ApiKeyLayer::new(MemoryStore::new());
    assert!(layer().sources([]).is_err());
    assert!(layer().source(KeySource::bearer()).is_err());
    assert!(layer().source(KeySource::authorization("BEARER").unwrap()).is_err());
    assert!(layer().source(KeySource::header("X-Api-Key").unwrap()).is_err());
    assert!(layer().source(KeySource::basic()).is_ok());
    assert!(layer().trusted_proxies("x-forwarded-for", "".parse().unwrap()).is_err());
    assert!(
        layer()
            .trusted_proxies("x forwarded", "10.0.0.0/8".parse().unwrap())
            .is_err()
    );
}

#[test]
fn header_with_another_meaning_is_no_source() {
    for name in [
        "Authorization",
        "proxy-authorization",
        "cookie",
        "host",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "forwarded",
        "x-forwarded-for",
        "origin",
        "referer",
        "user-agent",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
    ] {
        let error = KeySource::header(name).unwrap_err();
        assert!(error.to_string().contains(&name.to_lowercase()), "{error}");
    }
    // A browser closes a WebSocket whose response names none of the protocols that it sent.
    let error = KeySource::header("Sec-WebSocket-Protocol").unwrap_err();
    assert!(error.to_string().contains("KeySource::websocket_protocol"), "{error}");
    for name in [
        "x-api-key",
        "api-key",
        "x_api_key",
        "x-auth-token",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
    ] {
        assert!(KeySource::header(name).is_ok(), "{name}");
    }
}

#[test]
fn header_that_never_holds_the_value_is_a_config_error() {
    let layer = || ApiKeyLayer::new(MemoryStore::new());
    let addresses = |header| layer().trusted_proxies(header, "10.0.0.0/8".parse().unwrap());
    let schemes = |header| layer().require_https(header, "10.0.0.0/8".parse().unwrap());
    for header in [
        "x-forwarded-proto",
        "X-Forwarded-Proto",
        "x-forwarded-host",
        "front-end-https",
    ] {
        let error = addresses(header).unwrap_err();
        assert_eq!(error.setting(), "trusted proxies");
        assert!(error.to_string().contains("address"), "{error}");
    }
    for header in ["x-forwarded-for", "X-Real-IP", "x-forwarded-host", "front-end-https"] {
        let error = schemes(header).unwrap_err();
        assert_eq!(error.setting(), "require https");
        assert!(error.to_string().contains("scheme"), "{error}");
    }
    for header in ["forwarded", "x-forwarded-for", "x-real-ip", "x-our-own"] {
        assert!(addresses(header).is_ok(), "{header}");
    }
    for header in ["forwarded", "x-forwarded-proto", "x-our-own"] {
        assert!(schemes(header).is_ok(), "{header}");
    }
}

#[tokio::test]
async fn hostile_values_get_one_refusal_and_no_panic() {
    let house = House::new().await;
    let (layer, key) = (house.layer(), house.key().await);
    for value in [
        b"Bearer a b".to_vec(),
        b"Bearer\ta".to_vec(),
        b"Bearer a\tb".to_vec(),
        b"Bearer a,b".to_vec(),
        [b"Bearer ", key.as_bytes(), b"\xff"].concat(),
        b"Bearer \xff\xfe\x80".to_vec(),
        b"Bearer \"\"".to_vec(),
        [b"Bearer ".to_vec(), vec![b'k'; 257]].concat(),
        [b"Bearer ".to_vec(), vec![b'k'; 100_000]].concat(),
        [b"Bearer ", key.to_uppercase().as_bytes()].concat(),
    ] {
        let mut request = request(&[]);
        let line = HeaderValue::from_bytes(&value).unwrap();
        request.headers_mut().insert("authorization", line);
        let response = ask(&layer, request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{}", value.escape_ascii());
        assert_eq!(refused(&response), RejectionKind::MalformedKey);
    }
    // No configured scheme.
    for value in [&b"\xff\xff"[..], b"Bearerx k", b"\"Bearer\" k", b","] {
        let mut request = request(&[]);
        let line = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().insert("authorization", line);
        assert_eq!(refused(&ask(&layer, request).await), RejectionKind::MissingCredential);
    }
}

#[tokio::test]
async fn optional_admits_no_key_and_refuses_a_wrong_one() {
    let house = House::new().await;
    let (layer, key) = (house.layer().optional(), house.key().await);
    let layer = layer.source(KeySource::basic()).unwrap();
    for request in [request(&[]), request(&[("authorization", "Digest d")])] {
        let response = ask(&layer, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(seen(&response).unwrap().context().is_none());
    }
    admitted(&ask(&layer, bearer(&key)).await);
    let bad = crate::support::unknown(&key);
    for (request, kind) in [
        (bearer("rubbish"), RejectionKind::MalformedKey),
        (bearer(&bad), RejectionKind::UnknownKey),
        (
            request(&[("x-api-key", &key), ("x-api-key", &key)]),
            RejectionKind::MultipleCredentials,
        ),
        (
            request(&[("authorization", "Basic not_base64")]),
            RejectionKind::MalformedKey,
        ),
    ] {
        assert_eq!(refused(&ask(&layer, request).await), kind);
    }
}

/// A real context, as code around the layer might insert it.
async fn someone_elses_context(house: &House) -> AuthContext {
    let response = ask(&house.layer(), bearer(&house.key().await)).await;
    admitted(&response).context().unwrap().clone()
}

#[tokio::test]
async fn context_from_elsewhere_is_removed() {
    let house = House::new().await;
    let other = someone_elses_context(&house).await;
    let (layer, issued) = (house.layer(), house.issue(house.request()).await);
    let with_context = |mut request: Request<()>| {
        request.extensions_mut().insert(other.clone());
        request
    };
    // Read, then cached.
    for _ in 0..2 {
        let response = ask(&layer, with_context(bearer(&text(&issued)))).await;
        assert_eq!(admitted(&response).context().unwrap().key_id(), issued.record.id);
    }
    let anonymous = ask(&layer.clone().optional(), with_context(request(&[]))).await;
    assert_eq!(anonymous.status(), StatusCode::OK);
    assert!(seen(&anonymous).unwrap().context().is_none());
    // Responders do not see it either.
    let layer = layer.responder(respond_fn(|_, request| {
        assert!(request.extensions.get::<AuthContext>().is_none());
        Response::new(Bytes::new())
    }));
    let response = ask(&layer, with_context(bearer("rubbish"))).await;
    assert_eq!(refused(&response), RejectionKind::MalformedKey);
}

#[tokio::test]
async fn key_bound_to_a_network_needs_a_known_address() {
    let house = House::new().await;
    let bound = house.request().networks("192.0.2.0/24".parse().unwrap());
    let key = text(&house.issue(bound).await);
    let from = |peer: Option<&str>, forwarded: Option<&str>| {
        let mut request = bearer(&key);
        if let Some(peer) = peer {
            request.extensions_mut().insert(ClientAddress(peer.parse().unwrap()));
        }
        if let Some(forwarded) = forwarded {
            request
                .headers_mut()
                .insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        request
    };
    let direct = house.layer();
    let proxied = house.layer();
    let proxied = proxied
        .trusted_proxies("x-forwarded-for", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let inside = Some("192.0.2.7");
    for (layer, peer, forwarded, works) in [
        (&direct, inside, None, true),
        (&direct, Some("::ffff:192.0.2.7"), None, true),
        (&direct, Some("198.51.100.1"), None, false),
        (&direct, None, None, false),
        (&direct, Some("198.51.100.1"), inside, false),
        (&proxied, Some("10.0.0.1"), inside, true),
        (&proxied, Some("10.0.0.1"), Some("192.0.2.7, 10.0.0.2"), true),
        (&proxied, Some("10.0.0.1"), Some("192.0.2.7, 198.51.100.1"), false),
        (&proxied, Some("10.0.0.1"), Some("192.0.2.7, rubbish"), false),
        (&proxied, Some("10.0.0.1"), None, false),
        (&proxied, Some("198.51.100.1"), inside, false),
        (&proxied, None, inside, false),
        (&proxied, inside, Some("198.51.100.1"), true),
    ] {
        let response = ask(layer, from(peer, forwarded)).await;
        if works {
            admitted(&response);
        } else {
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{peer:?} {forwarded:?}");
            assert_eq!(refused(&response), RejectionKind::NetworkNotAllowed);
            assert!(!response.headers().contains_key("www-authenticate"));
        }
    }
    // A function replaces the extension.
    let local = house
        .layer()
        .client_address(|_| Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    admitted(&ask(&local, from(None, None)).await);
}

#[tokio::test]
async fn key_in_the_query_is_removed_from_the_uri() {
    let house = House::new().await;
    let (key, parameter) = (
        house.key().await,
        KeySource::dangerous_query_parameter("api_key").unwrap(),
    );
    let layer = house.layer().source(parameter).unwrap();
    let first = key.as_bytes()[0];
    let encoded = format!("%{first:02x}{}", &key[1..]);
    for (uri, left) in [
        (format!("/orders?api_key={key}"), "/orders"),
        (format!("/orders?a=%20&api_key={key}&b=+"), "/orders?a=%20&b=+"),
        (format!("/orders?a&api%5Fkey={encoded}&&c"), "/orders?a&&c"),
        (
            format!("https://example.com:8443/orders?api_key={key}&a=1"),
            "https://example.com:8443/orders?a=1",
        ),
    ] {
        let response = ask(&layer, at(&uri)).await;
        assert_eq!(admitted(&response).uri, left);
    }
    let twice = ask(&layer, at(&format!("/?api_key={key}&api_key={key}"))).await;
    assert_eq!(refused(&twice), RejectionKind::MultipleCredentials);
    let absent = ask(&layer, at("/?api_key=")).await;
    assert_eq!(refused(&absent), RejectionKind::MissingCredential);
    // A responder does not see it either.
    let layer = layer.responder(respond_fn(|_, request| {
        Response::new(Bytes::from(request.uri.to_string()))
    }));
    let response = ask(&layer, at("/orders?a=1&api_key=rubbish")).await;
    assert_eq!(response.body(), "/orders?a=1");
    // It is not read unless configured.
    let response = ask(&house.layer(), at(&format!("/?api_key={key}"))).await;
    assert_eq!(refused(&response), RejectionKind::MissingCredential);
}

#[tokio::test]
async fn axum_keeps_the_original_uri_of_its_router() {
    let house = House::new().await;
    let (key, parameter) = (
        house.key().await,
        KeySource::dangerous_query_parameter("api_key").unwrap(),
    );
    let layer = house.layer().source(parameter).unwrap();
    let router = || {
        Router::new().route(
            "/",
            get(async |OriginalUri(uri): OriginalUri, plain: Uri| format!("{uri} {plain}")),
        )
    };
    let body = async |response: Response<Body>| {
        let bytes = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let request = || {
        Request::builder()
            .uri(format!("/?a=1&api_key={key}"))
            .body(Body::empty())
            .unwrap()
    };
    // Around the router, as the documentation says: the router never sees the key.
    let outside = layer.layer(router()).oneshot(request()).await.unwrap();
    assert_eq!(body(outside).await, "/?a=1 /?a=1");
    // Inside, the router's extension still has it.
    let inside = router().layer(layer).oneshot(request()).await.unwrap();
    assert_eq!(body(inside).await, format!("/?a=1&api_key={key} /?a=1"));
}
