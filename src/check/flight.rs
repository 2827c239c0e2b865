//! Single flight: one load for however many requests wait for the same answer.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::entry::Entry;
use super::rejection::RejectionKind;
use super::tag::Tag;
use crate::clock::Monotonic;
use crate::fence::Mark;
use crate::hash::ClientGroup;
use crate::key::Lookup;
use crate::sync::unpoisoned;

/// Loads under way for keys that are not proven yet, in all.
const UNPROVEN: usize = 64;
/// Loads under way for one lookup and one client address, for keys that are not proven yet.
const UNPROVEN_PER_PLACE: usize = 2;

/// How a load ended.
#[derive(Clone)]
pub(super) enum Landing {
    /// The key was verified. Whether it may be used is each request's own question.
    Verified(Arc<Entry>),
    /// The same, by a load that began before a change that this request came after: an answer only while its mark is
    /// current. Else a key that was enabled before the request began could be refused as disabled.
    VerifiedBefore(Arc<Entry>),
    /// The key is unknown or its secret wrong, as of this read.
    Refused(Refusal),
    /// No answer could be had.
    Failed(RejectionKind, Option<Duration>),
}

#[derive(Clone, Copy)]
pub(super) struct Refusal {
    pub(super) kind: RejectionKind,
    pub(super) read_at: Monotonic,
    /// The fence's count of changes before the read.
    pub(super) changes: u64,
    /// Whom the load has held it against. Not against each of them who waited: but for the first they cost nothing.
    pub(super) held_against: Option<ClientGroup>,
}

/// What requests must have in common to share a load.
///
/// By lookup alone, one client's wrong secret would answer another's right one. By tag alone, a request that comes after
/// a change would get an answer from before it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) tag: Tag,
    pub(super) as_of: AsOf,
    /// Whether the load has the key itself. One without can only confirm what is already known.
    pub(super) has_key: bool,
}

/// The changes that a load has seen when it begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AsOf {
    /// All of so many, for a key that nothing is known of.
    Changes(u64),
    /// Those of the key itself and of its organization. Were it all of them for a known key too, steady changes of any other
    /// keys (an import, say) would let every request of one stale key begin a read of its own.
    Mark(Mark),
}

/// What loads are told apart by.
pub(super) trait LoadKey: Clone + Eq + Hash + Send + 'static {
    /// Whether a load by the other key is of use to a request that may not start one of its own, and how recently it began:
    /// more is later.
    fn stand_in(&self, _other: &Self) -> Option<u64> {
        None
    }
}

impl LoadKey for FlightKey {
    /// The load of the same presented key that began before a change. Were the request refused instead, steady changes of
    /// any other keys (an import, say) would let only the first few requests of a new key in.
    fn stand_in(&self, other: &Self) -> Option<u64> {
        match other.as_of {
            AsOf::Changes(changes) if self.tag == other.tag && self.has_key == other.has_key => Some(changes),
            _ => None,
        }
    }
}

/// The loads under way. The key's type is a parameter so that a test can show what a lesser one would do.
pub(super) struct Flights<K = FlightKey> {
    board: Mutex<Board<K>>,
}

struct Board<K> {
    /// Hashed by something faster than SipHash: a key is a tag before all, which nobody outside can choose.
    flying: HashMap<K, Flying, RandomState>,
    /// The loads whose keys are not proven; at most [`UNPROVEN`].
    unproven: Vec<(Place, K)>,
}

type Flying = Arc<watch::Sender<Option<Landing>>>;

/// A request's seat in a load.
struct Seat {
    landing: watch::Receiver<Option<Landing>>,
    /// The load began before a change that this request came after.
    is_stand_in: bool,
}

/// What a load for a key that is not proven yet is counted by: the lookup it asks for, and who asks.
///
/// By the lookup alone, whoever knows it (it is no secret) could keep its places taken with wrong keys and lock the right
/// one out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lookup: Lookup,
    pub(super) client: ClientGroup,
}

/// Too many loads are under way, or there is no runtime to run one on.
#[derive(Debug)]
pub(super) struct Refuse;

impl<K> Default for Flights<K> {
    fn default() -> Self {
        let board = Board {
            flying: HashMap::default(),
            unproven: Vec::new(),
        };
        Self {
            board: Mutex::new(board),
        }
    }
}

