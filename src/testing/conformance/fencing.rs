//! Commit, then bump, then return.

use super::bench::{Bench, hash, new_key};
use super::progress::Progress;
use crate::key::{KeyStatus, Organization};
use crate::store::ManageKeys;

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
    let (_, mut key) = bench.inserted().await;
    let lookup = key.secrets[0].lookup.clone();
    for _ in 0..ROUNDS {
        let watch = bench.watch_key(key.record.id);
        let mut update = Progress::of(bench.store.update_key(key.clone()));
        while update.turn().await && !watch.was_bumped() {
            tokio::task::yield_now().await;
        }
        let found = update.beside(bench.find(&lookup)).await;
        bench.same(
            "the revision that was read after the bump",
            found.map(|candidate| candidate.record.revision),
            Some(key.record.revision + 1),
        );
        key.record = bench.ok("update_key", update.end().await);
    }
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
