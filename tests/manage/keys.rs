//! The life of a key over HTTP.

use http::{Method, Request};
use http_body_util::Full;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

#[rstest]
#[tokio::test]
async fn key_lives_from_create_to_revoke(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, &format!("orders:* {ALL}")).await;
    let body = json!({"name": "nightly", "scopes": ["orders:read"], "labels": ["ci"], "expires_in": 3600,
        "limits": [{"name": "requests", "limit": 10, "per": 60}], "metadata": {"a": "1", "b": "2"}});
    let made = api.ask(&admin, Method::POST, "/keys", body).await;
    let (etag, location) = (made.header("etag").to_owned(), made.header("location").to_owned());
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.json(201);
    let id = made["record"]["id"].as_str().unwrap().to_owned();
    assert_eq!((etag.as_str(), location), ("\"1\"", format!("keys/{id}")));
    assert_eq!(made["record"]["status"], "active");
    let path = format!("/keys/{id}");

    let shown = api.ask(&admin, Method::GET, &path, Value::Null).await.json(200);
    assert_eq!(shown, made["record"]);
    let patch = json!({"name": "hourly", "metadata": {"a": null, "c": "3"}, "expires_at": null});
    let patched = api.ask(&admin, Method::PATCH, &path, patch).await.json(200);
    assert_eq!(patched["name"], "hourly");
    assert_eq!(patched["metadata"], json!({"b": "2", "c": "3"}));
    assert_eq!(patched["expires_at"], Value::Null);
    assert_eq!(
        patched["limits"],
        json!([{"name": "requests", "limit": 10, "per": 60, "burst": 10}])
    );

    let rotated = api
        .ask(&admin, Method::POST, &format!("{path}/rotate"), json!({"grace": 60}))
        .await
        .json(200);
    assert_ne!(rotated["key"], made["key"]);
    assert_eq!(rotated["record"]["secrets"].as_array().unwrap().len(), 2);
    let finished = api
        .ask(&admin, Method::POST, &format!("{path}/rotate/finish"), Value::Null)
        .await
        .json(200);
    assert!(
        finished["secrets"]
            .as_array()
            .unwrap()
            .iter()
            .any(|secret| !secret["grace_ends_at"].is_null())
    );
    for (action, status) in [("disable", "disabled"), ("enable", "active")] {
        let changed = api
            .ask(&admin, Method::POST, &format!("{path}/{action}"), Value::Null)
            .await
            .json(200);
        assert_eq!(changed["status"], status);
    }
    let revoked = api
        .ask(&admin, Method::DELETE, &path, json!({"reason": "leaked"}))
        .await
        .json(200);
    assert_eq!(
        (&revoked["status"], &revoked["revocation"]["reason"]),
        (&json!("revoked"), &json!("leaked"))
    );
    let again = api
        .ask(&admin, Method::POST, &format!("{path}/enable"), Value::Null)
        .await;
    assert_eq!((again.problem().0, again.problem().1.as_str()), (409, "revoked"));
}

#[rstest]
#[tokio::test]
async fn lists_are_filtered_and_paged(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, &format!("orders:* {ALL}")).await;
    for n in 0..5 {
        let body = json!({"name": format!("key {n}"), "user": format!("user{}", n % 2), "labels": ["ci"]});
        api.ask(&admin, Method::POST, "/keys", body).await.json(201);
    }
    let (mut after, mut names) = (String::new(), Vec::new());
    loop {
        let page = api
            .ask(
                &admin,
                Method::GET,
                &format!("/keys?limit=2&label=ci{after}"),
                Value::Null,
            )
            .await
            .json(200);
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, ["key 0", "key 1", "key 2", "key 3", "key 4"]);
    let of_user = api
        .ask(&admin, Method::GET, "/keys?user=user1&status=active", Value::Null)
        .await
        .json(200);
    assert_eq!(of_user["items"].as_array().unwrap().len(), 2);
}

