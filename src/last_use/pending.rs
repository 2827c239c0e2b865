//! What waits in this process to be stored.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use foldhash::fast::RandomState;
use tokio::sync::{Notify, Semaphore};

use super::batch::{UseBatch, UseSource};
use super::counter::{Counted, UseCounter};
use super::rows::{NetworkUse, ScopeUse, SecretUse, UseOfKey};
use crate::fence::{Fence, WeakFence};
use crate::key::{KeyId, Scope, Timestamp};
use crate::sync::unpoisoned;

/// Keys that wait at once. When three quarters are reached, what waits is stored before its minute is over.
const MOST_KEYS: usize = 131_072;
/// Cached keys that are held for one key. A key that leaves the cache at each request would be held at each.
const MOST_COUNTED: usize = 8;
/// Scopes and networks of all of them.
const MOST_ROWS: usize = 131_072;

/// The uses of the keys of one store, whichever handle of the process they came through.
///
/// Cached keys count for themselves, and are registered here by their first request since the last batch. So each request of a
/// minute but the first costs an addition. A batch that was not stored, or perhaps not, is kept and sent again.
pub(crate) struct PendingUses {
    state: Mutex<State>,
    source: UseSource,
    /// Changes with each batch, so that a scope is noted once in a minute.
    round: AtomicU32,
    /// Odd while a batch is made; changed by each one that is made or stored.
    moves: AtomicU64,
    /// Of one place, for who stores a batch.
    pub(crate) turn: Semaphore,
    /// Woken when there is little room left.
    pub(crate) is_nearly_full: Notify,
}

#[derive(Default)]
struct State {
    keys: HashMap<KeyId, OfKey, RandomState>,
    /// Scopes and networks in `keys`.
    rows: usize,
    /// Uses for which there was no room.
    left_out: u64,
    /// The batch that is sent until it is stored.
    batch: Option<Arc<UseBatch>>,
    /// Whether it may be stored already.
    is_under_way: bool,
    batches: u64,
}

#[derive(Default)]
struct OfKey {
    /// Several if the key has more than one secret, or was read again.
    counted: Vec<Arc<dyn Counted>>,
    /// What others of them had counted that are not held any more.
    taken: Vec<SecretUse>,
    address: Option<IpAddr>,
    scopes: Vec<(Scope, Timestamp)>,
    networks: Vec<(u64, IpAddr, Timestamp)>,
}

static PENDING: Mutex<Vec<(WeakFence, Weak<PendingUses>)>> = Mutex::new(Vec::new());

impl PendingUses {
    /// Those of the store with this fence.
    pub(crate) fn of(fence: &Fence) -> Arc<Self> {
        let mut all = unpoisoned(PENDING.lock());
        all.retain(|(_, pending)| pending.strong_count() > 0);
        let known = all.iter().find(|(other, _)| other.is_of(fence));
        if let Some(pending) = known.and_then(|(_, pending)| pending.upgrade()) {
            return pending;
        }
        let pending = Arc::new(Self {
            state: Mutex::default(),
            source: UseSource::new(),
            round: AtomicU32::new(0),
            moves: AtomicU64::new(0),
            turn: Semaphore::const_new(1),
            is_nearly_full: Notify::new(),
        });
        all.push((fence.downgrade(), Arc::downgrade(&pending)));
        pending
    }

    /// Registers a cached key whose counter is no longer zero.
    pub(crate) fn register(&self, key: KeyId, counted: Arc<dyn Counted>, address: Option<IpAddr>) {
        let mut state = self.state();
        if state.keys.len() >= MOST_KEYS && !state.keys.contains_key(&key) {
            // Its next request tries again.
            let left_out = counted.take().map_or(0, |used| used.requests);
            state.left_out = state.left_out.saturating_add(left_out);
            return;
        }
        let of_key = state.keys.entry(key).or_default();
        if of_key.counted.len() >= MOST_COUNTED {
            of_key.count();
        }
        of_key.counted.push(counted);
        of_key.address = address.or(of_key.address);
        if state.keys.len() == MOST_KEYS / 4 * 3 {
            self.is_nearly_full.notify_one();
        }
    }

