//! A caller that is weaker than a key in one way.

use std::time::Duration;

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tower_api_key::key::{Organization, Role};
use tower_api_key::{IssueRequest, IssuedKey};

use crate::operations::all;
use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

const DAY: Duration = Duration::from_secs(86_400);

/// Ways in which a key can be stronger.
const WAYS: [&str; 6] = ["scope", "role", "networks", "environment", "limit", "end"];

/// What the callers are, but for `api-keys.` scopes.
fn like_the_caller(of: &Organization, environment: &str) -> IssueRequest {
    IssueRequest::new(of.id, "key")
        .environment(environment)
        .roles("clerk".parse().unwrap())
        .networks("127.0.0.0/8".parse().unwrap())
        .limit("requests=100000/60s".parse().unwrap())
}

/// Stronger in this way, or as strong as the caller.
fn stronger(of: &Organization, way: Option<&str>) -> IssueRequest {
    let request = like_the_caller(of, if way == Some("environment") { "live" } else { "test" });
    let request = request.scopes("orders:read".parse().unwrap()).expires_in(DAY / 2);
    match way {
        Some("scope") => request.scopes("orders:read invoices:read".parse().unwrap()),
        Some("role") => request.roles("clerk boss".parse().unwrap()),
        Some("networks") => request.networks("0.0.0.0/0".parse().unwrap()),
        Some("limit") => request.limit("more=1/60s".parse().unwrap()),
        Some("end") => request.expires_in(3 * DAY),
        _ => request,
    }
}

/// The same as a body, for a new key and for a change of one.
fn widened(way: &str) -> Option<Value> {
    Some(match way {
        "scope" => json!({"scopes": ["orders:read", "invoices:read"]}),
        "role" => json!({"roles": ["clerk", "boss"]}),
        "networks" => json!({"networks": ["0.0.0.0/0"]}),
        "limit" => json!({"limits": [{"name": "requests", "limit": 200_000, "per": 60}]}),
        "end" => json!({"expires_at": "2999-01-01T00:00:00Z"}),
        _ => return None,
    })
}

async fn served(store: Store) -> (Served, Organization, IssuedKey) {
    let api = Served::start(store).await;
    let acme = api.organization("acme").await;
    for (name, scope) in [("clerk", "orders:read"), ("boss", "orders:read")] {
        api.host()
            .create_role(Role::new(name, scope.parse().unwrap()))
            .await
            .unwrap();
    }
    let caller = like_the_caller(&acme, "test").scopes(format!("orders:read {ALL}").parse().unwrap());
    let caller = api.host().issue(caller.expires_in(DAY)).await.unwrap();
    (api, acme, caller)
}

/// A key that is active, rotating and disabled, for what needs one so.
async fn targets(api: &Served, of: &Organization, way: Option<&str>) -> [IssuedKey; 3] {
    let host = api.host();
    let issue = async || host.issue(stronger(of, way)).await.unwrap();
    let [active, rotating, disabled] = [issue().await, issue().await, issue().await];
    let _ = host.rotate(rotating.record.id, DAY / 4).await.unwrap();
    host.disable(disabled.record.id).await.unwrap();
    [active, rotating, disabled]
}

