//! What an event says.

use std::time::Duration;

use axum::body::Body;
use axum::routing::{any, get, post};
use axum::{Router, http::StatusCode};
use tower::ServiceExt;
use tower_api_key::usage::{ErrorClass, KeptAddress, UsageErrorKind, UsageStatus};
use tower_api_key::{AuthContext, ClientAddress, MeterLayer, RequireScope};

use super::{Metering, read};
use crate::house::text;

#[tokio::test]
async fn event_has_all_of_a_request() {
    let metering = Metering::new().await;
    let hand = metering.house.hand.clone();
    let answer = move |auth: AuthContext, body: String| {
        let hand = hand.clone();
        async move {
            hand.advance(Duration::from_millis(70));
            auth.add_tokens(1_000).unwrap();
            auth.add_tokens(200).unwrap();
            auth.add_micro_usd(3_600).unwrap();
            auth.tag("model", "large").unwrap();
            format!("{body} and more")
        }
    };
    let scope = RequireScope::new("orders:read".parse().unwrap());
    let app = metering.around(Router::new().route("/orders/{id}", post(answer).layer(scope)));
    let request = metering.house.request("alice's").scopes("orders:read".parse().unwrap());
    let request = request.user("alice".parse().unwrap());
    let issued = metering.house.issuer.issue(request).await.unwrap();
    let began = metering.house.hand.clock().wall();
    let request = http::Request::post("/orders/17?secret=1")
        .header("x-api-key", text(&issued))
        .header("user-agent", format!("curl/8.5 ({})", crate::house::unknown_key(1)))
        .extension(ClientAddress("198.51.100.77".parse().unwrap()))
        .body(Body::from("seventeen"))
        .unwrap();
    let response = read(app.oneshot(request).await.unwrap()).await;
    assert_eq!(response.body(), "seventeen and more");

    let events = metering.events().await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.at, began);
    assert_eq!(event.key, issued.record.id);
    assert_eq!(event.organization, issued.record.organization_id);
    assert_eq!(event.user.as_ref().map(|user| user.as_str()), Some("alice"));
    assert_eq!((&*event.route, event.method), ("/orders/{id}", "POST"));
    assert_eq!((event.status, event.error), (UsageStatus::http(200), None));
    assert_eq!(event.scope, Some("orders:read".parse().unwrap()));
    assert_eq!(event.latency, Duration::from_millis(70));
    assert_eq!((event.bytes_in, event.bytes_out), (9, 18));
    assert_eq!((event.tokens, event.micro_usd), (1_200, 3_600));
    assert_eq!(event.tags.iter().collect::<Vec<_>>(), [("model", "large")]);
    assert_eq!(event.address, Some("198.51.100.0/24".parse().unwrap()));
    assert_eq!(event.agent.as_deref(), Some("curl/8.5 ([masked])"));
}

#[tokio::test]
async fn address_is_kept_as_it_is_set() {
    for (kept, v4, v6) in [
        (
            KeptAddress::Whole,
            Some("198.51.100.77/32"),
            Some("2001:db8:1:2::3/128"),
        ),
        (KeptAddress::Network, Some("198.51.100.0/24"), Some("2001:db8:1::/48")),
        (KeptAddress::Nothing, None, None),
    ] {
        let metering = Metering::new().await;
        let layer = metering.layer().address(kept).user_agent(false);
        let app = Router::new().route("/", get(|| async {})).route_layer(layer);
        let app = app.route_layer(metering.keys());
        for address in ["198.51.100.77", "::ffff:198.51.100.77", "2001:db8:1:2::3"] {
            let request = metering.request("GET", "/").header("user-agent", "curl/8.5");
            let request = request.extension(ClientAddress(address.parse().unwrap()));
            read(app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await;
        }
        let events = metering.events().await;
        let addresses: Vec<_> = events.iter().map(|event| event.address).collect();
        let net = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        assert_eq!(addresses, [net(v4), net(v4), net(v6)], "{kept:?}");
        assert!(events.iter().all(|event| event.agent.is_none()));
    }
}

/// Refusals of keys are none: they are in the audit. Those of scopes are, since the key was admitted.
#[tokio::test]
async fn admitted_requests_are_metered_alone() {
    let metering = Metering::new().await;
    let write = |auth: AuthContext| async move { auth.require("orders:write") };
    let scope = RequireScope::new("admin".parse().unwrap());
    let routes = Router::new()
        .route("/", get(|| async { "well" }))
        .route("/write", get(write))
        .route("/admin", get(|| async {}).layer(scope))
        .route("/lost", get(|| async { StatusCode::NOT_FOUND }))
        .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }));
    let app = metering.around(routes);
    for (path, status) in [
        ("/", 200),
        ("/write", 403),
        ("/admin", 403),
        ("/lost", 404),
        ("/broken", 502),
    ] {
        assert_eq!(metering.get(&app, path).await.status(), status, "{path}");
    }
    for key in ["rubbish", &crate::house::unknown_key(1)] {
        let request = http::Request::get("/")
            .header("x-api-key", key)
            .body(Body::empty())
            .unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 401);
    }
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (&*event.route, event.status.as_http(), event.error))
        .collect();
    let status = |status| Some(status);
    assert_eq!(
        seen,
        [
            ("/", status(200), None),
            ("/write", status(403), Some(ErrorClass::Refused)),
            ("/admin", status(403), Some(ErrorClass::Refused)),
            ("/lost", status(404), Some(ErrorClass::Client)),
            ("/broken", status(502), Some(ErrorClass::Server)),
        ]
    );
    assert_eq!(events[1].scope, Some("orders:write".parse().unwrap()));
    assert_eq!(events[2].scope, Some("admin".parse().unwrap()));
}

