//! The lane of keys that nothing speaks for.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use rand::seq::IteratorRandom;

use super::standing::Standings;
use crate::client::{ClientGroup, Network};

/// Jobs by the clients that sent them. Clients take [turns](super::standing::TurnOrder): in the order of arrival, a newcomer
/// would wait behind all that a flood has queued before it, and on a busy machine beyond its deadline.
///
/// Clients count by their [networks](ClientGroup::networks), from the largest down: first the network with the most jobs loses
/// one, and within it the part with the most. So an attacker with many addresses in one network is one of many, and takes at
/// most what is beyond the fair shares of the others. [Ties](super::standing::TieOrder) go to proven clients, then to those
/// whose last wrong key is longer ago. Of what is still equal, chance decides: by the order of arrival, those who ask most
/// often would have all places.
pub(super) struct ClientLane<T> {
    /// In the order of arrival.
    jobs: VecDeque<(ClientGroup, T)>,
    /// How many jobs each network has.
    counts: HashMap<Network, usize, RandomState>,
    pub(super) standings: Standings,
}

impl<T> Default for ClientLane<T> {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            counts: HashMap::default(),
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
        for network in client.networks() {
            *self.counts.entry(network).or_default() += 1;
        }
        self.jobs.push_back((client, job));
        self.jobs.len() - 1
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<(ClientGroup, T)> {
        let (client, job) = self.jobs.remove(index)?;
        for network in client.networks() {
            if let Some(count) = self.counts.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&network);
                }
            }
        }
        Some((client, job))
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
        for level in 0..ClientGroup::LEVELS {
            let parts = || {
                let parts = self.counts.iter().filter(move |(network, _)| network.level() == level);
                parts.filter(move |(network, _)| largest.is_none_or(|around| network.is_part_of(around)))
            };
            let most = parts().map(|(_, jobs)| *jobs).max()?;
            let ties: Vec<_> = parts()
                .filter(|(_, jobs)| **jobs == most)
                .map(|(network, _)| (self.standings.tie_order(*network), *network))
                .collect();
            let last = ties.iter().map(|(order, _)| *order).max()?;
            let equals = ties.into_iter().filter(|(order, _)| *order == last);
            largest = equals.choose(&mut rand::rng()).map(|(_, network)| network);
        }
        let largest = largest?;
        self.jobs.iter().rposition(|(client, _)| largest.has(*client))
    }
}
