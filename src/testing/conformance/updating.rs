//! An update names what it read, and changes nothing else.

use super::bench::{Bench, hash, lookup, new_key, new_secret, new_text, update_key, update_organization};
use crate::key::{KeySecret, KeyStatus, Lookup, Organization, OrganizationStatus, SecretHash, Timestamp};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoredKey, Write};

pub(super) async fn organization<S: ManagedStore>(bench: &Bench<S>) {
    let read = bench.organization().await;
    let mut changed = read.clone();
    changed.status = OrganizationStatus::Inactive;
    bench.update_organization(&mut changed).await;

    let mut ahead = read.clone();
    ahead.revision = changed.revision + 1;
    for outdated in [read, ahead] {
        let what = "updating an organization from another revision";
        bench
            .fails(what, update_organization(&outdated), StoreErrorKind::Conflict)
            .await;
        let stored = bench.get("reading an organization", changed.id).await;
        bench.same("the organization", stored, Some(changed.clone()));
    }
    let commit = update_organization(&Organization::new("nobody"));
    let what = "updating an organization that is not there";
    bench.fails(what, commit, StoreErrorKind::NotFound).await;
}

pub(super) async fn key<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, read) = bench.inserted().await;
    let mut changed = read.clone();
    changed.record.status = KeyStatus::Revoked;
    bench.update(&mut changed.record).await;

    let mut ahead = read.record.clone();
    ahead.revision = changed.record.revision + 1;
    for outdated in [read.record, ahead] {
        let secret = new_secret("sha256:11");
        let lookup = secret.lookup.clone();
        let commit = update_key(&outdated).write(Write::InsertSecret(outdated.id, secret));
        let what = "updating a key from another revision";
        bench.fails(what, commit, StoreErrorKind::Conflict).await;
        bench.same("the key", bench.stored(changed.record.id).await, changed.clone());
        let found = bench.find(&lookup).await;
        bench.holds(found.is_none(), "a secret of a commit that failed is there");
    }
    let commit = update_key(&new_key(&organization).record);
    bench
        .fails("updating a key that is not there", commit, StoreErrorKind::NotFound)
        .await;
}

pub(super) async fn owner<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let elsewhere = bench.organization().await;
    let mut moved = key.record.clone();
    moved.organization_id = elsewhere.id;
    let what = "moving a key to another organization";
    bench.fails(what, update_key(&moved), StoreErrorKind::NotFound).await;
    bench.same("the key", bench.stored(key.record.id).await, key);
}

pub(super) async fn secrets<S: ManagedStore>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    let (_, bystander) = bench.inserted().await;
    let id = key.record.id;
    let [first, second, third] = [key.secrets[0].clone(), new_secret("sha256:11"), new_secret("sha256:22")];
    let mut ending = first.clone();
    ending.expires_at = Some(Timestamp::from_millis(1_767_229_200_000));
    ending.grace_ends_at = Some(Timestamp::from_millis(1_767_229_100_000));
    let insert = |secret: &KeySecret| Write::InsertSecret(id, secret.clone());
    let delete = |secret: &KeySecret| Write::DeleteSecret {
        key: id,
        lookup: secret.lookup.clone(),
    };
    let steps = [
        // Rotated, and taken back.
        (
            vec![ends(id, &ending), insert(&second)],
            vec![ending.clone(), second.clone()],
        ),
        (vec![delete(&second), ends(id, &first)], vec![first.clone()]),
        // In and out of order, all gone, and one again.
        (
            vec![insert(&third), insert(&second)],
            vec![first.clone(), third.clone(), second.clone()],
        ),
        (vec![delete(&third)], vec![first.clone(), second.clone()]),
        (vec![delete(&first), delete(&second)], vec![]),
        (vec![insert(&third)], vec![third.clone()]),
    ];
    for (writes, secrets) in steps {
        let mut commit = update_key(&key.record);
        commit.writes.extend(writes);
        bench.commit("changing secrets", commit).await;
        key.record.revision += 1;
        key.secrets = secrets;
        bench.same("the key", bench.stored(id).await, key.clone());
        for secret in [&first, &second, &third] {
            let found = bench.find(&secret.lookup).await.map(|candidate| candidate.secret);
            let should = key.secrets.iter().find(|given| given.lookup == secret.lookup).cloned();
            bench.same("what a lookup finds", found, should);
        }
        let other = bench.stored(bystander.record.id).await;
        bench.same("another key", other, bystander.clone());
    }
}