    /// Notes that a key was used from this address, whose network has this number.
    pub(crate) fn seen_from(&self, key: KeyId, network: u64, address: IpAddr, at: Timestamp) {
        let mut state = self.state();
        let has_room = state.rows < MOST_ROWS;
        let Some(of_key) = state.of_key(key) else { return };
        of_key.address = Some(address);
        let is_known = of_key.networks.iter().any(|(other, ..)| *other == network);
        if !is_known && has_room && of_key.networks.len() < UseOfKey::MOST_NETWORKS {
            of_key.networks.push((network, address, at));
            state.rows += 1;
        }
    }

    /// Whether these scopes of a key may have to be noted.
    pub(crate) fn is_new(&self, counter: &UseCounter, scopes: &[Scope]) -> bool {
        counter.is_new(scopes, self.round.load(Ordering::Relaxed))
    }

    /// Notes that these scopes of a key decided about a request.
    pub(crate) fn scopes_used(&self, key: KeyId, scopes: &[Scope], at: Timestamp) {
        let mut state = self.state();
        let mut room = MOST_ROWS.saturating_sub(state.rows);
        let Some(of_key) = state.of_key(key) else { return };
        let before = of_key.scopes.len();
        for scope in scopes {
            let has_room = room > 0 && of_key.scopes.len() < UseOfKey::MOST_SCOPES;
            match of_key.scopes.iter_mut().find(|(other, _)| other == scope) {
                Some((_, last)) => *last = at.max(*last),
                None if has_room => {
                    of_key.scopes.push((scope.clone(), at));
                    room -= 1;
                }
                None => {}
            }
        }
        let added = of_key.scopes.len() - before;
        state.rows += added;
    }

