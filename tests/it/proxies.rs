//! What proxies report: the client's address, and the scheme that it used.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt};
use tower_api_key::{ApiKeyLayer, ClientAddress, Rejection, RejectionKind};

use crate::support::{Echo, House, ask, field, json, request, seen, text};

/// A request that a trusted proxy forwards.
fn forwarded(lines: &[(&str, &str)]) -> Request<()> {
    let mut request = request(lines);
    request
        .extensions_mut()
        .insert(ClientAddress("10.0.0.1".parse().unwrap()));
    request
}

async fn over(layer: &ApiKeyLayer<impl tower_api_key::store::KeyStore>, lines: &[(&str, &str)]) -> Response<Bytes> {
    let name = lines.first().map_or("x-forwarded-proto", |(name, _)| name);
    let https = layer.require_https(name, "10.0.0.0/8".parse().unwrap()).unwrap();
    https
        .layer(layer.layer(Echo::default()))
        .oneshot(forwarded(lines))
        .await
        .unwrap()
}

#[tokio::test]
async fn websocket_over_tls_is_secure() {
    let layer = House::new().await.layer().optional();
    for line in [
        // Traefik, on upgrades.
        ("x-forwarded-proto", "wss"),
        ("x-forwarded-proto", "https, WSS"),
        ("x-forwarded-proto", "wss,"),
        ("forwarded", "for=192.0.2.1;proto=wss"),
        ("forwarded", "for=192.0.2.1;proto=\"wss\", proto=https,"),
        ("x-forwarded-scheme", "wss"),
        ("cloudfront-forwarded-proto", "https"),
    ] {
        let response = over(&layer, &[line]).await;
        assert_eq!(response.status(), StatusCode::OK, "{line:?}");
    }
    for line in [
        ("x-forwarded-proto", "ws"),
        ("x-forwarded-proto", "wss, ws"),
        ("x-forwarded-proto", "wsss"),
        ("forwarded", "proto=ws"),
    ] {
        let response = over(&layer, &[line]).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{line:?}");
        assert!(seen(&response).is_none());
    }
}

#[tokio::test]
async fn key_is_called_exposed_only_if_it_certainly_was() {
    let layer = House::new().await.layer();
    let advises = |response: &Response<Bytes>| {
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(
            json(response)["type"],
            "urn:problem-type:tower-api-key:insecure-transport"
        );
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), RejectionKind::InsecureTransport);
        json(response)["detail"].as_str().unwrap().contains("replace it")
    };
    for (lines, certain) in [
        (&[("x-forwarded-proto", "http")][..], true),
        (&[("x-forwarded-proto", "ws")], true),
        (&[("x-forwarded-proto", "http, http")], true),
        (&[("forwarded", "for=192.0.2.1;proto=http")], true),
        // A proxy that says nothing, or something else.
        (&[], false),
        (&[("x-forwarded-proto", "")], false),
        (&[("x-forwarded-proto", "on")], false),
        (&[("forwarded", "for=192.0.2.1")], false),
        // The client may have written the first.
        (&[("x-forwarded-proto", "http, https")], false),
        (&[("x-forwarded-proto", "http"), ("x-forwarded-proto", "wss")], false),
    ] {
        assert_eq!(advises(&over(&layer, lines).await), certain, "{lines:?}");
    }
    // Nobody believes a client, or a server that is not named.
    let https = layer
        .require_https("x-forwarded-proto", "10.0.0.0/8".parse().unwrap())
        .unwrap();
    for peer in ["192.0.2.7", "127.0.0.1"] {
        let mut request = request(&[("x-forwarded-proto", "http")]);
        request.extensions_mut().insert(ClientAddress(peer.parse().unwrap()));
        let response = https.layer(Echo::default()).oneshot(request).await.unwrap();
        assert!(!advises(&response), "{peer}");
    }
}

/// The status for a key that is bound to this network.
async fn status(bound_to: &str, header: &str, value: &str) -> StatusCode {
    let house = House::new().await;
    let bound = house.request().networks(bound_to.parse().unwrap());
    let key = text(&house.issue(bound).await);
    let layer = house
        .layer()
        .trusted_proxies(header, "10.0.0.0/8".parse().unwrap())
        .unwrap();
    let response = ask(&layer, forwarded(&[("x-api-key", &key), (header, value)])).await;
    assert_eq!(
        field(&response, "www-authenticate"),
        None,
        "the network, not the key, is refused"
    );
    response.status()
}