fn ends(key: crate::key::KeyId, secret: &KeySecret) -> Write {
    Write::UpdateSecret {
        key,
        lookup: secret.lookup.clone(),
        expires_at: secret.expires_at,
        grace_ends_at: secret.grace_ends_at,
    }
}

/// Of another key, or of none.
pub(super) async fn other_secrets<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let (_, other) = bench.inserted().await;
    let mut nowhere = other.secrets[0].clone();
    nowhere.lookup = lookup(&new_text());
    let id = key.record.id;
    for secret in [&other.secrets[0], &nowhere] {
        let delete = Write::DeleteSecret {
            key: id,
            lookup: secret.lookup.clone(),
        };
        for write in [ends(id, secret), delete] {
            let commit = update_key(&key.record).write(write);
            let what = "writing a secret that is not the key's";
            bench.fails(what, commit, StoreErrorKind::NotFound).await;
            bench.same("the key", bench.stored(id).await, key.clone());
            bench.same("the other key", bench.stored(other.record.id).await, other.clone());
        }
    }
}

pub(super) async fn hashes<S: ManagedStore>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    bench.add_secret(&mut key, new_secret("sha256:11")).await;
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
        let commit = replace_hash(&lookup, old, &new);
        if should {
            let committed = bench.commit("replacing a hash", commit).await;
            bench.holds(committed.changes.is_empty(), "replacing a hash counted as a change");
            key.secrets[1].hash = new.clone();
        } else {
            let what = "replacing a hash that is another";
            bench.fails(what, commit, StoreErrorKind::Conflict).await;
        }
        bench.same("the key", bench.stored(key.record.id).await, key.clone());
    }
    let found = bench.find(&key.secrets[1].lookup).await;
    let found = found.map(|candidate| candidate.secret);
    bench.same("the secret", found, Some(key.secrets[1].clone()));
}

pub(super) fn replace_hash(lookup: &Lookup, old: &SecretHash, new: &SecretHash) -> Commit {
    Commit::new().write(Write::ReplaceHash {
        lookup: lookup.clone(),
        old: old.clone(),
        new: new.clone(),
    })
}

/// A commit that changes a key and its secrets, and fails in the end, leaves no trace of either.
pub(super) async fn half<S: ManagedStore>(bench: &Bench<S>) {
    let (mut organization, key) = bench.inserted().await;
    let before = organization.clone();
    organization.name = "Renamed".to_owned();
    let new = Organization::new("New");
    let added = new_key(&new);
    let mut renamed = key.record.clone();
    renamed.name = "renamed".to_owned();
    let missing = new_key(&organization);
    let commit = update_organization(&organization)
        .write(Write::UpdateKey(renamed))
        .write(Write::DeleteSecret {
            key: key.record.id,
            lookup: key.secrets[0].lookup.clone(),
        })
        .write(Write::InsertOrganization(new.clone()))
        .write(Write::InsertKey(added.record.clone()))
        .write(Write::InsertSecret(added.record.id, added.secrets[0].clone()))
        .write(Write::DeleteKey(added.record.id))
        .write(Write::UpdateKey(missing.record));
    bench
        .fails("a commit whose last write fails", commit, StoreErrorKind::NotFound)
        .await;
    let stored = bench.get("reading an organization", before.id).await;
    bench.same("the organization", stored, Some(before));
    bench.same("the key", bench.stored(key.record.id).await, key.clone());
    let found = bench
        .find(&key.secrets[0].lookup)
        .await
        .map(|candidate| candidate.secret);
    bench.same("the secret", found, Some(key.secrets[0].clone()));
    let stored = bench.get("reading an organization", new.id).await;
    bench.same("an organization of the failed commit", stored, None);
    let stored: Option<StoredKey> = bench.key(added.record.id).await;
    bench.same("a key of the failed commit", stored, None);
}