#[tokio::test]
async fn without_key_or_layer_nothing_is_metered() {
    let metering = Metering::new().await;
    let say = |auth: Option<AuthContext>| async move {
        let said = auth.map(|auth| auth.tag("model", "large").map_err(|error| error.kind()));
        format!("{said:?}")
    };
    let routes = || Router::new().route("/", get(say));
    let optional = routes()
        .route_layer(metering.layer())
        .route_layer(metering.keys().optional());
    let anonymous = http::Request::get("/").body(Body::empty()).unwrap();
    let response = read(optional.oneshot(anonymous).await.unwrap()).await;
    assert_eq!(response.body(), "None");
    let unmetered = routes().route_layer(metering.keys());
    let response = metering.get(&unmetered, "/").await;
    assert_eq!(response.body(), &format!("Some(Err({:?}))", UsageErrorKind::NoMeter));
    assert_eq!(metering.events().await, []);
}

#[tokio::test]
async fn routes_that_are_none_are_bounded() {
    let metering = Metering::new().await;
    // A mistake: the path instead of the template.
    #[derive(Clone)]
    struct Raw(String);
    let layer = MeterLayer::new(&metering.meter).route(|extensions| Some(&extensions.get::<Raw>()?.0));
    let app = Router::new().route("/{*path}", any(|| async {})).route_layer(layer);
    let app = app.route_layer(metering.keys());
    for number in 0..3000 {
        let path = format!("/orders/{number}");
        let request = metering.request("GET", &path).extension(Raw(path.clone()));
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    }
    let request = metering.request("PROPFIND", "/x").body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap();
    let events = metering.events().await;
    let own = events
        .iter()
        .filter(|event| event.route.starts_with("/orders/"))
        .count();
    let other = events.iter().filter(|event| &*event.route == "(other)").count();
    assert_eq!((own, other, events.len()), (1000, 2000, 3001));
    let last = &events[3000];
    assert_eq!((&*last.route, last.method), ("(none)", "(other)"));
}

/// The scope that the layer of the keys requires is known before anything is metered.
#[tokio::test]
async fn scope_of_the_layer_is_the_events() {
    let metering = Metering::new().await;
    let request = metering.house.request("reader").scopes("orders:read".parse().unwrap());
    let issued = metering.house.issuer.issue(request).await.unwrap();
    let keys = metering.keys().require_scope("orders:read".parse().unwrap());
    let app = Router::new()
        .route("/", get(|| async {}))
        .route_layer(metering.layer())
        .route_layer(keys);
    let request = http::Request::get("/")
        .header("x-api-key", text(&issued))
        .body(Body::empty())
        .unwrap();
    read(app.oneshot(request).await.unwrap()).await;
    let events = metering.events().await;
    assert_eq!(events[0].scope, Some("orders:read".parse().unwrap()));
}

/// A router within a router, each with a meter.
#[tokio::test]
async fn two_meters_count_once() {
    let metering = Metering::new().await;
    let say = |auth: AuthContext| async move { auth.add_tokens(5).unwrap() };
    let inner = Router::new().route("/", get(say)).route_layer(metering.layer());
    let app = metering.around(Router::new().nest("/orders", inner));
    metering.get(&app, "/orders").await;
    let events = metering.events().await;
    assert_eq!(events.iter().map(|event| event.tokens).collect::<Vec<_>>(), [5]);
}

/// What the layer of the keys answers in place of a handler is no response that a client gave up.
#[tokio::test]
async fn refusals_of_handlers_are_sent_whole() {
    let metering = Metering::new().await;
    let wrong = |auth: AuthContext| async move { auth.require("not a scope") };
    let scope = RequireScope::new("admin".parse().unwrap());
    let routes = Router::new()
        .route("/wrong", get(wrong))
        .route("/admin", get(|| async {}).layer(scope));
    let app = metering.around(routes);
    for (path, status) in [("/wrong", 500), ("/admin", 403)] {
        assert_eq!(metering.get(&app, path).await.status(), status, "{path}");
    }
    let events = metering.events().await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.status.as_http(), event.error))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(500), Some(ErrorClass::Server)),
            (Some(403), Some(ErrorClass::Refused))
        ]
    );
}
