//! Whatever ends a request ends its event, once.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_key::AuthContext;
use tower_api_key::usage::{ErrorClass, UsageErrorKind, UsageStatus};

use super::{Metering, read};
use crate::house::poll_once;

/// Pieces of ten bytes, then perhaps an end.
fn pieces(number: usize, goes_on: bool) -> Body {
    let sent = stream::iter((0..number).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"0123456789"))));
    match goes_on {
        true => Body::from_stream(sent.chain(stream::pending())),
        false => Body::from_stream(sent),
    }
}

#[tokio::test]
async fn client_that_goes_away_ends_the_event_with_what_was_sent() {
    let metering = Metering::new().await;
    let routes = Router::new()
        .route("/never", get(std::future::pending::<()>))
        .route("/stream", get(|| async { pieces(3, true) }))
        .route("/whole", get(|| async { pieces(3, false) }));
    let app = metering.around(routes);
    let request = |path: &str| metering.request("GET", path).body(Body::empty()).unwrap();

    // Before the head.
    {
        let mut call = pin!(app.clone().oneshot(request("/never")));
        assert!(poll_once(call.as_mut()).await.is_none());
    }
    // Before it is polled at all: the inner service was not called.
    drop(app.clone().oneshot(request("/never")));
    // With the head, and nothing of the body.
    drop(app.clone().oneshot(request("/stream")).await.unwrap());
    // In the middle.
    let mut body = app.clone().oneshot(request("/stream")).await.unwrap().into_body();
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap();
    }
    drop(body);
    // At the end.
    read(app.clone().oneshot(request("/whole")).await.unwrap()).await;
    drop(app);

    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.status.as_http(), event.error, event.bytes_out))
        .collect();
    let gone = Some(ErrorClass::Cancelled);
    assert_eq!(
        seen,
        [
            (None, gone, 0),
            (Some(200), gone, 0),
            (Some(200), gone, 20),
            (Some(200), None, 30)
        ]
    );
}

#[tokio::test]
async fn body_that_nobody_has_to_read_is_whole() {
    let metering = Metering::new().await;
    let routes = Router::new()
        .route("/text", get(|| async { "text" }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/same", get(|| async { StatusCode::NOT_MODIFIED }));
    let app = metering.around(routes);
    for (method, path) in [
        ("GET", "/text"),
        ("HEAD", "/text"),
        ("GET", "/nothing"),
        ("GET", "/same"),
    ] {
        let request = metering.request(method, path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        if (method, path) == ("GET", "/text") {
            // As a server does that knows the length: it asks for the frame, and not for the end.
            assert_eq!(response.headers()["content-length"], "4");
            response.into_body().frame().await.unwrap().unwrap();
        }
    }
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.method, event.bytes_out, event.error))
        .collect();
    assert_eq!(
        seen,
        [("GET", 4, None), ("HEAD", 0, None), ("GET", 0, None), ("GET", 0, None)]
    );
}

#[tokio::test]
async fn panics_and_failures_are_classes_of_their_own() {
    let metering = Metering::new().await;
    let failing = || async {
        let frames = [Ok(Bytes::from_static(b"01234")), Err(std::io::Error::other("cut"))];
        Body::from_stream(stream::iter(frames))
    };
    let broken = || async {
        let frames = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"01")) });
        Body::from_stream(frames.chain(stream::poll_fn(|_| panic!("in the body"))))
    };
    let routes = Router::new()
        .route(
            "/panics",
            get(|| async {
                if true {
                    panic!("in the handler")
                }
            }),
        )
        .route("/fails", get(failing))
        .route("/breaks", get(broken));
    let app = metering.around(routes);
    let request = |path: &str| metering.request("GET", path).body(Body::empty()).unwrap();
    let caught = AssertUnwindSafe(app.clone().oneshot(request("/panics")))
        .catch_unwind()
        .await;
    assert!(caught.is_err());
    for path in ["/fails", "/breaks"] {
        let body = app.clone().oneshot(request(path)).await.unwrap().into_body();
        let collected = AssertUnwindSafe(body.collect()).catch_unwind().await;
        assert!(!matches!(collected, Ok(Ok(_))), "{path}");
    }

    // One that panics before it returns a future.
    let panicking = service_fn(|request: Request<_>| {
        assert!(request.uri().path().is_empty(), "in the call");
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let mut service = metering.keys().layer(metering.layer().layer(panicking));
    let asked = metering.request("GET", "/").body(Body::empty()).unwrap();
    let called = std::panic::catch_unwind(AssertUnwindSafe(|| drop(service.call(asked))));
    assert!(called.is_err());

    // A service that fails without a response.
    let failing = service_fn(|_: Request<_>| async { Err::<Response<Full<Bytes>>, _>("gone") });
    let mut service = metering.keys().layer(metering.layer().layer(failing));
    let request = metering.request("GET", "/").body(Body::empty()).unwrap();
    assert_eq!(service.ready().await.unwrap().call(request).await.unwrap_err(), "gone");

    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.status.as_http(), event.error, event.bytes_out))
        .collect();
    assert_eq!(
        seen,
        [
            (None, Some(ErrorClass::Panicked), 0),
            (Some(200), Some(ErrorClass::Body), 5),
            (Some(200), Some(ErrorClass::Panicked), 2),
            (None, Some(ErrorClass::Panicked), 0),
            (None, Some(ErrorClass::Service), 0),
        ]
    );
}

