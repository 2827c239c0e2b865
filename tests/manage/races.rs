//! Many changes that are for one revision of a row: exactly one of them is made.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower_api_key::key::{KnownScope, Organization, OrganizationStatus, Plan, Role};
use tower_api_key::{IssueRequest, IssuedKey, UserRequest};

use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, Served};

/// Of each route.
const AT_ONCE: usize = 4;

struct Race {
    api: Arc<Served>,
    root: Arc<IssuedKey>,
    acme: Organization,
}

/// What a request asks for: method, the path behind the row's, a body. Of a deletion, the row is gone afterwards.
type Change = (Method, &'static str, Value);

impl Race {
    async fn new(store: Store) -> Self {
        let api = Served::start(store).await;
        let operator = api.operator().await;
        let root = api.key(&operator, &format!("orders:* {ALL}")).await;
        let acme = api.organization("acme").await;
        Self {
            api: Arc::new(api),
            root: Arc::new(root),
            acme,
        }
    }

    /// Makes all of these changes at once, several times each.
    async fn run(&self, path: &str, changes: &[Change]) {
        let shown = self.api.ask(&self.root, Method::GET, path, Value::Null).await;
        let tag = shown.header("etag").to_owned();
        let mut running = JoinSet::new();
        for n in 0..AT_ONCE {
            for (method, rest, body) in changes {
                let (api, root, tag) = (self.api.clone(), self.root.clone(), tag.clone());
                let path = match path.split_once('?') {
                    Some((path, query)) => format!("{path}{rest}?{query}"),
                    None => format!("{path}{rest}"),
                };
                let mut body = body.clone();
                // Each wants something else, where it can.
                if body["name"].is_string() {
                    body["name"] = json!(format!("name {n}"));
                }
                let method = method.clone();
                running.spawn(async move {
                    let reply = api.request(Some(&root), method.clone(), &path, Some(&tag), body).await;
                    (reply.status.as_u16(), format!("{method} {path}: {}", reply.text))
                });
            }
        }
        let deletes = changes.iter().any(|(method, ..)| *method == Method::DELETE);
        let replies = running.join_all().await;
        let (made, refused): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|(status, _)| matches!(status, 200 | 204));
        assert_eq!(made.len(), 1, "{path} {changes:?}: {made:#?} {refused:#?}");
        for (status, what) in refused {
            // Of a row that was deleted, the others do not see that it has been there.
            assert!(status == 412 || (deletes && status == 404), "{status} {what}");
        }
    }

    /// A key with two secrets.
    async fn key(&self, is_disabled: bool) -> String {
        let host = self.api.host();
        let request = IssueRequest::new(self.acme.id, "key").scopes("orders:read".parse().unwrap());
        let key = host.issue(request).await.unwrap().record.id;
        let _ = host.rotate(key, Duration::from_secs(3600)).await.unwrap();
        if is_disabled {
            host.disable(key).await.unwrap();
        }
        format!("/keys/{key}")
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_of_a_key_one_is_made(#[values(Sqlite, Postgres)] store: Store) {
    let race = Race::new(store).await;
    let changes: [Change; 7] = [
        (Method::PATCH, "", json!({"name": "new"})),
        (Method::POST, "/disable", Value::Null),
        (Method::POST, "/enable", Value::Null),
        (Method::POST, "/rotate", json!({"grace": 0})),
        (Method::POST, "/rotate/finish", Value::Null),
        (Method::POST, "/rotate/take-back", Value::Null),
        (Method::DELETE, "", Value::Null),
    ];
    for change in &changes {
        race.run(&race.key(change.1 == "/enable").await, std::slice::from_ref(change))
            .await;
    }
    // What each of them finds done, or finds itself unable to do, another one has done. An `enable` would change nothing.
    let changes: Vec<Change> = changes.into_iter().filter(|change| change.1 != "/enable").collect();
    race.run(&race.key(false).await, &changes).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_of_an_organization_one_is_made(#[values(Sqlite, Postgres)] store: Store) {
    let race = Race::new(store).await;
    let host = race.api.host();
    let changes: [Change; 6] = [
        (Method::PATCH, "", json!({"name": "new"})),
        (Method::POST, "/deactivate", Value::Null),
        (Method::POST, "/activate", Value::Null),
        (Method::PUT, "/plan", json!({"plan": "pro"})),
        (Method::PUT, "/policy", json!({"requires_expiry": true})),
        (Method::DELETE, "?confirm=org", Value::Null),
    ];
    for change in &changes {
        let row = host.create_organization("org").await.unwrap();
        if change.1 == "/activate" {
            host.deactivate_organization(row.id, "").await.unwrap();
        }
        let path = format!("/organizations/{}", row.id);
        race.run(&path, std::slice::from_ref(change)).await;
        if change.0 != Method::DELETE {
            let status = host.organization(row.id).await.unwrap().unwrap().status;
            assert_eq!(status == OrganizationStatus::Inactive, change.1 == "/deactivate");
            host.delete_organization(row.id, "").await.unwrap();
        }
    }
    let row = host.create_organization("org").await.unwrap();
    let changes: Vec<Change> = changes.into_iter().filter(|change| change.1 != "/activate").collect();
    race.run(&format!("/organizations/{}", row.id), &changes).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_of_a_user_a_plan_and_a_role_one_is_made(#[values(Sqlite, Postgres)] store: Store) {
    let race = Race::new(store).await;
    let host = race.api.host();
    let id = |name: &str| name.parse::<tower_api_key::key::UserId>().unwrap();
    let make_user = async |name: &str| {
        let made = host.create_user(UserRequest::new(race.acme.id, id(name))).await;
        made.unwrap();
        format!("/users/{name}?organization={}", race.acme.id)
    };
    let changes: [Change; 4] = [
        (Method::PATCH, "", json!({"name": "new"})),
        (Method::POST, "/disable", Value::Null),
        (Method::POST, "/enable", Value::Null),
        (Method::DELETE, "", Value::Null),
    ];
    for (n, change) in changes.iter().enumerate() {
        let path = make_user(&format!("user{n}")).await;
        if change.1 == "/enable" {
            host.disable_user(race.acme.id, &id(&format!("user{n}")), "")
                .await
                .unwrap();
        }
        race.run(&path, std::slice::from_ref(change)).await;
    }
    let path = make_user("all").await;
    let changes: Vec<Change> = changes.into_iter().filter(|change| change.1 != "/enable").collect();
    race.run(&path, &changes).await;

    host.create_scope(KnownScope::new("orders:*".parse().unwrap(), ""))
        .await
        .unwrap();
    for changes in [
        &[(Method::PATCH, "", json!({"max_keys": 9}))][..],
        &[(Method::DELETE, "", Value::Null)],
        &[
            (Method::PATCH, "", json!({"max_keys": 9})),
            (Method::DELETE, "", Value::Null),
        ],
    ] {
        let mut plan = Plan::new("team");
        plan.max_keys = Some(5);
        let plan = host.create_plan(plan).await.unwrap();
        race.run(&format!("/plans/{}", plan.id), changes).await;
        let _ = host.delete_plan(plan.id).await;
    }
    for changes in [
        &[(Method::PATCH, "", json!({"description": "new"}))][..],
        &[(Method::DELETE, "", Value::Null)],
        &[
            (Method::PATCH, "", json!({"description": "new"})),
            (Method::DELETE, "", Value::Null),
        ],
    ] {
        host.create_role(Role::new("clerk", "orders:read".parse().unwrap()))
            .await
            .unwrap();
        race.run("/roles/clerk", changes).await;
        let _ = host.delete_role("clerk").await;
    }
}
