//! Loads in progress: one for all requests that wait for the same answer.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use foldhash::fast::RandomState;
use tokio::runtime::{Handle, Id};
use tokio::sync::watch;
use tokio::time::timeout;

use super::entry::Entry;
use super::presented::Tag;
use super::rejection::{RETRY_AFTER, RejectionKind};
use crate::client::ClientGroup;
use crate::clock::Monotonic;
use crate::fence::Mark;
use crate::key::Lookup;
use crate::limit::{Most, ReadingPlace, Turns};
use crate::sync::unpoisoned;

/// Loads for keys that are not proven yet and that have not read their record, in all: as many as may wait for a hash. Those
/// that have read it are in the queue for hashes, which has a bound of its own and shares its places out between clients.
const UNPROVEN: usize = 4096;
/// Of them, those that read at once. The others wait for their turn.
const READING: usize = 64;
/// Of both, keys that nothing speaks for have this part where others can prove themselves by their checksums: a flood of the
/// former must not delay the latter.
const PART_OF_OTHERS: usize = 4;
/// Loads in progress for one lookup and one client, for keys that are not proven yet.
const UNPROVEN_PER_SLOT: usize = 2;

/// How often a request waits for a load that ends without a result.
const ATTEMPTS: usize = 3;
/// How long a request waits for a load that runs on another runtime, which may not be running any more.
const ELSEWHERE: Duration = Duration::from_secs(1);

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
    /// The runtime of a load that is for requests on it only, because one elsewhere took too long.
    pub(super) runtime: Option<Id>,
}

/// What the bounds on loads for unproven keys count by.
///
/// By lookup alone, which is no secret, anyone could take its slots with wrong keys and lock the right key out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct LoadSlot {
    pub(super) lookup: Lookup,
    pub(super) client: ClientGroup,
    /// Nothing speaks for the key.
    pub(super) is_other: bool,
}

/// A load as its waiters see it.
#[derive(Clone)]
struct Running {
    /// Where the waiters get the result.
    result: Arc<watch::Sender<Option<LoadResult>>>,
    /// Where it runs.
    runtime: Id,
}

/// A request's share in a load.
struct Waiter {
    result: watch::Receiver<Option<LoadResult>>,
    runtime: Id,
}

/// The loads in progress. Code that locks both the map and `unproven` locks the map first.
pub(super) struct Loads {
    // Not SipHash: a key is a tag before all else, which no client can choose.
    running: DashMap<LoadKey, Running, RandomState>,
    /// Those whose keys are not proven yet.
    unproven: Mutex<Unproven>,
    /// Those of them that have not read their record yet.
    turns: Arc<Turns>,
}

/// Loads for keys that are not proven yet: at most [`UNPROVEN`] before their read, and as many after it as the pool lets wait.
#[derive(Default)]
struct Unproven {
    of_lookup: HashMap<Lookup, Vec<(ClientGroup, LoadKey, Running)>, RandomState>,
    of_client: HashMap<ClientGroup, usize, RandomState>,
}

impl Loads {
    /// `can_prove` says whether keys can prove themselves by their checksums.
    pub(super) fn new(can_prove: bool) -> Self {
        let most = Most {
            places: UNPROVEN,
            reading: READING,
            part_of_others: if can_prove { PART_OF_OTHERS } else { 1 },
        };
        Self {
            running: DashMap::default(),
            unproven: Mutex::default(),
            turns: Arc::new(Turns::new(most)),
        }
    }

    /// Waits for the load of this key, which the first caller starts. The load runs in a task of its own, so that no waiter
    /// depends on the first one. When the last waiter goes away, the load is dropped.
    ///
    /// Only loads with a `slot` count against the bounds. Keys that were verified before have none: wrong keys must not
    /// crowd them out, and each costs one read. At the bounds a request waits for an older load of the same key, if there is
    /// one: otherwise steady changes of other keys (an import) would let only the first few requests of a new key in.
    ///
    /// A load ends with the runtime that it runs on, and stands still when nobody drives that. Then its waiters on other
    /// runtimes start over on their own.
    pub(super) async fn join<F>(
        self: &Arc<Self>,
        mut key: LoadKey,
        slot: Option<LoadSlot>,
        mut load: impl FnMut(Option<ReadingPlace>) -> F,
    ) -> LoadResult
    where
        F: Future<Output = LoadResult> + Send + 'static,
    {
        for _ in 0..ATTEMPTS {
            let Ok(runtime) = Handle::try_current() else {
                return LoadResult::Unavailable(RejectionKind::Busy, RETRY_AFTER);
            };
            let Some(mut waiter) = self.join_or_start(&runtime, &key, slot.as_ref(), &mut load) else {
                return LoadResult::Unavailable(RejectionKind::Busy, RETRY_AFTER);
            };
            let result = waiter.result.wait_for(Option::is_some);
            // A timer that fires early costs a second load, and no more.
            let result = match waiter.runtime == runtime.id() {
                true => Ok(result.await),
                false => timeout(ELSEWHERE, result).await,
            };
            match result {
                Ok(Ok(result)) => {
                    if let Some(result) = result.clone() {
                        return result;
                    }
                }
                // The sender is dropped without a result when its runtime shuts down.
                Ok(Err(_)) => {}
                Err(_) => key.runtime = Some(runtime.id()),
            }
        }
        LoadResult::Unavailable(RejectionKind::StoreUnavailable, RETRY_AFTER)
    }

