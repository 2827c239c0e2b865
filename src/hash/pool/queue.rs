//! A bounded queue that is fair between clients.

mod ahead;
mod clients;
mod standing;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

pub(crate) use self::ahead::Ahead;
use self::ahead::AheadLane;
use self::clients::ClientLane;
use crate::client::ClientGroup;

/// A bounded queue that no client can fill for itself, with two lanes.
///
/// Keys with something that [speaks for them](Ahead) go ahead, in turns of their organizations. All others wait in the lane of
/// [clients](ClientLane). While both have jobs, those ahead have three quarters of the places and of the turns, so that
/// neither a flood of invented keys nor one organization with many keys takes all of them.
///
/// When the queue is full, a newcomer takes the place of another job in its own lane, or of one in the other lane if its own
/// is within its share. Which one is for the lane to choose: of the largest client or organization, with the newcomer's job
/// counted. If that is the newcomer's own, it is refused.
pub(super) struct FairQueue<T> {
    capacity: usize,
    /// How many turns there were.
    turns: u64,
    ahead: AheadLane<T>,
    clients: ClientLane<T>,
}

/// Where a job waits, until the queue changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Ahead(usize),
    Client(usize),
}

/// What became of a newcomer.
#[must_use]
pub(super) enum Push<T> {
    Queued,
    /// It is queued, and this job of this client had to leave.
    Displaced(ClientGroup, T),
    /// It is not queued.
    Refused(T),
}

/// Keys without anything that speaks for them have every turn of this number, and the same part of the places.
const OTHERS: u8 = 4;

impl<T> FairQueue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            turns: 0,
            ahead: AheadLane::default(),
            clients: ClientLane::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ahead.len() + self.clients.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Jobs beyond a smaller capacity stay.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.ahead.iter().chain(self.clients.iter())
    }

    /// Whether wrong keys came from this client or from several in its network, and no right one since.
    pub(super) fn is_suspect(&self, client: ClientGroup) -> bool {
        self.clients.standings.is_suspect(client)
    }

    pub(super) fn push(&mut self, client: ClientGroup, ahead: Option<Ahead>, job: T) -> Push<T> {
        let was_full = self.is_full();
        let newcomer = match ahead {
            // One for each lookup: otherwise one key would take the turns of many.
            Some(ahead) if !self.ahead.has(&ahead.lookup) => Place::Ahead(self.ahead.push(ahead, client, job)),
            _ => Place::Client(self.clients.push(client, job)),
        };
        if !was_full {
            return Push::Queued;
        }
        let others = self.capacity / usize::from(OTHERS);
        let loses_ahead = match newcomer {
            Place::Ahead(_) => self.ahead.len() > self.capacity - others,
            Place::Client(_) => self.clients.len() <= others,
        };
        let loser = match loses_ahead {
            true => self.ahead.newest_of_largest().map(Place::Ahead),
            false => self.clients.newest_of_largest().map(Place::Client),
        };
        let is_newcomer = loser.is_some_and(|loser| loser == newcomer);
        match loser.and_then(|loser| self.remove(loser)) {
            Some((_, job)) if is_newcomer => Push::Refused(job),
            Some((of, job)) => Push::Displaced(of, job),
            None => Push::Queued,
        }
    }

    /// The job whose turn it is; for a worker that rests, none that nothing speaks for from a client that is suspect.
    pub(super) fn next(&self, rests: bool) -> Option<(Place, ClientGroup, &T)> {
        let ahead = || self.ahead.next().map(Place::Ahead);
        let other = || self.clients.next(rests).map(Place::Client);
        let place = match (self.turns + 1).is_multiple_of(OTHERS.into()) {
            true => other().or_else(ahead),
            false => ahead().or_else(other),
        }?;
        let (client, job) = self.get(place)?;
        Some((place, client, job))
    }

    /// Takes out the job in this place, and its client has had its turn.
    pub(super) fn begin(&mut self, place: Place) -> Option<(ClientGroup, T)> {
        if let Place::Ahead(index) = place {
            self.ahead.begin_turn(index);
        }
        let (client, job) = self.remove(place)?;
        self.turns += 1;
        let goes_ahead = matches!(place, Place::Ahead(_));
        self.clients.standings.begin_turn(client, goes_ahead);
        Some((client, job))
    }

    /// Takes out the job in this place.
    pub(super) fn remove(&mut self, place: Place) -> Option<(ClientGroup, T)> {
        match place {
            Place::Ahead(index) => self.ahead.remove(index),
            Place::Client(index) => self.clients.remove(index),
        }
    }

    /// The key of the client's last turn was right or wrong.
    pub(super) fn record_verdict(&mut self, client: ClientGroup, was_right: bool) {
        self.clients.standings.record_verdict(client, was_right);
    }

    /// The place of the job that compares as equal. Jobs have to be in this order when they are pushed.
    pub(super) fn find_by(&self, compare: impl Fn(&T) -> Ordering) -> Option<Place> {
        let ahead = self.ahead.find_by(&compare).map(Place::Ahead);
        ahead.or_else(|| self.clients.find_by(&compare).map(Place::Client))
    }

    /// Takes out every job for which the predicate holds.
    pub(super) fn take_if(&mut self, is_taken: impl Fn(&T) -> bool) -> Vec<(ClientGroup, T)> {
        let mut taken = Vec::new();
        for lane in [Place::Ahead as fn(usize) -> Place, Place::Client] {
            let mut index = 0;
            while let Some((_, job)) = self.get(lane(index)) {
                if is_taken(job) {
                    taken.extend(self.remove(lane(index)));
                } else {
                    index += 1;
                }
            }
        }
        taken
    }

    fn get(&self, place: Place) -> Option<(ClientGroup, &T)> {
        match place {
            Place::Ahead(index) => self.ahead.get(index),
            Place::Client(index) => self.clients.get(index),
        }
    }
}
