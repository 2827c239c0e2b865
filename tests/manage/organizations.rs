//! Organizations over HTTP.

use std::sync::Arc;

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower_api_key::key::UserId;
use tower_api_key::{IssueRequest, UserRequest};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, READ, Served};

#[rstest]
#[tokio::test]
async fn organization_lives_from_create_to_delete(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let operator = api.operator().await;
    let root = api.key(&operator, ALL).await;
    let body = json!({"name": "Acme Inc.", "email": "it@acme.example", "plan": "pro", "max_keys": 3,
        "limits": [{"name": "all", "limit": 100, "per": 60}], "metadata": {"crm": "7"}});
    let made = api.ask(&root, Method::POST, "/organizations", body).await;
    let (etag, location) = (made.header("etag").to_owned(), made.header("location").to_owned());
    let made = made.json(201);
    let path = format!("/organizations/{}", made["id"].as_str().unwrap());
    assert_eq!((etag.as_str(), format!("/{location}")), ("\"1\"", path.clone()));
    assert_eq!((&made["slug"], &made["status"]), (&json!("acme-inc"), &json!("active")));
    let pro = api.host().plan_named("pro").await.unwrap().unwrap();
    assert_eq!(made["plan_id"], pro.id.to_string());
    assert_eq!(api.ask(&root, Method::GET, &path, Value::Null).await.json(200), made);

    let patch =
        json!({"name": "Acme", "slug": "acme", "email": null, "metadata": {"crm": null, "erp": "9"}, "max_keys": null});
    let changed = api.ask(&root, Method::PATCH, &path, patch).await.json(200);
    assert_eq!((&changed["name"], &changed["slug"]), (&json!("Acme"), &json!("acme")));
    assert_eq!((&changed["email"], &changed["max_keys"]), (&Value::Null, &Value::Null));
    assert_eq!(changed["metadata"], json!({"erp": "9"}));
    assert_eq!(changed["limits"], made["limits"]);

    let plan = api
        .ask(&root, Method::PUT, &format!("{path}/plan"), json!({"plan": "free"}))
        .await;
    assert_ne!(plan.json(200)["plan_id"], pro.id.to_string());
    let none = api
        .ask(&root, Method::PUT, &format!("{path}/plan"), json!({"plan_id": null}))
        .await;
    assert_eq!(none.json(200)["plan_id"], Value::Null);
    for body in [
        json!({}),
        json!({"plan": "free", "plan_id": null}),
        json!({"plan": "none"}),
    ] {
        let refused = api.ask(&root, Method::PUT, &format!("{path}/plan"), body).await;
        assert_eq!(refused.problem().0, 422);
    }
    for (action, status) in [("deactivate", "inactive"), ("activate", "active")] {
        let reply = api
            .ask(&root, Method::POST, &format!("{path}/{action}"), Value::Null)
            .await;
        assert_eq!(reply.json(200)["status"], status);
    }

    let acme = api.host().organization_by_slug("acme").await.unwrap().unwrap();
    let key = api.key(&acme, "orders:read").await;
    let preview = api
        .ask(&root, Method::GET, &format!("{path}/deletion"), Value::Null)
        .await
        .json(200);
    assert_eq!(
        (&preview["keys"], &preview["organization"]["slug"]),
        (&json!(1), &json!("acme"))
    );
    for query in ["", "?confirm=other", "?confirm=ACME"] {
        let refused = api
            .ask(&root, Method::DELETE, &format!("{path}{query}"), Value::Null)
            .await;
        assert_eq!(
            refused.problem(),
            (422, "invalid-request".to_owned(), Some("confirm".to_owned()))
        );
    }
    assert!(api.keys.read(key.record.id).await.unwrap().is_some());
    let deleted = api
        .ask(
            &root,
            Method::DELETE,
            &format!("{path}?confirm=acme"),
            json!({"reason": "ended"}),
        )
        .await;
    assert_eq!(deleted.json(200)["keys"], 1);
    assert_eq!(api.ask(&root, Method::GET, &path, Value::Null).await.problem().0, 404);
    assert!(api.keys.read(key.record.id).await.unwrap().is_none());
}

