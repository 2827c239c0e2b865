//! `docs/operations.md` names what can be done, and by which call: each call of its first three tables is made here.

use std::collections::BTreeSet;
use std::time::Duration;

use tower_api_key::hash::sha256;
use tower_api_key::key::{Actor, KeyRecord, KeySecret, KnownScope, Labels, OrganizationStatus, Plan, Role, UserStatus};
use tower_api_key::store::query::{KeyUses, Keys, KnownScopes, Organizations, Plans, Roles, Users};
use tower_api_key::store::{Commit, Write};
use tower_api_key::{
    Hygiene, IfUsed, IssueErrorKind, IssueRequest, KeySelection, OrganizationRequest, PresentedKey, UserRequest,
};

const TABLES: &str = include_str!("../../docs/operations.md");
const DAY: Duration = Duration::from_secs(86_400);

/// The calls that the first three tables name, in the second column.
fn named() -> BTreeSet<&'static str> {
    let tables = TABLES.split("## Keys and hashes").next().unwrap();
    let rows = tables
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let cells = rows.map(|row| row.split(" | ").nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[tokio::test]
async fn every_call_of_the_tables_is_made() {
    let keys = tower_api_key::testing::api_keys().open().await.unwrap();
    let issuer = keys.issuer().acting_as(Actor::user("operator"));
    let mut called = BTreeSet::new();

    // Organizations.
    let request = OrganizationRequest::new("Acme").slug("acme").email("ops@acme.example");
    let acme = issuer.create_organization(request).await.unwrap();
    called.insert("create_organization");
    assert_eq!(issuer.organization(acme.id).await.unwrap(), Some(acme.clone()));
    called.insert("organization");
    assert_eq!(issuer.organization_by_slug("acme").await.unwrap(), Some(acme.clone()));
    called.insert("organization_by_slug");
    let found = issuer.organization_by_email("OPS@acme.example").await.unwrap();
    assert_eq!(found, Some(acme.clone()));
    called.insert("organization_by_email");
    let changed = issuer
        .update_organization(acme.id, |row| row.max_keys = Some(2))
        .await
        .unwrap();
    assert_eq!(changed.max_keys, Some(2));
    called.insert("update_organization");
    let page = issuer.organizations(Organizations::all()).await.unwrap();
    assert_eq!(page.items, [changed]);
    called.insert("organizations");
    assert_eq!(
        issuer.count_organizations(Organizations::all()).await.unwrap().number,
        1
    );
    called.insert("count_organizations");
    let stopped = issuer.deactivate_organization(acme.id, "not paid").await.unwrap();
    assert_eq!(stopped.status, OrganizationStatus::Inactive);
    called.insert("deactivate_organization");
    let started = issuer.activate_organization(acme.id).await.unwrap();
    assert_eq!(started.status, OrganizationStatus::Active);
    called.insert("activate_organization");

    // Keys.
    let request = IssueRequest::new(acme.id, "nightly export").expires_in(90 * DAY);
    let issued = issuer.issue(request).await.unwrap();
    called.insert("issue");
    let id = issued.record.id;
    assert!(issuer.may_create_key(acme.id).await.unwrap());
    called.insert("may_create_key");
    assert_eq!(issuer.count_active_keys(acme.id).await.unwrap().number, 1);
    called.insert("count_active_keys");
    assert_eq!(issuer.key(id).await.unwrap().unwrap().record, issued.record);
    called.insert("key");
    let found = issuer.key_by_lookup(&issued.lookup).await.unwrap().unwrap();
    assert_eq!(found.record.id, id);
    called.insert("key_by_lookup");
    let presented = PresentedKey::new(issued.key.expose_secret().as_bytes());
    assert_eq!(keys.find_key(presented).await.unwrap().unwrap().record.id, id);
    called.insert("find_key");
    let salted = found.secrets[0].hash.clone();
    let refused = issuer.key_by_hash(salted).await.unwrap_err();
    assert_eq!(refused.kind(), IssueErrorKind::InvalidRequest);
    let plain = sha256(&issued.key);
    let imported = KeyRecord::new(acme.id, "imported", issued.record.created_at);
    let secret = KeySecret::new(
        "imported-lookup".parse().unwrap(),
        plain.clone(),
        issued.record.created_at,
    );
    let commit = Commit::new()
        .write(Write::InsertKey(imported.clone()))
        .write(Write::InsertSecret(imported.id, secret));
    issuer.commit(commit).await.unwrap();
    assert_eq!(issuer.key_by_hash(plain).await.unwrap().unwrap().record.id, imported.id);
    called.insert("key_by_hash");
    assert_eq!(issuer.keys(Keys::of(acme.id)).await.unwrap().items.len(), 2);
    called.insert("keys");
    let ending = Keys::of(acme.id).expiring(issued.record.created_at, 100 * DAY);
    assert_eq!(issuer.keys(ending).await.unwrap().items.len(), 1);
    called.insert("keys(Keys::of(..).expiring(..))");
    assert!(issuer.is_valid(id).await.unwrap());
    called.insert("is_valid");
    let updated = issuer
        .update(id, |record| record.name = "export".to_owned())
        .await
        .unwrap();
    assert_eq!(updated.name, "export");
    called.insert("update");
    issuer.disable(id).await.unwrap();
    called.insert("disable");
    issuer.enable(id).await.unwrap();
    called.insert("enable");

    let presented = PresentedKey::new(issued.key.expose_secret().as_bytes());
    keys.authenticator().check(presented).await.unwrap();
    let uses = keys.read(KeyUses::of(id)).await.unwrap();
    assert_eq!(uses[0].requests(), 1);
    called.insert("read(KeyUses::of(key))");
    assert_eq!(keys.statistics(acme.id).await.unwrap().total, 2);
    called.insert("statistics");
    let report = keys.hygiene(Hygiene::of(acme.id)).await.unwrap();
    assert_eq!(report.items.len(), 1);
    called.insert("hygiene");

    let _ = issuer.rotate(id, DAY).await.unwrap();
    called.insert("rotate");
    issuer.take_back(id, IfUsed::Refuse).await.unwrap();
    called.insert("take_back");
    let _ = issuer.rotate(id, DAY).await.unwrap();
    issuer.finish(id, Duration::ZERO).await.unwrap();
    called.insert("finish");
    let revoked = issuer.revoke(id, "laptop lost").await.unwrap();
    assert_eq!(revoked.revocation.unwrap().actor, Actor::user("operator"));
    called.insert("revoke");
    assert_eq!(issuer.delete_expired(DAY).await.unwrap(), 0);
    called.insert("delete_expired");

    // Users, plans, roles.
    let alice: tower_api_key::key::UserId = "alice".parse().unwrap();
    issuer
        .create_user(UserRequest::new(acme.id, alice.clone()))
        .await
        .unwrap();
    called.insert("create_user");
    assert!(issuer.user(acme.id, &alice).await.unwrap().is_some());
    called.insert("user");
    issuer
        .update_user(acme.id, &alice, |user| user.name = Some("Alice".to_owned()))
        .await
        .unwrap();
    called.insert("update_user");
    assert_eq!(issuer.users(Users::of(acme.id)).await.unwrap().items.len(), 1);
    called.insert("users");
    let disabled = issuer.disable_user(acme.id, &alice, "left").await.unwrap();
    assert_eq!(disabled.status, UserStatus::Disabled);
    called.insert("disable_user");
    issuer.enable_user(acme.id, &alice).await.unwrap();
    called.insert("enable_user");

    let labels: Labels = "ci".parse().unwrap();
    let request = IssueRequest::new(acme.id, "build").labels(labels).user(alice.clone());
    let once = issuer.issue_once(request, &"build".parse().unwrap()).await.unwrap();
    let build = once.record().clone();
    called.insert("issue_once");
    let of_ci = KeySelection::label("ci").within(acme.id);
    assert_eq!(issuer.preview(&of_ci).await.unwrap().active, 1);
    called.insert("preview");
    issuer.disable_all(&of_ci, "audit").await.unwrap();
    called.insert("disable_all");
    assert_eq!(issuer.enable_all(&of_ci).await.unwrap().changed.len(), 1);
    called.insert("enable_all");
    issuer.revoke_all(&of_ci, "audit").await.unwrap();
    called.insert("revoke_all");
    let nothing = issuer
        .revoke_with_descendants(build.id, Default::default(), "again")
        .await
        .unwrap();
    assert_eq!(nothing.changed.len(), 0);
    called.insert("revoke_with_descendants");
    issuer.delete_user(acme.id, &alice).await.unwrap();
    called.insert("delete_user");

    let plan = issuer.create_plan(Plan::new("team")).await.unwrap();
    called.insert("create_plan");
    assert_eq!(issuer.plan_named("team").await.unwrap(), Some(plan.clone()));
    called.insert("plan_named");
    issuer
        .update_plan(plan.id, |plan| plan.max_keys = Some(3))
        .await
        .unwrap();
    called.insert("update_plan");
    assert_eq!(issuer.plans(Plans::all()).await.unwrap().items.len(), 4);
    called.insert("plans");
    issuer.delete_plan(plan.id).await.unwrap();
    called.insert("delete_plan");

    let read: tower_api_key::key::Scope = "orders:read".parse().unwrap();
    issuer
        .create_scope(KnownScope::new(read.clone(), "Reads orders"))
        .await
        .unwrap();
    called.insert("create_scope");
    issuer.update_scope(&read, "Reads all orders").await.unwrap();
    called.insert("update_scope");
    assert_eq!(issuer.known_scopes(KnownScopes::all()).await.unwrap().items.len(), 1);
    called.insert("known_scopes");
    let role = Role::new("clerk", "orders:read".parse().unwrap());
    issuer.create_role(role).await.unwrap();
    called.insert("create_role");
    assert!(issuer.role("clerk").await.unwrap().is_some());
    called.insert("role");
    issuer
        .update_role("clerk", |role| role.description = "Reads".to_owned())
        .await
        .unwrap();
    called.insert("update_role");
    assert_eq!(issuer.roles(Roles::all()).await.unwrap().items.len(), 1);
    called.insert("roles");
    issuer.delete_role("clerk").await.unwrap();
    called.insert("delete_role");
    issuer.delete_scope(&read).await.unwrap();
    called.insert("delete_scope");
    let first = keys.ensure("beta", "first").await.unwrap();
    assert!(first.key.is_some());
    called.insert("ensure");

    let preview = issuer.preview_organization_deletion(acme.id).await.unwrap();
    called.insert("preview_organization_deletion");
    let deleted = issuer.delete_organization(acme.id, "closed").await.unwrap();
    assert_eq!(deleted.keys, preview.keys);
    called.insert("delete_organization");
    assert_eq!(issuer.organization(acme.id).await.unwrap(), None);

    assert_eq!(called, named());
}
