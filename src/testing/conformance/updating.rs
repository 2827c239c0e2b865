//! An update names what it read, and leaves exactly what it says.

use super::bench::{Bench, hash, lookup, new_key, new_secret, new_text};
use crate::key::{KeyStatus, Organization, OrganizationStatus, Timestamp};
use crate::store::{ManageKeys, StoreErrorKind, StoredKey};

pub(super) async fn organization<S: ManageKeys>(bench: &Bench<S>) {
    let read = bench.organization().await;
    let mut changed = read.clone();
    changed.status = OrganizationStatus::Inactive;
    let stored = bench.ok(
        "update_organization",
        bench.store.update_organization(changed.clone()).await,
    );
    changed.revision += 1;
    bench.same("the updated organization", stored, changed.clone());

    let mut ahead = read.clone();
    ahead.revision = changed.revision + 1;
    for outdated in [read, ahead] {
        let answer = bench.store.update_organization(outdated).await;
        bench.refused("updating from another revision", answer, StoreErrorKind::Conflict);
        let stored = bench.ok("organization", bench.store.organization(changed.id).await);
        bench.same("the organization", stored, Some(changed.clone()));
    }
    let answer = bench.store.update_organization(Organization::new("nobody")).await;
    bench.refused(
        "updating an organization that is not there",
        answer,
        StoreErrorKind::NotFound,
    );
}

pub(super) async fn key<S: ManageKeys>(bench: &Bench<S>) {
    let (organization, read) = bench.inserted().await;
    let mut changed = read.clone();
    changed.record.status = KeyStatus::Revoked;
    let record = bench.ok("update_key", bench.store.update_key(changed.clone()).await);
    changed.record.revision += 1;
    bench.same("the updated record", record, changed.record.clone());

    let mut ahead = read.clone();
    ahead.record.revision = changed.record.revision + 1;
    for mut outdated in [read, ahead] {
        outdated.secrets = vec![new_secret("sha256:11")];
        let lookup = outdated.secrets[0].lookup.clone();
        let answer = bench.store.update_key(outdated).await;
        bench.refused("updating from another revision", answer, StoreErrorKind::Conflict);
        bench.same("the key", bench.stored(changed.record.id).await, changed.clone());
        let found = bench.find(&lookup).await;
        bench.holds(found.is_none(), "a secret of an update that was refused is there");
    }
    let answer = bench.store.update_key(new_key(&organization)).await;
    bench.refused("updating a key that is not there", answer, StoreErrorKind::NotFound);
}

pub(super) async fn owner<S: ManageKeys>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let elsewhere = bench.organization().await;
    let mut moved = key.clone();
    moved.record.organization_id = elsewhere.id;
    let answer = bench.store.update_key(moved).await;
    bench.refused("moving a key to another organization", answer, StoreErrorKind::NotFound);
    bench.same("the key", bench.stored(key.record.id).await, key);
}

pub(super) async fn secrets<S: ManageKeys>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    let (_, bystander) = bench.inserted().await;
    let first = key.secrets[0].clone();
    let mut ending = first.clone();
    ending.expires_at = Some(Timestamp::from_millis(1_767_229_200_000));
    let second = new_secret("sha256:11");
    let third = new_secret("sha256:22");
    // Added, swapped, one replaced, all gone, and one again.
    for secrets in [
        vec![ending.clone(), second.clone()],
        vec![second.clone(), ending],
        vec![third.clone(), second.clone()],
        vec![],
        vec![third.clone()],
    ] {
        key.secrets = secrets;
        key.record = bench.ok("update_key", bench.store.update_key(key.clone()).await);
        bench.same("the key", bench.stored(key.record.id).await, key.clone());
        for secret in [&first, &second, &third] {
            let found = bench.find(&secret.lookup).await.map(|candidate| candidate.secret);
            let should = key.secrets.iter().find(|given| given.lookup == secret.lookup).cloned();
            bench.same("what a lookup finds", found, should);
        }
        bench.same(
            "another key",
            bench.stored(bystander.record.id).await,
            bystander.clone(),
        );
    }
}

pub(super) async fn taken_lookup<S: ManageKeys>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let (_, other) = bench.inserted().await;
    let mut taken = new_secret("sha256:22");
    taken.lookup = other.secrets[0].lookup.clone();
    let twice = new_secret("sha256:22");
    for secrets in [vec![key.secrets[0].clone(), taken], vec![twice.clone(), twice]] {
        let answer = bench
            .store
            .update_key(StoredKey::new(key.record.clone(), secrets))
            .await;
        bench.refused("taking a lookup that is taken", answer, StoreErrorKind::AlreadyExists);
        bench.same("the key", bench.stored(key.record.id).await, key.clone());
        bench.same("the other key", bench.stored(other.record.id).await, other.clone());
    }
}

pub(super) async fn hashes<S: ManageKeys>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    key.secrets.push(new_secret("sha256:11"));
    key.record = bench.ok("update_key", bench.store.update_key(key.clone()).await);
    let (old, new) = (hash("sha256:11"), hash("sha256:99"));
    let second = key.secrets[1].lookup.clone();
    let tries = [
        (lookup(&new_text()), &old, false),
        (key.secrets[0].lookup.clone(), &old, false),
        (second.clone(), &new, false),
        (second.clone(), &old, true),
        (second, &old, false),
    ];
    for (lookup, old, should) in tries {
        let answer = bench.ok("replace_hash", bench.store.replace_hash(&lookup, old, &new).await);
        bench.same("whether the hash was replaced", answer, should);
        if should {
            key.secrets[1].hash = new.clone();
        }
        bench.same("the key", bench.stored(key.record.id).await, key.clone());
    }
    let found = bench
        .find(&key.secrets[1].lookup)
        .await
        .map(|candidate| candidate.secret);
    bench.same("the secret", found, Some(key.secrets[1].clone()));
}
