//! Callers that go away.
//!
//! Whether a commit whose future was dropped was made, or still may be, is found out by a second one that only one of the
//! two can win: the same id again, or another update from the same revision.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::bench::{
    Bench, Watch, insert_key, insert_organization, new_key, new_secret, update_key, update_organization,
};
use crate::key::Organization;
use crate::store::{Commit, ManagedStore, StoreErrorKind, Write};

/// More polls than any change takes.
const MOST_POLLS: usize = 100;
/// Only a store that breaks the rule waits this long.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn never_polled<S: ManagedStore>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let never = Organization::new("never");
    let commits = [
        insert_organization(&never),
        update_organization(&organization),
        insert_key(&new_key(&organization)),
        update_key(&key.record),
    ];
    let watch = bench.watch_key(key.record.id);
    for commit in &commits {
        drop(bench.store.commit(commit.clone()));
    }
    bench.holds(!watch.was_bumped(), "a commit that was never polled was announced");
    for commit in commits {
        bench.commit("a commit that was never polled before", commit).await;
    }
}

pub(super) async fn at_every_poll<S: ManagedStore>(bench: &Bench<S>) {
    every_poll(async |polls| {
        let organization = Organization::new("Acme");
        let watch = bench.watch_organization(organization.id);
        let commit = insert_organization(&organization);
        is_made_and_announced(bench, polls, commit, StoreErrorKind::AlreadyExists, &watch).await
    })
    .await;
    every_poll(async |polls| {
        let organization = bench.organization().await;
        let watch = bench.watch_organization(organization.id);
        let commit = update_organization(&organization);
        is_made_and_announced(bench, polls, commit, StoreErrorKind::Conflict, &watch).await
    })
    .await;
    every_poll(async |polls| {
        let key = new_key(&bench.organization().await);
        let watch = bench.watch_key(key.record.id);
        is_made_and_announced(bench, polls, insert_key(&key), StoreErrorKind::AlreadyExists, &watch).await
    })
    .await;
    every_poll(async |polls| {
        let (_, key) = bench.inserted().await;
        let watch = bench.watch_key(key.record.id);
        let secret = Write::InsertSecret(key.record.id, new_secret("sha256:11"));
        let commit = update_key(&key.record).write(secret);
        is_made_and_announced(bench, polls, commit, StoreErrorKind::Conflict, &watch).await
    })
    .await;
    every_poll(async |polls| {
        let (_, key) = bench.inserted().await;
        let watch = bench.watch_key(key.record.id);
        let commit = Commit::new().write(Write::DeleteKey(key.record.id));
        is_made_and_announced(bench, polls, commit, StoreErrorKind::NotFound, &watch).await
    })
    .await;
}

/// Tries with one poll, then two, until a try lived to its end.
async fn every_poll(try_with: impl AsyncFn(usize) -> bool) {
    for polls in 1..MOST_POLLS {
        if try_with(polls).await {
            return;
        }
    }
}

/// Drops a commit after so many polls, and judges by a second one: if it succeeded, the first was never made and cannot be
/// any more. If it failed in this way, the first was made, and its announcement may be under way. Whether the first lived
/// to its end.
async fn is_made_and_announced<S: ManagedStore>(
    bench: &Bench<S>,
    polls: usize,
    commit: Commit,
    made: StoreErrorKind,
    watch: &Watch,
) -> bool {
    let finished = poll_at_most(polls, bench.store.commit(commit.clone())).await.is_some();
    let what = format!("a second commit of {:?}", commit.writes);
    let second = bench.store.commit(commit).await;
    if second.is_ok() {
        return finished;
    }
    bench.refused(&what, second, made);
    let deadline = Instant::now() + PATIENCE;
    while !watch.was_bumped() {
        let otherwise = "a commit was made, its caller went away, and nothing was announced";
        bench.holds(Instant::now() < deadline, otherwise);
        tokio::task::yield_now().await;
    }
    finished
}

/// Polls a future at most so many times, and drops it if it has not ended by then.
async fn poll_at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled >= polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
