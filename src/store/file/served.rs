//! The keys that are served now, and what became of the latest reload.

use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::problem::Problem;
use crate::clock::{Clock, Monotonic};
use crate::fence::Fence;
use crate::key::Lookup;
use crate::store::{Candidate, StoreError, StoreErrorKind};
use crate::sync::{Mutex, unpoisoned};

/// Keys, the fence that tells of their changes, and for how long they hold without their file.
pub(super) struct Served {
    pub(super) fence: Fence,
    clock: Clock,
    max_bad_age: Duration,
    state: Mutex<State>,
}

struct State {
    keys: Arc<Keys>,
    bad: Option<Bad>,
    /// When the file was looked at, on the system's clock; nothing for keys without a file.
    looked_at: Option<Monotonic>,
    /// How old the look may be. A file system that hangs must not keep removed keys alive.
    longest_look: Duration,
    /// Whether it is older, and that was announced.
    is_look_over: bool,
    reloads: u64,
    failed_reloads: u64,
}

struct Bad {
    since: Monotonic,
    problem: Problem,
    /// Whether its end was announced.
    has_ended: bool,
}

/// What a [`FileStore`](crate::store::FileStore) serves, for a readiness probe and for tests of deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStatus {
    /// How many keys the store has.
    pub keys: usize,
    /// Why the latest reload failed, with line and column. The keys of before are served for
    /// [`max_bad_age`](crate::store::FileStoreBuilder::max_bad_age).
    pub problem: Option<String>,
    /// Whether keys are checked. Otherwise every request is answered with 503.
    pub is_serving: bool,
    /// Changes of the file that were taken.
    pub reloads: u64,
    /// Changes of the file that were not taken.
    pub failed_reloads: u64,
}

impl Served {
    pub(super) fn new(keys: Keys, clock: Clock, max_bad_age: Duration) -> Self {
        Self {
            fence: Fence::new(),
            clock,
            max_bad_age,
            state: Mutex::new(State {
                keys: Arc::new(keys),
                bad: None,
                looked_at: None,
                longest_look: Duration::MAX,
                is_look_over: false,
                reloads: 0,
                failed_reloads: 0,
            }),
        }
    }

    pub(super) fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let keys = {
            let state = unpoisoned(self.state.lock());
            if let Some(problem) = self.refusal(&state) {
                return Err(StoreError::with_source(StoreErrorKind::Unavailable, problem));
            }
            state.keys.clone()
        };
        Ok(keys.find(lookup))
    }

    pub(super) fn status(&self) -> FileStatus {
        let state = unpoisoned(self.state.lock());
        FileStatus {
            keys: state.keys.len(),
            problem: state.bad.as_ref().map(|bad| bad.problem.to_string()),
            is_serving: self.refusal(&state).is_none(),
            reloads: state.reloads,
            failed_reloads: state.failed_reloads,
        }
    }

    fn refusal(&self, state: &State) -> Option<&'static str> {
        if state.bad.as_ref().is_some_and(|bad| self.is_over(bad)) {
            return Some("the file of keys has been broken for too long");
        }
        Self::is_look_old(state).then_some("the file of keys could not be looked at for too long")
    }

    fn is_over(&self, bad: &Bad) -> bool {
        self.clock.now().since(bad.since) >= self.max_bad_age
    }

    /// The file is looked at every `interval` from now on.
    pub(super) fn follows(&self, interval: Duration) {
        self.follows_for(self.max_bad_age.max(SHORTEST_LOOK).saturating_add(interval));
    }

    pub(super) fn follows_for(&self, longest_look: Duration) {
        unpoisoned(self.state.lock()).longest_look = longest_look;
        self.looked();
    }

    /// The file was looked at.
    pub(super) fn looked(&self) {
        let mut state = unpoisoned(self.state.lock());
        state.looked_at = Some(Clock::system().now());
        state.is_look_over = false;
    }

    /// When to ask [`end_look_if_due`](Self::end_look_if_due).
    pub(super) fn look_ends_in(&self) -> Duration {
        let state = unpoisoned(self.state.lock());
        match state.looked_at {
            Some(at) if !state.is_look_over => {
                let left = state.longest_look.saturating_sub(Clock::system().now().since(at));
                // Once it is older, and not as old.
                left + Duration::from_millis(1)
            }
            _ => state.longest_look,
        }
    }

    /// Ends the keys of a file that was not looked at for too long: cached ones and streams, too. Whether they ended now.
    pub(super) fn end_look_if_due(&self) -> bool {
        let mut state = unpoisoned(self.state.lock());
        if state.is_look_over || !Self::is_look_old(&state) {
            return false;
        }
        state.is_look_over = true;
        drop(state);
        self.fence.everything_changed();
        true
    }

    fn is_look_old(state: &State) -> bool {
        let age = state.looked_at.map(|at| Clock::system().now().since(at));
        age.is_some_and(|age| age > state.longest_look)
    }

    /// These keys in place of the others. First the keys, then the epoch: a cache that read before reads again.
    pub(super) fn replace(&self, keys: Keys) {
        {
            let mut state = unpoisoned(self.state.lock());
            state.keys = Arc::new(keys);
            state.bad = None;
            state.reloads += 1;
        }
        self.fence.everything_changed();
    }

    /// The file has the keys that are served. Whether it was broken.
    pub(super) fn confirm(&self) -> bool {
        unpoisoned(self.state.lock()).bad.take().is_some()
    }

    /// The file cannot be used. Whether that is news.
    pub(super) fn fail(&self, problem: &Problem, is_changed: bool) -> bool {
        let mut state = unpoisoned(self.state.lock());
        let now = self.clock.now();
        let is_news = is_changed || state.bad.as_ref().is_none_or(|bad| bad.problem != *problem);
        if is_news {
            state.failed_reloads += 1;
        }
        let bad = state.bad.get_or_insert_with(|| Bad {
            since: now,
            problem: problem.clone(),
            has_ended: false,
        });
        bad.problem = problem.clone();
        is_news
    }

    /// How long the keys of a broken file are served.
    pub(super) fn ends_in(&self) -> Option<Duration> {
        let state = unpoisoned(self.state.lock());
        let bad = state.bad.as_ref().filter(|bad| !bad.has_ended)?;
        Some(self.max_bad_age.saturating_sub(self.clock.now().since(bad.since)))
    }

    /// Ends the keys of a file that has been broken for too long: cached ones and streams, too. Whether they ended now.
    pub(super) fn end_if_due(&self) -> bool {
        let mut state = unpoisoned(self.state.lock());
        let Some(bad) = state.bad.as_mut().filter(|bad| !bad.has_ended && self.is_over(bad)) else {
            return false;
        };
        bad.has_ended = true;
        drop(state);
        self.fence.everything_changed();
        true
    }
}

/// A machine that is overloaded for some seconds is no reason to refuse keys.
const SHORTEST_LOOK: Duration = Duration::from_secs(30);
