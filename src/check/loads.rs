//! Loads in progress: one for all requests that wait for the same answer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use foldhash::fast::RandomState;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::entry::Entry;
use super::presented::Tag;
use super::rejection::{RETRY_AFTER, RejectionKind};
use crate::client::ClientGroup;
use crate::clock::Monotonic;
use crate::fence::Mark;
use crate::key::Lookup;
use crate::sync::unpoisoned;

/// Loads in progress for keys that are not proven yet, in all.
const UNPROVEN: usize = 64;
/// Loads in progress for one lookup and one client, for keys that are not proven yet.
const UNPROVEN_PER_SLOT: usize = 2;

/// How a load ended.
#[derive(Clone)]
pub(super) enum LoadResult {
    /// The key was verified. Whether it may be used is for each request to decide.
    Verified(Arc<Entry>),
    /// The key is unknown or its secret wrong, as of this read and of this many changes.
    Rejected {
        kind: RejectionKind,
        read_at: Monotonic,
        changes: u64,
        /// The client that the load has recorded the failure for. Other waiters cost nothing.
        recorded_for: Option<ClientGroup>,
    },
    /// There is no answer now.
    Unavailable(RejectionKind, Duration),
}

/// What requests must have in common to share a load.
///
/// By lookup alone, one client's wrong secret would answer another's right one. By tag alone, a request that comes after
/// a change would get an answer from before it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct LoadKey {
    pub(super) tag: Tag,
    /// For a key that nothing is known of, how many changes of anything the load has seen when it begins.
    pub(super) changes: Option<u64>,
    /// For a known key, its own changes and those of its organization. If all changes counted, an import of other keys would
    /// let every request of one stale key begin a read of its own.
    pub(super) mark: Option<Mark>,
    /// Whether the load has the key itself. One without can only confirm what is already known.
    pub(super) has_key: bool,
}

/// What the bounds on loads for unproven keys count by.
///
/// By lookup alone, which is no secret, anyone could take its slots with wrong keys and lock the right key out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct LoadSlot {
    pub(super) lookup: Lookup,
    pub(super) client: ClientGroup,
}

/// Where the waiters of a load get its result.
type Waiters = Arc<watch::Sender<Option<LoadResult>>>;

/// The loads in progress. Code that locks both the map and `unproven` locks the map first.
#[derive(Default)]
pub(super) struct Loads {
    // Not SipHash: a key is a tag before all else, which no client can choose.
    running: DashMap<LoadKey, Waiters, RandomState>,
    /// Those whose keys are not proven yet; at most [`UNPROVEN`].
    unproven: Mutex<Vec<(LoadSlot, LoadKey, Waiters)>>,
}

impl Loads {
    /// Waits for the load of this key, which the first caller starts. The load runs in a task of its own, so that no waiter
    /// depends on the first one. When the last waiter goes away, the load is dropped.
    ///
    /// Only loads with a `slot` count against the bounds. Keys that were verified before have none: wrong keys must not
    /// crowd them out, and each costs one read. At the bounds a request waits for an older load of the same key, if there is
    /// one: otherwise steady changes of other keys (an import) would let only the first few requests of a new key in.
    pub(super) async fn join<F>(
        self: &Arc<Self>,
        key: LoadKey,
        slot: Option<LoadSlot>,
        load: impl FnOnce() -> F,
    ) -> LoadResult
    where
        F: Future<Output = LoadResult> + Send + 'static,
    {
        let Some(mut waiter) = self.join_or_start(key, slot, load) else {
            return LoadResult::Unavailable(RejectionKind::Busy, RETRY_AFTER);
        };
        let result = waiter.wait_for(Option::is_some).await;
        // The sender is dropped without a result only when the runtime shuts down.
        let result = result.ok().and_then(|result| result.clone());
        result.unwrap_or(LoadResult::Unavailable(RejectionKind::StoreUnavailable, RETRY_AFTER))
    }

