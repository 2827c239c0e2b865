//! Requests that another site makes with the host's login, and requests for another host.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Method, Request};
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_api_key::ApiKeys;
use tower_api_key::key::Actor;
use tower_api_key::store::MemoryStore;
use tower_api_key::testing::ManualClock;

use crate::logins::{PUBLIC, Page, asking, manage, session, start};
use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

/// A key of a user, and the paths that change it.
async fn target(api: &Served, page: &Page) -> (String, Vec<(Method, String)>) {
    let made = page.ask(api, Method::POST, "/keys", json!({"name": "laptop"})).await;
    let path = format!("/keys/{}", made.json(201)["record"]["id"].as_str().unwrap());
    let mut changes = vec![
        (Method::POST, "/keys".to_owned()),
        (Method::POST, "/keys/bulk".to_owned()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
    ];
    for rest in ["rotate", "disable", "enable", "rotate/finish", "rotate/take-back"] {
        changes.push((Method::POST, format!("{path}/{rest}")));
    }
    (path, changes)
}

/// As a form or a script of another site sends it, with the host's cookie.
#[rstest]
#[tokio::test]
async fn request_of_another_site_changes_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let api = start(store).await;
    let acme = api.organization("acme").await;
    let alice = Page::open(&api, &format!("{}/alice", acme.id)).await;
    let mallory = Page::open(&api, &format!("{}/mallory", acme.id)).await;
    let (path, changes) = target(&api, &alice).await;
    let before = api.dump().await;
    let (cookie, token) = (&*alice.cookie, &*alice.token);
    let shorter = &token[..token.len() - 1];
    let twice = format!("{cookie}; {cookie}");
    let forged: &[&[(&'static str, &str)]] = &[
        &[],
        // The browser adds the cookie by itself.
        &[("cookie", cookie)],
        &[("x-csrf-token", token)],
        &[("cookie", cookie), ("x-csrf-token", "")],
        &[("cookie", cookie), ("x-csrf-token", shorter)],
        &[("cookie", "__Host-api-keys-csrf="), ("x-csrf-token", "")],
        &[("cookie", "__Host-api-keys-csrf=x"), ("x-csrf-token", "x")],
        &[("cookie", &*twice), ("x-csrf-token", token)],
        // Of another user of the organization, as a whole.
        &[("cookie", &*mallory.cookie), ("x-csrf-token", &*mallory.token)],
        &[("cookie", cookie), ("x-csrf-token", &*mallory.token)],
        // What a browser says about the page.
        &[
            ("cookie", cookie),
            ("x-csrf-token", token),
            ("origin", "https://evil.example"),
        ],
        &[("cookie", cookie), ("x-csrf-token", token), ("origin", "null")],
        &[
            ("cookie", cookie),
            ("x-csrf-token", token),
            ("sec-fetch-site", "cross-site"),
        ],
        &[
            ("cookie", cookie),
            ("x-csrf-token", token),
            ("sec-fetch-site", "same-site"),
        ],
    ];
    for (method, path) in &changes {
        for more in forged {
            let headers = [&asking(&alice.session)[..], *more].concat();
            let reply = api
                .plain(method.clone(), path, &headers, json!({"name": "forged"}))
                .await;
            assert_eq!(
                reply.problem(),
                (403, "csrf".to_owned(), None),
                "{method} {path} {more:?}"
            );
        }
    }
    // A form says another type, whatever else it has.
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"] {
        for (method, path) in changes.iter().filter(|(method, _)| *method == Method::POST) {
            let headers = [&alice.headers()[..], &[("content-type", content_type)]].concat();
            let reply = api.plain(method.clone(), path, &headers, Value::Null).await;
            assert_eq!(reply.problem().0, 415, "{path} {content_type}");
        }
    }
    assert_eq!(api.dump().await, before);
    // A page of the host itself.
    let own = [("origin", PUBLIC), ("sec-fetch-site", "same-origin")];
    let headers = [&alice.headers()[..], &own].concat();
    let renamed = api.plain(Method::PATCH, &path, &headers, json!({"name": "new"})).await;
    assert_eq!(renamed.json(200)["name"], "new");
}

#[rstest]
#[tokio::test]
async fn token_is_of_one_user_of_one_organization(#[values(Sqlite, Postgres)] store: Store) {
    let api = start(store).await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let alice = Page::open(&api, &format!("{}/alice", acme.id)).await;
    // Between the page and its request, somebody else has logged in.
    for session in [
        format!("{}/bob", acme.id),
        format!("{}/alice", other.id),
        format!("{}/alicea", acme.id),
        format!("{}/alic", acme.id),
    ] {
        let page = Page {
            session,
            ..alice.clone()
        };
        let reply = page.ask(&api, Method::POST, "/keys", json!({"name": "x"})).await;
        assert_eq!(reply.problem().1, "csrf", "{}", page.session);
    }
    let made = alice.ask(&api, Method::POST, "/keys", json!({"name": "x"})).await;
    assert_eq!(made.json(201)["record"]["user"], "alice");
    // Another page of hers has the same one.
    let again = api
        .plain(Method::GET, "/csrf", &alice.headers(), Value::Null)
        .await
        .json(200);
    assert_eq!(again["token"], *alice.token);
}

/// The secret is one that servers share.
#[rstest]
#[tokio::test]
async fn token_is_known_to_every_server(#[values(Sqlite, Postgres)] store: Store) {
    let api = start(store).await;
    let acme = api.organization("acme").await;
    let alice = Page::open(&api, &format!("{}/alice", acme.id)).await;
    let second = api.second(|keys| manage(keys).router()).await;
    let made = alice.ask(&second, Method::POST, "/keys", json!({"name": "x"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn token_ends_after_twelve_hours() {
    let hand = ManualClock::new();
    let keys = ApiKeys::builder(MemoryStore::new())
        .clock(hand.clock())
        .open()
        .await
        .unwrap();
    let acme = keys.issuer().acting_as(Actor::operator("test"));
    let acme = acme.create_organization("acme").await.unwrap();
    let router = manage(&keys.erased()).router();
    let alice = format!("{}/alice", acme.id);
    let ask = async |request: http::request::Builder| {
        let request = request
            .header("host", "app.example.com")
            .header("x-test-session", &alice);
        let reply = router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let cookie = reply.headers().get("set-cookie").cloned();
        let status = reply.status().as_u16();
        let body = to_bytes(reply.into_body(), 10_000).await.unwrap();
        (status, cookie, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (_, cookie, answer) = ask(Request::get("/csrf")).await;
    let cookie = cookie.unwrap().to_str().unwrap().to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-api-keys-csrf="), "{cookie}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(attributes.split("; ").any(|one| one == attribute), "{cookie}");
    }
    assert!(!attributes.to_lowercase().contains("domain"), "{cookie}");
    let token = answer["token"].as_str().unwrap();
    // Of a row that is not there, so that it may be asked again.
    let change = async || {
        let request = Request::patch("/keys/01900000-0000-7000-8000-0000000000ff");
        ask(request.header("cookie", pair).header("x-csrf-token", token))
            .await
            .0
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(change().await, 404);
    hand.advance(12 * hour - Duration::from_secs(1));
    assert_eq!(change().await, 404);
    hand.advance(Duration::from_secs(1));
    assert_eq!(change().await, 403);
    let (_, _, renewed) = ask(Request::get("/csrf").header("cookie", pair)).await;
    assert_ne!(renewed["token"], token);
}

#[rstest]
#[tokio::test]
async fn request_for_another_host_is_not_answered(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start_with(store, |keys| {
        let manage = manage(keys).allowed_hosts(["keys.internal:8443"]).unwrap();
        manage.router()
    })
    .await;
    let acme = api.organization("acme").await;
    let alice = Page::open(&api, &format!("{}/alice", acme.id)).await;
    let before = api.dump().await;
    let ask = async |method: Method, path: &str, host: &str, more: &[(&'static str, &str)]| {
        let mut headers = alice.headers();
        headers.retain(|(name, _)| *name != "host");
        headers.push(("host", host));
        headers.extend(more);
        api.plain(method, path, &headers, json!({"name": "forged"})).await
    };
    for host in [
        "evil.example",
        "app.example.com.evil.example",
        "app.example.com:8443",
        "127.0.0.1",
        "keys.internal",
    ] {
        for (method, path) in [
            (Method::GET, "/keys"),
            (Method::GET, "/csrf"),
            (Method::GET, "/openapi.json"),
            (Method::GET, "/nothing"),
            (Method::POST, "/keys"),
        ] {
            // What a client writes there is not believed.
            for more in [
                &[][..],
                &[("x-forwarded-host", "app.example.com")],
                &[("forwarded", "host=app.example.com")],
            ] {
                let reply = ask(method.clone(), path, host, more).await;
                assert_eq!(
                    reply.problem(),
                    (421, "misdirected-request".to_owned(), None),
                    "{host} {path} {more:?}"
                );
            }
        }
    }
    assert_eq!(api.dump().await, before);
    for host in ["app.example.com", "APP.example.com:443", "keys.internal:8443"] {
        let more = [("x-forwarded-host", "evil.example")];
        assert_eq!(ask(Method::GET, "/keys", host, &more).await.status, 200, "{host}");
    }
}

#[rstest]
#[tokio::test]
async fn key_needs_no_token_and_gets_none(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let admin = api.key(&api.organization("acme").await, ALL).await;
    let refused = api.ask(&admin, Method::GET, "/csrf", Value::Null).await;
    assert_eq!(refused.problem().0, 403);
    let cross_site = [
        ("x-api-key", admin.key.expose_secret()),
        ("sec-fetch-site", "cross-site"),
    ];
    let made = api
        .plain(Method::POST, "/keys", &cross_site, json!({"name": "x"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[test]
fn settings_that_are_no_url_and_no_host_are_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let keys = runtime.block_on(ApiKeys::open("memory:")).unwrap();
    let error = keys.manage().principal("app.example.com", session).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid public_url: must be an absolute URL such as https://app.example.com, got \"app.example.com\""
    );
    assert!(keys.manage().allowed_hosts(["https://a.example"]).is_err());
}
