//! A caller that goes away.
//!
//! Whether a change whose future was dropped was made, or still may be, is found out by making another one that only one
//! of the two can win: the same id again, or another update from the same revision.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::bench::{Bench, Watch, new_key};
use crate::key::Organization;
use crate::store::{ManageKeys, StoreError, StoreErrorKind};

/// More polls than any change takes.
const MOST_POLLS: usize = 100;
/// Only a store that breaks the rule waits this long.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn never_polled<S: ManageKeys>(bench: &Bench<S>) {
    let (organization, key) = bench.inserted().await;
    let another = new_key(&organization);
    let watch = bench.watch_key(key.record.id);
    let never = Organization::new("never");
    drop(bench.store.insert_organization(never.clone()));
    drop(bench.store.update_organization(organization.clone()));
    drop(
        bench
            .store
            .insert_key(another.record.clone(), another.secrets[0].clone()),
    );
    drop(bench.store.update_key(key.clone()));
    bench.holds(!watch.was_bumped(), "update_key bumped the fence");
    bench.ok("insert_organization", bench.store.insert_organization(never).await);
    bench.ok(
        "update_organization",
        bench.store.update_organization(organization).await,
    );
    bench.insert(&another).await;
    bench.ok("update_key", bench.store.update_key(key).await);
}

pub(super) async fn at_every_poll<S: ManageKeys>(bench: &Bench<S>) {
    every_poll(async |polls| insert_organization(bench, polls).await).await;
    every_poll(async |polls| update_organization(bench, polls).await).await;
    every_poll(async |polls| insert_key(bench, polls).await).await;
    every_poll(async |polls| update_key(bench, polls).await).await;
}

/// Tries with one poll, then two, until a try lived to its end.
async fn every_poll(try_with: impl AsyncFn(usize) -> bool) {
    for polls in 1..MOST_POLLS {
        if try_with(polls).await {
            return;
        }
    }
}

async fn insert_organization<S: ManageKeys>(bench: &Bench<S>, polls: usize) -> bool {
    let organization = Organization::new("Acme");
    let watch = bench.watch_organization(organization.id);
    let insert = || bench.store.insert_organization(organization.clone());
    let finished = poll_at_most(polls, insert()).await.is_some();
    was_made_and_bumped(
        bench,
        "insert_organization",
        insert().await,
        StoreErrorKind::AlreadyExists,
        &watch,
    )
    .await;
    finished
}

async fn update_organization<S: ManageKeys>(bench: &Bench<S>, polls: usize) -> bool {
    let organization = bench.organization().await;
    let watch = bench.watch_organization(organization.id);
    let update = || bench.store.update_organization(organization.clone());
    let finished = poll_at_most(polls, update()).await.is_some();
    was_made_and_bumped(
        bench,
        "update_organization",
        update().await,
        StoreErrorKind::Conflict,
        &watch,
    )
    .await;
    finished
}

async fn insert_key<S: ManageKeys>(bench: &Bench<S>, polls: usize) -> bool {
    let key = new_key(&bench.organization().await);
    let watch = bench.watch_key(key.record.id);
    let insert = || bench.store.insert_key(key.record.clone(), key.secrets[0].clone());
    let finished = poll_at_most(polls, insert()).await.is_some();
    was_made_and_bumped(
        bench,
        "insert_key",
        insert().await,
        StoreErrorKind::AlreadyExists,
        &watch,
    )
    .await;
    finished
}

async fn update_key<S: ManageKeys>(bench: &Bench<S>, polls: usize) -> bool {
    let (_, key) = bench.inserted().await;
    let watch = bench.watch_key(key.record.id);
    let update = || bench.store.update_key(key.clone());
    let finished = poll_at_most(polls, update()).await.is_some();
    was_made_and_bumped(bench, "update_key", update().await, StoreErrorKind::Conflict, &watch).await;
    finished
}

/// Judges by the second try: if it succeeded, the first was never made and cannot be any more. Otherwise the first was
/// made, and its announcement may be under way.
async fn was_made_and_bumped<S: ManageKeys, T: std::fmt::Debug>(
    bench: &Bench<S>,
    what: &str,
    second: Result<T, StoreError>,
    made: StoreErrorKind,
    watch: &Watch,
) {
    if second.is_ok() {
        return;
    }
    bench.refused(&format!("a second {what}"), second, made);
    let deadline = Instant::now() + PATIENCE;
    while !watch.was_bumped() {
        let waiting = Instant::now() < deadline;
        bench.holds(
            waiting,
            format!("{what} was made, its caller went away, and nothing was announced"),
        );
        tokio::task::yield_now().await;
    }
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