    /// The batch to be stored: the one that was not, or what was counted since. [`stored`](Self::stored) or
    /// [`kept`](Self::kept) follows. For who has the `turn`.
    pub(crate) fn next_batch(&self) -> Option<Arc<UseBatch>> {
        let (keys, number) = {
            let mut state = self.state();
            if let Some(batch) = state.batch.clone() {
                state.is_under_way = true;
                return Some(batch);
            }
            if state.keys.is_empty() {
                return None;
            }
            self.moves.fetch_add(1, Ordering::Relaxed);
            self.round.fetch_add(1, Ordering::Relaxed);
            state.rows = 0;
            state.batches += 1;
            let left_out = mem::take(&mut state.left_out);
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "uses of keys were not counted: too many keys were used in a minute"
                );
            }
            (mem::take(&mut state.keys), state.batches)
        };
        // Without the lock, which first requests of other keys wait for.
        let mut batch = UseBatch::new(self.source, number);
        for (key, of_key) in keys {
            of_key.take_into(key, &mut batch);
        }
        let batch = Arc::new(batch);
        let mut state = self.state();
        (state.batch, state.is_under_way) = (Some(batch.clone()), true);
        self.moves.fetch_add(1, Ordering::Relaxed);
        Some(batch)
    }

    /// The batch was stored, or will never be.
    pub(crate) fn stored(&self) {
        let mut state = self.state();
        state.batch = None;
        self.moves.fetch_add(2, Ordering::Relaxed);
    }

    /// The batch was not stored, or perhaps not: the same is sent again.
    pub(crate) fn kept(&self) {
        self.state().is_under_way = false;
    }

    /// Takes addresses and networks out of what waits: those of a person who is forgotten could be among them.
    pub(crate) fn forget_origins(&self) {
        let mut state = self.state();
        let mut removed = 0;
        for of_key in state.keys.values_mut() {
            removed += of_key.networks.len();
            (of_key.address, of_key.networks) = (None, Vec::new());
        }
        state.rows = state.rows.saturating_sub(removed);
        if let Some(batch) = &mut state.batch {
            let batch = Arc::make_mut(batch);
            batch.networks.clear();
            batch.secrets.iter_mut().for_each(|used| used.last_address = None);
        }
    }

    /// A number to give [`add_to`](Self::add_to), from before the read.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Adds what waits to what was read. Whether it is certain that nothing is missing and nothing is counted twice: nothing was
    /// stored since the read began.
    pub(crate) fn add_to(&self, uses: &mut [UseOfKey], moves: u64) -> bool {
        let state = self.state();
        let is_certain = moves.is_multiple_of(2) && self.moves() == moves;
        let places: HashMap<KeyId, usize, RandomState> =
            uses.iter().enumerate().map(|(place, of)| (of.key_id, place)).collect();
        if let Some(batch) = &state.batch {
            for used in &batch.secrets {
                let Some(of) = places.get(&used.key_id).and_then(|place| uses.get_mut(*place)) else {
                    continue;
                };
                let mut used = used.clone();
                if state.is_under_way {
                    used.requests = 0;
                }
                of.add_secret(&used);
            }
            for used in &batch.scopes {
                if let Some(of) = places.get(&used.key_id).and_then(|place| uses.get_mut(*place)) {
                    of.add_scope(&used.scope, used.last_used_at);
                }
            }
            for seen in &batch.networks {
                if let Some(of) = places.get(&seen.key_id).and_then(|place| uses.get_mut(*place)) {
                    of.add_network(&seen.network, seen.first_seen);
                }
            }
        }
        for of in uses {
            let Some(waiting) = state.keys.get(&of.key_id) else {
                continue;
            };
            let counted = waiting.counted.iter().filter_map(|counted| counted.peek());
            for mut used in counted.chain(waiting.taken.iter().cloned()) {
                used.last_address = waiting.address;
                of.add_secret(&used);
            }
            waiting.scopes.iter().for_each(|(scope, at)| of.add_scope(scope, *at));
            for (_, address, at) in &waiting.networks {
                of.add_network(&network_of(*address), *at);
            }
        }
        is_certain
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

impl State {
    /// What waits of this key, if there is room for it.
    fn of_key(&mut self, key: KeyId) -> Option<&mut OfKey> {
        let has_room = self.keys.len() < MOST_KEYS || self.keys.contains_key(&key);
        has_room.then(|| self.keys.entry(key).or_default())
    }
}

impl OfKey {
    /// Lets go of the cached keys. One that is used again comes again.
    fn count(&mut self) {
        for used in self.counted.drain(..).filter_map(|counted| counted.take()) {
            add_by_lookup(&mut self.taken, used);
        }
    }

    fn take_into(mut self, key: KeyId, batch: &mut UseBatch) {
        self.count();
        for mut used in self.taken {
            used.last_address = self.address;
            batch.secrets.push(used);
        }
        let scopes = self.scopes.into_iter();
        batch
            .scopes
            .extend(scopes.map(|(scope, at)| ScopeUse::new(key, scope, at)));
        let networks = self.networks.into_iter();
        batch
            .networks
            .extend(networks.map(|(_, address, at)| NetworkUse::new(key, network_of(address), at)));
    }
}

fn add_by_lookup(all: &mut Vec<SecretUse>, used: SecretUse) {
    match all.iter_mut().find(|other| other.lookup == used.lookup) {
        Some(other) => other.add(&used),
        None => all.push(used),
    }
}

impl UseOfKey {
    fn add_secret(&mut self, used: &SecretUse) {
        // One that is not there was deleted.
        if let Some(secret) = self.secrets.iter_mut().find(|secret| secret.lookup == used.lookup) {
            secret.add(used);
        }
    }

    fn add_scope(&mut self, scope: &Scope, at: Timestamp) {
        match self.scopes.binary_search_by(|other| other.scope.cmp(scope)) {
            Ok(place) => {
                let used = self.scopes.get_mut(place).map(|used| &mut used.last_used_at);
                used.into_iter().for_each(|last| *last = at.max(*last));
            }
            Err(place) if self.scopes.len() < Self::MOST_SCOPES => {
                self.scopes.insert(place, ScopeUse::new(self.key_id, scope.clone(), at));
            }
            Err(_) => {}
        }
    }

    fn add_network(&mut self, network: &str, at: Timestamp) {
        if let Err(place) = self.networks.binary_search_by(|other| (*other.network).cmp(network))
            && self.networks.len() < Self::MOST_NETWORKS
        {
            self.networks.insert(place, NetworkUse::new(self.key_id, network, at));
        }
    }
}

/// A /24, or a /48 of IPv6.
fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 80 << 80;
            format!("{}/48", std::net::Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Monotonic;
    use crate::key::{Lookup, OrganizationId};

    struct Counting {
        key: KeyId,
        lookup: Lookup,
        counter: UseCounter,
    }

    impl Counting {
        fn new(number: usize) -> Arc<Self> {
            Arc::new(Self {
                key: KeyId::new(),
                lookup: Lookup::new(&format!("{number:012}")).unwrap(),
                counter: UseCounter::default(),
            })
        }

        fn used(&self, (requests, _): (u32, super::super::counter::LastUsed)) -> Option<SecretUse> {
            let mut used = SecretUse::new(self.lookup.clone(), self.key, OrganizationId::new());
            used.requests = requests.into();
            (requests > 0).then_some(used)
        }
    }

    impl Counted for Counting {
        fn take(&self) -> Option<SecretUse> {
            self.used(self.counter.take())
        }

        fn peek(&self) -> Option<SecretUse> {
            self.used(self.counter.peek())
        }
    }

    fn use_it(pending: &PendingUses, counting: &Arc<Counting>) {
        if counting.counter.add(Monotonic::from_nanos(0)) {
            pending.register(counting.key, counting.clone(), None);
        }
    }

    #[tokio::test]
    async fn hundred_thousand_keys_are_one_batch() {
        let pending = PendingUses::of(&Fence::new());
        let keys: Vec<_> = (0..100_000).map(Counting::new).collect();
        for _ in 0..3 {
            keys.iter().for_each(|key| use_it(&pending, key));
        }
        let batch = pending.next_batch().unwrap();
        assert_eq!(batch.secrets.len(), 100_000);
        assert!(batch.secrets.iter().all(|used| used.requests == 3));
        pending.stored();
        assert!(pending.next_batch().is_none());
        // There was little room left.
        pending.is_nearly_full.notified().await;
    }

    #[test]
    fn more_keys_than_there_is_room_for_are_left_out_until_there_is() {
        let pending = PendingUses::of(&Fence::new());
        let keys: Vec<_> = (0..MOST_KEYS + 10).map(Counting::new).collect();
        for _ in 0..2 {
            keys.iter().for_each(|key| use_it(&pending, key));
        }
        assert_eq!(pending.state().keys.len(), MOST_KEYS);
        assert_eq!(pending.state().left_out, 20);
        let batch = pending.next_batch().unwrap();
        assert_eq!(batch.secrets.len(), MOST_KEYS);
        pending.stored();
        keys.iter().for_each(|key| use_it(&pending, key));
        assert_eq!(pending.state().keys.len(), MOST_KEYS);
        let last = keys.last().unwrap();
        pending.next_batch().unwrap();
        pending.stored();
        use_it(&pending, last);
        assert_eq!(pending.next_batch().unwrap().secrets[0].lookup, last.lookup);
    }

    #[test]
    fn key_that_is_read_at_each_request_is_not_held_each_time() {
        let pending = PendingUses::of(&Fence::new());
        let key = KeyId::new();
        for number in 0..10_000 {
            let lookup = Lookup::new(&format!("{:012}", number % 2)).unwrap();
            let counter = UseCounter::default();
            use_it(&pending, &Arc::new(Counting { key, lookup, counter }));
        }
        assert!(pending.state().keys[&key].counted.len() <= MOST_COUNTED);
        let batch = pending.next_batch().unwrap();
        let requests: Vec<u64> = batch.secrets.iter().map(|used| used.requests).collect();
        assert_eq!(requests, [5_000, 5_000]);
    }

    #[test]
    fn batch_is_the_same_until_it_is_stored() {
        let pending = PendingUses::of(&Fence::new());
        let key = Counting::new(1);
        use_it(&pending, &key);
        let first = pending.next_batch().unwrap();
        pending.kept();
        use_it(&pending, &key);
        let again = pending.next_batch().unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        pending.stored();
        let next = pending.next_batch().unwrap();
        assert_eq!((next.number, next.secrets[0].requests), (first.number + 1, 1));
    }
}