#[rstest]
#[tokio::test]
async fn foreign_key_is_the_same_404_as_an_unknown_one(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let admin = api.key(&acme, ALL).await;
    let foreign = api.key(&other, "orders:read").await;
    let unknown = "01900000-0000-7000-8000-000000000001";
    let routes = [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/rotate"),
        (Method::POST, "/rotate/finish"),
        (Method::POST, "/rotate/take-back"),
        (Method::POST, "/enable"),
        (Method::POST, "/disable"),
    ];
    for (method, rest) in routes {
        for if_match in [None, Some("\"1\""), Some("\"7\"")] {
            let mut answers = Vec::new();
            for id in [foreign.record.id.to_string(), unknown.to_owned()] {
                let mut request = Request::builder()
                    .method(method.clone())
                    .uri(api.url(&format!("/keys/{id}{rest}")))
                    .header("x-api-key", admin.key.expose_secret());
                if let Some(tag) = if_match {
                    request = request.header("if-match", tag);
                }
                let body = if method == Method::PATCH { "{}" } else { "" };
                let request = request
                    .header("content-type", "application/json")
                    .body(Full::from(body))
                    .unwrap();
                let answer = api.send(request).await;
                answers.push((answer.status, answer.text));
            }
            assert_eq!(answers[0], answers[1], "{method} {rest}");
            assert_eq!(answers[0].0, 404, "{method} {rest}");
        }
    }
    let stored = api.keys.read(foreign.record.id).await.unwrap().unwrap();
    assert_eq!(stored.record, foreign.record);
}

#[rstest]
#[tokio::test]
async fn scope_is_asked_for_and_no_wildcard_covers_it(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let target = api.key(&acme, "orders:read").await;
    let path = format!("/keys/{}", target.record.id);
    let reader = api.key(&acme, "api-keys.keys:read").await;
    let all = api.key(&acme, "* orders:*").await;
    for key in [&reader, &all] {
        for (method, path, body) in [
            (Method::POST, "/keys".to_owned(), json!({"name": "x"})),
            (Method::PATCH, path.clone(), json!({"name": "x"})),
            (Method::DELETE, path.clone(), Value::Null),
            (Method::POST, format!("{path}/rotate"), Value::Null),
        ] {
            assert_eq!(api.ask(key, method, &path, body).await.problem().0, 403);
        }
    }
    assert_eq!(api.ask(&reader, Method::GET, &path, Value::Null).await.status, 200);
    assert_eq!(api.ask(&all, Method::GET, &path, Value::Null).await.problem().0, 403);
}

#[rstest]
#[tokio::test]
async fn change_is_made_to_the_revision_that_it_is_for(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let target = api.key(&acme, "").await;
    let patch = async |tag: &str| {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(api.url(&format!("/keys/{}", target.record.id)))
            .header("x-api-key", admin.key.expose_secret())
            .header("if-match", tag)
            .header("content-type", "application/merge-patch+json");
        api.send(request.body(Full::from("{\"name\": \"new\"}")).unwrap()).await
    };
    for stale in ["\"7\"", "W/\"1\"", "1", "x"] {
        assert_eq!(patch(stale).await.problem().0, 412, "{stale}");
    }
    // Reading the row again, as for one that is stale, would not help.
    let weak = patch("W/\"1\"").await.json(412);
    assert!(
        weak["detail"].as_str().unwrap().contains("no ETag of this API"),
        "{weak}"
    );
    let changed = patch("\"1\"").await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"2\""));
    assert_eq!(patch("\"1\"").await.problem().0, 412);
    assert_eq!(patch("\"1\", \"2\"").await.status, 200);
}