    /// None when too many loads are in progress, or when there is no runtime to run one on.
    fn join_or_start<F>(
        self: &Arc<Self>,
        key: LoadKey,
        slot: Option<LoadSlot>,
        load: impl FnOnce() -> F,
    ) -> Option<watch::Receiver<Option<LoadResult>>>
    where
        F: Future<Output = LoadResult> + Send + 'static,
    {
        let place = match self.running.entry(key.clone()) {
            Slot::Occupied(running) => return Some(running.get().subscribe()),
            Slot::Vacant(place) => place,
        };
        let runtime = Handle::try_current().ok()?;
        let (sender, waiter) = watch::channel(None);
        let sender = Arc::new(sender);
        if let Some(slot) = slot {
            let mut unproven = unpoisoned(self.unproven.lock());
            let taken = unproven.iter().filter(|(other, ..)| *other == slot).count();
            if unproven.len() >= UNPROVEN || taken >= UNPROVEN_PER_SLOT {
                return older(&unproven, &key);
            }
            unproven.push((slot, key.clone(), sender.clone()));
        }
        // The map is unlocked before the task is spawned: a runtime that shuts down drops the task at once, and that takes
        // the load out of the map again.
        drop(place.insert(sender.clone()));
        let running = RunningLoad {
            loads: self.clone(),
            key,
            sender,
        };
        // Boxed, because a task is moved as a whole while it is spawned.
        runtime.spawn(running.run(Box::pin(load())));
        Some(waiter)
    }

    /// Whether the loads for unproven keys are more than half of what may be.
    pub(super) fn is_more_than_half_full(&self) -> bool {
        unpoisoned(self.unproven.lock()).len() > UNPROVEN / 2
    }

    /// Loads in progress for unproven keys of this client.
    pub(super) fn unproven_of(&self, client: ClientGroup) -> usize {
        let unproven = unpoisoned(self.unproven.lock());
        unproven.iter().filter(|(slot, ..)| slot.client == client).count()
    }

    /// All loads in progress.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }
}

/// The latest load of the same presented key that began before a change: what it reads is the least likely to be outdated.
fn older(unproven: &[(LoadSlot, LoadKey, Waiters)], key: &LoadKey) -> Option<watch::Receiver<Option<LoadResult>>> {
    let is_same = |other: &LoadKey| other.tag == key.tag && other.has_key == key.has_key;
    let (_, sender) = unproven
        .iter()
        .filter(|(_, other, _)| is_same(other))
        .filter_map(|(_, other, sender)| Some((other.changes?, sender)))
        .max_by_key(|(changes, _)| *changes)?;
    Some(sender.subscribe())
}

/// One load; takes itself out of the map however it ends, by a panic too.
struct RunningLoad {
    loads: Arc<Loads>,
    key: LoadKey,
    sender: Waiters,
}

impl RunningLoad {
    async fn run(self, mut load: Pin<Box<impl Future<Output = LoadResult>>>) {
        let result = loop {
            let loaded = {
                let mut abandoned = pin!(self.sender.closed());
                poll_fn(|cx| {
                    if let Poll::Ready(result) = load.as_mut().poll(cx) {
                        return Poll::Ready(Some(result));
                    }
                    abandoned.as_mut().poll(cx).map(|()| None)
                })
                .await
            };
            match loaded {
                Some(result) => break result,
                None if self.remove_if(|sender| sender.receiver_count() == 0) => return,
                // A request has joined meanwhile.
                None => {}
            }
        };
        // Out of the map first: a request that wants a later answer must not be given this one again.
        let sender = self.sender.clone();
        drop(self);
        sender.send_replace(Some(result));
    }

    /// Takes the load out of the map, under both locks that joiners take.
    fn remove_if(&self, condition: impl Fn(&watch::Sender<Option<LoadResult>>) -> bool) -> bool {
        let remove = |_: &LoadKey, sender: &Waiters| {
            let mut unproven = unpoisoned(self.loads.unproven.lock());
            if !Arc::ptr_eq(sender, &self.sender) || !condition(sender) {
                return false;
            }
            unproven.retain(|(_, _, other)| !Arc::ptr_eq(other, sender));
            true
        };
        self.loads.running.remove_if(&self.key, remove).is_some()
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.remove_if(|_| true);
    }
}

#[cfg(test)]
mod tests;
