//! What requests met, counted in memory until it is stored: refusals, and first uses of keys.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use foldhash::fast::RandomState;
use uuid::Uuid;

use crate::audit::{Audit, Forget, RefusalCount, RefusalSample};
use crate::clock::Clock;
use crate::fence::{Fence, WeakFence};
use crate::key::{KeyId, Lookup, OrganizationId, Timestamp, UserId};
use crate::sync::unpoisoned;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Counters in memory. What has no room is counted for no organization.
const MOST_COUNTERS: usize = 65_536;
/// Samples between two flushes: of verified keys, and of all others, which anyone can send.
const MOST_SAMPLES: usize = 256;
/// First uses that are remembered, and uses that wait to be stored.
const MOST_USES: usize = 65_536;

/// A use of a key, to become an event.
#[derive(Clone)]
pub(crate) struct KeyUse {
    pub(crate) at: Timestamp,
    pub(crate) organization_id: OrganizationId,
    pub(crate) key_id: KeyId,
    pub(crate) user: Option<UserId>,
    pub(crate) lookup: Lookup,
    pub(crate) address: Option<IpAddr>,
}

/// All that waits to be stored.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) counts: Vec<RefusalCount>,
    pub(crate) samples: Vec<RefusalSample>,
    pub(crate) uses: Vec<KeyUse>,
    /// Uses for which there was no room.
    pub(crate) uses_left_out: u64,
}

/// The attempts of one store, whichever handle of the process they came through.
pub(crate) struct Attempts {
    state: Mutex<State>,
    /// Changes with each day, so that a warm check needs no clock to see that.
    day: AtomicU32,
}

/// How one handle notes attempts.
#[derive(Clone)]
pub(crate) struct AttemptLog {
    attempts: Arc<Attempts>,
    clock: Clock,
    uses: Audit,
}

#[derive(Default)]
struct State {
    counts: HashMap<(i64, OrganizationId, Cow<'static, str>), u64, RandomState>,
    samples_of_keys: Vec<RefusalSample>,
    samples: Vec<RefusalSample>,
    uses: Vec<KeyUse>,
    uses_left_out: u64,
    /// Lookup and network of the first uses of this day.
    seen: HashSet<(Lookup, u64), RandomState>,
    seen_day: i64,
}

static BOOKS: Mutex<Vec<(WeakFence, Weak<Attempts>)>> = Mutex::new(Vec::new());

impl AttemptLog {
    pub(crate) fn new(fence: &Fence, clock: Clock, uses: Audit) -> Self {
        Self {
            attempts: Attempts::of(fence),
            clock,
            uses,
        }
    }

    /// Counts a refusal. The sample is made only if there is room for it, and gets what is known of the key.
    pub(crate) fn refused(
        &self,
        kind: &'static str,
        key: Option<(KeyId, OrganizationId)>,
        lookup: Option<&Lookup>,
        address: Option<IpAddr>,
    ) {
        let at = self.clock.wall();
        let sample = || RefusalSample {
            organization_id: key.map(|(_, organization)| organization),
            key_id: key.map(|(key, _)| key),
            lookup: lookup.map(Lookup::to_string),
            address,
            ..RefusalSample::new(at, kind)
        };
        self.attempts
            .refused(at, key.map(|(_, organization)| organization), kind, sample);
    }

    /// Whether a use of a cached key may have to be noted: it was last used from another network, or on another day. This is all
    /// that a warm check does.
    pub(crate) fn is_new(&self, last: &AtomicU32, network: u64) -> bool {
        match self.uses {
            Audit::EveryUse => true,
            // Also where no uses become events: a key's networks are noted.
            Audit::FirstUse | Audit::NoUse => self.attempts.is_new(last, network),
        }
    }

    /// Notes a use, if it is the first of its secret, network and day, or all are noted.
    pub(crate) fn used(&self, network: u64, used: impl FnOnce(Timestamp) -> KeyUse) {
        let used = || used(self.clock.wall());
        match self.uses {
            Audit::EveryUse => self.attempts.every_use(used()),
            Audit::FirstUse => self.attempts.first_use(network, used()),
            Audit::NoUse => {}
        }
    }
}

impl Attempts {
    /// Those of the store with this fence.
    pub(crate) fn of(fence: &Fence) -> Arc<Self> {
        let mut books = unpoisoned(BOOKS.lock());
        books.retain(|(_, book)| book.strong_count() > 0);
        let known = books.iter().find(|(other, _)| other.is_of(fence));
        if let Some(book) = known.and_then(|(_, book)| book.upgrade()) {
            return book;
        }
        let book = Arc::new(Self {
            state: Mutex::default(),
            day: AtomicU32::new(0),
        });
        books.push((fence.downgrade(), Arc::downgrade(&book)));
        book
    }

