//! The states of keys, and the keys that a key made.

use super::bench::{Bench, NOW, new_key, one};
use super::rows::must;
use crate::key::{Actor, Holds, KeyId, KeyRecord, KeyState, KeyStatus, Organization, Revocation, StateChange};
use crate::store::query::DescendantsOf;
use crate::store::{ManagedStore, StoreErrorKind, Write};

pub(super) async fn of_keys<S: ManagedStore>(bench: &Bench<S>) {
    let (_, mut key) = bench.inserted().await;
    let active = KeyState::of(&key.record);
    let mut held = active.clone();
    held.status = KeyStatus::Disabled;
    held.holds = must(bench, Holds::new(["user:o'brien \"é\"", "label:ci"]));
    let mut revoked = active.clone();
    revoked.status = KeyStatus::Revoked;
    revoked.revocation = Some(Revocation::new(NOW, "o'; --", Actor::operator("root")));

    // What changed meanwhile stays, and does not get into the way.
    let before = key.record.clone();
    key.record.name = "another name".to_owned();
    bench.update(&mut key.record).await;
    bench.commit("disabling a key", set(&before, &active, &held)).await;
    held.clone().set(&mut key.record);
    key.record.revision += 1;
    bench.same("a disabled key", bench.stored(key.record.id).await, key.clone());
    bench.same("a disabled key", bench.found(&key).await.record, key.record.clone());

    let conflict = StoreErrorKind::Conflict;
    let what = "changing a key that is in another state";
    bench.fails(what, set(&before, &active, &revoked), conflict).await;
    let mut fewer = held.clone();
    fewer.holds = must(bench, Holds::new(["label:ci"]));
    let what = "changing a key that has another hold too";
    bench.fails(what, set(&before, &fewer, &active), conflict).await;
    bench.same(
        "a key whose change failed",
        bench.stored(key.record.id).await,
        key.clone(),
    );

    let outdated = key.record.clone();
    bench.commit("revoking a key", set(&outdated, &held, &revoked)).await;
    let what = "an update from before a change of the state";
    bench.fails(what, one(Write::UpdateKey(outdated)), conflict).await;
    revoked.clone().set(&mut key.record);
    key.record.revision += 1;
    bench.same("a revoked key", bench.stored(key.record.id).await, key);
    let nobody = new_key(&Organization::new("nowhere")).record;
    let what = "changing a key that is not there";
    bench
        .fails(what, set(&nobody, &active, &revoked), StoreErrorKind::NotFound)
        .await;
}

pub(super) async fn announced<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let active = KeyState::of(&key.record);
    let mut disabled = active.clone();
    disabled.status = KeyStatus::Disabled;
    let watch = bench.watch_key(key.record.id);
    let committed = bench
        .commit("disabling a key", set(&key.record, &active, &disabled))
        .await;
    bench.holds(watch.was_bumped(), "a change of a key's state was not announced");
    let revision = committed.revision_of(key.record.id);
    bench.same(
        "the revision of a disabled key",
        revision,
        Some(key.record.revision + 1),
    );
}

/// A tree of depth 3 over two organizations, beside another one; then a circle.
pub(super) async fn descendants<S: ManagedStore>(bench: &Bench<S>) {
    let (acme, other) = (bench.organization().await, bench.organization().await);
    let mut keys = Vec::new();
    // Who made whom.
    for (organization, creator) in [
        (&acme, None),
        (&acme, Some(0)),
        (&other, Some(0)),
        (&acme, Some(2)),
        (&acme, Some(3)),
        (&acme, None),
        (&acme, Some(5)),
    ] {
        let mut key = new_key(organization);
        key.record.created_by_key = creator.and_then(|number: usize| keys.get(number)).map(id_of);
        bench.insert(&key).await;
        keys.push(key.record);
    }
    for (of, expected) in [(0, vec![1, 2, 3, 4]), (2, vec![3, 4]), (5, vec![6]), (4, vec![])] {
        is_found(bench, &keys, of, expected).await;
    }
    // Written by hand.
    let last = keys[4].id;
    keys[0].created_by_key = Some(last);
    bench.update(&mut keys[0]).await;
    is_found(bench, &keys, 0, vec![1, 2, 3, 4]).await;
    is_found(bench, &keys, 3, vec![0, 1, 2, 4]).await;
}

async fn is_found<S: ManagedStore>(bench: &Bench<S>, keys: &[KeyRecord], of: usize, expected: Vec<usize>) {
    let mut expected: Vec<KeyRecord> = expected.into_iter().map(|number| keys[number].clone()).collect();
    expected.sort_by_key(id_of);
    let all = DescendantsOf::key(keys[of].id);
    let found = bench.get("reading descendants", all).await;
    bench.same("the descendants of a key", found, expected.clone());
    if !expected.is_empty() {
        let first = expected.remove(0).id;
        let found = bench.get("reading descendants", all.after(first)).await;
        bench.same("the descendants of a key after one of them", found, expected);
    }
}

fn id_of(record: &KeyRecord) -> KeyId {
    record.id
}

fn set(read: &KeyRecord, was: &KeyState, state: &KeyState) -> crate::store::Commit {
    let mut change = StateChange::new(read, state.clone());
    change.was = was.clone();
    one(Write::SetKeyState(change))
}
