//! Plans, roles and the catalogue of scopes over HTTP.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

#[rstest]
#[tokio::test]
async fn plan_lives_from_create_to_delete(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, ALL).await;
    let acme = api.organization("acme").await;
    let body = json!({"name": "team", "max_keys": 20, "key_limits": [{"name": "requests", "limit": 300, "per": 60}]});
    let made = api.ask(&root, Method::POST, "/plans", body.clone()).await;
    let path = format!("/{}", made.header("location"));
    let made = made.json(201);
    assert_eq!(api.ask(&root, Method::GET, &path, Value::Null).await.json(200), made);
    let again = api.ask(&root, Method::POST, "/plans", body).await;
    assert_eq!(
        again.problem(),
        (409, "already-exists".to_owned(), Some("name".to_owned()))
    );
    let patch = json!({"max_keys": null, "limits": [{"name": "all", "limit": 1000, "per": 60}]});
    let changed = api
        .request(Some(&root), Method::PATCH, &path, Some("\"1\""), patch)
        .await;
    assert_eq!(
        (changed.header("etag"), &changed.json(200)["max_keys"]),
        ("\"2\"", &Value::Null)
    );
    let stale = api
        .request(Some(&root), Method::DELETE, &path, Some("\"1\""), Value::Null)
        .await;
    assert_eq!(stale.problem().0, 412);
    let named = api
        .ask(&root, Method::GET, "/plans?name=team", Value::Null)
        .await
        .json(200);
    assert_eq!(named["items"].as_array().unwrap().len(), 1);

    let plan = format!("/organizations/{}/plan", acme.id);
    api.ask(&root, Method::PUT, &plan, json!({"plan": "team"}))
        .await
        .json(200);
    let refused = api.ask(&root, Method::DELETE, &path, Value::Null).await;
    assert_eq!((refused.problem().0, refused.problem().1.as_str()), (409, "in-use"));
    // Another key sees the plan of its organization, and no other.
    let admin = api.key(&acme, ALL).await;
    let seen = api.ask(&admin, Method::GET, "/plans", Value::Null).await.json(200);
    assert_eq!(
        (seen["items"].as_array().unwrap().len(), &seen["items"][0]["name"]),
        (1, &json!("team"))
    );
    assert_eq!(
        api.ask(&admin, Method::PATCH, &path, json!({"max_keys": null}))
            .await
            .problem()
            .0,
        403
    );

    api.ask(&root, Method::PUT, &plan, json!({"plan_id": null}))
        .await
        .json(200);
    assert_eq!(api.ask(&root, Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(api.ask(&root, Method::GET, &path, Value::Null).await.problem().0, 404);
}

#[rstest]
#[tokio::test]
async fn role_lives_from_create_to_delete(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, &format!("orders:* {ALL}")).await;
    let body = json!({"name": "clerk/till", "scopes": ["orders:read"], "description": "Tills"});
    let made = api.ask(&root, Method::POST, "/roles", body).await;
    assert_eq!(made.header("location"), "roles/clerk%2Ftill");
    let (path, made) = ("/roles/clerk%2Ftill", made.json(201));
    assert_eq!(api.ask(&root, Method::GET, path, Value::Null).await.json(200), made);
    let patch = json!({"scopes": ["orders:read", "orders:write"], "description": null});
    let changed = api
        .request(Some(&root), Method::PATCH, path, Some("\"1\""), patch)
        .await;
    assert_eq!(
        (changed.header("etag"), &changed.json(200)["description"]),
        ("\"2\"", &json!(""))
    );
    // A role gives nothing that the caller does not have.
    let refused = api
        .ask(&root, Method::PATCH, path, json!({"scopes": ["invoices:read"]}))
        .await;
    assert_eq!(refused.problem().0, 403);
    let listed = api.ask(&root, Method::GET, "/roles", Value::Null).await.json(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.ask(&root, Method::DELETE, path, Value::Null).await.status, 204);
    assert_eq!(api.ask(&root, Method::GET, path, Value::Null).await.problem().0, 404);
}

#[rstest]
#[tokio::test]
async fn catalogue_of_scopes_is_kept(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, &format!("orders:* {ALL}")).await;
    let made = api
        .ask(
            &root,
            Method::POST,
            "/scopes",
            json!({"scope": "orders:read", "description": "Read"}),
        )
        .await;
    assert_eq!(made.header("location"), "scopes/orders%3Aread");
    made.json(201);
    let again = api
        .ask(&root, Method::POST, "/scopes", json!({"scope": "orders:read"}))
        .await;
    assert_eq!(
        again.problem(),
        (409, "already-exists".to_owned(), Some("scope".to_owned()))
    );
    let unknown = json!({"name": "x", "scopes": ["orders:write"]});
    let refused = api.ask(&root, Method::POST, "/keys", unknown).await;
    assert_eq!(
        refused.problem(),
        (422, "invalid-request".to_owned(), Some("scopes".to_owned()))
    );
    let changed = api
        .ask(
            &root,
            Method::PATCH,
            "/scopes/orders:read",
            json!({"description": "Reads"}),
        )
        .await;
    assert_eq!(changed.json(200)["description"], "Reads");
    let listed = api.ask(&root, Method::GET, "/scopes", Value::Null).await.json(200);
    assert_eq!(
        listed["items"],
        json!([{"scope": "orders:read", "description": "Reads"}])
    );
    assert_eq!(
        api.ask(&root, Method::DELETE, "/scopes/orders:read", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        api.ask(&root, Method::DELETE, "/scopes/orders:read", Value::Null)
            .await
            .problem()
            .0,
        404
    );
}

/// A key with a misspelt one could do nothing with it, and no wildcard helps.
#[rstest]
#[tokio::test]
async fn unknown_scope_of_managing_keys_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, &format!("orders:* {ALL}")).await;
    let acme = api.organization("acme").await;
    let invalid = (422, "invalid-request".to_owned(), Some("scopes".to_owned()));
    for scope in ["api-keys.unknown", "api-keys.keys:raed", "api-keys.keys:*"] {
        for (path, body) in [
            (
                "/keys",
                json!({"name": "x", "organization_id": acme.id.to_string(), "scopes": [scope]}),
            ),
            ("/roles", json!({"name": "x", "scopes": ["orders:read", scope]})),
        ] {
            let refused = api.ask(&root, Method::POST, path, body).await;
            assert_eq!(refused.problem(), invalid, "{}", refused.text);
            for known in ALL.split_whitespace() {
                assert!(refused.text.contains(known), "{known}: {}", refused.text);
            }
        }
    }
    let key = api.key(&acme, "orders:read").await;
    let path = format!("/keys/{}", key.record.id);
    let wider = json!({"scopes": ["orders:read", "api-keys.unknown"]});
    let refused = api.ask(&root, Method::PATCH, &path, wider).await;
    assert_eq!(refused.problem(), invalid);
    // Those of a service's own routes are in the catalogue.
    let own = tower_api_key::key::KnownScope::new("api-keys.invoices:write".parse().unwrap(), "");
    api.host().create_scope(own).await.unwrap();
    let made = api.key(&acme, "api-keys.invoices:write api-keys.keys:read").await;
    assert_eq!(made.record.scopes.iter().count(), 2);
}