#[tokio::test]
async fn bad_query_is_refused_with_its_field_and_without_its_value() {
    let api = Served::start(Sqlite).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    for (path, field, sentence) in [
        (
            "/keys?status=hunter2",
            "status",
            "must be one of `active`, `disabled`, `revoked`, `expired`",
        ),
        (
            "/keys?organization=hunter2",
            "organization",
            "must be the UUID of an organization",
        ),
        ("/keys?limit=hunter2", "limit", "must be a whole number"),
        ("/keys?limit=70000", "limit", "must be a whole number"),
        ("/keys?limit=", "limit", "must be a whole number"),
        ("/keys?limit=1&limit=2", "limit", "duplicate field `limit`"),
        ("/keys?lim=hunter2", "lim", "unknown field `lim`"),
        ("/keys?user=", "user", "must have 1 to 255 bytes"),
        ("/hygiene?unused_days=hunter2", "unused_days", "must be a whole number"),
        ("/users?status=hunter2", "status", "must be `active` or `disabled`"),
        ("/audit?since=hunter2", "since", "RFC 3339"),
        ("/statistics?x=hunter2", "x", "unknown field `x`"),
    ] {
        let answer = api.ask(&admin, Method::GET, path, Value::Null).await;
        let problem = answer.json(400);
        assert_eq!(problem["field"], field, "{path} {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(sentence) && !detail.contains("hunter2"),
            "{path} {detail}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn bad_body_is_refused_with_its_field_and_without_its_value(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let post = async |body: &str, content_type: &str| {
        let request = Request::builder()
            .method(Method::POST)
            .uri(api.url("/keys"))
            .header("x-api-key", admin.key.expose_secret())
            .header("content-type", content_type);
        api.send(request.body(Full::from(body.to_owned())).unwrap()).await
    };
    for (body, status, kind, field) in [
        ("", 400, "malformed-body", None),
        ("{", 400, "malformed-body", None),
        ("{\"name\": \"x\"} x", 400, "malformed-body", None),
        ("[]", 422, "invalid-request", None),
        // An array is no object, though serde takes it for one.
        ("[null, \"x\", null, false, [], null]", 422, "invalid-request", None),
        (
            "{\"name\": \"x\", \"limits\": [[\"requests\", 1, 60]]}",
            422,
            "invalid-request",
            Some("limits[0]"),
        ),
        ("{}", 422, "invalid-request", Some("name")),
        (
            "{\"name\": \"x\", \"scope\": []}",
            422,
            "invalid-request",
            Some("scope"),
        ),
        (
            "{\"name\": \"x\", \"name\": \"y\"}",
            422,
            "invalid-request",
            Some("name"),
        ),
        ("{\"name\": 7}", 422, "invalid-request", Some("name")),
        ("{\"name\": \"\"}", 422, "invalid-request", Some("name")),
        (
            "{\"name\": \"x\", \"scopes\": [\"a b\"]}",
            422,
            "invalid-request",
            Some("scopes[0]"),
        ),
        (
            "{\"name\": \"x\", \"networks\": [\"sesame\"]}",
            422,
            "invalid-request",
            Some("networks[0]"),
        ),
        (
            "{\"name\": \"x\", \"expires_in\": \"sesame\"}",
            422,
            "invalid-request",
            Some("expires_in"),
        ),
    ] {
        let reply = post(body, "application/json").await;
        assert_eq!(
            reply.problem(),
            (status, kind.to_owned(), field.map(str::to_owned)),
            "{body}: {}",
            reply.text
        );
        assert!(!reply.text.contains("sesame"), "{}", reply.text);
    }
    let of_text = post("{\"name\": \"x\", \"expires_in\": \"90d\"}", "application/json").await;
    assert!(of_text.text.contains("must be a whole number"), "{}", of_text.text);
    assert_eq!(post("{\"name\": \"x\"}", "text/plain").await.problem().0, 415);
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(100_000));
    assert_eq!(post(&large, "application/json").await.problem().0, 413);
    let deep = format!("{{\"name\": {}", "[".repeat(10_000));
    assert_eq!(post(&deep, "application/json").await.problem().0 / 100, 4);
}

