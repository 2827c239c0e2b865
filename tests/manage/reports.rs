//! Audit trail, hygiene and statistics over HTTP.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

#[rstest]
#[tokio::test]
async fn audit_trail_is_filtered_and_paged(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let admin = api.key(&acme, ALL).await;
    let _ = api.key(&other, "").await;
    let made = api
        .ask(&admin, Method::POST, "/keys", json!({"name": "nightly"}))
        .await
        .json(201);
    let id = made["record"]["id"].as_str().unwrap();
    api.ask(
        &admin,
        Method::DELETE,
        &format!("/keys/{id}"),
        json!({"reason": "leaked"}),
    )
    .await
    .json(200);
    let list = async |query: &str| {
        let page = api
            .ask(&admin, Method::GET, &format!("/audit?{query}"), Value::Null)
            .await
            .json(200);
        page["items"].as_array().unwrap().clone()
    };
    let of_key = list(&format!("key={id}")).await;
    let actions: Vec<&str> = of_key.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["key.issued", "key.revoked"]);
    let revoked = &of_key[1];
    assert_eq!(revoked["actor"], format!("key:{}", admin.record.id));
    assert!(
        revoked["details"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "reason", "value": "leaked"}))
    );
    assert_eq!(revoked["organization_id"], acme.id.to_string());
    assert_eq!(
        list(&format!("key={id}&action=key.revoked")).await,
        std::slice::from_ref(revoked)
    );
    assert_eq!(list("actor=key:nobody").await, [] as [Value; 0]);
    assert_eq!(list("since=2999-01-01T00:00:00Z").await, [] as [Value; 0]);
    assert_eq!(list("until=2001-01-01T00:00:00Z").await, [] as [Value; 0]);
    let all = list("limit=1000").await;
    assert!(all.iter().all(|event| event["organization_id"] == acme.id.to_string()));
    let first = api
        .ask(&admin, Method::GET, "/audit?limit=1", Value::Null)
        .await
        .json(200);
    let next = first["next"].as_str().unwrap();
    assert_eq!(list(&format!("limit=1&after={next}")).await, all[1..2]);

    let root = api.key(&api.operator().await, ALL).await;
    let everything = api
        .ask(&root, Method::GET, "/audit?organization=all&limit=1000", Value::Null)
        .await
        .json(200);
    let everything = everything["items"].as_array().unwrap();
    assert!(
        everything
            .iter()
            .any(|event| event["organization_id"] == other.id.to_string())
    );
    let foreign = format!("/audit?organization={}", other.id);
    assert_eq!(
        api.ask(&admin, Method::GET, &foreign, Value::Null).await.problem().0,
        404
    );
}

#[rstest]
#[tokio::test]
async fn hygiene_and_statistics_are_of_one_organization_or_all(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let admin = api.key(&acme, ALL).await;
    let _ = api.key(&other, "").await;
    let root = api.key(&api.operator().await, ALL).await;
    let get = async |key, path: &str| api.ask(key, Method::GET, path, Value::Null).await.json(200);
    let report = get(&admin, "/hygiene").await;
    assert_eq!(report["items"][0]["key_id"], admin.record.id.to_string());
    assert_eq!(report["items"][0]["findings"], json!([{"kind": "no-end"}]));
    assert_eq!(
        (report["items"].as_array().unwrap().len(), &report["looked_at"]),
        (1, &json!(1))
    );
    assert_eq!(get(&root, "/hygiene?organization=all").await["looked_at"], 3);
    assert_eq!(get(&admin, "/statistics").await["total"], 1);
    assert_eq!(get(&root, "/statistics?organization=all").await["total"], 3);
    assert_eq!(get(&root, "/statistics").await["total"], 1);
    assert_eq!(
        get(&root, &format!("/statistics?organization={}", other.id)).await["total"],
        1
    );
    for path in ["/hygiene?limit=0", "/hygiene?unused_days=0", "/hygiene?after=x"] {
        assert_eq!(
            api.ask(&admin, Method::GET, path, Value::Null).await.problem().0,
            422,
            "{path}"
        );
    }
    for path in [
        "/hygiene?limt=1",
        "/statistics?organization=x",
        "/keys?limit=x",
        "/keys?limit=1&limit=2",
    ] {
        assert_eq!(
            api.ask(&admin, Method::GET, path, Value::Null).await.problem().0,
            400,
            "{path}"
        );
    }
}
