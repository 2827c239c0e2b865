//! Users over HTTP.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tower_api_key::IssueRequest;
use tower_api_key::store::query::Users;

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

#[rstest]
#[tokio::test]
async fn user_lives_from_create_to_delete(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let body = json!({"id": "a/b c", "name": "Alice", "email": "alice@acme.example", "metadata": {"a": "1"}});
    let made = api.ask(&admin, Method::POST, "/users", body.clone()).await;
    assert_eq!(
        (made.header("etag"), made.header("location")),
        ("\"1\"", "users/a%2Fb%20c")
    );
    let made = made.json(201);
    let path = "/users/a%2Fb%20c";
    assert_eq!(api.ask(&admin, Method::GET, path, Value::Null).await.json(200), made);
    let again = api.ask(&admin, Method::POST, "/users", body).await;
    assert_eq!((again.problem().0, again.problem().1.as_str()), (409, "already-exists"));

    let patch = json!({"name": null, "metadata": {"b": "2"}});
    let changed = api.ask(&admin, Method::PATCH, path, patch).await.json(200);
    assert_eq!(
        (&changed["name"], &changed["metadata"]),
        (&Value::Null, &json!({"a": "1", "b": "2"}))
    );
    let stale = api
        .request(Some(&admin), Method::PATCH, path, Some("\"1\""), json!({"name": "x"}))
        .await;
    assert_eq!(stale.problem().0, 412);

    let issued = IssueRequest::new(acme.id, "laptop").user("a/b c".parse().unwrap());
    let key = api.host().issue(issued).await.unwrap();
    let disabled = api
        .ask(
            &admin,
            Method::POST,
            &format!("{path}/disable"),
            json!({"reason": "on leave"}),
        )
        .await
        .json(200);
    assert_eq!(
        (&disabled["status"], &disabled["reason"]),
        (&json!("disabled"), &json!("on leave"))
    );
    assert_eq!(api.ask(&key, Method::GET, "/keys", Value::Null).await.status, 401);
    let listed = api
        .ask(&admin, Method::GET, "/users?status=disabled", Value::Null)
        .await
        .json(200);
    assert_eq!(listed["items"], json!([disabled]));
    let enabled = api
        .ask(&admin, Method::POST, &format!("{path}/enable"), Value::Null)
        .await
        .json(200);
    assert_eq!(enabled["status"], "active");
    assert_eq!(api.ask(&key, Method::GET, "/keys", Value::Null).await.status, 403);

    let refused = api.ask(&admin, Method::DELETE, path, Value::Null).await;
    assert_eq!((refused.problem().0, refused.problem().1.as_str()), (409, "in-use"));
    api.host().revoke(key.record.id, "").await.unwrap();
    assert_eq!(api.ask(&admin, Method::DELETE, path, Value::Null).await.status, 204);
    assert_eq!(api.ask(&admin, Method::GET, path, Value::Null).await.problem().0, 404);
}

#[rstest]
#[tokio::test]
async fn user_without_a_row_is_disabled_all_the_same(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let stale = api
        .request(
            Some(&admin),
            Method::POST,
            "/users/bob/disable",
            Some("\"1\""),
            Value::Null,
        )
        .await;
    assert_eq!(stale.problem().0, 412);
    let disabled = api
        .ask(&admin, Method::POST, "/users/bob/disable", Value::Null)
        .await
        .json(200);
    assert_eq!(disabled["status"], "disabled");
    let refused = api
        .ask(&admin, Method::POST, "/keys", json!({"name": "x", "user": "bob"}))
        .await;
    assert_eq!(
        refused.problem(),
        (409, "user-disabled".to_owned(), Some("user".to_owned()))
    );
}

#[rstest]
#[tokio::test]
async fn users_of_another_organization_are_not_there(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let admin = api.key(&acme, ALL).await;
    let root = api.key(&api.operator().await, ALL).await;
    let create = format!("/users?organization={}", other.id);
    api.ask(&root, Method::POST, &create, json!({"id": "carol"}))
        .await
        .json(201);
    let (foreign, absent) = (other.id.to_string(), "01900000-0000-7000-8000-0000000000ff".to_owned());
    let before = api.dump().await;
    for (method, path, body) in [
        (Method::GET, "/users", Value::Null),
        (Method::POST, "/users", json!({"id": "mallory"})),
        (Method::GET, "/users/carol", Value::Null),
        (Method::PATCH, "/users/carol", json!({"name": "x"})),
        (Method::DELETE, "/users/carol", Value::Null),
        (Method::POST, "/users/carol/disable", Value::Null),
        (Method::POST, "/users/carol/enable", Value::Null),
    ] {
        let ask = async |id: &str| {
            let path = format!("{path}?organization={id}");
            let reply = api.ask(&admin, method.clone(), &path, body.clone()).await;
            (reply.problem().0, reply.text)
        };
        let answer = ask(&foreign).await;
        assert_eq!(answer, ask(&absent).await, "{method} {path}");
        assert_eq!(answer.0, 404, "{method} {path}");
    }
    assert_eq!(api.dump().await, before);
    let users = api.host().users(Users::of(other.id)).await.unwrap().items;
    assert_eq!(users.len(), 1);
}
