//! Users.

use super::bench::{Bench, NOW, insert_key, new_key, one, update_key};
use super::rows::{metadata, must};
use crate::key::{Actor, KeyStatus, Organization, User, UserId, UserStatus};
use crate::store::query::{OneUser, Users};
use crate::store::{Guard, ManagedStore, StoreErrorKind, Write};

pub(super) async fn rows<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    let id = user_id(bench, "kurt@example.com");
    key.record.user = Some(id.clone());
    bench.update(&mut key.record).await;
    bench.same("the user of a key", bench.found(&key).await.user, None);

    let mut user = User::new(organization.id, id.clone(), NOW);
    let insert = || one(Write::InsertUser(User::new(organization.id, id.clone(), NOW)));
    let committed = bench.commit("inserting a user", insert()).await;
    let revision = committed.revision_of(organization.id);
    bench.same(
        "the organization's revision after a user",
        revision,
        Some(organization.revision),
    );
    bench
        .fails("inserting a user again", insert(), StoreErrorKind::AlreadyExists)
        .await;
    user.name = Some("Kürt".to_owned());
    user.email = Some("Kurt@Example.com".to_owned());
    user.metadata = must(bench, metadata());
    user.status = UserStatus::Disabled;
    user.reason = "o'; DROP TABLE users; --".to_owned();
    user.actor = Actor::operator("root");
    bench
        .commit("updating a user", one(Write::UpdateUser(user.clone())))
        .await;
    let outdated = user.clone();
    user.revision += 1;
    let query = OneUser(organization.id, id.clone());
    bench.same(
        "the user",
        bench.get("reading a user", query.clone()).await,
        Some(user.clone()),
    );
    bench.same("the user of a key", bench.found(&key).await.user, Some(user.clone()));
    let what = "an outdated update of a user";
    bench
        .fails(what, one(Write::UpdateUser(outdated)), StoreErrorKind::Conflict)
        .await;

    let elsewhere = bench.organization().await;
    let query_elsewhere = OneUser(elsewhere.id, id.clone());
    let read = bench.get("reading a user", query_elsewhere).await;
    bench.same("a user of this id in another organization", read, None);
    let nowhere = User::new(Organization::new("nowhere").id, id.clone(), NOW);
    let what = "a user of no organization";
    bench
        .fails(what, one(Write::InsertUser(nowhere.clone())), StoreErrorKind::NotFound)
        .await;
    let what = "updating a user that is not there";
    bench
        .fails(what, one(Write::UpdateUser(nowhere)), StoreErrorKind::NotFound)
        .await;

    let delete = || one(Write::DeleteUser(organization.id, id.clone()));
    let what = "deleting a user that has a key";
    bench.fails(what, delete(), StoreErrorKind::Conflict).await;
    key.record.status = KeyStatus::Revoked;
    let commit = update_key(&key.record).write(Write::DeleteUser(organization.id, id.clone()));
    bench
        .commit("revoking a user's last key and deleting the user", commit)
        .await;
    bench.same("the user", bench.get("reading a user", query).await, None);
    bench
        .fails("deleting a user twice", delete(), StoreErrorKind::NotFound)
        .await;
}

pub(super) async fn with_organization<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let id = user_id(bench, "alice");
    let user = User::new(organization.id, id.clone(), NOW);
    bench.commit("inserting a user", one(Write::InsertUser(user))).await;
    let delete = || one(Write::DeleteOrganization(organization.id));
    let what = "deleting an organization that has a user";
    bench.fails(what, delete(), StoreErrorKind::Conflict).await;
    let both = one(Write::DeleteUser(organization.id, id)).write(Write::DeleteOrganization(organization.id));
    bench.commit("deleting a user and its organization", both).await;
}

pub(super) async fn guarded<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let id = user_id(bench, "alice");
    let guarded = || insert_key(&new_key(&organization)).guard(Guard::UserIsActive(organization.id, id.clone()));
    bench.commit("a key of a user without a row", guarded()).await;
    let mut user = User::new(organization.id, id.clone(), NOW);
    bench
        .commit("inserting a user", one(Write::InsertUser(user.clone())))
        .await;
    bench.commit("a key of an active user", guarded()).await;
    user.status = UserStatus::Disabled;
    bench
        .commit("disabling a user", one(Write::UpdateUser(user.clone())))
        .await;
    bench
        .fails("a key of a disabled user", guarded(), StoreErrorKind::Conflict)
        .await;
    let elsewhere = bench.organization().await;
    let other = insert_key(&new_key(&elsewhere)).guard(Guard::UserIsActive(elsewhere.id, id.clone()));
    bench
        .commit("a key of a user of this id in another organization", other)
        .await;
}

pub(super) async fn lists<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let elsewhere = bench.organization().await;
    let mut all = Vec::new();
    for (number, name) in ["alice", "Bob", "bob", "zoë", "Zoë"].into_iter().enumerate() {
        let mut user = User::new(organization.id, user_id(bench, name), NOW);
        user.status = [UserStatus::Active, UserStatus::Disabled][number % 2];
        bench
            .commit("inserting a user", one(Write::InsertUser(user.clone())))
            .await;
        let other = User::new(elsewhere.id, user.id.clone(), NOW);
        bench.commit("inserting a user", one(Write::InsertUser(other))).await;
        all.push(user);
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    let of = || Users::of(organization.id);
    let mut page = bench.get("reading users", of().page(2)).await;
    let mut read = page.items;
    while let Some(next) = page.next {
        let what = "users after a cursor of another list";
        let foreign = bench.store_get(Users::of(elsewhere.id).after(next.clone())).await;
        bench.refused(what, foreign, StoreErrorKind::InvalidCursor);
        page = bench.get("reading users", of().page(2).after(next)).await;
        read.extend(page.items);
    }
    bench.same("the users of an organization", read, all.clone());
    let disabled = of().status(UserStatus::Disabled);
    let page = bench.get("reading users", disabled.clone()).await;
    let expected: Vec<User> = all
        .into_iter()
        .filter(|user| user.status == UserStatus::Disabled)
        .collect();
    bench.same("the disabled users", page.items, expected);
    let count = bench.get("counting users", disabled.count()).await;
    bench.same("the number of disabled users", count.number, 2);
}

pub(super) fn user_id<S: ManagedStore>(bench: &Bench<S>, text: &str) -> UserId {
    must(bench, text.parse())
}