#[rstest]
#[tokio::test]
async fn own_keys_are_seen_with_the_scope_for_them(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let own = api.key(&acme, "api-keys.keys:read-own").await;
    let other = api.key(&acme, "").await;
    let path = |id: tower_api_key::key::KeyId| format!("/keys/{id}");
    assert_eq!(
        api.ask(&own, Method::GET, &path(own.record.id), Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(
        api.ask(&own, Method::GET, &path(other.record.id), Value::Null)
            .await
            .problem()
            .0,
        404
    );
    let listed = api.ask(&own, Method::GET, "/keys", Value::Null).await.json(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], own.record.id.to_string());
}

#[rstest]
#[tokio::test]
async fn own_user_is_one_of_the_own_organization(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (operator, other) = (api.operator().await, api.organization("other").await);
    let request = |of: &tower_api_key::key::Organization| {
        tower_api_key::IssueRequest::new(of.id, "key").user("alice".parse().unwrap())
    };
    let scopes = "api-keys.keys:read-own".parse().unwrap();
    let own = api.host().issue(request(&operator).scopes(scopes)).await.unwrap();
    let foreign = api.host().issue(request(&other)).await.unwrap();
    assert_eq!(api.ask(&own, Method::GET, "/keys", Value::Null).await.status, 200);
    for organization in [other.id.to_string(), "all".to_owned()] {
        let path = format!("/keys?organization={organization}");
        assert_eq!(api.ask(&own, Method::GET, &path, Value::Null).await.problem().0, 403);
    }
    let path = format!("/keys/{}", foreign.record.id);
    assert_eq!(api.ask(&own, Method::GET, &path, Value::Null).await.problem().0, 404);
}

#[rstest]
#[tokio::test]
async fn key_revokes_itself_without_a_scope(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let key = api.key(&acme, "").await;
    assert_eq!(
        api.ask(&key, Method::POST, "/self/revoke", Value::Null).await.status,
        204
    );
    assert_eq!(
        api.ask(&key, Method::POST, "/self/revoke", Value::Null)
            .await
            .problem()
            .0,
        401
    );
}

#[rstest]
#[tokio::test]
async fn only_this_machine_is_admitted_without_https(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let get = async |name: &str, value: &str| {
        let request = Request::builder()
            .uri(api.url("/keys"))
            .header("x-api-key", admin.key.expose_secret())
            .header(name, value);
        api.send(request.body(Full::default()).unwrap()).await.status.as_u16()
    };
    assert_eq!(get("accept", "*/*").await, 200);
    for (name, value) in [
        ("host", "keys.example.com"),
        ("host", "localhost.example.com"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded", "for=127.0.0.1"),
        ("forwarded", "proto=https"),
        ("forwarded-for", "127.0.0.1"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "127.0.0.1"),
        ("x-client-ip", "127.0.0.1"),
        ("true-client-ip", "127.0.0.1"),
        ("cf-connecting-ip", "127.0.0.1"),
        ("x-original-forwarded-for", "127.0.0.1"),
        ("x-envoy-external-address", "127.0.0.1"),
        ("x-scheme", "https"),
        ("front-end-https", "on"),
        ("cdn-loop", "cdn"),
    ] {
        assert_eq!(get(name, value).await, 403, "{name}: {value}");
    }
}

#[rstest]
#[tokio::test]
async fn nothing_is_at_other_paths_and_methods(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    assert_eq!(
        api.ask(&admin, Method::GET, "/nothing", Value::Null).await.problem().0,
        404
    );
    assert_eq!(
        api.ask(&admin, Method::PUT, "/keys", Value::Null).await.problem().0,
        405
    );
    let request = Request::get(api.url("/openapi.json")).body(Full::default()).unwrap();
    let document = api.send(request).await.json(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/keys/{id}/rotate/take-back"]["post"].is_object());
}