#[tokio::test]
async fn port_is_never_taken_for_the_end_of_an_address() {
    const OPEN: StatusCode = StatusCode::OK;
    const CLOSED: StatusCode = StatusCode::FORBIDDEN;
    let viewer = "cloudfront-viewer-address";
    for (network, header, value, expected) in [
        // The client is `2001:db8::a:b:c:d`. Read with its port, it is in `2001:db8:0:a::/64`.
        ("2001:db8:0:a::/64", viewer, "2001:db8::a:b:c:d:1234", CLOSED),
        ("2001:db8:0:0:a:b:c:d/128", viewer, "2001:db8::a:b:c:d:1234", OPEN),
        ("2001:db8:1:2:3:4:5:6/128", viewer, "2001:db8:1:2:3:4:5:6:46532", OPEN),
        ("2001:db8::1/128", viewer, "2001:db8::1:46532", OPEN),
        ("2001:db8::1:0/112", viewer, "2001:db8::1:4653", CLOSED),
        ("2001:db8::1/128", viewer, "[2001:db8::1]:46532", OPEN),
        ("198.51.100.10/32", viewer, "198.51.100.10:46532", OPEN),
        // It always has a port.
        ("198.51.100.10/32", viewer, "198.51.100.10", CLOSED),
        // A header that nobody knows: either could be meant.
        ("2001:db8:0:a::/64", "x-our-client", "2001:db8::a:b:c:d:1234", CLOSED),
        (
            "2001:db8:0:0:a:b:c:d/128",
            "x-our-client",
            "2001:db8::a:b:c:d:1234",
            CLOSED,
        ),
        (
            "2001:db8:1:2:3:4:5:6/128",
            "x-our-client",
            "2001:db8:1:2:3:4:5:6:1234",
            OPEN,
        ),
        ("2001:db8::1/128", "x-our-client", "2001:db8::1", OPEN),
        ("192.0.2.1/32", "x-our-client", "192.0.2.1:1234", OPEN),
        // The grammar of `Forwarded` asks for brackets.
        (
            "2001:db8:0:a::/64",
            "forwarded",
            "for=\"2001:db8::a:b:c:d:1234\"",
            CLOSED,
        ),
        (
            "2001:db8:0:a::/64",
            "forwarded",
            "for=\"[2001:db8::a:b:c:d:1234]:1234\"",
            OPEN,
        ),
        // These never have a port without brackets.
        ("2001:db8:0:a::/64", "x-forwarded-for", "2001:db8::a:b:c:d:1234", OPEN),
        ("2001:db8:0:a::/64", "x-real-ip", "2001:db8::a:b:c:d:1234", OPEN),
        (
            "2001:db8:1:2:3:4:5:6/128",
            "x-forwarded-for",
            "2001:db8:1:2:3:4:5:6:1234",
            CLOSED,
        ),
    ] {
        assert_eq!(
            status(network, header, value).await,
            expected,
            "{network} {header}: {value}"
        );
    }
}

#[tokio::test]
async fn zones_and_empty_elements_hide_no_address() {
    for (network, header, value) in [
        ("fe80::1/128", "x-forwarded-for", "fe80::1%eth0"),
        ("fe80::1/128", "x-real-ip", "fe80::1%eth0"),
        ("fe80::1/128", "forwarded", "for=\"[fe80::1%eth0]:80\""),
        ("fe80::1/128", "forwarded", "for=\"[fe80::1%25eth0]\""),
        ("fe80::1/128", "cloudfront-viewer-address", "fe80::1%eth0:4711"),
        ("192.0.2.1/32", "x-forwarded-for", "192.0.2.1,"),
        (
            "192.0.2.1/32",
            "x-forwarded-for",
            "198.51.100.9,,192.0.2.1, , 10.0.0.2,",
        ),
        ("192.0.2.1/32", "forwarded", "for=192.0.2.1,"),
        (
            "192.0.2.1/32",
            "forwarded",
            "for=198.51.100.9,,for=192.0.2.1, ,for=10.0.0.2",
        ),
    ] {
        assert_eq!(
            status(network, header, value).await,
            StatusCode::OK,
            "{header}: {value}"
        );
    }
    for (network, header, value) in [
        ("198.51.100.9/32", "x-forwarded-for", "198.51.100.9, unknown,"),
        ("198.51.100.9/32", "forwarded", "for=198.51.100.9, ;"),
        ("192.0.2.1/32", "x-forwarded-for", ", ,"),
        ("192.0.2.1/32", "x-forwarded-for", "192.0.2.1%eth0"),
        ("192.0.2.1/32", "x-real-ip", "192.0.2.1,"),
    ] {
        let status = status(network, header, value).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{header}: {value}");
    }
}

/// A peer on a Unix socket has no address: the service gives it one and trusts it.
#[tokio::test]
async fn proxy_on_unix_socket_is_trusted_if_the_service_says_so() {
    let house = House::new().await;
    let bound = house.request().networks("192.0.2.1/32".parse().unwrap());
    let key = text(&house.issue(bound).await);
    let layer = house
        .layer()
        .trusted_proxies("x-forwarded-for", "127.0.0.1/32".parse().unwrap())
        .unwrap();
    let on_socket = layer
        .clone()
        .client_address(|_| Some(std::net::Ipv4Addr::LOCALHOST.into()));
    for (layer, forwarded, expected) in [
        (&on_socket, "192.0.2.1", StatusCode::OK),
        (&on_socket, "198.51.100.9, 192.0.2.1", StatusCode::OK),
        (&on_socket, "192.0.2.1, 198.51.100.9", StatusCode::FORBIDDEN),
        // What nginx appends when it is itself reached by a Unix socket.
        (&on_socket, "192.0.2.1, unix:", StatusCode::FORBIDDEN),
        (&layer, "192.0.2.1", StatusCode::FORBIDDEN),
    ] {
        let response = ask(layer, request(&[("x-api-key", &key), ("x-forwarded-for", forwarded)])).await;
        assert_eq!(response.status(), expected, "{forwarded}");
    }
}