#[rstest]
#[tokio::test]
async fn organizations_are_listed_by_name_status_and_plan(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, ALL).await;
    let pro = api.host().plan_named("pro").await.unwrap().unwrap();
    for (name, plan) in [("Alpha", "pro"), ("Alabama", "free"), ("Beta", "pro")] {
        let body = json!({"name": name, "plan": plan});
        api.ask(&root, Method::POST, "/organizations", body).await.json(201);
    }
    let beta = api.host().organization_by_slug("beta").await.unwrap().unwrap();
    api.host().deactivate_organization(beta.id, "").await.unwrap();
    for (query, expected) in [
        ("name=AL".to_owned(), vec!["Alabama", "Alpha"]),
        (format!("plan={}", pro.id), vec!["Alpha", "Beta"]),
        ("status=inactive".to_owned(), vec!["Beta"]),
        (format!("plan={}&status=active", pro.id), vec!["Alpha"]),
    ] {
        let page = api
            .ask(&root, Method::GET, &format!("/organizations?{query}"), Value::Null)
            .await
            .json(200);
        let mut names: Vec<&str> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{query}");
    }
    let first = api
        .ask(&root, Method::GET, "/organizations?limit=3", Value::Null)
        .await
        .json(200);
    let after = first["next"].as_str().unwrap();
    let rest = api
        .ask(
            &root,
            Method::GET,
            &format!("/organizations?after={after}"),
            Value::Null,
        )
        .await
        .json(200);
    assert_eq!(
        (rest["items"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );
}

#[rstest]
#[tokio::test]
async fn unique_name_says_nothing_of_the_other_organization(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, ALL).await;
    let acme = api.organization("acme").await;
    let make = async |body: Value| api.ask(&root, Method::POST, "/organizations", body).await;
    make(json!({"name": "Other", "slug": "other", "email": "it@other.example"}))
        .await
        .json(201);
    for (body, field) in [
        (json!({"name": "New", "slug": "other"}), "slug"),
        (json!({"name": "New", "email": "IT@other.example"}), "email"),
    ] {
        let refused = make(body).await;
        assert_eq!(
            refused.problem(),
            (409, "already-exists".to_owned(), Some(field.to_owned()))
        );
        assert!(!refused.text.to_lowercase().contains("it@other"), "{}", refused.text);
    }
    let admin = api.key(&acme, ALL).await;
    let path = format!("/organizations/{}", acme.id);
    let refused = api
        .ask(&admin, Method::PATCH, &path, json!({"email": "it@other.example"}))
        .await;
    assert_eq!(
        refused.problem(),
        (409, "already-exists".to_owned(), Some("email".to_owned()))
    );
    assert!(!refused.text.contains("Other"), "{}", refused.text);
}

