//! Commit, then announce, then return.

use std::future::Future;

use super::bench::{Bench, Watch, hash, insert_key, insert_organization, new_key, update_key, update_organization};
use super::progress::Progress;
use super::updating::replace_hash;
use crate::fence::Identity;
use crate::key::Organization;
use crate::store::{Commit, Committed, KeyStore, ManagedStore, StoreError, StoreExt, StoredKey, Write};

const ROUNDS: usize = 24;

pub(super) async fn before_return<S: ManagedStore>(bench: &Bench<S>) {
    for _ in 0..ROUNDS {
        let organization = Organization::new("Acme");
        let (id, of_organization) = (organization.id, || bench.watch_organization(organization.id));
        announced(
            bench,
            "insert_organization",
            insert_organization(&organization),
            of_organization(),
        )
        .await;
        announced(
            bench,
            "update_organization",
            update_organization(&organization),
            of_organization(),
        )
        .await;

        let key = new_key(&organization);
        let of_key = || bench.watch_key(key.record.id);
        announced(bench, "insert_key", insert_key(&key), of_key()).await;
        announced(bench, "update_key", update_key(&key.record), of_key()).await;
        let delete = Commit::new().write(Write::DeleteKey(key.record.id));
        announced(bench, "delete_key", delete, of_key()).await;
        let delete = Commit::new().write(Write::DeleteOrganization(id));
        announced(bench, "delete_organization", delete, of_organization()).await;
    }
}

async fn announced<S: ManagedStore>(bench: &Bench<S>, what: &str, commit: Commit, watch: Watch) {
    let answer = bench.store.commit(commit).await;
    let bumped = watch.was_bumped();
    bench.ok(what, answer);
    bench.holds(bumped, format!("{what} returned before it"));
}

/// A commit of several changes announces each of them.
pub(super) async fn all_of_them<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let (new, other) = (Organization::new("New"), new_key(&organization));
    let watches = [
        bench.watch_key(key.record.id),
        bench.watch_organization(organization.id),
        bench.watch_key(other.record.id),
        bench.watch_organization(new.id),
    ];
    let mut commit = update_key(&key.record);
    commit.writes.extend(update_organization(&organization).writes);
    commit.writes.extend(insert_key(&other).writes);
    commit.writes.extend(insert_organization(&new).writes);
    let subjects = commit.subjects();
    let committed = bench.commit("a commit of four changes", commit).await;
    bench.same("the number of changes", committed.changes.len(), subjects.len());
    let all = watches.iter().all(Watch::was_bumped);
    bench.holds(all, "one of several changes was not announced");
}

/// A reader that sees the announcement must be able to read the change.
///
/// The commit is polled here and not in a task of its own, and looked at after each poll: a store that announces, waits and
/// then commits in the caller's future is seen every time, however busy the machine is. Of one that does so in a task, as
/// of one in a database, a turn may be missed where there are several threads; hence many rounds.
pub(super) async fn after_commit<S: ManagedStore>(bench: &Bench<S>) {
    for _ in 0..ROUNDS {
        let mut organization = Organization::new("Acme");
        let id = organization.id;
        let stored = async || bench.get("reading an organization", id).await.map(|row| row.revision);
        let insert = bench.store.commit(insert_organization(&organization));
        let watch = bench.watch_organization(id);
        seen_after_announcement(bench, "insert_organization", insert, watch, stored(), 1).await;

        let mut key = new_key(&organization);
        let (id, lookup) = (key.record.id, &key.secrets[0].lookup.clone());
        let found = async || Some(bench.find(lookup).await?.record.revision);
        let insert = bench.store.commit(insert_key(&key));
        let watch = bench.watch_key(id);
        seen_after_announcement(bench, "insert_key", insert, watch, found(), 1).await;

        let update = bench.store.commit(update_key(&key.record));
        let watch = bench.watch_key(id);
        seen_after_announcement(bench, "update_key", update, watch, found(), 2).await;
        key.record.revision = 2;

        let found = async || Some(bench.find(lookup).await?.organization.revision);
        let update = bench.store.commit(update_organization(&organization));
        let watch = bench.watch_organization(organization.id);
        seen_after_announcement(bench, "update_organization", update, watch, found(), 2).await;
        organization.revision = 2;

        let gone = async || bench.find(lookup).await.map_or(Some(0), |_| None);
        let delete = bench.store.commit(Commit::new().write(Write::DeleteKey(id)));
        let watch = bench.watch_key(id);
        seen_after_announcement(bench, "delete_key", delete, watch, gone(), 0).await;
    }
}

async fn seen_after_announcement<S: ManagedStore>(
    bench: &Bench<S>,
    what: &str,
    commit: impl Future<Output = Result<Committed, StoreError>>,
    watch: Watch,
    read: impl Future<Output = Option<u64>>,
    revision: u64,
) {
    let mut commit = Progress::of(commit);
    while commit.turn().await && !watch.was_bumped() {
        tokio::task::yield_now().await;
    }
    let found = commit.beside(read).await;
    let read = format!("the revision that was read after the announcement of {what}");
    bench.same(&read, found, Some(revision));
    bench.ok(what, commit.end().await);
}

/// With a higher one the record as it is would count as outdated, and its key be refused from then on; with a lower one,
/// what a reader that lags still gives of the record before would count as new. Of imported rows the first is not 1.
pub(super) async fn with_its_revision<S: ManagedStore>(bench: &Bench<S>) {
    const IMPORTED: u64 = 7;
    let mut organization = Organization::new("Acme");
    organization.revision = IMPORTED;
    bench
        .commit("insert_organization", insert_organization(&organization))
        .await;
    let mut key = new_key(&organization);
    key.record.revision = IMPORTED;
    bench.insert(&key).await;
    is_announced(bench, &key, &organization).await;

    bench.update(&mut key.record).await;
    is_announced(bench, &key, &organization).await;

    bench.update_organization(&mut organization).await;
    is_announced(bench, &key, &organization).await;
}

async fn is_announced<S: ManagedStore>(bench: &Bench<S>, key: &StoredKey, organization: &Organization) {
    let (Some(fence), Some(found)) = (bench.store.fence(), bench.find(&key.secrets[0].lookup).await) else {
        bench.broken("a key that was inserted is not there, or the store has no fence");
    };
    bench.same("the revision of a key", found.record.revision, key.record.revision);
    let revision = found.organization.revision;
    bench.same("the revision of an organization", revision, organization.revision);
    let is_outdated = |key_revision, organization_revision| {
        fence.protocol().is_below_minimum_revision(&Identity {
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

pub(super) async fn not_for_hashes<S: ManagedStore>(bench: &Bench<S>) {
    let (_, key) = bench.inserted().await;
    let watch = bench.watch_key(key.record.id);
    let secret = &key.secrets[0];
    let commit = replace_hash(&secret.lookup, &secret.hash, &hash("sha256:99"));
    bench.commit("replacing a hash", commit).await;
    bench.holds(!watch.was_bumped(), "replacing a hash announced the key");
    let stored = bench.ok("reading a key", bench.store.get(key.record.id).await);
    bench.same("the revision", stored.map(|stored| stored.record.revision), Some(1));
}
