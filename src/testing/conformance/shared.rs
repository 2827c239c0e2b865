//! What many keys share: plans, addresses of organizations, roles and known scopes.

use super::bench::{Bench, NOW, new_key, new_secret, new_text, one, update_organization};
use super::rows::{limits, must};
use super::users::user_id;
use crate::key::{KnownScope, Organization, Plan, PlanId, Role, ScopeSet, User, UserStatus};
use crate::store::query::{KnownScopes, OneUser, OrganizationByEmail, Plans, Roles};
use crate::store::{ManagedStore, StoreErrorKind, Write};

pub(super) async fn plans<S: ManagedStore>(bench: &Bench<S>) {
    let mut plan = Plan::new(new_text());
    bench
        .commit("inserting a plan", one(Write::InsertPlan(plan.clone())))
        .await;
    bench.same(
        "the plan",
        bench.get("reading a plan", plan.id).await,
        Some(plan.clone()),
    );
    plan.name = format!("plan/{}", new_text());
    plan.limits = must(bench, limits());
    plan.key_limits = must(bench, limits());
    plan.max_keys = Some(u32::MAX);
    let committed = bench
        .commit("updating a plan", one(Write::UpdatePlan(plan.clone())))
        .await;
    let outdated = plan.clone();
    plan.revision += 1;
    bench.same(
        "the revision that an update returned",
        committed.revision_of(plan.id),
        Some(plan.revision),
    );
    bench.same(
        "the updated plan",
        bench.get("reading a plan", plan.id).await,
        Some(plan.clone()),
    );
    let what = "an outdated update of a plan";
    bench
        .fails(what, one(Write::UpdatePlan(outdated)), StoreErrorKind::Conflict)
        .await;

    let named = bench.get("reading a plan by name", Plans::named(&*plan.name)).await;
    bench.same("the plan of this name", named.items, vec![plan.clone()]);
    let again = Plan::new(&*plan.name);
    let what = "a second plan of one name";
    bench
        .fails(
            what,
            one(Write::InsertPlan(again.clone())),
            StoreErrorKind::AlreadyExists,
        )
        .await;
    let mut same_id = Plan::new(new_text());
    same_id.id = plan.id;
    let what = "inserting a plan again";
    bench
        .fails(what, one(Write::InsertPlan(same_id)), StoreErrorKind::AlreadyExists)
        .await;
    let mut other = Plan::new(new_text());
    bench
        .commit("inserting a plan", one(Write::InsertPlan(other.clone())))
        .await;
    other.name.clone_from(&plan.name);
    let what = "renaming a plan to the name of another";
    bench
        .fails(what, one(Write::UpdatePlan(other)), StoreErrorKind::AlreadyExists)
        .await;
    let what = "updating a plan that is not there";
    bench
        .fails(what, one(Write::UpdatePlan(again)), StoreErrorKind::NotFound)
        .await;
    let gone = bench.get("reading a plan", PlanId::new()).await;
    bench.same("a plan that nobody inserted", gone, None);
}

pub(super) async fn plan_of_organization<S: ManagedStore>(bench: &Bench<S>) {
    let plan = Plan::new(new_text());
    let mut organization = Organization::new("Acme");
    organization.plan = Some(plan.id);
    let insert = one(Write::InsertOrganization(organization.clone()));
    let what = "an organization of a plan that is not there";
    bench.fails(what, insert.clone(), StoreErrorKind::NotFound).await;
    let both = one(Write::InsertPlan(plan.clone())).write(Write::InsertOrganization(organization.clone()));
    bench.commit("inserting a plan and an organization of it", both).await;
    let key = new_key(&organization);
    bench.insert(&key).await;
    bench.same("the plan of a key", bench.found(&key).await.plan, Some(plan.clone()));
    let delete = || one(Write::DeletePlan(plan.id));
    let what = "deleting a plan that an organization has";
    bench.fails(what, delete(), StoreErrorKind::Conflict).await;
    organization.plan = Some(PlanId::new());
    let what = "giving an organization a plan that is not there";
    bench
        .fails(what, update_organization(&organization), StoreErrorKind::NotFound)
        .await;
    organization.plan = None;
    bench.update_organization(&mut organization).await;
    bench.same("the plan of a key", bench.found(&key).await.plan, None);
    bench.commit("deleting a plan", delete()).await;
    bench
        .fails("deleting a plan twice", delete(), StoreErrorKind::NotFound)
        .await;
}