#[rstest]
#[tokio::test]
async fn policy_is_previewed_and_replaced(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, ALL).await;
    let acme = api.organization("acme").await;
    let key = api.key(&acme, "orders:read").await;
    let path = format!("/organizations/{}/policy", acme.id);
    let none = json!({"longest_life": null, "default_life": null, "requires_expiry": false, "grantable": null,
        "requires_networks": false});
    assert_eq!(api.ask(&root, Method::GET, &path, Value::Null).await.json(200), none);
    let strict = json!({"longest_life": 86_400, "grantable": ["orders:write"], "requires_networks": true});
    let page = api
        .ask(&root, Method::POST, &format!("{path}/preview"), strict.clone())
        .await
        .json(200);
    let effect = &page["items"][0];
    assert_eq!(
        (&effect["key_id"], &effect["lost_scopes"]),
        (&json!(key.record.id), &json!(["orders:read"]))
    );
    assert_eq!(
        (&effect["lacks_networks"], &effect["ends_at_once"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(api.ask(&root, Method::GET, &path, Value::Null).await.json(200), none);

    let set = api
        .request(Some(&root), Method::PUT, &path, Some("\"1\""), strict.clone())
        .await;
    assert_eq!(set.header("etag"), "\"2\"");
    assert_eq!(set.json(200)["longest_life"], 86_400);
    let stale = api
        .request(Some(&root), Method::PUT, &path, Some("\"1\""), json!({}))
        .await;
    assert_eq!(stale.problem().0, 412);
    let array = api.ask(&root, Method::PUT, &path, json!([])).await;
    assert_eq!(array.problem(), (422, "invalid-request".to_owned(), None));
    let invalid = json!({"default_life": 10, "longest_life": 5});
    let refused = api.ask(&root, Method::PUT, &path, invalid).await;
    assert_eq!(
        refused.problem(),
        (422, "invalid-request".to_owned(), Some("default_life".to_owned()))
    );
    assert_eq!(api.ask(&root, Method::PUT, &path, json!({})).await.json(200), none);
}

#[rstest]
#[tokio::test]
async fn change_of_another_revision_changes_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, ALL).await;
    let acme = api.organization("acme").await;
    let path = format!("/organizations/{}", acme.id);
    let before = api.dump().await;
    for (method, rest, body) in [
        (Method::PATCH, "", json!({"name": "new"})),
        (Method::PUT, "/plan", json!({"plan": "pro"})),
        (Method::PUT, "/policy", json!({"requires_expiry": true})),
        (Method::POST, "/deactivate", Value::Null),
        (Method::POST, "/activate", Value::Null),
        (Method::DELETE, "?confirm=acme", Value::Null),
    ] {
        for tag in ["\"7\"", "W/\"1\"", "x"] {
            let reply = api
                .request(
                    Some(&root),
                    method.clone(),
                    &format!("{path}{rest}"),
                    Some(tag),
                    body.clone(),
                )
                .await;
            assert_eq!(reply.problem().0, 412, "{method} {rest} {tag}");
        }
    }
    assert_eq!(api.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn administrator_changes_what_is_its_own_and_bounds_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let operator = api.operator().await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let admin = api.key(&acme, &format!("orders:* {ALL}")).await;
    let own = format!("/organizations/{}", acme.id);
    let harmless = json!({"name": "Acme", "email": "new@acme.example", "metadata": {"a": "1"}});
    assert_eq!(
        api.ask(&admin, Method::PATCH, &own, harmless).await.json(200)["name"],
        "Acme"
    );
    assert_eq!(
        api.ask(&admin, Method::GET, &own, Value::Null).await.json(200)["name"],
        "Acme"
    );

    let before = api.dump().await;
    let limit = json!([{"name": "all", "limit": 1_000_000, "per": 60}]);
    for (method, path, body) in [
        (Method::PATCH, own.clone(), json!({"slug": "acme-2"})),
        (Method::PATCH, own.clone(), json!({"limits": limit})),
        (Method::PATCH, own.clone(), json!({"key_limits": limit})),
        (Method::PATCH, own.clone(), json!({"lifted_limits": ["requests"]})),
        (Method::PATCH, own.clone(), json!({"lifted_key_limits": ["requests"]})),
        (Method::PATCH, own.clone(), json!({"max_keys": 1_000_000})),
        (Method::PUT, format!("{own}/plan"), json!({"plan": "enterprise"})),
        (Method::PUT, format!("{own}/policy"), json!({"requires_expiry": true})),
        (Method::POST, format!("{own}/deactivate"), Value::Null),
        (Method::POST, format!("{own}/activate"), Value::Null),
        (Method::DELETE, format!("{own}?confirm=acme"), Value::Null),
        (Method::GET, format!("{own}/deletion"), Value::Null),
        (Method::GET, "/organizations".to_owned(), Value::Null),
        (Method::POST, "/organizations".to_owned(), json!({"name": "mine"})),
        (Method::POST, "/plans".to_owned(), json!({"name": "mine"})),
        (Method::POST, "/roles".to_owned(), json!({"name": "mine", "scopes": []})),
        (Method::POST, "/scopes".to_owned(), json!({"scope": "mine:all"})),
        (Method::GET, "/audit?organization=all".to_owned(), Value::Null),
        (Method::GET, "/statistics?organization=all".to_owned(), Value::Null),
        (Method::GET, "/hygiene?organization=all".to_owned(), Value::Null),
        (Method::GET, "/keys?organization=all".to_owned(), Value::Null),
    ] {
        let reply = api.ask(&admin, method.clone(), &path, body.clone()).await;
        assert_eq!(reply.problem().0, 403, "{method} {path} {body}");
    }
    for organization in [&other, &operator] {
        let path = format!("/organizations/{}", organization.id);
        assert_eq!(api.ask(&admin, Method::GET, &path, Value::Null).await.problem().0, 404);
        assert_eq!(
            api.ask(&admin, Method::PATCH, &path, json!({"name": "x"}))
                .await
                .problem()
                .0,
            404
        );
    }
    assert_eq!(api.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn reader_reads_its_organization_and_changes_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let alice: UserId = "alice".parse().unwrap();
    api.host()
        .create_user(UserRequest::new(acme.id, alice.clone()))
        .await
        .unwrap();
    let request = IssueRequest::new(acme.id, "laptop").user(alice);
    let _ = api.host().issue(request).await.unwrap();
    let reader = api.key(&acme, READ).await;
    let own = format!("/organizations/{}", acme.id);
    for path in [
        &own,
        &format!("{own}/policy"),
        "/users",
        "/users/alice",
        "/keys",
        "/plans",
        "/roles",
        "/scopes",
        "/audit",
        "/hygiene",
        "/statistics",
    ] {
        assert_eq!(
            api.ask(&reader, Method::GET, path, Value::Null).await.status,
            200,
            "{path}"
        );
    }
    for (method, path) in [
        (Method::PATCH, own.as_str()),
        (Method::PATCH, "/users/alice"),
        (Method::DELETE, "/users/alice"),
    ] {
        assert_eq!(
            api.ask(&reader, method, path, json!({"name": "x"})).await.problem().0,
            403,
            "{path}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn of_changes_of_one_revision_one_is_made(#[values(Sqlite, Postgres)] store: Store) {
    let api = Arc::new(Served::start(store).await);
    let root = Arc::new(api.key(&api.operator().await, ALL).await);
    let acme = api.organization("acme").await;
    let mut changes = JoinSet::new();
    for n in 0..12 {
        let (api, root) = (api.clone(), root.clone());
        let path = format!("/organizations/{}", acme.id);
        changes.spawn(async move {
            let body = json!({"name": format!("name {n}")});
            let reply = api
                .request(Some(&root), Method::PATCH, &path, Some("\"1\""), body)
                .await;
            reply.status.as_u16()
        });
    }
    let mut statuses = changes.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1]), (200, 412), "{statuses:?}");
    assert_eq!(api.host().organization(acme.id).await.unwrap().unwrap().revision, 2);
}

#[rstest]
#[tokio::test]
async fn field_is_called_as_in_the_body(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let root = api.key(&api.operator().await, ALL).await;
    let acme = api.organization("acme").await;
    let policy = format!("/organizations/{}/policy", acme.id);
    api.ask(
        &root,
        Method::PUT,
        &policy,
        json!({"longest_life": 60, "requires_networks": true}),
    )
    .await
    .json(200);
    let limit = json!({"name": "a", "limit": 1, "per": 1});
    for (body, field) in [
        (json!({"expires_in": 3600}), "expires_at"),
        (json!({"networks": []}), "networks"),
        (json!({"limits": [limit, limit]}), "limits"),
        (json!({"environment": "moon"}), "environment"),
        (json!({"metadata": {"": "x"}}), "metadata"),
    ] {
        let mut body = body;
        body["name"] = json!("key");
        body["organization_id"] = json!(acme.id);
        let members = body.as_object_mut().unwrap();
        members.entry("networks").or_insert(json!(["127.0.0.0/8"]));
        let reply = api.ask(&root, Method::POST, "/keys", body).await;
        assert_eq!(
            (reply.problem().0, reply.problem().2.as_deref()),
            (422, Some(field)),
            "{}",
            reply.text
        );
    }
}
