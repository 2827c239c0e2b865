//! Changes of many keys over HTTP.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tower_api_key::{IssueRequest, IssuedKey};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

async fn labelled(api: &Served, of: &tower_api_key::key::Organization, number: usize) -> Vec<IssuedKey> {
    let mut made = Vec::new();
    for n in 0..number {
        let request = IssueRequest::new(of.id, format!("key {n}")).labels("ci".parse().unwrap());
        made.push(api.host().issue(request.user("alice".parse().unwrap())).await.unwrap());
    }
    made
}

#[rstest]
#[tokio::test]
async fn selection_is_previewed_and_then_exactly_changed(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let admin = api.key(&acme, ALL).await;
    let keys = labelled(&api, &acme, 103).await;
    let bulk = async |body: Value| api.ask(&admin, Method::POST, "/keys/bulk", body).await;
    let selection = json!({"label": "ci"});
    let preview = bulk(json!({"action": "revoke", "selection": selection}))
        .await
        .json(200);
    assert_eq!((&preview["total"], &preview["active"]), (&json!(103), &json!(103)));
    assert_eq!(preview["keys"].as_array().unwrap().len(), 100);
    assert_eq!(preview["selection"], "label:ci");
    let body = json!({"action": "disable", "selection": selection, "digest": preview["digest"]});
    let done = bulk(body.clone()).await.json(200);
    assert_eq!(
        (&done["changed"], &done["keys"][0]["status"]),
        (&json!(103), &json!("disabled"))
    );
    // The set is what it was, so the digest is too.
    let enable = json!({"action": "enable", "selection": selection, "digest": preview["digest"]});
    assert_eq!(bulk(enable).await.json(200)["changed"], 103);

    let before = api.dump().await;
    for changed in [
        json!({"label": "other"}),
        json!({"user": "alice", "since": "2001-01-01T00:00:00Z"}),
    ] {
        let body = json!({"action": "revoke", "selection": changed, "digest": preview["digest"]});
        assert_eq!(bulk(body).await.problem().1, "selection-changed");
    }
    assert_eq!(api.dump().await, before);
    let _ = labelled(&api, &acme, 1).await;
    let body = json!({"action": "revoke", "selection": selection, "digest": preview["digest"]});
    let refused = bulk(body).await;
    assert_eq!(
        (refused.problem().0, refused.problem().1.as_str()),
        (409, "selection-changed")
    );
    assert!(
        api.keys
            .read(keys[0].record.id)
            .await
            .unwrap()
            .unwrap()
            .record
            .revocation
            .is_none()
    );

    let preview = bulk(json!({"action": "revoke", "selection": selection}))
        .await
        .json(200);
    let body = json!({"action": "revoke", "selection": selection, "digest": preview["digest"], "reason": "leaked"});
    assert_eq!(bulk(body).await.json(200)["changed"], 104);
    let record = api.keys.read(keys[0].record.id).await.unwrap().unwrap().record;
    assert_eq!(record.revocation.unwrap().reason, "leaked");
}

#[rstest]
#[tokio::test]
async fn selection_is_one_of_four_and_within_an_organization(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (acme, other) = (api.organization("acme").await, api.organization("other").await);
    let admin = api.key(&acme, ALL).await;
    let root = api.key(&api.operator().await, ALL).await;
    let foreign = labelled(&api, &other, 2).await;
    let bulk = async |key: &IssuedKey, selection: Value| {
        let body = json!({"action": "revoke", "selection": selection});
        api.ask(key, Method::POST, "/keys/bulk", body).await
    };
    for selection in [json!([]), json!({}), json!({"label": "ci", "user": "alice"})] {
        assert_eq!(bulk(&admin, selection).await.problem().2.as_deref(), Some("selection"));
    }
    assert_eq!(
        bulk(&admin, json!({"label": "A B"})).await.problem().2.as_deref(),
        Some("labels")
    );
    let foreign = foreign[0].record.id.to_string();
    let absent = "01900000-0000-7000-8000-000000000001";
    for id in [&*foreign, absent] {
        for name in ["created_by", "descendants_of"] {
            assert_eq!(bulk(&admin, json!({name: id})).await.json(200)["total"], 0);
        }
    }
    assert_eq!(bulk(&admin, json!({"label": "ci"})).await.json(200)["total"], 0);
    let of_other = json!({"label": "ci", "organization": other.id});
    assert_eq!(bulk(&admin, of_other.clone()).await.problem().0, 404);
    assert_eq!(bulk(&root, of_other).await.json(200)["total"], 2);
    assert_eq!(
        bulk(&root, json!({"label": "ci", "organization": "all"}))
            .await
            .json(200)["total"],
        2
    );
    assert_eq!(bulk(&root, json!({"label": "ci"})).await.json(200)["total"], 0);
    assert_eq!(
        bulk(&root, json!({"user": "alice", "organization": "all"}))
            .await
            .problem()
            .0,
        422
    );
    let body = json!({"action": "revoke", "selection": {"label": "ci"}, "digest": "x"});
    assert_eq!(
        api.ask(&admin, Method::POST, "/keys/bulk", body)
            .await
            .problem()
            .2
            .as_deref(),
        Some("digest")
    );
}

#[rstest]
#[tokio::test]
async fn key_that_is_selected_stops_itself(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    let request = IssueRequest::new(acme.id, "admin").labels("ci".parse().unwrap());
    let admin = api.host().issue(request.scopes(ALL.parse().unwrap())).await.unwrap();
    let _ = labelled(&api, &acme, 3).await;
    let selection = json!({"label": "ci"});
    // As the host sees it, in another order.
    let seen = tower_api_key::KeySelection::label("ci").within(acme.id);
    let digest = api.host().preview(&seen).await.unwrap().digest().unwrap().to_string();
    let body = json!({"action": "revoke", "selection": selection, "digest": digest});
    assert_eq!(
        api.ask(&admin, Method::POST, "/keys/bulk", body).await.json(200)["changed"],
        4
    );
    assert_eq!(
        api.ask(&admin, Method::GET, "/keys", Value::Null).await.problem().0,
        401
    );
}