pub(super) async fn addresses<S: ManagedStore>(bench: &Bench<S>) {
    let name = new_text();
    let mut organization = Organization::new("Acme");
    organization.email = Some(format!("{name}@Example.COM"));
    let insert = |organization: &Organization| one(Write::InsertOrganization(organization.clone()));
    bench.commit("inserting an organization", insert(&organization)).await;
    let mut other = Organization::new("Other");
    other.email = Some(format!("{}@example.com", name.to_uppercase()));
    let what = "a second organization of one address";
    bench.fails(what, insert(&other), StoreErrorKind::AlreadyExists).await;
    other.email = None;
    bench.commit("inserting an organization", insert(&other)).await;
    other.email = Some(format!("{name}@example.com"));
    let what = "giving an organization the address of another";
    bench
        .fails(what, update_organization(&other), StoreErrorKind::AlreadyExists)
        .await;
    let by_email = OrganizationByEmail(format!("{name}@EXAMPLE.com"));
    let read = bench
        .get("reading an organization by its address", by_email.clone())
        .await;
    bench.same("the organization of this address", read, Some(organization.clone()));
    organization.email = None;
    bench.update_organization(&mut organization).await;
    let read = bench.get("reading an organization by its address", by_email).await;
    bench.same("the organization of an address that was given up", read, None);
    bench
        .commit("taking an address that was given up", update_organization(&other))
        .await;
}

pub(super) async fn roles<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, _) = bench.inserted().await;
    let (reader, writer) = (new_text(), new_text());
    let mut role = Role::new(&*reader, scopes(bench, "orders:read"));
    role.description = "Reads Ωrders; '\"".to_owned();
    let insert = one(Write::InsertRole(role.clone()));
    bench.commit("inserting a role", insert.clone()).await;
    bench
        .fails("inserting a role again", insert, StoreErrorKind::AlreadyExists)
        .await;
    let second = Role::new(&*writer, scopes(bench, "orders:read orders:write * a.b:*"));
    bench
        .commit("inserting a role", one(Write::InsertRole(second.clone())))
        .await;
    let named = bench.get("reading a role", Roles::named(&*reader)).await;
    bench.same("the role of this name", named.items, vec![role.clone()]);

    let mut key = new_key(&organization);
    key.record.roles = must(bench, format!("{reader} {writer} nobody-has-this").parse());
    bench.insert(&key).await;
    bench.same("the key", bench.stored(key.record.id).await, key.clone());
    let all = scopes(bench, "* a.b:* orders:read orders:write");
    bench.same("the scopes of a key's roles", bench.found(&key).await.role_scopes, all);
    let none = new_key(&organization);
    bench.insert(&none).await;
    bench.same(
        "the scopes of no roles",
        bench.found(&none).await.role_scopes,
        ScopeSet::default(),
    );

    role.scopes = scopes(bench, "orders:list");
    bench
        .commit("updating a role", one(Write::UpdateRole(role.clone())))
        .await;
    let what = "an outdated update of a role";
    bench
        .fails(what, one(Write::UpdateRole(role.clone())), StoreErrorKind::Conflict)
        .await;
    bench
        .commit("deleting a role", one(Write::DeleteRole(writer.clone())))
        .await;
    let left = bench.found(&key).await.role_scopes;
    bench.same("the scopes of a key's roles", left, scopes(bench, "orders:list"));
    let what = "deleting a role twice";
    bench
        .fails(what, one(Write::DeleteRole(writer)), StoreErrorKind::NotFound)
        .await;
    let what = "updating a role that is not there";
    bench
        .fails(what, one(Write::UpdateRole(second)), StoreErrorKind::NotFound)
        .await;
}

