//! Roles, and the catalogue of scopes.

use tower_api_key::key::{KeyRecord, KnownScope, Role, RoleNames, Scope, ScopeSet};
use tower_api_key::store::query::{KnownScopes, Roles};

use super::*;

fn role(name: &str, scopes: &str) -> Role {
    Role::new(name, scopes.parse().unwrap())
}

fn known(scope: &str) -> KnownScope {
    KnownScope::new(scope.parse().unwrap(), "for tests")
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

#[tokio::test]
async fn change_of_a_role_holds_for_all_holders_on_return() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        issuer.create_role(role("reader", "orders:read")).await.unwrap();
        let roles: RoleNames = "reader".parse().unwrap();
        let mut issued = Vec::new();
        for name in ["one", "two"] {
            let organization = issuer.create_organization(name).await.unwrap();
            let request = IssueRequest::new(organization.id, "key").scopes("own:read".parse().unwrap());
            let key = issuer.issue(request).await.unwrap();
            let give = |record: &mut KeyRecord| record.roles = roles.clone();
            issuer.update(key.record.id, give).await.unwrap();
            issued.push(key);
        }
        let all_have = async |scopes: &str| {
            for key in &issued {
                assert_eq!(realm.check(key).await.unwrap().scopes().as_str(), scopes);
            }
        };
        all_have("orders:read own:read").await;
        let wider: ScopeSet = "orders:*".parse().unwrap();
        let changed = issuer
            .update_role("reader", |role| role.scopes = wider.clone())
            .await
            .unwrap();
        assert_eq!(
            (changed.revision, issuer.role("reader").await.unwrap()),
            (2, Some(changed))
        );
        all_have("orders:* own:read").await;
        issuer
            .update_role("reader", |role| role.scopes = ScopeSet::default())
            .await
            .unwrap();
        all_have("own:read").await;
        issuer
            .update_role("reader", |role| role.scopes = wider.clone())
            .await
            .unwrap();
        issuer.delete_role("reader").await.unwrap();
        all_have("own:read").await;
        // Keys hold the name.
        issuer.create_role(role("reader", "reports:read")).await.unwrap();
        all_have("own:read reports:read").await;

        let events = realm.events(system()).await;
        let events = events.iter().filter(|event| event.detail_of("role") == Some("reader"));
        let events: Vec<_> = events.collect();
        assert_eq!(events[0].action.as_str(), "role.created");
        assert_eq!(events[1].detail_of("changed"), Some("scopes"));
        assert_eq!(events[1].detail_of("before.scopes"), Some("orders:read"));
        assert_eq!(events[4].action.as_str(), "role.deleted");
        assert_eq!(events[4].detail_of("before.scopes"), Some("orders:*"));
    }
}

#[tokio::test]
async fn bad_roles_are_refused_and_nothing_is_written() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        let reader = issuer.create_role(role("reader", "orders:read")).await.unwrap();
        for name in ["", "Reader", "a b", "a\n", "-a", &"x".repeat(65)] {
            assert_eq!(problem(issuer.create_role(role(name, "")).await), invalid("name"));
        }
        let mut described = role("writer", "");
        for text in ["a\u{7}".to_owned(), "x".repeat(1025)] {
            described.description.clone_from(&text);
            assert_eq!(
                problem(issuer.create_role(described.clone()).await),
                invalid("description")
            );
            let change = issuer.update_role("reader", |role| role.description.clone_from(&text));
            assert_eq!(problem(change.await), invalid("description"));
        }
        let taken = about(IssueErrorKind::AlreadyExists, "name");
        assert_eq!(problem(issuer.create_role(role("reader", "")).await), taken);
        let missing = about(IssueErrorKind::NotFound, "role");
        assert_eq!(problem(issuer.update_role("nobody", |_| {}).await), missing);
        assert_eq!(problem(issuer.delete_role("nobody").await), missing);
        // Its name and revision stay.
        let rename = |role: &mut Role| (role.name, role.revision) = ("other".to_owned(), 9);
        assert_eq!(issuer.update_role("reader", rename).await.unwrap(), reader);
        assert_eq!(issuer.roles(Roles::all()).await.unwrap().items, [reader]);
    }
}