    fn refused(
        &self,
        at: Timestamp,
        organization: Option<OrganizationId>,
        kind: &'static str,
        sample: impl FnOnce() -> RefusalSample,
    ) {
        let hour = at.as_millis().div_euclid(HOUR).saturating_mul(HOUR);
        let mut state = self.state();
        state.count(hour, organization.unwrap_or(nobody()), Cow::Borrowed(kind), 1);
        let samples = match organization {
            Some(_) => &mut state.samples_of_keys,
            None => &mut state.samples,
        };
        if samples.len() < MOST_SAMPLES {
            samples.push(sample());
        }
    }

    fn is_new(&self, last: &AtomicU32, network: u64) -> bool {
        let day = u64::from(self.day.load(Ordering::Relaxed));
        let mixed = (network ^ day << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // A key that was not used yet has 0.
        let mark = (mixed >> 32) as u32 | 1;
        if last.load(Ordering::Relaxed) == mark {
            return false;
        }
        last.store(mark, Ordering::Relaxed);
        true
    }

    /// Notes a use, if it is the first of its secret, network and day.
    fn first_use(&self, network: u64, used: KeyUse) {
        let day = used.at.as_millis().div_euclid(DAY);
        let mut state = self.state();
        if state.seen_day != day || state.seen.len() >= MOST_USES {
            state.seen_day = day;
            state.seen.clear();
        }
        if state.seen.insert((used.lookup.clone(), network)) {
            state.push(used);
        }
    }

    fn every_use(&self, used: KeyUse) {
        self.state().push(used);
    }

    /// Takes what is to be stored, and starts a new day if it has come.
    pub(crate) fn take(&self, now: Timestamp) -> Waiting {
        self.day
            .store(now.as_millis().div_euclid(DAY) as u32, Ordering::Relaxed);
        let mut state = self.state();
        let counts = mem::take(&mut state.counts);
        let mut samples = mem::take(&mut state.samples_of_keys);
        samples.append(&mut state.samples);
        let count = |((hour, organization, kind), number)| {
            RefusalCount::new(Timestamp::from_millis(hour), organization, kind, number)
        };
        Waiting {
            counts: counts.into_iter().map(count).collect(),
            samples,
            uses: mem::take(&mut state.uses),
            uses_left_out: mem::take(&mut state.uses_left_out),
        }
    }

    /// What could not be stored is stored later. Samples are not: they are samples.
    pub(crate) fn put_back(&self, waiting: Waiting) {
        let mut state = self.state();
        for count in waiting.counts {
            let kind = Cow::Owned(count.kind);
            state.count(count.hour.as_millis(), count.organization_id, kind, count.number);
        }
        waiting.uses.into_iter().for_each(|used| state.push(used));
        state.uses_left_out = state.uses_left_out.saturating_add(waiting.uses_left_out);
    }

    /// Takes a person out of what waits.
    pub(crate) fn forget(&self, forget: &Forget) {
        let mut state = self.state();
        let State {
            samples_of_keys,
            samples,
            uses,
            ..
        } = &mut *state;
        if let Some(text) = forget.address_text() {
            let samples = samples_of_keys
                .iter_mut()
                .chain(samples.iter_mut())
                .map(|sample| &mut sample.address);
            let addresses = samples.chain(uses.iter_mut().map(|used| &mut used.address));
            let is_it = |address: &&mut Option<IpAddr>| address.is_some_and(|address| address.to_string() == text);
            addresses.filter(is_it).for_each(|address| *address = None);
        }
        if forget.is_everyone() {
            let samples = samples_of_keys.iter_mut().chain(samples.iter_mut());
            samples.for_each(|sample| sample.address = None);
            uses.iter_mut().for_each(|used| used.address = None);
        }
        if let Some(user) = forget.user_id() {
            let of_user = uses.iter_mut().filter(|used| used.user.as_ref() == Some(user));
            of_user.for_each(|used| used.address = None);
            // Whose keys they are is not known here.
            samples_of_keys.iter_mut().for_each(|sample| sample.address = None);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

impl State {
    fn count(&mut self, hour: i64, organization: OrganizationId, kind: Cow<'static, str>, number: u64) {
        let place = (hour, organization, kind);
        let has_room = self.counts.len() < MOST_COUNTERS || self.counts.contains_key(&place);
        let place = if has_room { place } else { (hour, nobody(), place.2) };
        let count = self.counts.entry(place).or_default();
        *count = count.saturating_add(number);
    }

    fn push(&mut self, used: KeyUse) {
        if self.uses.len() < MOST_USES {
            self.uses.push(used);
        } else {
            self.uses_left_out = self.uses_left_out.saturating_add(1);
        }
    }
}

fn nobody() -> OrganizationId {
    Uuid::nil().into()
}
