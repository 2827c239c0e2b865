//! Keys as Basic passwords, and among the subprotocols of a WebSocket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{Method, Request, Response, StatusCode, Version};
use tower::{Layer, ServiceExt};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyFormat};
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeyLayer, ApiKeys, IssueRequest, KeySource, Rejection, RejectionKind, respond_fn};

use crate::support::{Echo, House, ask, bearer, request, seen, unknown};

fn kind(response: &Response<Bytes>) -> RejectionKind {
    assert!(seen(response).is_none(), "the inner service was called");
    response.extensions().get::<Rejection>().unwrap().kind()
}

fn is_admitted(response: &Response<Bytes>) -> bool {
    seen(response).is_some_and(|seen| seen.context().is_some() && !seen.headers.contains_key("authorization"))
}

fn basic(credentials: &str) -> Request<()> {
    request(&[("authorization", &format!("Basic {}", STANDARD.encode(credentials)))])
}

#[tokio::test]
async fn key_is_taken_as_the_password() {
    let house = House::new().await;
    let (key, layer) = (house.key().await, house.layer().optional());
    let layer = layer.source(KeySource::basic_password()).unwrap();
    for user in ["__token__", "x", "", "api", "git", "oauth2", "schlüssel", "a b"] {
        assert!(
            is_admitted(&ask(&layer, basic(&format!("{user}:{key}"))).await),
            "{user}"
        );
    }
    assert!(is_admitted(&ask(&layer, bearer(&key)).await));
    for (credentials, expected) in [
        (format!("x:{}", unknown(&key)), RejectionKind::UnknownKey),
        (format!("x:{key}:"), RejectionKind::MalformedKey),
        ("x:password".to_owned(), RejectionKind::MalformedKey),
        (key.clone(), RejectionKind::MalformedKey),
        // Nothing where the key belongs: an unset variable, or the key in the wrong place.
        ("x:".to_owned(), RejectionKind::MissingCredential),
        (":".to_owned(), RejectionKind::MissingCredential),
        (format!("{key}:"), RejectionKind::MissingCredential),
        (format!("{key}:{key}"), RejectionKind::MultipleCredentials),
        (format!("{}:{key}", unknown(&key)), RejectionKind::MultipleCredentials),
    ] {
        assert_eq!(kind(&ask(&layer, basic(&credentials)).await), expected, "{credentials}");
    }
}

#[tokio::test]
async fn key_as_user_name_may_have_a_placeholder() {
    let house = House::new().await;
    let (key, layer) = (house.key().await, house.layer().source(KeySource::basic()).unwrap());
    for password in ["", ":", ":x", ":X", ":x-oauth-basic"] {
        assert!(
            is_admitted(&ask(&layer, basic(&format!("{key}{password}"))).await),
            "{password}"
        );
    }
    for (password, expected) in [
        (":password", RejectionKind::MalformedKey),
        (":xx", RejectionKind::MalformedKey),
        ("::", RejectionKind::MalformedKey),
        (&format!(":{key}"), RejectionKind::MultipleCredentials),
    ] {
        assert_eq!(
            kind(&ask(&layer, basic(&format!("{key}{password}"))).await),
            expected,
            "{password}"
        );
    }
}

#[test]
fn one_basic_source_is_enough() {
    let layer = || ApiKeyLayer::new(MemoryStore::new());
    let error = layer()
        .sources([KeySource::basic(), KeySource::basic_password()])
        .unwrap_err();
    assert_eq!(error.setting(), "key sources");
    let protocol = |marker| KeySource::websocket_protocol(marker).unwrap();
    assert!(layer().sources([protocol("a"), protocol("b")]).is_err());
    assert!(layer().sources([protocol("a").leave_others()]).is_err());
    assert!(layer().sources([KeySource::basic_password().leave_others()]).is_err());
}

