//! The lane of keys that go ahead of others.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;
use rand::seq::IteratorRandom;

use crate::client::ClientGroup;
use crate::key::{Lookup, OrganizationId};

/// What speaks for a presented key before it is hashed: its keyed checksum is right, or this very key was right before. A
/// flood of invented keys has neither.
pub(crate) struct Ahead {
    pub(crate) organization: OrganizationId,
    /// Of each, one job goes ahead.
    pub(crate) lookup: Lookup,
}

/// Jobs that go ahead. Organizations take turns, so that one with many keys does not keep the others waiting, and the largest
/// loses its newest job when there is no place. Of equals, chance decides.
pub(super) struct AheadLane<T> {
    /// In the order of arrival.
    jobs: VecDeque<(Ahead, ClientGroup, T)>,
    lookups: HashSet<Lookup, RandomState>,
    /// How many jobs each organization has.
    counts: HashMap<OrganizationId, usize, RandomState>,
    /// How many turns there were in this lane.
    turns: u64,
    last_turns: HashMap<OrganizationId, u64, RandomState>,
}

/// An organization is forgotten after this many turns of others.
const REMEMBERED: u64 = 4096;

impl<T> Default for AheadLane<T> {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            lookups: HashSet::default(),
            counts: HashMap::default(),
            turns: 0,
            last_turns: HashMap::default(),
        }
    }
}

impl<T> AheadLane<T> {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn has(&self, lookup: &Lookup) -> bool {
        self.lookups.contains(lookup)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.jobs.iter().map(|(.., job)| job)
    }

    pub(super) fn get(&self, index: usize) -> Option<(ClientGroup, &T)> {
        self.jobs.get(index).map(|(_, client, job)| (*client, job))
    }

    /// Returns the place of the job.
    pub(super) fn push(&mut self, ahead: Ahead, client: ClientGroup, job: T) -> usize {
        self.lookups.insert(ahead.lookup.clone());
        *self.counts.entry(ahead.organization).or_default() += 1;
        self.jobs.push_back((ahead, client, job));
        self.jobs.len() - 1
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<(ClientGroup, T)> {
        let (ahead, client, job) = self.jobs.remove(index)?;
        self.lookups.remove(&ahead.lookup);
        if let Some(count) = self.counts.get_mut(&ahead.organization) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&ahead.organization);
            }
        }
        Some((client, job))
    }

    /// The place of the job that compares as equal, in the order of arrival.
    pub(super) fn find_by(&self, compare: impl Fn(&T) -> Ordering) -> Option<usize> {
        self.jobs.binary_search_by(|(.., job)| compare(job)).ok()
    }

    /// The oldest job of the organization whose last turn is longest ago.
    pub(super) fn next(&self) -> Option<usize> {
        let last_turn = |of: &OrganizationId| self.last_turns.get(of).copied().unwrap_or(0);
        // Of equals, `min_by_key` takes the first.
        let jobs = self.jobs.iter().enumerate();
        jobs.min_by_key(|(_, (ahead, ..))| last_turn(&ahead.organization))
            .map(|(index, _)| index)
    }

    /// The organization of this job has its turn.
    pub(super) fn begin_turn(&mut self, index: usize) {
        let Some((ahead, ..)) = self.jobs.get(index) else {
            return;
        };
        self.turns += 1;
        self.last_turns.insert(ahead.organization, self.turns);
        if self.last_turns.len() as u64 > 2 * REMEMBERED {
            let forgotten = self.turns.saturating_sub(REMEMBERED);
            self.last_turns.retain(|_, last_turn| *last_turn > forgotten);
        }
    }

    /// The newest job of the organization with the most jobs.
    pub(super) fn newest_of_largest(&self) -> Option<usize> {
        let most = self.counts.values().copied().max()?;
        let largest = self.counts.iter().filter(|(_, jobs)| **jobs == most);
        let (largest, _) = largest.choose(&mut rand::rng())?;
        self.jobs.iter().rposition(|(ahead, ..)| ahead.organization == *largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_organizations_are_remembered() {
        let mut lane = AheadLane::default();
        for _ in 0..5 * REMEMBERED {
            let organization = OrganizationId::new();
            let lookup = Lookup::new("0123456789AB").unwrap();
            let place = lane.push(Ahead { organization, lookup }, ClientGroup::UNKNOWN, ());
            lane.begin_turn(place);
            lane.remove(place);
            assert!(lane.last_turns.len() as u64 <= 2 * REMEMBERED);
            assert!(lane.last_turns.contains_key(&organization));
        }
    }
}