    /// None when too many loads are in progress.
    fn join_or_start<F>(
        self: &Arc<Self>,
        runtime: &Handle,
        key: &LoadKey,
        slot: Option<&LoadSlot>,
        load: &mut impl FnMut(Option<ReadingPlace>) -> F,
    ) -> Option<Waiter>
    where
        F: Future<Output = LoadResult> + Send + 'static,
    {
        let place = match self.running.entry(key.clone()) {
            Slot::Occupied(running) => return Some(running.get().waiter()),
            Slot::Vacant(place) => place,
        };
        let (result, _) = watch::channel(None);
        let running = Running {
            result: Arc::new(result),
            runtime: runtime.id(),
        };
        let waiter = running.waiter();
        let mut reading = None;
        if let Some(slot) = slot {
            let mut unproven = unpoisoned(self.unproven.lock());
            if !unproven.has_place(slot) {
                return unproven.older(&slot.lookup, key);
            }
            reading = self.turns.place(slot.client, slot.is_other);
            if reading.is_none() {
                return unproven.older(&slot.lookup, key);
            }
            unproven.insert(slot, key, &running);
        }
        // The map is unlocked before the task is spawned: a runtime that shuts down drops the task at once, and that takes
        // the load out of the map again.
        drop(place.insert(running.clone()));
        let running = RunningLoad {
            loads: self.clone(),
            key: key.clone(),
            slot: slot.cloned(),
            sender: running.result,
        };
        // Boxed, because a task is moved as a whole while it is spawned.
        runtime.spawn(running.run(Box::pin(load(reading))));
        Some(waiter)
    }

    /// Whether more than half of the turns to read records of unproven keys are taken.
    pub(super) fn is_more_than_half_full(&self) -> bool {
        self.turns.len() > READING / 2
    }

    /// Loads in progress for unproven keys of this client.
    pub(super) fn unproven_of(&self, client: ClientGroup) -> usize {
        let unproven = unpoisoned(self.unproven.lock());
        unproven.of_client.get(&client).copied().unwrap_or(0)
    }

    /// All loads in progress.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }
}

impl Running {
    fn waiter(&self) -> Waiter {
        Waiter {
            result: self.result.subscribe(),
            runtime: self.runtime,
        }
    }
}

impl Unproven {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.of_lookup.is_empty() && self.of_client.is_empty()
    }

    fn has_place(&self, slot: &LoadSlot) -> bool {
        let of_lookup = self.of_lookup.get(&slot.lookup).into_iter().flatten();
        let taken = of_lookup.filter(|(client, ..)| *client == slot.client).count();
        taken < UNPROVEN_PER_SLOT
    }

    fn insert(&mut self, slot: &LoadSlot, key: &LoadKey, running: &Running) {
        let of_lookup = self.of_lookup.entry(slot.lookup.clone()).or_default();
        of_lookup.push((slot.client, key.clone(), running.clone()));
        *self.of_client.entry(slot.client).or_default() += 1;
    }

    fn remove(&mut self, slot: &LoadSlot, sender: &Arc<watch::Sender<Option<LoadResult>>>) {
        let Some(of_lookup) = self.of_lookup.get_mut(&slot.lookup) else {
            return;
        };
        let before = of_lookup.len();
        of_lookup.retain(|(.., running)| !Arc::ptr_eq(&running.result, sender));
        if of_lookup.len() == before {
            return;
        }
        if of_lookup.is_empty() {
            self.of_lookup.remove(&slot.lookup);
        }
        if let Some(count) = self.of_client.get_mut(&slot.client) {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(&slot.client);
            }
        }
    }

    /// The latest load of the same presented key that began before a change: what it reads is the least likely to be outdated.
    fn older(&self, lookup: &Lookup, key: &LoadKey) -> Option<Waiter> {
        let of_lookup = self.of_lookup.get(lookup)?.iter();
        let (_, running) = of_lookup
            .filter(|(_, other, _)| other.tag == key.tag && other.has_key == key.has_key)
            .filter_map(|(_, other, running)| Some((other.changes?, running)))
            .max_by_key(|(changes, _)| *changes)?;
        Some(running.waiter())
    }
}

/// One load; takes itself out of the map however it ends, by a panic too.
struct RunningLoad {
    loads: Arc<Loads>,
    key: LoadKey,
    slot: Option<LoadSlot>,
    sender: Arc<watch::Sender<Option<LoadResult>>>,
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
        let remove = |_: &LoadKey, running: &Running| {
            let mut unproven = unpoisoned(self.loads.unproven.lock());
            if !Arc::ptr_eq(&running.result, &self.sender) || !condition(&running.result) {
                return false;
            }
            if let Some(slot) = &self.slot {
                unproven.remove(slot, &running.result);
            }
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
