//! An insert never overwrites.

use uuid::Uuid;

use super::bench::{Bench, NOW, insert_key, insert_organization, new_key, new_secret, update_key, update_organization};
use crate::key::{KeyId, KeyRecord, KeySecret, Organization};
use crate::store::query::OrganizationBySlug;
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoredKey, Write};

pub(super) async fn organization_twice<S: ManagedStore>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let mut other = Organization::new("Other");
    other.id = organization.id;
    let what = "inserting an organization's id again";
    bench
        .fails(what, insert_organization(&other), StoreErrorKind::AlreadyExists)
        .await;
    let stored = bench.get("reading an organization", organization.id).await;
    bench.same("the organization", stored, Some(organization));

    other.id = Uuid::nil().into();
    let what = "inserting an organization with the nil id";
    bench
        .fails(what, insert_organization(&other), StoreErrorKind::InvalidCommit)
        .await;
}

pub(super) async fn slug_twice<S: ManagedStore>(bench: &Bench<S>) {
    let first = bench.organization().await;
    let mut second = Organization::new("Other");
    let own = std::mem::replace(&mut second.slug, first.slug.clone());
    let what = "inserting an organization with a taken slug";
    bench
        .fails(what, insert_organization(&second), StoreErrorKind::AlreadyExists)
        .await;
    let missing = bench.get("reading an organization", second.id).await;
    bench.same("the organization that was refused", missing, None);

    second.slug.clone_from(&own);
    bench
        .commit("inserting an organization", insert_organization(&second))
        .await;
    second.slug.clone_from(&first.slug);
    let what = "giving an organization a taken slug";
    bench
        .fails(what, update_organization(&second), StoreErrorKind::AlreadyExists)
        .await;
    second.slug.clone_from(&own);
    let by_slug = async |slug: &str| bench.get("a slug", OrganizationBySlug(slug.to_owned())).await;
    bench.same("the organization of a slug", by_slug(&own).await, Some(second.clone()));
    bench.same(
        "the organization of the other slug",
        by_slug(&first.slug).await,
        Some(first.clone()),
    );
    bench.same(
        "the organization of a slug in upper case",
        by_slug(&own.to_uppercase()).await,
        None,
    );

    // The slug that it has is not taken by another.
    second.name = "Renamed".to_owned();
    bench.update_organization(&mut second).await;
    second.slug = Organization::new("").slug;
    bench.update_organization(&mut second).await;
    bench.same(
        "the organization of its new slug",
        by_slug(&second.slug).await,
        Some(second.clone()),
    );
    bench.same(
        "the organization of the slug that it gave up",
        by_slug(&own).await,
        None,
    );
    let mut third = Organization::new("Third");
    third.slug = own;
    bench
        .commit("taking a slug that is free again", insert_organization(&third))
        .await;
    bench
        .commit(
            "deleting an organization",
            Commit::new().write(Write::DeleteOrganization(third.id)),
        )
        .await;
    bench.same(
        "the organization of a slug after its deletion",
        by_slug(&third.slug).await,
        None,
    );
}

pub(super) async fn key_twice<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    bench.add_secret(&mut key, new_secret("sha256:11")).await;
    let record = || KeyRecord::new(organization.id, "intruder", NOW);

    let mut same_id = record();
    same_id.id = key.record.id;
    try_to_take(bench, &key, "an id", same_id, new_secret("sha256:22")).await;
    for secret in &key.secrets {
        let mut same_lookup = new_secret("sha256:22");
        same_lookup.lookup = secret.lookup.clone();
        try_to_take(bench, &key, "a lookup", record(), same_lookup).await;
    }
    let elsewhere = bench.organization().await;
    let mut same_lookup = new_secret("sha256:22");
    same_lookup.lookup = key.secrets[0].lookup.clone();
    let record = KeyRecord::new(elsewhere.id, "intruder", NOW);
    try_to_take(bench, &key, "another organization's lookup", record, same_lookup).await;
}

async fn try_to_take<S: ManagedStore>(
    bench: &Bench<S>,
    key: &StoredKey,
    what: &str,
    record: KeyRecord,
    secret: KeySecret,
) {
    let (intruder, lookup) = (record.id, secret.lookup.clone());
    let commit = insert_key(&StoredKey::new(record, vec![secret]));
    let what = format!("inserting {what} again");
    bench.fails(&what, commit, StoreErrorKind::AlreadyExists).await;
    bench.same("the key that was there", bench.stored(key.record.id).await, key.clone());
    if intruder != key.record.id {
        bench.same("the key that was refused", bench.key(intruder).await, None);
    }
    let found = bench.find(&lookup).await.map(|candidate| candidate.secret);
    let should = key.secrets.iter().find(|secret| secret.lookup == lookup).cloned();
    bench.same("what the lookup finds", found, should);
}

pub(super) async fn secret_twice<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let (_, other) = bench.inserted().await;
    let mut taken = new_secret("sha256:22");
    taken.lookup = other.secrets[0].lookup.clone();
    let mut own = new_secret("sha256:22");
    own.lookup = key.secrets[0].lookup.clone();
    let twice = new_secret("sha256:22");
    for secrets in [vec![taken], vec![own], vec![twice.clone(), twice]] {
        let mut commit = update_key(&key.record);
        for secret in secrets {
            commit = commit.write(Write::InsertSecret(key.record.id, secret));
        }
        let what = "inserting a secret with a taken lookup";
        bench.fails(what, commit, StoreErrorKind::AlreadyExists).await;
        bench.same("the key", bench.stored(key.record.id).await, key.clone());
        bench.same("the other key", bench.stored(other.record.id).await, other.clone());
    }
}

pub(super) async fn without_owner<S: ManagedStore>(bench: &Bench<S>) {
    let key = new_key(&Organization::new("nowhere"));
    let what = "inserting a key of no organization";
    bench.fails(what, insert_key(&key), StoreErrorKind::NotFound).await;
    bench.same("the key that was refused", bench.key(key.record.id).await, None);
    let found = bench.find(&key.secrets[0].lookup).await;
    bench.holds(found.is_none(), "the key that was refused can be found by its lookup");
}

pub(super) async fn secret_alone<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let (id, lookup) = (key.record.id, key.secrets[0].lookup.clone());
    let secret = new_secret("sha256:11");
    let new = secret.lookup.clone();
    for write in [
        Write::InsertSecret(id, secret.clone()),
        Write::InsertSecret(KeyId::new(), secret),
        Write::UpdateSecret {
            key: id,
            lookup: lookup.clone(),
            expires_at: Some(NOW),
            grace_ends_at: None,
        },
        Write::DeleteSecret { key: id, lookup },
    ] {
        let what = "writing a secret without its key";
        bench
            .fails(what, Commit::new().write(write), StoreErrorKind::InvalidCommit)
            .await;
        bench.same("the key", bench.stored(id).await, key.clone());
    }
    bench.holds(
        bench.find(&new).await.is_none(),
        "a secret that was refused can be found",
    );
}
