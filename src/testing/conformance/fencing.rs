//! Commit, then bump, then return.

use std::future::Future;

use super::bench::{Bench, Watch, hash, new_key};
use super::progress::Progress;
use crate::fence::Identity;
use crate::key::{KeyStatus, Organization};
use crate::store::{KeyStore, ManageKeys, StoreError, StoredKey};

const ROUNDS: usize = 24;

pub(super) async fn before_return<S: ManageKeys>(bench: &Bench<S>) {
    for _ in 0..ROUNDS {
        let mut organization = Organization::new("Acme");
        let watch = bench.watch_organization(organization.id);
        let inserted = bench.store.insert_organization(organization.clone()).await;
        let bumped = watch.was_bumped();
        bench.ok("insert_organization", inserted);
        bench.holds(bumped, "insert_organization returned before it");

        organization.name.push('!');
        let watch = bench.watch_organization(organization.id);
        let updated = bench.store.update_organization(organization.clone()).await;
        let bumped = watch.was_bumped();
        bench.ok("update_organization", updated);
        bench.holds(bumped, "update_organization returned before it");

        let mut key = new_key(&organization);
        let watch = bench.watch_key(key.record.id);
        let inserted = bench.store.insert_key(key.record.clone(), key.secrets[0].clone()).await;
        let bumped = watch.was_bumped();
        bench.ok("insert_key", inserted);
        bench.holds(bumped, "insert_key returned before it");

        key.record.status = KeyStatus::Revoked;
        let watch = bench.watch_key(key.record.id);
        let updated = bench.store.update_key(key).await;
        let bumped = watch.was_bumped();
        bench.ok("update_key", updated);
        bench.holds(bumped, "update_key returned before it");
    }
}

/// Whoever sees the bump must be able to read the change.
///
/// The change is polled here and not in a task of its own, and looked at after each poll: a store that bumps, waits and
/// then commits in the caller's future is seen every time, however busy the machine is. Of one that does so in a task, as
/// of one in a database, a turn may be missed where there are several threads; hence many rounds.
pub(super) async fn after_commit<S: ManageKeys>(bench: &Bench<S>) {
    for _ in 0..ROUNDS {
        let mut organization = Organization::new("Acme");
        let id = organization.id;
        let stored = async || {
            let stored = bench.ok("organization", bench.store.organization(id).await);
            stored.map(|organization| organization.revision)
        };
        let insert = bench.store.insert_organization(organization.clone());
        let watch = bench.watch_organization(id);
        seen_after_its_bump(bench, "insert_organization", insert, watch, stored(), 1).await;

        let mut key = new_key(&organization);
        let (id, lookup) = (key.record.id, &key.secrets[0].lookup.clone());
        let found = async || Some(bench.find(lookup).await?.record.revision);
        let insert = bench.store.insert_key(key.record.clone(), key.secrets[0].clone());
        let watch = bench.watch_key(id);
        seen_after_its_bump(bench, "insert_key", insert, watch, found(), 1).await;

        let update = bench.store.update_key(key.clone());
        let watch = bench.watch_key(id);
        key.record = seen_after_its_bump(bench, "update_key", update, watch, found(), 2).await;

        let found = async || Some(bench.find(lookup).await?.organization.revision);
        let update = bench.store.update_organization(organization.clone());
        let watch = bench.watch_organization(organization.id);
        organization = seen_after_its_bump(bench, "update_organization", update, watch, found(), 2).await;
        bench.same("the revisions", (organization.revision, key.record.revision), (2, 2));
    }
}

async fn seen_after_its_bump<S: ManageKeys, T>(
    bench: &Bench<S>,
    what: &str,
    change: impl Future<Output = Result<T, StoreError>>,
    watch: Watch,
    read: impl Future<Output = Option<u64>>,
    revision: u64,
) -> T {
    let mut change = Progress::of(change);
    while change.turn().await && !watch.was_bumped() {
        tokio::task::yield_now().await;
    }
    let found = change.beside(read).await;
    bench.same(
        &format!("the revision that was read after the bump of {what}"),
        found,
        Some(revision),
    );
    bench.ok(what, change.end().await)
}

/// With a higher one the record as it is would count as outdated, and its key be refused for ever; with a lower one, what
/// a reader that lags still gives of the record before would count as new. Of imported rows the first is not the first.
pub(super) async fn with_its_revision<S: ManageKeys>(bench: &Bench<S>) {
    const IMPORTED: u64 = 7;
    let mut organization = Organization::new("Acme");
    organization.revision = IMPORTED;
    let inserted = bench.store.insert_organization(organization.clone()).await;
    bench.ok("insert_organization", inserted);
    let mut key = new_key(&organization);
    key.record.revision = IMPORTED;
    bench.insert(&key).await;
    is_announced(bench, &key, &organization).await;

    key.record = bench.ok("update_key", bench.store.update_key(key.clone()).await);
    is_announced(bench, &key, &organization).await;

    let updated = bench.store.update_organization(organization).await;
    organization = bench.ok("update_organization", updated);
    is_announced(bench, &key, &organization).await;
}

async fn is_announced<S: ManageKeys>(bench: &Bench<S>, key: &StoredKey, organization: &Organization) {
    let (Some(fence), Some(found)) = (bench.store.fence(), bench.find(&key.secrets[0].lookup).await) else {
        bench.broken("a key that was inserted is not there, or the store has no fence");
    };
    bench.same("the revision of a key", found.record.revision, key.record.revision);
    let revision = found.organization.revision;
    bench.same("the revision of an organization", revision, organization.revision);
    let is_outdated = |key_revision, organization_revision| {
        fence.protocol().is_below_floor(&Identity {
            key_revision,
            organization_revision,
            ..fence.identity(&found.record, &found.organization)
        })
    };
    let now = (found.record.revision, found.organization.revision);
    bench.holds(
        !is_outdated(now.0, now.1),
        "a higher one was announced than the record has",
    );
    bench.holds(
        is_outdated(now.0 - 1, now.1) && is_outdated(now.0, now.1 - 1),
        "a lower one was announced than the record has",
    );
}

pub(super) async fn not_for_hashes<S: ManageKeys>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let watch = bench.watch_key(key.record.id);
    let secret = &key.secrets[0];
    let replaced = bench
        .store
        .replace_hash(&secret.lookup, &secret.hash, &hash("sha256:99"))
        .await;
    bench.same(
        "whether the hash was replaced",
        bench.ok("replace_hash", replaced),
        true,
    );
    bench.holds(!watch.was_bumped(), "replace_hash bumped the key");
}