#[tokio::test]
async fn upgraded_connection_ends_with_its_hold() {
    let metering = Metering::new().await;
    let (holds, mut held) = tokio::sync::mpsc::channel(4);
    let upgrade = move |auth: AuthContext, request: Request<Body>| {
        let holds = holds.clone();
        async move {
            if request.uri().path() == "/held" {
                holds.send((auth.hold().unwrap(), auth)).await.unwrap();
            }
            StatusCode::SWITCHING_PROTOCOLS
        }
    };
    let app = metering.around(Router::new().route("/{*path}", any(upgrade)));
    metering.get(&app, "/loose").await;
    metering.get(&app, "/held").await;
    let (hold, auth) = held.recv().await.unwrap();
    metering.house.hand.advance(Duration::from_secs(90));
    auth.add_tokens(7).unwrap();
    assert_eq!(metering.meter.counts().accepted, 1, "the one without a hold");
    let second = auth.hold().unwrap();
    drop(hold);
    assert_eq!(metering.meter.counts().accepted, 1);
    drop(second);
    for late in [auth.add_tokens(1), auth.tag("model", "large"), auth.hold().map(drop)] {
        assert_eq!(late.unwrap_err().kind(), UsageErrorKind::Ended);
    }
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.status, event.latency.as_secs(), event.tokens))
        .collect();
    let status = UsageStatus::http(101);
    assert_eq!(seen, [(status, 0, 0), (status, 90, 7)]);
}

/// A client that drops the connection before the last piece gets nothing for free.
#[tokio::test]
async fn what_goes_on_without_the_client_is_counted() {
    let metering = Metering::new().await;
    let (go_on, mut may_go_on) = tokio::sync::mpsc::channel::<()>(1);
    let (tasks, mut started) = tokio::sync::mpsc::channel(1);
    let answer = move |auth: AuthContext| {
        let go_on = go_on.clone();
        let tasks = tasks.clone();
        async move {
            let hold = auth.hold().unwrap();
            let task = tokio::spawn(async move {
                go_on.send(()).await.unwrap();
                auth.add_tokens(900).unwrap();
                drop(hold);
            });
            tasks.send(task).await.unwrap();
            pieces(2, true)
        }
    };
    let app = metering.around(Router::new().route("/", get(answer)));
    let request = metering.request("GET", "/").body(Body::empty()).unwrap();
    let mut body = app.oneshot(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    may_go_on.recv().await.unwrap();
    started.recv().await.unwrap().await.unwrap();
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.tokens, event.bytes_out, event.error))
        .collect();
    assert_eq!(seen, [(900, 10, Some(ErrorClass::Cancelled))]);
}

#[tokio::test]
async fn body_is_as_it_was() {
    let metering = Metering::new().await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-checksum", "17".parse().unwrap());
    let answer = {
        let trailers = trailers.clone();
        move || {
            let frames = [
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"01234"))),
                Ok(http_body::Frame::trailers(trailers.clone())),
            ];
            async move { Body::new(StreamBody::new(stream::iter(frames))) }
        }
    };
    let routes = Router::new()
        .route("/", get(answer))
        .route("/whole", get(|| async { "whole" }));
    let app = metering.around(routes);
    let request = |path: &str| metering.request("GET", path).body(Body::empty()).unwrap();
    let collected = app
        .clone()
        .oneshot(request("/"))
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "01234");
    let whole = app.clone().oneshot(request("/whole")).await.unwrap().into_body();
    assert_eq!(http_body::Body::size_hint(&whole).exact(), Some(5));
    read(Response::new(whole)).await;
    let events = metering.events().await;
    assert!(
        events.iter().all(|event| event.error.is_none() && event.bytes_out == 5),
        "{events:?}"
    );
}

/// Ten thousand requests that end in any way, each one event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_one_event_however_it_ends() {
    const REQUESTS: usize = 10_000;
    let metering = Metering::new().await;
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = {
        let begun = begun.clone();
        MapRequestLayer::new(move |request: Request<Body>| {
            begun.fetch_add(1, Ordering::SeqCst);
            request
        })
    };
    let routes = Router::new()
        .route("/0", get(std::future::pending::<()>))
        .route("/1", get(|| async { pieces(3, true) }))
        .route("/2", get(|| async { pieces(3, false) }))
        .route(
            "/3",
            get(|| async {
                if true {
                    panic!("as it should")
                }
            }),
        )
        .route("/4", get(|| async { "well" }));
    let app = routes
        .route_layer(metering.layer())
        .route_layer(counted)
        .route_layer(metering.keys());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let request = metering
            .request("GET", &format!("/{}", number % 5))
            .body(Body::empty())
            .unwrap();
        let app = app.clone();
        let task = tasks.spawn(async move {
            let call = AssertUnwindSafe(app.oneshot(request)).catch_unwind();
            let Ok(Ok(Ok(response))) = tokio::time::timeout(Duration::from_millis(5), call).await else {
                return;
            };
            let mut body = response.into_body();
            for _ in 0..(number / 5) % 4 {
                let frame = tokio::time::timeout(Duration::from_millis(5), body.frame());
                if !matches!(frame.await, Ok(Some(Ok(_)))) {
                    return;
                }
            }
        });
        if number % 3 == 0 {
            tokio::task::yield_now().await;
            task.abort();
        }
    }
    while tasks.join_next().await.is_some() {}
    drop(app);
    let events = metering.events().await;
    assert_eq!(events.len(), begun.load(Ordering::SeqCst));
    for class in [None, Some(ErrorClass::Cancelled), Some(ErrorClass::Panicked)] {
        let number = events.iter().filter(|event| event.error == class).count();
        assert!(number > 100, "{class:?}: {number} of {}", events.len());
    }
}
