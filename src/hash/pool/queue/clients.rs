//! The lane of keys that nothing speaks for.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::standing::Standings;
use crate::client::{ClientGroup, Network};

/// Jobs by the clients that sent them. Clients take [turns](super::standing::TurnOrder): in the order of arrival, a newcomer
/// would wait behind all that a flood has queued before it, and on a busy machine beyond its deadline.
///
/// Clients count by their [networks](ClientGroup::networks), from the largest down: first the network with the most jobs loses
/// one, and within it the part with the most. So an attacker with many addresses in one network is one of many, and takes at
/// most what is beyond the fair shares of the others. [Ties](super::standing::TieOrder) go to proven clients up to a half, then
/// to those whose last wrong key is longer ago. Of what is still equal, chance decides: by the order of arrival, those who ask
/// most often would have all places.
///
/// A flood has the queue full all the time, so what a newcomer costs must not grow with the number of places: under the lock of
/// the pool, workers would wait longer for their next job than they need to hash it.
pub(super) struct ClientLane<T> {
    /// In the order of arrival.
    jobs: VecDeque<(ClientGroup, T)>,
    /// How many jobs each part of a network has. The largest networks are parts of `None`.
    parts: HashMap<Option<Network>, HashMap<Network, usize, RandomState>, RandomState>,
    pub(super) standings: Standings,
}

/// Of so many equals, the one to lose a job is chosen. With more of them, of some that chance picks.
const COMPARED: usize = 64;

impl<T> Default for ClientLane<T> {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            parts: HashMap::default(),
            standings: Standings::default(),
        }
    }
}

impl<T> ClientLane<T> {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.jobs.iter().map(|(_, job)| job)
    }

    pub(super) fn get(&self, index: usize) -> Option<(ClientGroup, &T)> {
        self.jobs.get(index).map(|(client, job)| (*client, job))
    }

    /// Returns the place of the job.
    pub(super) fn push(&mut self, client: ClientGroup, job: T) -> usize {
        for (around, network) in nested(client) {
            *self.parts.entry(around).or_default().entry(network).or_default() += 1;
        }
        self.jobs.push_back((client, job));
        self.jobs.len() - 1
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<(ClientGroup, T)> {
        let (client, job) = self.jobs.remove(index)?;
        for (around, network) in nested(client) {
            let Some(parts) = self.parts.get_mut(&around) else {
                continue;
            };
            if let Some(count) = parts.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    parts.remove(&network);
                }
            }
            if parts.is_empty() {
                self.parts.remove(&around);
            }
        }
        Some((client, job))
    }

    /// The place of the job that compares as equal, in the order of arrival.
    pub(super) fn find_by(&self, compare: impl Fn(&T) -> Ordering) -> Option<usize> {
        self.jobs.binary_search_by(|(_, job)| compare(job)).ok()
    }

    /// The oldest job of the client whose turn it is; for a worker that rests, of one that is not suspect.
    pub(super) fn next(&self, rests: bool) -> Option<usize> {
        // Of equals, `min_by_key` takes the first.
        let jobs = self.jobs.iter().enumerate();
        let (index, (client, _)) = jobs.min_by_key(|(_, (client, _))| self.standings.turn_order(*client))?;
        // Those that are suspect come last.
        (!rests || !self.standings.is_suspect(*client)).then_some(index)
    }

    /// The newest job of the largest client.
    pub(super) fn newest_of_largest(&self) -> Option<usize> {
        let mut largest: Option<Network> = None;
        for _ in 0..ClientGroup::LEVELS {
            let parts = self.parts.get(&largest)?;
            let most = parts.values().copied().max()?;
            let ties = || parts.iter().filter(|(_, jobs)| **jobs == most).map(|(part, _)| *part);
            let count = ties().count();
            let compared: SmallVec<[Network; COMPARED]> = match count <= COMPARED {
                true => ties().collect(),
                // The order in the map is by chance, but always the same.
                false => {
                    let skipped = rand::random_range(0..count);
                    ties().chain(ties()).skip(skipped).take(COMPARED).collect()
                }
            };
            largest = self.standings.loser_of(&compared);
        }
        let largest = largest?;
        self.jobs.iter().rposition(|(client, _)| largest.has(*client))
    }
}

/// The networks of a client, each with the one around it.
fn nested(client: ClientGroup) -> [(Option<Network>, Network); ClientGroup::LEVELS] {
    let [large, middle, own] = client.networks();
    [(None, large), (Some(large), middle), (Some(middle), own)]
}