#[tokio::test]
async fn unknown_scopes_are_refused_once_the_catalogue_is_set() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        // Without a catalogue, any.
        issuer.create_role(role("before", "anything:read")).await.unwrap();
        issuer.create_scope(known("orders:read")).await.unwrap();
        issuer.create_scope(known("reports:*")).await.unwrap();
        for good in [
            "orders:read",
            "orders:*",
            "*",
            "reports:read",
            "reports:*",
            "",
            "orders:read reports:x",
            "api-keys.keys:read",
        ] {
            issuer.create_role(role("good", good)).await.unwrap();
            issuer.delete_role("good").await.unwrap();
        }
        for bad in ["orders:write", "orders", "order:*", "orders:read users:read"] {
            let refused = issuer.create_role(role("bad", bad)).await;
            assert_eq!(problem(refused), invalid("scopes"), "{bad}");
        }
        // What a role has already stays; only what is new is judged.
        let more: ScopeSet = "anything:read orders:read".parse().unwrap();
        issuer
            .update_role("before", |role| role.scopes = more.clone())
            .await
            .unwrap();
        let worse: ScopeSet = "anything:read anything:write".parse().unwrap();
        let refused = issuer.update_role("before", |role| role.scopes = worse.clone()).await;
        assert_eq!(problem(refused), invalid("scopes"));
        assert_eq!(issuer.role("before").await.unwrap().unwrap().scopes, more);
        // A text that may be a key is not shown whole.
        let error = issuer.create_role(role("bad", &"7".repeat(40))).await.unwrap_err();
        assert!(!error.to_string().contains(&"7".repeat(17)), "{error}");
    }
}

#[tokio::test]
async fn scope_taken_out_of_the_catalogue_stays_with_its_holders() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        for text in ["orders:read", "orders:write"] {
            issuer.create_scope(known(text)).await.unwrap();
        }
        let acme = issuer.create_organization("acme").await.unwrap();
        let request = IssueRequest::new(acme.id, "key").scopes("orders:write".parse().unwrap());
        let issued = issuer.issue(request).await.unwrap();
        issuer.create_role(role("writer", "orders:write")).await.unwrap();
        issuer.delete_scope(&scope("orders:write")).await.unwrap();
        assert_eq!(realm.check(&issued).await.unwrap().scopes().as_str(), "orders:write");
        assert_eq!(
            issuer.role("writer").await.unwrap().unwrap().scopes.as_str(),
            "orders:write"
        );
        let refused = issuer.create_role(role("another", "orders:write")).await;
        assert_eq!(problem(refused), invalid("scopes"));
        // What the key has may stay when it is narrowed otherwise.
        let narrow = |record: &mut KeyRecord| record.networks = "192.0.2.0/24".parse().unwrap();
        issuer.update(issued.record.id, narrow).await.unwrap();
        // Without its last scope it knows all again.
        issuer.delete_scope(&scope("orders:read")).await.unwrap();
        issuer.create_role(role("another", "orders:write")).await.unwrap();
    }
}

#[tokio::test]
async fn catalogue_is_listed_and_described() {
    for realm in Realm::each().await {
        let issuer = &realm.issuer;
        for text in ["b:read", "a:read"] {
            issuer.create_scope(known(text)).await.unwrap();
        }
        let described = issuer.update_scope(&scope("b:read"), "Read b").await.unwrap();
        assert_eq!(described.description, "Read b");
        let all = issuer.known_scopes(KnownScopes::all()).await.unwrap().items;
        assert_eq!(all, [known("a:read"), described]);
        let exists = about(IssueErrorKind::AlreadyExists, "scope");
        assert_eq!(problem(issuer.create_scope(known("a:read")).await), exists);
        let missing = about(IssueErrorKind::NotFound, "scope");
        assert_eq!(problem(issuer.update_scope(&scope("c:read"), "").await), missing);
        assert_eq!(problem(issuer.delete_scope(&scope("c:read")).await), missing);
        let refused = issuer.update_scope(&scope("a:read"), "a\nb").await;
        assert_eq!(problem(refused), invalid("description"));

        let events = realm.events(system()).await;
        let of_b = events.iter().filter(|event| event.detail_of("scope") == Some("b:read"));
        let actions: Vec<&str> = of_b.map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["scope.created", "scope.updated"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn role_changed_by_many_at_once_loses_no_change() {
    for realm in Realm::each().await {
        realm.issuer.create_role(role("reader", "")).await.unwrap();
        let changes: Vec<_> = (0..6)
            .map(|number| {
                let issuer = realm.issuer.clone();
                tokio::spawn(async move {
                    let add = |role: &mut Role| {
                        let text = format!("{} scope-{number}:read", role.scopes);
                        role.scopes = text.parse().unwrap();
                    };
                    // Of many writers of one row some give up.
                    issuer.update_role("reader", add).await.is_ok()
                })
            })
            .collect();
        let mut made = 0;
        for change in changes {
            made += u64::from(change.await.unwrap());
        }
        let stored = realm.issuer.role("reader").await.unwrap().unwrap();
        assert_eq!(stored.scopes.iter().count() as u64, made);
        assert_eq!(stored.revision, made + 1);
    }
}
