//! Inserting is not saving.

use super::bench::{Bench, NOW, new_key, new_secret};
use crate::key::{KeyRecord, KeySecret, Organization};
use crate::store::{ManageKeys, StoreErrorKind, StoredKey};

pub(super) async fn organization_twice<S: ManageKeys>(bench: &Bench<S>) {
    let organization = bench.organization().await;
    let mut other = Organization::new("Other");
    other.id = organization.id;
    let answer = bench.store.insert_organization(other).await;
    bench.refused(
        "inserting an organization's id again",
        answer,
        StoreErrorKind::AlreadyExists,
    );
    let stored = bench.ok("organization", bench.store.organization(organization.id).await);
    bench.same("the organization", stored, Some(organization));
}

pub(super) async fn key_twice<S: ManageKeys>(bench: &Bench<S>) {
    let (organization, mut key) = bench.inserted().await;
    key.secrets.push(new_secret("sha256:11"));
    key.record = bench.ok("update_key", bench.store.update_key(key.clone()).await);
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

async fn try_to_take<S: ManageKeys>(
    bench: &Bench<S>,
    key: &StoredKey,
    what: &str,
    record: KeyRecord,
    secret: KeySecret,
) {
    let (intruder, lookup) = (record.id, secret.lookup.clone());
    let answer = bench.store.insert_key(record, secret).await;
    bench.refused(
        &format!("inserting {what} again"),
        answer,
        StoreErrorKind::AlreadyExists,
    );
    bench.same("the key that was there", bench.stored(key.record.id).await, key.clone());
    if intruder != key.record.id {
        bench.same("the key that was refused", bench.key(intruder).await, None);
    }
    let found = bench.find(&lookup).await.map(|candidate| candidate.secret);
    let should = key.secrets.iter().find(|secret| secret.lookup == lookup).cloned();
    bench.same("what the lookup finds", found, should);
}

pub(super) async fn without_organization<S: ManageKeys>(bench: &Bench<S>) {
    let key = new_key(&Organization::new("nowhere"));
    let answer = bench.store.insert_key(key.record.clone(), key.secrets[0].clone()).await;
    bench.refused("inserting a key of no organization", answer, StoreErrorKind::NotFound);
    bench.same("the key that was refused", bench.key(key.record.id).await, None);
    let found = bench.find(&key.secrets[0].lookup).await;
    bench.holds(found.is_none(), "the key that was refused can be found by its lookup");
}
