//! Guards hold, or nothing is written.

use tokio::task::JoinSet;

use super::bench::{Bench, event, insert_key, insert_organization, new_key, new_text, update_key};
use crate::key::{
    KeyId, KeyStatus, KnownScope, Lookup, Organization, OrganizationId, Plan, PlanId, Role, Timestamp, User, UserId,
};
use crate::store::query::{AuditEvents, KnownScopes};
use crate::store::{Commit, Guard, ManagedStore, StoreErrorKind, Write};

pub(super) async fn revisions<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    bench.update(&mut key.record).await;
    let (id, revision) = (key.record.id, key.record.revision);
    let conflict = StoreErrorKind::Conflict;
    let plan = Plan::new(new_text());
    let role = Role::new(new_text(), bench.parsed("orders:read"));
    let user = User::new(organization.id, bench.parsed("alice"), Timestamp::from_millis(0));
    let insert = Commit::new()
        .write(Write::InsertPlan(plan.clone()))
        .write(Write::InsertRole(role.clone()))
        .write(Write::InsertUser(user.clone()));
    bench.commit("inserting a plan, a role and a user", insert).await;
    let other: UserId = bench.parsed("bob");
    for guard in [
        Guard::KeyRevision(id, revision - 1),
        Guard::KeyRevision(id, revision + 1),
        Guard::KeyRevision(KeyId::new(), 1),
        Guard::OrganizationRevision(organization.id, organization.revision + 1),
        Guard::OrganizationRevision(OrganizationId::new(), 1),
        Guard::PlanRevision(plan.id, plan.revision + 1),
        Guard::PlanRevision(PlanId::new(), 1),
        Guard::RoleRevision(role.name.clone(), role.revision + 1),
        Guard::RoleRevision(new_text(), 1),
        Guard::UserRevision(organization.id, user.id.clone(), user.revision + 1),
        Guard::UserRevision(organization.id, other, 1),
        Guard::UserRevision(OrganizationId::new(), user.id.clone(), 1),
    ] {
        leaves_nothing(bench, guard, conflict).await;
    }
    for guard in [
        Guard::KeyRevision(id, revision),
        Guard::OrganizationRevision(organization.id, organization.revision),
        Guard::PlanRevision(plan.id, plan.revision),
        Guard::RoleRevision(role.name, role.revision),
        Guard::UserRevision(organization.id, user.id, user.revision),
    ] {
        let commit = insert_organization(&Organization::new("New")).guard(guard);
        bench.commit("a commit whose guard holds", commit).await;
    }
}

pub(super) async fn live_keys<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    bench.inserted().await;
    let below = |limit| Guard::LiveKeysBelow(organization.id, limit);
    let reached = StoreErrorKind::LimitReached;
    leaves_nothing(bench, below(0), reached).await;
    leaves_nothing(bench, below(1), reached).await;
    let second = insert_key(&new_key(&organization)).guard(below(2));
    bench.commit("inserting a key below the limit", second).await;
    leaves_nothing(bench, below(2), reached).await;
    key.record.status = KeyStatus::Disabled;
    bench.update(&mut key.record).await;
    leaves_nothing(bench, below(2), reached).await;
    key.record.status = KeyStatus::Revoked;
    bench.update(&mut key.record).await;
    let third = insert_key(&new_key(&organization)).guard(below(2));
    bench.commit("inserting a key in place of a revoked one", third).await;
}

pub(super) async fn secret_ends<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let (_, other) = bench.inserted().await;
    let secret = &key.secrets[0];
    let guard = |id, lookup: &Lookup, expires_at, grace_ends_at| Guard::SecretEnds {
        key: id,
        lookup: lookup.clone(),
        expires_at,
        grace_ends_at,
    };
    let (id, lookup, at) = (key.record.id, &secret.lookup, Some(Timestamp::from_millis(1)));
    let (expires_at, grace_ends_at) = (secret.expires_at, secret.grace_ends_at);
    for wrong in [
        guard(id, lookup, at, grace_ends_at),
        guard(id, lookup, expires_at, at),
        guard(other.record.id, lookup, expires_at, grace_ends_at),
        guard(id, &other.secrets[0].lookup, expires_at, grace_ends_at),
    ] {
        leaves_nothing(bench, wrong, StoreErrorKind::Conflict).await;
    }
    let guarded = insert_organization(&Organization::new("New")).guard(guard(id, lookup, expires_at, grace_ends_at));
    bench.commit("a commit whose guard holds", guarded).await;
    let ends = update_key(&key.record).write(Write::UpdateSecret {
        key: id,
        lookup: lookup.clone(),
        expires_at,
        grace_ends_at: at,
    });
    bench.commit("setting the end of a grace period", ends).await;
    leaves_nothing(bench, guard(id, lookup, expires_at, None), StoreErrorKind::Conflict).await;
    let guarded = insert_organization(&Organization::new("New")).guard(guard(id, lookup, expires_at, at));
    bench.commit("a commit whose guard holds", guarded).await;
}

