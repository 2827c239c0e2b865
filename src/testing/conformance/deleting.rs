//! Deletions, and what may come after them.

use super::bench::{Bench, insert_key, new_secret};
use crate::fence::Identity;
use crate::key::{KeyId, OrganizationId};
use crate::store::{Commit, KeyStore, ManagedStore, StoreErrorKind, Write};

pub(super) async fn key<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    let (_, bystander) = bench.inserted().await;
    bench.add_secret(&mut key, new_secret("sha256:11")).await;
    let Some(found) = bench.find(&key.secrets[0].lookup).await else {
        bench.broken("a key that was inserted is not there");
    };
    let committed = bench.commit("deleting a key", delete_key(key.record.id)).await;
    let revision = key.record.revision + 1;
    bench.same(
        "the revision of a deletion",
        committed.revision_of(key.record.id),
        Some(revision),
    );
    bench.same("the deleted key", bench.key(key.record.id).await, None);
    for secret in &key.secrets {
        bench.holds(bench.find(&secret.lookup).await.is_none(), "a deleted key can be found");
    }
    bench.same("another key", bench.stored(bystander.record.id).await, bystander);

    // What a reader that lags still gives of it is refused; what is inserted later is not.
    let Some(fence) = bench.store.fence() else {
        bench.broken("a store that writes has no fence");
    };
    let is_outdated = |key_revision| {
        fence.protocol().is_below_minimum_revision(&Identity {
            key_revision,
            ..fence.identity(&found.record, &found.organization)
        })
    };
    bench.holds(
        is_outdated(revision - 1),
        "the deletion was announced without its revision",
    );
    bench.holds(
        !is_outdated(revision),
        "the deletion was announced with a higher revision than it returned",
    );
    bench
        .fails(
            "deleting a key again",
            delete_key(key.record.id),
            StoreErrorKind::NotFound,
        )
        .await;
    key.record.revision = revision;
    bench.insert(&key).await;
    bench.same(
        "a key that was inserted again",
        bench.stored(key.record.id).await,
        key.clone(),
    );

    // Both in one commit.
    let mut commit = Commit::new().write(Write::DeleteKey(key.record.id));
    key.record.revision = revision + 5;
    commit.writes.extend(insert_key(&key).writes);
    let committed = bench.commit("deleting and inserting a key", commit).await;
    let revision = committed.revision_of(key.record.id);
    bench.same(
        "the revision of a key that was replaced",
        revision,
        Some(key.record.revision),
    );
    bench.same(
        "a key that was replaced",
        bench.stored(key.record.id).await,
        key.clone(),
    );
    let found = bench.find(&key.secrets[0].lookup).await.map(|found| found.organization);
    bench.same("its organization", found, Some(organization));
}

pub(super) async fn organization<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let delete = || Commit::new().write(Write::DeleteOrganization(organization.id));
    let what = "deleting an organization that has keys";
    bench.fails(what, delete(), StoreErrorKind::Conflict).await;
    bench.same("the key", bench.stored(key.record.id).await, key.clone());
    let stored = bench.get("reading an organization", organization.id).await;
    bench.same("the organization", stored, Some(organization.clone()));

    let mut with_its_keys = Commit::new().write(Write::DeleteKey(key.record.id));
    with_its_keys.writes.extend(delete().writes);
    let committed = bench
        .commit("deleting an organization with its keys", with_its_keys)
        .await;
    let revision = committed.revision_of(organization.id);
    bench.same("the revision of a deletion", revision, Some(organization.revision + 1));
    let stored = bench.get("reading an organization", organization.id).await;
    bench.same("the deleted organization", stored, None);
    bench
        .fails("deleting an organization again", delete(), StoreErrorKind::NotFound)
        .await;
    for missing in [
        Commit::new().write(Write::DeleteOrganization(OrganizationId::new())),
        delete_key(KeyId::new()),
    ] {
        bench
            .fails("deleting what is not there", missing, StoreErrorKind::NotFound)
            .await;
    }
}

fn delete_key(id: KeyId) -> Commit {
    Commit::new().write(Write::DeleteKey(id))
}