#[tokio::test]
async fn basic_is_challenged_only_if_asked_for() {
    let house = House::new().await;
    let challenges = async |source: KeySource| {
        let response = ask(&house.layer().source(source).unwrap(), request(&[])).await;
        let lines = response.headers().get_all("www-authenticate").iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for source in [KeySource::basic(), KeySource::basic_password()] {
        assert_eq!(challenges(source.clone()).await, ["Bearer realm=\"api\""]);
        let asked = ["Bearer realm=\"api\"", "Basic realm=\"api\", charset=\"UTF-8\""];
        assert_eq!(challenges(source.challenge()).await, asked);
    }
}

/// The request that opens a WebSocket and offers these protocols.
fn handshake(protocols: &str) -> Request<()> {
    request(&[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", protocols),
    ])
}

/// The same in HTTP/2.
fn extended_connect(protocols: &str) -> Request<()> {
    let mut request = request(&[("sec-websocket-version", "13"), ("sec-websocket-protocol", protocols)]);
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = "https://example.com/chat".parse().unwrap();
    request
}

fn layer(house: &House) -> ApiKeyLayer<MemoryStore> {
    house
        .layer()
        .optional()
        .source(KeySource::websocket_protocol("api-key").unwrap())
        .unwrap()
}

#[tokio::test]
async fn key_among_subprotocols_is_taken_out() {
    let house = House::new().await;
    let (layer, key) = (layer(&house), house.key().await);
    for open in [handshake, extended_connect] {
        for (protocols, rest) in [
            (format!("chat, api-key, {key}"), Some("chat")),
            (format!("api-key, {key}"), None),
            (format!("api-key,{key},chat,v2"), Some("chat, v2")),
            (format!("chat, API-Key , {key},, v2"), Some("chat, v2")),
        ] {
            // Read from the store, then cached.
            for _ in 0..2 {
                let response = ask(&layer, open(&protocols)).await;
                let seen = seen(&response).unwrap();
                assert!(seen.context().is_some(), "{protocols}");
                let left = seen
                    .headers
                    .get(SEC_WEBSOCKET_PROTOCOL)
                    .map(|line| line.to_str().unwrap());
                assert_eq!(left, rest, "{protocols}");
            }
        }
        let mut lines = open("chat, api-key");
        lines
            .headers_mut()
            .append(SEC_WEBSOCKET_PROTOCOL, format!("{key}, v2").parse().unwrap());
        let response = ask(&layer, lines).await;
        assert_eq!(seen(&response).unwrap().headers[SEC_WEBSOCKET_PROTOCOL], "chat, v2");
        for (protocols, expected) in [
            (format!("api-key, {}", unknown(&key)), RejectionKind::UnknownKey),
            ("api-key, rubbish".to_owned(), RejectionKind::MalformedKey),
            ("api-key".to_owned(), RejectionKind::MissingCredential),
            ("chat, api-key, ".to_owned(), RejectionKind::MissingCredential),
            (key.clone(), RejectionKind::MissingCredential),
            (format!("chat, {key}"), RejectionKind::MissingCredential),
            (
                format!("api-key, {key}, api-key, {key}"),
                RejectionKind::MultipleCredentials,
            ),
            (format!("api-key, {key}, {key}"), RejectionKind::MultipleCredentials),
        ] {
            assert_eq!(kind(&ask(&layer, open(&protocols)).await), expected, "{protocols}");
        }
        let mut second = open(&format!("api-key, {key}"));
        second.headers_mut().insert("x-api-key", key.parse().unwrap());
        assert_eq!(kind(&ask(&layer, second).await), RejectionKind::MultipleCredentials);
        // Without a key it is another's list.
        let anonymous = ask(&layer, open("chat, v2")).await;
        let seen = seen(&anonymous).unwrap();
        assert!(seen.context().is_none());
        assert_eq!(seen.headers[SEC_WEBSOCKET_PROTOCOL], "chat, v2");
    }
}

#[tokio::test]
async fn subprotocols_outside_of_a_handshake_are_a_second_place() {
    let house = House::new().await;
    let (layer, key) = (layer(&house), house.key().await);
    let protocols = format!("api-key, {key}");
    let plain = || request(&[("sec-websocket-protocol", &protocols)]);
    let altered = |change: fn(&mut Request<()>)| {
        let mut request = handshake(&protocols);
        change(&mut request);
        request
    };
    for request in [
        plain(),
        altered(|request| drop(request.headers_mut().remove("upgrade"))),
        altered(|request| drop(request.headers_mut().remove("connection"))),
        altered(|request| drop(request.headers_mut().remove("sec-websocket-key"))),
        altered(|request| {
            drop(
                request
                    .headers_mut()
                    .insert("sec-websocket-version", "12".parse().unwrap()),
            )
        }),
        altered(|request| *request.method_mut() = Method::POST),
        altered(|request| *request.version_mut() = Version::HTTP_10),
        altered(|request| *request.version_mut() = Version::HTTP_2),
    ] {
        assert_eq!(kind(&ask(&layer, request).await), RejectionKind::MissingCredential);
    }
    let mut second = plain();
    second.headers_mut().insert("x-api-key", key.parse().unwrap());
    assert_eq!(kind(&ask(&layer, second).await), RejectionKind::MultipleCredentials);
    // A layer without this source leaves the header alone, except for a copy of its key.
    let mut other = plain();
    other.headers_mut().insert("x-api-key", key.parse().unwrap());
    let response = ask(&house.layer(), other).await;
    assert!(!format!("{:?}", seen(&response).unwrap().headers).contains(&key));
}

#[tokio::test]
async fn response_names_an_offered_protocol_and_never_the_key() {
    let house = House::new().await;
    let key = house.key().await;
    let status = |open: fn(&str) -> Request<()>| match open("").method() == Method::CONNECT {
        true => StatusCode::OK,
        false => StatusCode::SWITCHING_PROTOCOLS,
    };
    let plain = layer(&house);
    for layer in [
        plain.clone(),
        plain.clone().keep_credential(),
        plain.success_headers(false),
    ] {
        for open in [handshake, extended_connect] {
            for (chosen, named) in [
                (None, "api-key"),
                (Some("chat"), "chat"),
                (Some("v2"), "v2"),
                (Some("api-key"), "api-key"),
                (Some("never-offered"), "api-key"),
                (Some(key.as_str()), "api-key"),
                (Some(&format!("chat, api-key, {key}")), "api-key"),
            ] {
                let answer = |status: StatusCode| {
                    let inner = tower::service_fn(move |_: Request<()>| {
                        let mut response = Response::new(Bytes::new());
                        *response.status_mut() = status;
                        let chosen = chosen.map(|chosen| chosen.parse().unwrap());
                        if let Some(chosen) = chosen {
                            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
                        }
                        std::future::ready(Ok::<_, std::convert::Infallible>(response))
                    });
                    layer.layer(inner).oneshot(open(&format!("chat, v2, api-key, {key}")))
                };
                let open = answer(status(open)).await.unwrap();
                let lines: Vec<_> = open.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
                assert_eq!(lines, [named], "{chosen:?}");
                // A handshake that the handler refuses.
                let refused = answer(StatusCode::BAD_REQUEST).await.unwrap();
                assert!(!format!("{:?}", refused.headers()).contains(&key));
                assert_ne!(
                    refused
                        .headers()
                        .get(SEC_WEBSOCKET_PROTOCOL)
                        .map(|line| line.as_bytes()),
                    Some(&b"api-key"[..])
                );
            }
        }
    }
}

/// As pages send it to OpenAI's realtime API: a browser lets them choose nothing else.
#[tokio::test]
async fn key_joined_to_its_marker_is_taken_out() {
    let house = House::new().await;
    let (layer, key) = (layer(&house), house.key().await);
    for open in [handshake, extended_connect] {
        for (protocols, rest) in [
            (format!("realtime, api-key.{key}, beta.v1"), Some("realtime, beta.v1")),
            (format!("API-Key.{key}"), None),
        ] {
            let response = ask(&layer, open(&protocols)).await;
            let seen = seen(&response).unwrap();
            assert!(seen.context().is_some(), "{protocols}");
            let left = seen.headers.get(SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(left.map(|line| line.to_str().unwrap()), rest, "{protocols}");
        }
        for (protocols, expected) in [
            (format!("api-key.{}", unknown(&key)), RejectionKind::UnknownKey),
            ("realtime, api-key.rubbish".to_owned(), RejectionKind::MalformedKey),
            ("api-key.".to_owned(), RejectionKind::MissingCredential),
            // Behind another marker it is a key all the same, and the request is not anonymous.
            (
                format!("realtime, openai-insecure-api-key.{key}"),
                RejectionKind::MissingCredential,
            ),
            (
                format!("api-key.{key}, api-key, {key}"),
                RejectionKind::MultipleCredentials,
            ),
            (format!("api-key.{key}, v1.{key}"), RejectionKind::MultipleCredentials),
        ] {
            assert_eq!(kind(&ask(&layer, open(&protocols)).await), expected, "{protocols}");
        }
        for protocols in ["api-keys.v1", "v1.api-key", "realtime.v1"] {
            let anonymous = ask(&layer, open(protocols)).await;
            assert_eq!(seen(&anonymous).unwrap().headers[SEC_WEBSOCKET_PROTOCOL], protocols);
        }
    }
    // The joined protocol has the key in it, so the response names another one.
    for (offered, chosen, named) in [
        (format!("realtime, v2, api-key.{key}"), None, Some("realtime")),
        (
            format!("realtime, v2, api-key.{key}"),
            Some("v2".to_owned()),
            Some("v2"),
        ),
        (format!("api-key.{key}, v2"), Some(format!("api-key.{key}")), Some("v2")),
        (format!("api-key.{key}"), Some(format!("api-key.{key}")), None),
        (format!("api-key.{key}"), None, None),
    ] {
        let inner = tower::service_fn(|_: Request<()>| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            if let Some(chosen) = &chosen {
                response
                    .headers_mut()
                    .insert(SEC_WEBSOCKET_PROTOCOL, chosen.parse().unwrap());
            }
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let response = layer.layer(inner).oneshot(handshake(&offered)).await.unwrap();
        let lines = response.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, named.as_slice(), "{offered} {chosen:?}");
    }
}

/// Without a prefix, nothing tells a copy of the key from another protocol but the key itself.
#[tokio::test]
async fn copy_of_a_key_without_prefix_leaves_the_subprotocols() {
    let settings = ApiKeys::builder(MemoryStore::new()).hash_policy(HashPolicy::sha256());
    let keys = settings.formats(KeyFormat::bare_hex()).checking();
    let issuer = keys.issuer().acting_as(Actor::service());
    let acme = issuer.create_organization("acme").await.unwrap();
    let key = crate::support::text(&issuer.issue(IssueRequest::new(acme.id, "key")).await.unwrap());
    let layer = keys
        .layer()
        .source(KeySource::websocket_protocol("api-key").unwrap())
        .unwrap();
    let mut beside = handshake(&format!("chat, {key}"));
    beside.headers_mut().insert("x-api-key", key.parse().unwrap());
    for request in [
        handshake(&format!("api-key, {key}, {key}")),
        handshake(&format!("{key}, api-key, {key}")),
        handshake(&format!("api-key.{key}, {key}")),
        handshake(&format!("api-key.{key}, v1.{key}")),
        beside,
    ] {
        let opening = tower::service_fn(|request: Request<()>| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let sent = format!(
                "{:?}",
                request
                    .headers()
                    .iter()
                    .map(|(_, line)| line.as_bytes().to_vec())
                    .collect::<Vec<_>>()
            );
            response.extensions_mut().insert(sent);
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let sent = format!("{request:?}");
        let response = layer.layer(opening).oneshot(request).await.unwrap();
        let seen = response.extensions().get::<String>().cloned().unwrap_or_default();
        assert!(
            !seen.contains(&format!("{:?}", key.as_bytes()).trim_matches(['[', ']']).to_owned()),
            "{sent}"
        );
        let lines = response.headers().values().map(|line| line.to_str().unwrap());
        assert!(!lines.collect::<Vec<_>>().join("\n").contains(&key), "{sent}");
    }
}

#[tokio::test]
async fn responder_sees_no_key_among_subprotocols() {
    let house = House::new().await;
    let key = house.key().await;
    let echo = respond_fn(|_, request: &http::request::Parts| {
        let mut response = Response::new(Bytes::new());
        *response.headers_mut() = request.headers.clone();
        response
    });
    let layer = layer(&house).responder(echo);
    for protocols in [
        format!("chat, api-key, {}", unknown(&key)),
        format!("chat, {key}"),
        format!("api-key, {key}, {key}"),
        format!("chat, api-key.{}", unknown(&key)),
        format!("chat, v1.{key}"),
    ] {
        let response = ask(&layer, handshake(&protocols)).await;
        assert!(response.status().is_client_error());
        assert!(!format!("{:?}", response.headers()).contains("key_live_"));
    }
    let calls = Echo::default();
    let refused = crate::support::ask_inner(&layer, calls.clone(), handshake("api-key, rubbish")).await;
    assert_eq!((refused.status(), calls.calls()), (StatusCode::UNAUTHORIZED, 0));
}