impl<K: LoadKey> Flights<K> {
    /// Waits for the load of this key, which the first to come starts. The load runs in a task of its own: that the first
    /// goes away strands nobody. When the last goes away, the load is dropped.
    ///
    /// Only loads with a `place` are counted against the bounds. Those of keys that were verified before have none: wrong
    /// keys must not crowd right ones out, and each costs one read. At the bounds a load that [stands
    /// in](LoadKey::stand_in) is joined if there is one.
    pub(super) async fn join<F>(
        self: &Arc<Self>,
        key: K,
        place: Option<Place>,
        load: impl FnOnce() -> F,
    ) -> Result<Landing, Refuse>
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut seat = self.board_or_start(key, place, load)?;
        let landed = seat.landing.wait_for(Option::is_some).await;
        // The sender is dropped without an answer only when the runtime shuts down.
        let landed = landed.ok().and_then(|landed| landed.clone());
        Ok(match landed {
            Some(Landing::Verified(entry)) if seat.is_stand_in => Landing::VerifiedBefore(entry),
            Some(landed) => landed,
            None => Landing::Failed(RejectionKind::StoreUnavailable, None),
        })
    }

    fn board_or_start<F>(
        self: &Arc<Self>,
        key: K,
        place: Option<Place>,
        load: impl FnOnce() -> F,
    ) -> Result<Seat, Refuse>
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut board = unpoisoned(self.board.lock());
        if let Some(flying) = board.flying.get(&key) {
            return Ok(Seat {
                landing: flying.subscribe(),
                is_stand_in: false,
            });
        }
        let runtime = Handle::try_current().map_err(|_| Refuse)?;
        if let Some(place) = place {
            if board.is_full_for(&place) {
                return board.stand_in(&key).ok_or(Refuse);
            }
            board.unproven.push((place, key.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        let sender = Arc::new(sender);
        board.flying.insert(key.clone(), sender.clone());
        let flight = Flight {
            flights: self.clone(),
            key,
            landing: sender,
        };
        // Boxed, because the task is moved as a whole while it is spawned, and this is most of it.
        let load = Box::pin(load());
        // A runtime that is shutting down drops what is spawned on it at once, and with it the flight, which takes itself
        // off the board: under the lock that would wait for itself for ever.
        drop(board);
        runtime.spawn(flight.fly(load));
        Ok(Seat {
            landing: receiver,
            is_stand_in: false,
        })
    }

    /// Whether the loads for keys that are not proven yet are more than half of what may be.
    pub(super) fn is_more_than_half_full(&self) -> bool {
        let board = unpoisoned(self.board.lock());
        board.unproven.len() > UNPROVEN / 2
    }

    /// Loads under way for keys of these clients that are not proven yet.
    pub(super) fn unproven_of(&self, client: ClientGroup) -> usize {
        let board = unpoisoned(self.board.lock());
        board
            .unproven
            .iter()
            .filter(|(place, _)| place.client == client)
            .count()
    }

    /// All loads under way.
    pub(super) fn len(&self) -> usize {
        unpoisoned(self.board.lock()).flying.len()
    }
}

impl<K: LoadKey> Board<K> {
    fn is_full_for(&self, place: &Place) -> bool {
        let taken = self.unproven.iter().filter(|(other, _)| other == place).count();
        self.unproven.len() >= UNPROVEN || taken >= UNPROVEN_PER_PLACE
    }

    /// The latest of them: what it reads is the least likely to be old already. Of those that are counted only, which are
    /// few: it is looked for while a flood goes on.
    fn stand_in(&self, key: &K) -> Option<Seat> {
        let all = self.unproven.iter();
        let (_, latest) = all
            .filter_map(|(_, other)| Some((key.stand_in(other)?, other)))
            .max_by_key(|(began, _)| *began)?;
        Some(Seat {
            landing: self.flying.get(latest)?.subscribe(),
            is_stand_in: true,
        })
    }
}

/// One load; takes itself off the board however it ends, by a panic too.
struct Flight<K: Eq + Hash> {
    flights: Arc<Flights<K>>,
    key: K,
    landing: Flying,
}

impl<K: Eq + Hash> Flight<K> {
    async fn fly(self, mut load: Pin<Box<impl Future<Output = Landing>>>) {
        let landing = loop {
            let landed = {
                let mut deserted = pin!(self.landing.closed());
                poll_fn(|cx| {
                    if let Poll::Ready(landing) = load.as_mut().poll(cx) {
                        return Poll::Ready(Some(landing));
                    }
                    deserted.as_mut().poll(cx).map(|()| None)
                })
                .await
            };
            match landed {
                Some(landing) => break landing,
                None if self.leave_if_deserted() => return,
                None => {}
            }
        };
        // Off the board first: who goes around for a later answer must not be given this one again.
        let waiting = self.landing.clone();
        drop(self);
        waiting.send_replace(Some(landing));
    }

    /// Takes the load off the board if nobody has joined in the meantime; under the lock that joiners take.
    fn leave_if_deserted(&self) -> bool {
        let mut board = unpoisoned(self.flights.board.lock());
        if self.landing.receiver_count() > 0 {
            return false;
        }
        self.remove_from(&mut board);
        true
    }

    fn remove_from(&self, board: &mut Board<K>) {
        let is_mine = |flying: &Flying| Arc::ptr_eq(flying, &self.landing);
        if !board.flying.get(&self.key).is_some_and(is_mine) {
            return;
        }
        board.flying.remove(&self.key);
        if let Some(index) = board.unproven.iter().position(|(_, key)| *key == self.key) {
            board.unproven.swap_remove(index);
        }
    }
}

impl<K: Eq + Hash> Drop for Flight<K> {
    fn drop(&mut self) {
        let mut board = unpoisoned(self.flights.board.lock());
        self.remove_from(&mut board);
    }
}

#[cfg(test)]
mod tests;
