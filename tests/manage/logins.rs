//! A host's login in place of a management key.

use http::Method;
use http::request::Parts;
use rstest::rstest;
use serde_json::{Value, json};
use tower_api_key::key::{OrganizationId, UserId};
use tower_api_key::{ApiKeys, IssueRequest, Manage, Principal};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{Reply, Served};

/// Where pages of the host are.
pub(crate) const PUBLIC: &str = "https://app.example.com";

/// The host's sessions: organization, user and what it grants in a header, which only this test's host writes.
pub(crate) fn session(request: &Parts) -> Option<Principal> {
    let login = request.headers.get("x-test-session")?.to_str().ok()?;
    let mut parts = login.split('/');
    let organization: OrganizationId = parts.next()?.parse().ok()?;
    let user: UserId = parts.next()?.parse().ok()?;
    let grants = parts.next().unwrap_or("orders:read").parse().ok()?;
    Principal::new(organization, user).grants(grants).ok()
}

pub(crate) fn manage(keys: &ApiKeys) -> Manage {
    let manage = keys.manage().principal(PUBLIC, session).unwrap();
    manage.dangerous_plain_http()
}

pub(crate) async fn start(store: Store) -> Served {
    Served::start_with(store, |keys| manage(keys).router()).await
}

/// What a page of the host has: its session, and the token that it has asked for.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) session: String,
    pub(crate) cookie: String,
    pub(crate) token: String,
}

impl Page {
    pub(crate) async fn open(api: &Served, session: &str) -> Self {
        let reply = api.plain(Method::GET, "/csrf", &asking(session), Value::Null).await;
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        let token = reply.json(200)["token"].as_str().unwrap().to_owned();
        Self {
            session: session.to_owned(),
            cookie,
            token,
        }
    }

    pub(crate) fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = asking(&self.session);
        headers.extend([("cookie", &*self.cookie), ("x-csrf-token", &*self.token)]);
        headers
    }

    pub(crate) async fn ask(&self, api: &Served, method: Method, path: &str, body: Value) -> Reply {
        api.plain(method, path, &self.headers(), body).await
    }
}

pub(crate) fn asking(session: &str) -> Vec<(&'static str, &str)> {
    vec![("host", "app.example.com"), ("x-test-session", session)]
}

#[rstest]
#[tokio::test]
async fn user_manages_own_keys_alone(#[values(Sqlite, Postgres)] store: Store) {
    let api = start(store).await;
    let acme = api.organization("acme").await;
    let alice = Page::open(&api, &format!("{}/alice", acme.id)).await;
    let bob = Page::open(&api, &format!("{}/bob", acme.id)).await;
    let body = json!({"name": "laptop", "scopes": ["orders:read"]});
    let made = alice.ask(&api, Method::POST, "/keys", body).await.json(201);
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
        let refused = bob.ask(&api, method, &format!("{path}{rest}"), json!({})).await;
        assert_eq!(refused.problem().0, 404, "{rest}");
    }
    let listed = bob.ask(&api, Method::GET, "/keys", Value::Null).await.json(200);
    assert_eq!(listed["items"], json!([]));
    let listed = alice.ask(&api, Method::GET, "/keys", Value::Null).await.json(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    alice
        .ask(&api, Method::POST, &format!("{path}/rotate"), json!({}))
        .await
        .json(200);
    let revoked = alice.ask(&api, Method::DELETE, &path, Value::Null).await.json(200);
    assert_eq!(revoked["status"], "revoked");
}

#[rstest]
#[tokio::test]
async fn login_gives_no_more_than_it_grants(#[values(Sqlite, Postgres)] store: Store) {
    let api = start(store).await;
    let acme = api.organization("acme").await;
    let alice = Page::open(&api, &format!("{}/alice", acme.id)).await;
    for scopes in ["orders:write", "*", "api-keys.keys:write"] {
        let body = json!({"name": "x", "scopes": [scopes]});
        let refused = alice.ask(&api, Method::POST, "/keys", body).await;
        assert_eq!(refused.problem(), (403, "forbidden".to_owned(), None), "{scopes}");
    }
    // A key of hers that may do more shows no new secret.
    let stronger = IssueRequest::new(acme.id, "stronger").user("alice".parse().unwrap());
    let stronger = stronger.scopes("orders:*".parse().unwrap());
    let stronger = api.host().issue(stronger).await.unwrap();
    let rotate = format!("/keys/{}/rotate", stronger.record.id);
    let refused = alice.ask(&api, Method::POST, &rotate, json!({})).await;
    assert_eq!(refused.problem(), (403, "forbidden".to_owned(), None));
}

/// Also a login whose grants are refused is nobody's.
#[rstest]
#[tokio::test]
async fn nobody_without_a_login_and_no_key_instead_of_it(#[values(Sqlite, Postgres)] store: Store) {
    let api = start(store).await;
    let acme = api.organization("acme").await;
    let with_wildcard = format!("{}/alice/orders:*", acme.id);
    let managing = format!("{}/alice/api-keys.keys:write", acme.id);
    for session in ["nobody", &with_wildcard, &managing] {
        for (method, path) in [(Method::GET, "/keys"), (Method::GET, "/csrf"), (Method::POST, "/keys")] {
            let reply = api.plain(method, path, &asking(session), Value::Null).await;
            assert_eq!(reply.problem().0, 401, "{session} {path}");
        }
    }
    let admin = api.key(&acme, crate::support::ALL).await;
    let key = admin.key.expose_secret();
    let reply = api
        .plain(
            Method::GET,
            "/keys",
            &[("host", "app.example.com"), ("x-api-key", key)],
            Value::Null,
        )
        .await;
    assert_eq!(reply.problem().0, 401);
}