pub(super) async fn roles<S: ManagedStore>(bench: &Bench<S>) {
    let mut role = Role::new(new_text(), bench.parsed("orders:read orders:write"));
    let guard = |role: &Role| Guard::RoleScopes(role.name.clone(), role.scopes.clone());
    let conflict = StoreErrorKind::Conflict;
    leaves_nothing(bench, guard(&role), conflict).await;
    let insert = Commit::new().write(Write::InsertRole(role.clone()));
    bench.commit("inserting a role", insert).await;
    let was = role.clone();
    for scopes in ["orders:read", "orders:read orders:write users:read", "orders:*", ""] {
        role.scopes = bench.parsed(scopes);
        leaves_nothing(bench, guard(&role), conflict).await;
    }
    let guarded = insert_organization(&Organization::new("New")).guard(guard(&was));
    bench.commit("a commit whose guard holds", guarded).await;
    // Under the same name and the same revision.
    for write in [Write::DeleteRole(role.name.clone()), Write::InsertRole(role.clone())] {
        bench.commit("replacing a role", Commit::new().write(write)).await;
    }
    leaves_nothing(bench, guard(&was), conflict).await;
    let guarded = insert_organization(&Organization::new("New")).guard(guard(&role));
    bench.commit("a commit whose guard holds", guarded).await;
}

pub(super) async fn known_scopes<S: ManagedStore>(bench: &Bench<S>) {
    let name = new_text();
    let scope = |action: &str| bench.parsed(&format!("{name}:{action}"));
    let insert = |action: &str| Commit::new().write(Write::InsertScope(KnownScope::new(scope(action), "")));
    bench.commit("inserting a scope", insert("a")).await;
    let mut page = bench.get("reading known scopes", KnownScopes::all().page(1000)).await;
    let mut known = page.items.len();
    while let Some(next) = page.next {
        let query = KnownScopes::all().page(1000).after(next);
        page = bench.get("reading known scopes", query).await;
        known += page.items.len();
    }
    let below = |more: usize| Guard::KnownScopesBelow(u32::try_from(known + more).unwrap_or(u32::MAX));
    let reached = StoreErrorKind::LimitReached;
    leaves_nothing(bench, below(0), reached).await;
    let second = insert("b").guard(below(1));
    bench.commit("inserting a scope below the limit", second).await;
    leaves_nothing(bench, below(1), reached).await;
    for action in ["a", "b"] {
        let delete = Commit::new().write(Write::DeleteScope(scope(action)));
        bench.commit("deleting a scope", delete).await;
    }
    leaves_nothing(bench, Guard::KnownScopesBelow(0), reached).await;
}

pub(super) async fn at_once<S: ManagedStore>(bench: &Bench<S>) {
    const PLACES: u32 = 5;
    let organization = bench.organization().await;
    let mut tasks = JoinSet::new();
    for _ in 0..4 * PLACES {
        let store = bench.store.clone();
        let commit = insert_key(&new_key(&organization)).guard(Guard::LiveKeysBelow(organization.id, PLACES));
        tasks.spawn(async move { store.commit(commit).await });
    }
    let mut made = 0;
    for answer in tasks.join_all().await {
        match answer {
            Ok(_) => made += 1,
            lost => bench.refused("an insert beyond the limit", lost, StoreErrorKind::LimitReached),
        }
    }
    bench.same("the number of keys inserted at once", made, PLACES);
}

async fn leaves_nothing<S: ManagedStore>(bench: &Bench<S>, guard: Guard, kind: StoreErrorKind) {
    let organization = Organization::new("Guarded");
    let commit = insert_organization(&organization)
        .audit(event(organization.id))
        .guard(guard.clone());
    let id = commit.id;
    bench.fails(&format!("a commit with {guard:?}"), commit, kind).await;
    let stored = bench.get("reading an organization", organization.id).await;
    bench.same("the organization of a commit whose guard failed", stored, None);
    let events = bench
        .get("reading audit events", AuditEvents::of(organization.id))
        .await;
    bench.holds(events.items.is_empty(), "a commit whose guard failed was audited");
    bench.same(
        "whether it was committed",
        bench.get("reading a commit", id).await,
        false,
    );
}
