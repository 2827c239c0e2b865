//! Every operation of the document, by everybody who may not.

use http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tower_api_key::key::{KnownScope, Role};
use tower_api_key::{IssueRequest, IssuedKey, OrganizationRequest, UserRequest};

use crate::operations::{Operation, all};
use crate::support::Store::{self, Postgres, Sqlite};
use crate::support::{ALL, READ, Served};

/// Rows that nobody of the callers may change.
struct Rows {
    acme: String,
    key: String,
    plan: String,
}

impl Rows {
    async fn make(api: &Served) -> (Self, tower_api_key::key::Organization) {
        let host = api.host();
        let mut plan = tower_api_key::key::Plan::new("acmes-plan");
        plan.max_keys = Some(50);
        let plan = host.create_plan(plan).await.unwrap();
        let acme = OrganizationRequest::new("Acme").email("it@acme.example").plan(plan.id);
        let acme = host.create_organization(acme).await.unwrap();
        let alice = "alice".parse().unwrap();
        host.create_user(UserRequest::new(acme.id, alice).name("Alice Adams"))
            .await
            .unwrap();
        host.create_role(Role::new("clerk", "orders:read".parse().unwrap()))
            .await
            .unwrap();
        let scope = KnownScope::new("orders:*".parse().unwrap(), "Orders");
        host.create_scope(scope).await.unwrap();
        let request = IssueRequest::new(acme.id, "acmes key").labels("ci".parse().unwrap());
        let key = host.issue(request).await.unwrap();
        let rows = Self {
            acme: acme.id.to_string(),
            key: key.record.id.to_string(),
            plan: plan.id.to_string(),
        };
        (rows, acme)
    }

    /// Path, query and body of an operation on them. A new operation needs a line here.
    fn request(&self, operation: &Operation) -> (String, Value) {
        let (acme, key, plan) = (&self.acme, &self.key, &self.plan);
        let (id, query, body) = match &*operation.id {
            "list_keys" | "list_users" | "list_audit_events" | "hygiene" | "statistics" => {
                ("", format!("?organization={acme}"), Value::Null)
            }
            "list_organizations" | "list_plans" | "list_roles" | "list_scopes" => ("", String::new(), Value::Null),
            "create_key" => ("", String::new(), json!({"name": "new", "organization_id": acme})),
            "change_keys" => {
                let body = json!({"action": "revoke", "selection": {"label": "ci", "organization": acme}});
                ("", String::new(), body)
            }
            "show_key" | "revoke_key" | "rotate_key" | "finish_rotation" | "take_rotation_back" | "enable_key"
            | "disable_key" => (&**key, String::new(), Value::Null),
            "update_key" => (&**key, String::new(), json!({"name": "new"})),
            "create_organization" => ("", String::new(), json!({"name": "new"})),
            "show_organization"
            | "activate_organization"
            | "deactivate_organization"
            | "preview_organization_deletion"
            | "show_policy" => (&**acme, String::new(), Value::Null),
            "update_organization" => (&**acme, String::new(), json!({"name": "new"})),
            "delete_organization" => (&**acme, "?confirm=acme".to_owned(), Value::Null),
            "set_policy" | "preview_policy" => (&**acme, String::new(), json!({"longest_life": 60})),
            "set_plan" => (&**acme, String::new(), json!({"plan_id": null})),
            "create_user" => ("", format!("?organization={acme}"), json!({"id": "mallory"})),
            "show_user" | "delete_user" | "disable_user" | "enable_user" => {
                ("alice", format!("?organization={acme}"), Value::Null)
            }
            "update_user" => ("alice", format!("?organization={acme}"), json!({"name": "new"})),
            "create_plan" => ("", String::new(), json!({"name": "new"})),
            "show_plan" | "delete_plan" => (&**plan, String::new(), Value::Null),
            "update_plan" => (&**plan, String::new(), json!({"max_keys": 9})),
            "create_role" => ("", String::new(), json!({"name": "new", "scopes": []})),
            "show_role" | "delete_role" => ("clerk", String::new(), Value::Null),
            "update_role" => ("clerk", String::new(), json!({"description": "new"})),
            "create_scope" => ("", String::new(), json!({"scope": "new:one"})),
            "update_scope" => ("orders:*", String::new(), json!({"description": "new"})),
            "delete_scope" => ("orders:*", String::new(), Value::Null),
            // Of logins: a key needs none.
            "csrf_token" => ("", String::new(), Value::Null),
            // Any key may do this to itself.
            "revoke_self" => ("", String::new(), Value::Null),
            other => panic!("the operation {other} needs a line here"),
        };
        let path = ["{id}", "{name}", "{scope}"]
            .iter()
            .fold(operation.path.clone(), |path, name| path.replace(name, id));
        assert!(!path.contains('{'), "{path}");
        (path + &query, body)
    }

