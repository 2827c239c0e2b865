//! Creates that are repeated.

use http::{Method, Request};
use http_body_util::Full;
use rstest::rstest;
use serde_json::{Value, json};
use tower_api_key::IssuedKey;
use tower_api_key::store::query::Keys;

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Reply, Served};

async fn create(api: &Served, by: &IssuedKey, idempotency_key: &str, body: &Value) -> Reply {
    let request = Request::builder()
        .method(Method::POST)
        .uri(api.url("/keys"))
        .header("x-api-key", by.key.expose_secret())
        .header("content-type", "application/json")
        .header("idempotency-key", idempotency_key);
    api.send(request.body(Full::from(body.to_string())).unwrap()).await
}

#[rstest]
#[tokio::test]
async fn repeated_create_makes_no_second_key_and_shows_none(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let body = json!({"name": "nightly"});
    let first = create(&api, &admin, "\"4f1d\"", &body).await.json(201);
    // With quotes, as the draft has it, and without.
    for again in ["\"4f1d\"", "4f1d"] {
        let again = create(&api, &admin, again, &body).await;
        assert!(!again.text.contains(first["key"].as_str().unwrap()));
        assert_eq!(again.json(200)["id"], first["record"]["id"]);
    }
    let other = create(&api, &admin, "4f1d", &json!({"name": "hourly"})).await;
    assert_eq!(
        (other.problem().0, other.problem().1.as_str()),
        (422, "idempotency-key-reused")
    );
    // Of another caller it is another one.
    let second = api.key(&acme, ALL).await;
    let theirs = create(&api, &second, "4f1d", &body).await.json(201);
    assert_ne!(theirs["record"]["id"], first["record"]["id"]);
    for wrong in ["", "\"\"", &"x".repeat(256)] {
        assert_eq!(create(&api, &admin, wrong, &body).await.problem().0, 400, "{wrong:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_equal_creates_at_once_make_one_key(#[values(Sqlite, Postgres)] store: Store) {
    let api = std::sync::Arc::new(Served::start(store).await);
    let acme = api.organization("acme").await;
    let admin = std::sync::Arc::new(api.key(&acme, ALL).await);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (api, admin) = (api.clone(), admin.clone());
        running.spawn(async move { create(&api, &admin, "once", &json!({"name": "nightly"})).await });
    }
    let replies = running.join_all().await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    let found = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((made, found), (1, 49), "{replies:?}");
    let keys = api
        .keys
        .read(Keys::of(acme.id).name_starts_with("nightly").page(10))
        .await
        .unwrap();
    assert_eq!(keys.items.len(), 1);
}