#[rstest]
#[tokio::test]
async fn weaker_caller_gets_nothing_out_of_a_stronger_key(#[values(Sqlite, Postgres)] store: Store) {
    let (api, acme, caller) = served(store).await;
    let operations = all(&api.document().await);
    let writes = operations
        .iter()
        .filter(|operation| operation.path.starts_with("/keys") && !operation.only_reads());
    for operation in writes {
        for way in WAYS.map(Some).into_iter().chain([None]) {
            // Without a limit of its own, a key would have none.
            let way_of_row = if way == Some("limit") { None } else { way };
            let [active, rotating, disabled] = targets(&api, &acme, way_of_row).await;
            let (target, body) = match &*operation.id {
                "rotate_key" => (&active, Value::Null),
                "take_rotation_back" => (&rotating, Value::Null),
                "enable_key" => (&disabled, Value::Null),
                "update_key" | "create_key" => {
                    let Some(mut body) = way.map_or(Some(json!({})), widened) else {
                        continue;
                    };
                    if operation.id == "create_key" {
                        body["name"] = json!("new");
                        body["environment"] = json!("test");
                        for (name, value) in [("networks", json!(["127.0.0.0/8"])), ("scopes", json!(["orders:read"]))]
                        {
                            let members = body.as_object_mut().unwrap();
                            members.entry(name).or_insert(value);
                        }
                        let limits = json!([{"name": "requests", "limit": 100_000, "per": 60}]);
                        body.as_object_mut().unwrap().entry("limits").or_insert(limits);
                    }
                    // What is widened is a key that is no stronger.
                    (&active, body)
                }
                // What takes something from a stronger key.
                "revoke_key" | "disable_key" | "finish_rotation" => continue,
                // It is in a test of its own.
                "change_keys" => continue,
                other => panic!("the operation {other} needs a line here"),
            };
            if way == Some("limit") && !matches!(&*operation.id, "update_key" | "create_key") {
                continue;
            }
            let target = match (&*operation.id, way) {
                ("update_key", Some(_)) => &targets(&api, &acme, None).await[0],
                _ => target,
            };
            let before = api.dump().await;
            let path = operation.path.replace("{id}", &target.record.id.to_string());
            let reply = api
                .request(Some(&caller), operation.method.clone(), &path, None, body.clone())
                .await;
            let what = format!("{} {way:?} {body}: {} {}", operation.id, reply.status, reply.text);
            match way {
                None => assert!(reply.status.is_success(), "{what}"),
                Some(_) => {
                    assert_eq!(reply.problem().0, 403, "{what}");
                    assert!(
                        !reply.text.contains("key_live_") && !reply.text.contains("key_test_"),
                        "{what}"
                    );
                    assert_eq!(api.dump().await, before, "{what}");
                }
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn weaker_caller_stops_a_stronger_key_and_does_not_wake_it(#[values(Sqlite, Postgres)] store: Store) {
    let (api, acme, caller) = served(store).await;
    for way in WAYS.into_iter().filter(|way| *way != "limit") {
        let request = stronger(&acme, Some(way)).labels(way.parse().unwrap());
        let key = api.host().issue(request).await.unwrap();
        let bulk = async |action: &str| {
            let mut body = json!({"action": action, "selection": {"label": way}});
            let preview = api
                .ask(&caller, Method::POST, "/keys/bulk", body.clone())
                .await
                .json(200);
            body["digest"] = preview["digest"].clone();
            api.ask(&caller, Method::POST, "/keys/bulk", body).await
        };
        assert_eq!(bulk("disable").await.json(200)["changed"], 1, "{way}");
        assert_eq!(bulk("enable").await.problem().0, 403, "{way}");
        let path = format!("/keys/{}", key.record.id);
        assert_eq!(
            api.ask(&caller, Method::POST, &format!("{path}/enable"), Value::Null)
                .await
                .problem()
                .0,
            403
        );
        assert_eq!(
            api.ask(&caller, Method::GET, &path, Value::Null).await.json(200)["status"],
            "disabled"
        );
        assert_eq!(
            api.ask(&caller, Method::DELETE, &path, Value::Null).await.json(200)["status"],
            "revoked"
        );
    }
}

#[rstest]
#[tokio::test]
async fn last_key_of_the_operator_is_not_stopped_over_http(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let operator = api.operator().await;
    let request = IssueRequest::new(operator.id, "root").labels("ci".parse().unwrap());
    let request = request.user("alice".parse().unwrap()).scopes(ALL.parse().unwrap());
    let root = api.host().issue(request).await.unwrap();
    let path = format!("/keys/{}", root.record.id);
    let before = api.dump().await;
    for (method, path, body) in [
        (Method::DELETE, path.clone(), Value::Null),
        (Method::POST, format!("{path}/disable"), Value::Null),
        (Method::POST, "/self/revoke".to_owned(), Value::Null),
        (Method::PATCH, path.clone(), json!({"scopes": []})),
        (
            Method::PATCH,
            path.clone(),
            json!({"expires_at": "2001-01-01T00:00:00Z"}),
        ),
        (Method::POST, "/users/alice/disable".to_owned(), Value::Null),
    ] {
        let reply = api.ask(&root, method.clone(), &path, body).await;
        assert_eq!(
            reply.problem().1,
            "last-operator-key",
            "{method} {path}: {}",
            reply.text
        );
        assert_eq!(reply.status, 409);
    }
    for selection in [json!({"label": "ci"}), json!({"user": "alice"})] {
        for action in ["revoke", "disable"] {
            let mut body = json!({"action": action, "selection": selection});
            let preview = api.ask(&root, Method::POST, "/keys/bulk", body.clone()).await.json(200);
            body["digest"] = preview["digest"].clone();
            let reply = api.ask(&root, Method::POST, "/keys/bulk", body).await;
            assert_eq!(
                (reply.problem().0, reply.problem().1.as_str()),
                (409, "last-operator-key")
            );
        }
    }
    // What bounds its own organization is no key's to change.
    let own = format!("/organizations/{}", operator.id);
    for (method, path, body) in [
        (Method::PUT, format!("{own}/policy"), json!({"longest_life": 1})),
        (Method::PUT, format!("{own}/plan"), json!({"plan": "free"})),
        (Method::POST, format!("{own}/deactivate"), Value::Null),
    ] {
        assert_eq!(api.ask(&root, method, &path, body).await.problem().0, 403, "{path}");
    }
    let reply = api
        .ask(&root, Method::DELETE, &format!("{own}?confirm=operator"), Value::Null)
        .await;
    assert_eq!((reply.problem().0, reply.problem().1.as_str()), (409, "in-use"));
    assert_eq!(api.dump().await, before);
}