    /// Whether a text says something of them.
    fn are_in(&self, text: &str) -> bool {
        [&self.acme, &self.key, &self.plan, "it@acme", "Alice Adams", "acmes"]
            .iter()
            .any(|part| text.contains(*part))
    }
}

#[rstest]
#[tokio::test]
async fn operation_is_refused_to_those_who_may_not(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (rows, acme) = Rows::make(&api).await;
    let other = api.organization("other").await;
    let operator = api.operator().await;
    let nothing = api.key(&acme, "orders:read").await;
    let reader = api.key(&acme, READ).await;
    let star = api.key(&acme, "* orders:*").await;
    let foreign = api.key(&other, &format!("* orders:* {ALL}")).await;
    let revoked = api.key(&operator, ALL).await;
    let _ = api.key(&operator, ALL).await;
    api.host().revoke(revoked.record.id, "").await.unwrap();
    let before = api.dump().await;
    for operation in all(&api.document().await) {
        let (path, body) = rows.request(&operation);
        let ask = async |key: Option<&IssuedKey>| {
            let reply = api
                .request(key, operation.method.clone(), &path, None, body.clone())
                .await;
            (reply.status.as_u16(), reply.text)
        };
        for (who, key) in [("nobody", None), ("a revoked operator", Some(&revoked))] {
            let (status, text) = ask(key).await;
            assert_eq!(status, 401, "{who}: {operation:?}");
            assert!(!rows.are_in(&text), "{who}: {operation:?}: {text}");
        }
        if operation.id == "revoke_self" {
            continue;
        }
        for (who, key) in [("a key without scopes", &nothing), ("a key with `*`", &star)] {
            let (status, text) = ask(Some(key)).await;
            assert_eq!(status, 403, "{who}: {operation:?}: {text}");
        }
        let (status, text) = ask(Some(&reader)).await;
        match operation.only_reads() {
            true => assert!(matches!(status, 200 | 403), "{operation:?}: {text}"),
            false => assert_eq!(status, 403, "a reader: {operation:?}: {text}"),
        }
        let (status, text) = ask(Some(&foreign)).await;
        let is_refused = matches!(status, 403 | 404) || (status == 200 && operation.only_reads());
        assert!(is_refused, "a foreign key: {operation:?}: {status} {text}");
        assert!(!rows.are_in(&text), "a foreign key: {operation:?}: {text}");
        assert_eq!(api.dump().await, before, "{operation:?}");
    }
}

