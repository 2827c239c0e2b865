//! Malformed requests and clients that disconnect, over sockets, in HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Barrier, Fault};
use tower_api_key::{ApiKeyLayer, AuthContext};

use crate::house::brake::Brake;
use crate::house::*;
use crate::wire::{raw, raw_and_done, request};

/// Serves `/whoami`, both versions of HTTP on one port.
async fn serve(house: &House) -> SocketAddr {
    let (listener, address) = listen().await;
    let app = app(house);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Serves one HTTP/2 connection, with room for longer headers than servers accept by default.
async fn serve_long_headers(house: &House) -> SocketAddr {
    let (listener, address) = listen().await;
    let service = TowerToHyperService::new(app(house));
    tokio::spawn(async move {
        let stream = TokioIo::new(listener.accept().await.unwrap().0);
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.max_header_list_size(1 << 20);
        server.serve_connection(stream, service).await
    });
    address
}

fn app(house: &House) -> Router {
    let layer = ApiKeyLayer::from(house.authenticator.clone());
    let whoami = get(|auth: AuthContext| async move { auth.key_id().to_string() });
    Router::new().route("/whoami", whoami).route_layer(layer)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn head(lines: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"GET /whoami HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_vec();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

async fn is_well(house: &House, server: SocketAddr, key: &str) {
    let answer = request(server, "GET", "/whoami", &[("x-api-key", key.as_bytes())]).await;
    assert_eq!(answer.status, 200);
    house.is_at_rest().await;
}

#[tokio::test]
async fn http1_header_lines_get_their_status() {
    let house = House::new().await;
    let server = serve(&house).await;
    let issued = house.key().await;
    let key = text(&issued);
    let with = |before: &str, key: &str, after: &str| format!("{before}{key}{after}").into_bytes();
    let one = with("x-api-key: ", key, "");
    let bearer = with("Authorization: Bearer ", key, "");

    let good = [
        one.clone(),
        bearer.clone(),
        with("X-API-KEY:", key, ""),
        with("x-api-key: \t ", key, " \t"),
        with("authorization: bearer ", key, ""),
        with("authorization: BEARER   ", key, ""),
    ];
    for line in &good {
        let answer = raw(server, &head(&[line])).await.unwrap();
        assert_eq!(answer.status, 200, "{}", line.escape_ascii());
        assert_eq!(answer.text(), issued.record.id.to_string());
    }

    let absent: [&[u8]; 7] = [
        b"x: y",
        b"x-api-key:",
        b"x-api-key: \t ",
        b"authorization:",
        b"authorization: Bearer",
        b"authorization: Bearer  ",
        b"authorization: Digest abc",
    ];
    for line in absent {
        let answer = raw(server, &head(&[line])).await.unwrap();
        assert_eq!(answer.status, 401, "{}", line.escape_ascii());
        assert_eq!(answer.header("www-authenticate"), [r#"Bearer realm="api""#]);
    }

    let long = |length| [b"x-api-key: ".to_vec(), vec![b'k'; length]].concat();
    let invalid = [
        long(1),
        long(257),
        long(100_000),
        with("x-api-key: ", key, ","),
        with("x-api-key: ", key, " x"),
        with("x-api-key: ", key, "\tx"),
        with("x-api-key: \"", key, "\""),
        [&one[..], b"\xff"].concat(),
        b"x-api-key: \x80\xff\xfe".to_vec(),
        with("authorization: Bearer ", key, " x"),
        with("authorization: Bearer a ", key, ""),
        with("authorization: Bearer\t", key, ""),
        with("authorization: Bearer ", key, ","),
        with("x-api-key: ", &in_test_environment(key), ""),
        with("x-api-key: ", &with_other_secret(key, 1), ""),
        with("x-api-key: ", &unknown_key(1), ""),
        with("x-api-key: ", &key[1..], ""),
    ];
    let mut first = None;
    for line in &invalid {
        let answer = raw(server, &head(&[line])).await.unwrap();
        let shown = line[..line.len().min(100)].escape_ascii().to_string();
        assert_eq!(answer.status, 401, "{shown}");
        let first = first.get_or_insert_with(|| answer.clone());
        assert_eq!(answer.undated(), first.undated(), "{shown}");
    }

    let empty: &[u8] = b"x-api-key:";
    let joined = [",x", &format!(", {key}")].map(|rest| with("x-api-key: ", key, rest));
    let twice: [&[&[u8]]; 8] = [
        &[&joined[0]],
        &[&joined[1]],
        &[&one, &one],
        &[&bearer, &bearer],
        &[&one, &bearer],
        &[&one, b"X-Api-Key: other"],
        &[b"authorization: Bearer", &one],
        &[b"authorization: bearer a", b"Authorization: BEARER b"],
    ];
    for lines in twice {
        let answer = raw(server, &head(lines)).await.unwrap();
        assert_eq!(answer.status, 400, "{}", lines.concat().escape_ascii());
        assert_eq!(answer.header("content-type"), ["application/problem+json"]);
    }
    // An empty line counts as one.
    assert_eq!(raw(server, &head(&[empty, &one])).await.unwrap().status, 400);
    is_well(&house, server, key).await;
}

/// Each of these quotes could be the start of a quoted string. None of them is closed.
#[tokio::test]
async fn line_of_escaped_quotes_is_judged_at_once() {
    let house = House::new().await;
    let server = serve(&house).await;
    let issued = house.key().await;
    let quotes = [b"\"".to_vec(), b"\\\"".repeat(100_000)].concat();
    for start in [
        "authorization: Digest a=",
        "authorization: Bearer ",
        "authorization: ",
        "x-api-key: ",
    ] {
        let line = [start.as_bytes(), &quotes].concat();
        let before = Instant::now();
        assert_eq!(raw(server, &head(&[&line])).await.unwrap().status, 401, "{start}");
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{start}{:?}",
            before.elapsed()
        );
    }
    is_well(&house, server, text(&issued)).await;
}

/// A damaged request is admitted only if the key in it is whole, and the server keeps running.
#[tokio::test]
async fn random_damage_admits_nobody_and_harms_nothing() {
    let house = House::new().await;
    let server = serve(&house).await;
    let issued = house.key().await;
    let whole = head(&[format!("authorization: Bearer {}", text(&issued)).as_bytes()]);
    let begin = whole.len() - 4 - text(&issued).len();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        // splitmix64: the same damage every time.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as usize % below
    };
    let mut answered = 0;
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..=random(3) {
            // Mostly in the key and its header line.
            let at = match round % 4 {
                0 => random(bytes.len()),
                _ => (begin - 23 + random(23 + text(&issued).len())).min(bytes.len() - 1),
            };
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes.insert(at, random(256) as u8),
                _ => drop(bytes.remove(at)),
            }
        }
        let has_key = bytes
            .windows(text(&issued).len())
            .any(|part| part == text(&issued).as_bytes());
        if let Some(answer) = raw_and_done(server, &bytes).await {
            answered += 1;
            assert!(
                (answer.status == 200 && has_key) || (400..500).contains(&answer.status),
                "{}: {answer:?}",
                bytes.escape_ascii()
            );
        }
    }
    assert!(answered > 200, "most of these are requests: {answered}");
    is_well(&house, server, text(&issued)).await;
}

async fn http2(server: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(server).await.unwrap());
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

type Line<'a> = (&'static str, &'a [u8]);

fn with_lines(lines: &[Line<'_>]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = "http://test/whoami".parse().unwrap();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    request
}

#[tokio::test]
async fn http2_header_lines_get_their_status() {
    let house = House::new().await;
    let server = serve(&house).await;
    let issued = house.key().await;
    let key = text(&issued).as_bytes();
    let bearer = &[b"Bearer ", key].concat()[..];
    let (long, longer, other) = ([b'k'; 257], [b'k'; 10_000], in_test_environment(text(&issued)));
    let lower = &[b"bearer ", key].concat()[..];
    let (comma, joined) = ([key, b","].concat(), [key, b", ", key].concat());
    let bearer_comma = &[bearer, b","].concat()[..];
    let behind_digest = &[b"Digest d, ", bearer].concat()[..];
    let mut client = http2(server).await;
    let cases: [(u16, &[Line<'_>]); 23] = [
        (200, &[("x-api-key", key)]),
        (200, &[("authorization", bearer)]),
        (200, &[("authorization", lower)]),
        (401, &[("authorization", b"Bearer")]),
        (401, &[("authorization", b"bearer")]),
        (401, &[("x-api-key", &longer)]),
        (401, &[("x-api-key", &comma)]),
        (400, &[("x-api-key", &joined)]),
        (401, &[("authorization", bearer_comma)]),
        (400, &[("authorization", behind_digest)]),
        (400, &[("authorization", lower), ("authorization", bearer)]),
        (401, &[]),
        (401, &[("x-api-key", b"")]),
        (401, &[("x-api-key", &long)]),
        (401, &[("x-api-key", b"a\tb")]),
        (401, &[("x-api-key", b"\x80\xff")]),
        (401, &[("authorization", b"Bearer a b")]),
        (401, &[("x-api-key", other.as_bytes())]),
        (400, &[("x-api-key", key), ("x-api-key", key)]),
        (400, &[("x-api-key", key), ("x-api-key", b"")]),
        (400, &[("authorization", bearer), ("authorization", bearer)]),
        (400, &[("authorization", bearer), ("x-api-key", key)]),
        (400, &[("authorization", b"Bearer"), ("x-api-key", key)]),
    ];
    for (status, lines) in cases {
        let response = client.send_request(with_lines(lines)).await.unwrap();
        assert_eq!(response.status(), status, "{lines:?}");
        let body = body(response).await;
        assert_eq!(status == 200, body == issued.record.id.to_string(), "{lines:?}");
    }
    is_well(&house, server, text(&issued)).await;
}

/// With default bounds the server closes the connection before the layer sees the request. With more room, the layer
/// refuses it like any other.
#[tokio::test]
async fn key_of_100_000_bytes_is_refused_in_http2() {
    let house = House::new().await;
    let server = serve(&house).await;
    let issued = house.key().await;
    let line = [("x-api-key", [b'k'; 100_000].as_slice())];
    let mut client = http2(server).await;
    assert!(client.send_request(with_lines(&line)).await.is_err());
    is_well(&house, server, text(&issued)).await;

    let mut client = http2(serve_long_headers(&house).await).await;
    let mut answers = Vec::new();
    for lines in [&line, &[("x-api-key", b"k".as_slice())]] {
        let response = client.send_request(with_lines(lines)).await.unwrap();
        assert_eq!(response.status(), 401);
        answers.push(body(response).await);
    }
    assert_eq!(answers[0], answers[1]);
    let good = [("x-api-key", text(&issued).as_bytes())];
    let response = client.send_request(with_lines(&good)).await.unwrap();
    assert_eq!(response.status(), 200);
}

async fn body(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// 503 with `Retry-After`, never a 401, and never the response to another key.
#[tokio::test]
async fn any_store_fault_is_a_503_for_a_good_key() {
    let house = House::new().await;
    let server = serve(&house).await;
    let other = house.key().await;
    for is_known in [false, true] {
        let issued = if is_known {
            house.known_key().await
        } else {
            house.key().await
        };
        let before = house.store.inner();
        let outdated = tower_api_key::store::KeyStore::find(before, &issued.lookup)
            .await
            .unwrap()
            .unwrap();
        house
            .issuer
            .update(issued.record.id, |record| record.name = "renamed".into())
            .await
            .unwrap();
        let faults = [
            Fault::Error(StoreErrorKind::Unavailable),
            Fault::Error(StoreErrorKind::NotFound),
            Fault::Error(StoreErrorKind::InvalidRecord),
            Fault::Hang,
            Fault::Panic,
            Fault::AnotherKey(other.lookup.clone()),
            Fault::Stale(Box::new(outdated)),
        ];
        for fault in faults {
            house.faults().heal();
            house.faults().every_find(fault.clone());
            house.everything_changed();
            let line = [("x-api-key", text(&issued).as_bytes())];
            let answer = request(server, "GET", "/whoami", &line).await;
            assert_eq!(answer.status, 503, "{fault:?}");
            assert!(answer.header("retry-after")[0].parse::<u64>().unwrap() >= 1);
            assert!(answer.header("www-authenticate").is_empty());
            assert_eq!(answer.header("cache-control"), ["no-store"]);
            house.faults().heal();
            is_well(&house, server, text(&issued)).await;
        }
    }
}

/// Sends a whole request and keeps the connection open.
async fn under_way(server: SocketAddr, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let line = format!("x-api-key: {key}");
    stream.write_all(&head(&[line.as_bytes()])).await.unwrap();
    stream
}

#[tokio::test]
async fn clients_that_hang_up_leave_nothing_behind() {
    let house = House::new().await;
    let server = serve(&house).await;
    let good = house.key().await;
    // In the middle of sending the request.
    let whole = head(&[format!("x-api-key: {}", text(&good)).as_bytes()]);
    for length in 0..whole.len() {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(&whole[..length]).await.unwrap();
    }
    is_well(&house, server, text(&good)).await;

    // While the store does not answer, and more often than loads are allowed at once.
    let barrier = Barrier::new();
    house.faults().every_find(Fault::Before(barrier.clone()));
    let mut client = http2(server).await;
    for number in 0..100 {
        let key = unknown_key(number);
        if number % 2 == 0 {
            let stream = under_way(server, &key).await;
            barrier.reached(number + 1).await;
            drop(stream);
        } else {
            client.ready().await.unwrap();
            let lines = [("x-api-key", key.as_bytes())];
            let answer = tokio::spawn(client.send_request(with_lines(&lines)));
            barrier.reached(number + 1).await;
            answer.abort();
        }
        house.is_at_rest().await;
    }
    house.faults().heal();
    is_well(&house, server, text(&good)).await;
}

#[tokio::test]
async fn clients_that_hang_up_during_a_hash_leave_nothing_behind() {
    let (brake, pool) = Brake::pool();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let server = serve(&house).await;
    let (first, second) = (house.key().await, house.key().await);
    for round in 0..50 {
        brake.close();
        let hashing = under_way(server, &with_other_secret(text(&first), round)).await;
        brake.reached(round + 1).await;
        let waiting = under_way(server, &with_other_secret(text(&second), round)).await;
        until(|| house.pool.queued() == 1).await;
        drop((hashing, waiting));
        until(|| house.pool.queued() == 0 && house.authenticator.loads_in_flight() == 0).await;
        brake.open();
        house.is_at_rest().await;
    }
    // Requests that were still waiting were never hashed.
    assert_eq!(house.pool.hashes_run(), 50);
    is_well(&house, server, text(&first)).await;
}
