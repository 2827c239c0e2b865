//! A host's login in place of a management key.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_api_key::key::{OrganizationId, UserId};
use tower_api_key::{IssueRequest, Principal};

use crate::support::{Reply, Served};

/// The host's sessions: organization and user in a header, which only this test's host writes.
async fn start() -> Served {
    Served::start_with(|keys| {
        let manage = keys.manage().principal(|request| {
            let login = request.headers.get("x-test-session")?.to_str().ok()?;
            let (organization, user) = login.split_once('/')?;
            let organization: OrganizationId = organization.parse().ok()?;
            let user: UserId = user.parse().ok()?;
            Principal::new(organization, user)
                .grants("orders:read".parse().ok()?)
                .ok()
        });
        manage.router()
    })
    .await
}

async fn ask(api: &Served, login: &str, method: Method, path: &str, body: Value) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(api.url(path))
        .header("x-test-session", login)
        .header("content-type", "application/json");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    api.send(request.body(Full::from(body)).unwrap()).await
}

#[tokio::test]
async fn user_manages_own_keys_alone() {
    let api = start().await;
    let acme = api.organization("acme").await;
    let (alice, bob) = (format!("{}/alice", acme.id), format!("{}/bob", acme.id));
    let made = ask(
        &api,
        &alice,
        Method::POST,
        "/keys",
        json!({"name": "laptop", "scopes": ["orders:read"]}),
    )
    .await;
    let made = made.json(201);
    assert_eq!(
        (&made["record"]["user"], &made["record"]["created_by"]),
        (&json!("alice"), &json!("user:alice"))
    );
    let path = format!("/keys/{}", made["record"]["id"].as_str().unwrap());
    for (method, rest) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::POST, "/rotate"),
        (Method::POST, "/disable"),
    ] {
        let refused = ask(&api, &bob, method, &format!("{path}{rest}"), Value::Null).await;
        assert_eq!(refused.problem().0, 404, "{rest}");
    }
    let listed = ask(&api, &bob, Method::GET, "/keys", Value::Null).await.json(200);
    assert_eq!(listed["items"], json!([]));
    let listed = ask(&api, &alice, Method::GET, "/keys", Value::Null).await.json(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    ask(&api, &alice, Method::POST, &format!("{path}/rotate"), Value::Null)
        .await
        .json(200);
    let revoked = ask(&api, &alice, Method::DELETE, &path, Value::Null).await.json(200);
    assert_eq!(revoked["status"], "revoked");
}

#[tokio::test]
async fn login_gives_no_more_than_it_grants() {
    let api = start().await;
    let acme = api.organization("acme").await;
    let alice = format!("{}/alice", acme.id);
    for scopes in ["orders:write", "*", "api-keys.keys:write"] {
        let refused = ask(
            &api,
            &alice,
            Method::POST,
            "/keys",
            json!({"name": "x", "scopes": [scopes]}),
        )
        .await;
        assert_eq!(refused.problem().0, 403, "{scopes}");
    }
    // A key of hers that may do more shows no new secret.
    let stronger = IssueRequest::new(acme.id, "stronger").user("alice".parse().unwrap());
    let stronger = api
        .host()
        .issue(stronger.scopes("orders:*".parse().unwrap()))
        .await
        .unwrap();
    let rotate = format!("/keys/{}/rotate", stronger.record.id);
    assert_eq!(
        ask(&api, &alice, Method::POST, &rotate, Value::Null).await.problem().0,
        403
    );
}

#[tokio::test]
async fn nobody_without_a_login_and_no_key_instead_of_it() {
    let api = start().await;
    let acme = api.organization("acme").await;
    assert_eq!(
        ask(&api, "nobody", Method::GET, "/keys", Value::Null).await.problem().0,
        401
    );
    let admin = api.key(&acme, crate::support::ALL).await;
    assert_eq!(
        api.ask(&admin, Method::GET, "/keys", Value::Null).await.problem().0,
        401
    );
}

/// As a form of another site sends it, with the host's cookie.
#[tokio::test]
async fn form_of_another_site_changes_nothing() {
    let api = start().await;
    let acme = api.organization("acme").await;
    let alice = format!("{}/alice", acme.id);
    let made = ask(&api, &alice, Method::POST, "/keys", json!({"name": "laptop"}))
        .await
        .json(201);
    let path = format!("/keys/{}", made["record"]["id"].as_str().unwrap());
    for route in ["/rotate", "/disable", "/enable", "/rotate/finish", "/rotate/take-back"] {
        for content_type in [None, Some("application/x-www-form-urlencoded"), Some("text/plain")] {
            let mut request = Request::post(api.url(&format!("{path}{route}"))).header("x-test-session", &alice);
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let reply = api.send(request.body(Full::default()).unwrap()).await;
            assert_eq!(reply.problem().0, 415, "{route} {content_type:?}");
        }
    }
    let shown = ask(&api, &alice, Method::GET, &path, Value::Null).await.json(200);
    assert_eq!(shown, made["record"]);
}