pub(super) async fn known_scopes<S: ManagedStore>(bench: &Bench<S>) {
    let name = new_text();
    let scope = |action: &str| must(bench, format!("{name}:{action}").parse());
    let rows = ["a", "b", "c"].map(|action| KnownScope::new(scope(action), "Does Ωmega; '\""));
    for row in rows.iter().rev() {
        let insert = one(Write::InsertScope(row.clone()));
        bench.commit("inserting a scope", insert.clone()).await;
        bench
            .fails("inserting a scope again", insert, StoreErrorKind::AlreadyExists)
            .await;
    }
    let mut page = bench.get("reading known scopes", KnownScopes::all().page(2)).await;
    let mut all = page.items;
    while let Some(next) = page.next {
        page = bench
            .get("reading known scopes", KnownScopes::all().page(2).after(next))
            .await;
        all.extend(page.items);
    }
    bench.holds(
        all.is_sorted_by(|one, other| one.scope < other.scope),
        "known scopes are not in order",
    );
    all.retain(|row| row.scope.as_str().starts_with(&name));
    bench.same("the known scopes", all, rows.to_vec());
    for row in rows {
        let delete = one(Write::DeleteScope(row.scope));
        bench.commit("deleting a scope", delete.clone()).await;
        bench
            .fails("deleting a scope twice", delete, StoreErrorKind::NotFound)
            .await;
    }
}

pub(super) async fn announced<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let id = user_id(bench, "alice");
    let user = User::new(organization.id, id.clone(), NOW);
    let mut disabled = user.clone();
    disabled.status = UserStatus::Disabled;
    let writes = [
        Write::InsertUser(user),
        Write::UpdateUser(disabled),
        Write::DeleteUser(organization.id, id),
    ];
    for write in writes {
        let what = format!("{write:?}");
        let watch = bench.watch_organization(organization.id);
        bench.commit("writing a user", one(write)).await;
        bench.holds(watch.was_bumped(), format!("{what} was not announced"));
    }
    let plan = Plan::new(new_text());
    let role = Role::new(new_text(), scopes(bench, "orders:read"));
    let scope = KnownScope::new(must(bench, format!("{}:read", new_text()).parse()), "");
    bench
        .commit("inserting a plan", one(Write::InsertPlan(plan.clone())))
        .await;
    let writes = [
        Write::UpdatePlan(plan.clone()),
        Write::DeletePlan(plan.id),
        Write::InsertRole(role.clone()),
        Write::UpdateRole(role.clone()),
        Write::DeleteRole(role.name),
        Write::InsertScope(scope.clone()),
        Write::DeleteScope(scope.scope),
    ];
    for write in writes {
        let what = format!("{write:?}");
        let watch = bench.watch_key(key.record.id);
        bench.commit("writing what all keys share", one(write)).await;
        bench.holds(watch.was_bumped(), format!("{what} was not announced to every key"));
    }
}

/// What is written before a write that fails is not there afterwards.
pub(super) async fn half<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let id = user_id(bench, "alice");
    let plan = Plan::new(new_text());
    let role = Role::new(new_text(), scopes(bench, "orders:read"));
    let commit = one(Write::InsertPlan(plan.clone()))
        .write(Write::InsertRole(role.clone()))
        .write(Write::InsertUser(User::new(organization.id, id.clone(), NOW)))
        .write(Write::InsertKey(key.record.clone()))
        .write(Write::InsertSecret(key.record.id, new_secret("sha256:11")));
    bench
        .fails("a commit that fails at its end", commit, StoreErrorKind::AlreadyExists)
        .await;
    bench.same("its plan", bench.get("reading a plan", plan.id).await, None);
    let named = bench.get("reading a role", Roles::named(role.name)).await;
    bench.same("its role", named.items, Vec::new());
    let user = bench.get("reading a user", OneUser(organization.id, id)).await;
    bench.same("its user", user, None);
}

fn scopes<S: ManagedStore>(bench: &Bench<S>, text: &str) -> ScopeSet {
    must(bench, text.parse())
}