/// A wrong id, a wrong body, a wrong revision: none of them says more to those who may not.
#[rstest]
#[tokio::test]
async fn authority_is_judged_before_row_revision_and_content(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (rows, acme) = Rows::make(&api).await;
    let nothing = api.key(&acme, "orders:read").await;
    let foreign = api.key(&api.organization("other").await, ALL).await;
    for operation in all(&api.document().await) {
        if operation.id == "revoke_self" {
            continue;
        }
        let (path, _) = rows.request(&operation);
        let plain = api
            .request(Some(&nothing), operation.method.clone(), &path, None, Value::Null)
            .await;
        assert_eq!(plain.status, 403, "{operation:?}");
        let path_wrong = path
            .replace(&rows.acme, "x")
            .replace(&rows.key, "y")
            .replace(&rows.plan, "z");
        let query = if path.contains('?') { "&no=1" } else { "?no=1" };
        for path in [path.clone(), path_wrong, format!("{path}{query}")] {
            let body = json!({"no": "such member"});
            let reply = api
                .request(Some(&nothing), operation.method.clone(), &path, Some("\"9\""), body)
                .await;
            assert_eq!(
                (reply.status, reply.text),
                (plain.status, plain.text.clone()),
                "{operation:?} {path}"
            );
        }
        // Of a row that is not there, neither revision nor content is looked at.
        if !operation.only_reads() && operation.path.contains("{id}") {
            let body = json!({"no": "such member"});
            let reply = api
                .request(Some(&foreign), operation.method.clone(), &path, Some("\"9\""), body)
                .await;
            assert!(
                matches!(reply.status.as_u16(), 403 | 404),
                "{operation:?}: {}",
                reply.text
            );
        }
    }
}

#[rstest]
#[tokio::test]
async fn foreign_row_is_as_one_that_is_not_there(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let (rows, acme) = Rows::make(&api).await;
    let admin = api
        .key(&api.organization("other").await, &format!("orders:* {ALL}"))
        .await;
    let absent = "01900000-0000-7000-8000-0000000000ff";
    let nobody = Rows {
        acme: absent.to_owned(),
        key: absent.to_owned(),
        plan: absent.to_owned(),
    };
    let before = api.dump().await;
    for operation in all(&api.document().await) {
        let ((there, body), (not_there, same)) = (rows.request(&operation), nobody.request(&operation));
        if there == not_there && body == same {
            continue;
        }
        for if_match in [None, Some("*"), Some("\"1\""), Some("\"2\""), Some("x")] {
            let mut answers = Vec::new();
            for (path, body) in [(&there, &body), (&not_there, &same)] {
                let reply = api
                    .request(Some(&admin), operation.method.clone(), path, if_match, body.clone())
                    .await;
                let mut headers: Vec<_> = reply
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value:?}"))
                    .collect();
                headers.retain(|header| !header.starts_with("date:"));
                answers.push((reply.status, headers, reply.text));
            }
            assert_eq!(answers[0], answers[1], "{operation:?} {if_match:?}");
            assert!(
                matches!(answers[0].0.as_u16(), 403 | 404),
                "{operation:?} {if_match:?}: {answers:?}"
            );
        }
    }
    assert_eq!(api.dump().await, before);
    assert_eq!(api.host().organization(acme.id).await.unwrap(), Some(acme));
}

#[rstest]
#[tokio::test]
async fn operator_may_do_every_operation(#[values(Sqlite, Postgres)] store: Store) {
    let api = Served::start(store).await;
    let operator = api.operator().await;
    let root = api.key(&operator, &format!("orders:* {ALL}")).await;
    let operations = all(&api.document().await);
    // Reads first; then what needs the rows; deletions at last.
    let order = |operation: &Operation| match (&operation.method, &*operation.id) {
        (&Method::GET, _) => 0,
        (_, "preview_policy") => 0,
        (_, "create_key" | "rotate_key") => 1,
        (_, "finish_rotation") => 2,
        (&Method::PATCH | &Method::PUT | &Method::POST, "set_plan" | "set_policy" | "revoke_self") => 4,
        (&Method::PATCH | &Method::PUT | &Method::POST, _) => 3,
        (_, "revoke_key") => 5,
        (_, "delete_organization") => 8,
        _ => 6,
    };
    let (rows, _) = Rows::make(&api).await;
    let mut sorted = operations.clone();
    sorted.sort_by_key(order);
    for operation in sorted {
        // A user with its row, a plan without an organization.
        let (path, body) = rows.request(&operation);
        if matches!(
            &*operation.id,
            "revoke_self" | "take_rotation_back" | "show_user" | "csrf_token"
        ) {
            continue;
        }
        let reply = api
            .request(Some(&root), operation.method.clone(), &path, None, body)
            .await;
        assert!(
            reply.status.is_success(),
            "{operation:?}: {} {}",
            reply.status,
            reply.text
        );
    }
}
