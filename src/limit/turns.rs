//! Turns at reading from a store, shared out between the networks that clients come from.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::client::{ClientGroup, Network};
use crate::sync::unpoisoned;

/// Reads of a few clients at once, for which many may wait. Networks take turns, and clients in them: in the order of arrival,
/// a flood would have a newcomer wait behind all of its reads, and on a slow store beyond the time that there is.
///
/// Nothing here takes longer the more of them wait, but by the depth of a tree.
pub(crate) struct Turns {
    most: Most,
    state: Mutex<State>,
}

/// How many there may be.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    /// Places, of those that read and those that wait for it.
    pub(crate) places: usize,
    pub(crate) reading: usize,
    /// Keys that nothing speaks for have one of so many parts of both.
    pub(crate) part_of_others: usize,
}

/// A place among those that read or wait for it. Dropping it makes room for another one.
pub(crate) struct ReadingPlace {
    turns: Arc<Turns>,
    client: ClientGroup,
    is_other: bool,
    ticket: Mutex<Option<Ticket>>,
}

struct Ticket {
    number: u64,
    called: Option<oneshot::Receiver<()>>,
}

#[derive(Default)]
struct State {
    next_number: u64,
    tickets: HashMap<u64, At, RandomState>,
    lanes: [Lane; 2],
}

/// Where a place is.
enum At {
    Reading,
    Waiting(Network, Position),
}

/// Keys that something speaks for, or the others.
#[derive(Default)]
struct Lane {
    reading: usize,
    line: Line,
}

/// A tag, and a number that tells equal ones apart. The smallest is next.
type Position = (u64, u64);

/// Those who wait, by their networks. Each of them stands one further back for each that waits beside it, so that the first of
/// another network comes before it. Who enters stands behind the turn of now, and not at it: otherwise a network that comes
/// again after each turn, one by one, would have all turns.
#[derive(Default)]
struct Line {
    /// The tag of the network that had the last turn.
    tag: u64,
    len: usize,
    networks: HashMap<Network, InNetwork, RandomState>,
    /// Networks in the order of their turns, one for each that waits.
    turns: BTreeMap<Position, Network>,
    /// Networks by how many wait. The salt lets chance decide between equals.
    sizes: BTreeMap<(usize, u64), Network>,
}

struct InNetwork {
    salt: u64,
    /// The tag of the client that had the last turn.
    tag: u64,
    /// Its turns, ascending.
    turns: VecDeque<Position>,
    waiting: BTreeMap<Position, Waiting>,
    /// How many of each client wait, and the last tag of them.
    clients: HashMap<ClientGroup, (usize, u64), RandomState>,
}

struct Waiting {
    client: ClientGroup,
    call: oneshot::Sender<()>,
}

impl Turns {
    pub(crate) fn new(most: Most) -> Self {
        Self {
            most,
            state: Mutex::default(),
        }
    }

    /// None when there are too many, and most of them are not of another network. Otherwise the one that waits last in the
    /// largest network has to leave.
    pub(crate) fn place(self: &Arc<Self>, client: ClientGroup, is_other: bool) -> Option<ReadingPlace> {
        let ticket = self.enter(client, is_other)?;
        Some(ReadingPlace {
            turns: self.clone(),
            client,
            is_other,
            ticket: Mutex::new(Some(ticket)),
        })
    }

    /// Those that read, and those that wait.
    pub(crate) fn len(&self) -> usize {
        unpoisoned(self.state.lock()).tickets.len()
    }

    fn enter(&self, client: ClientGroup, is_other: bool) -> Option<Ticket> {
        let (call, called) = oneshot::channel();
        let [network, ..] = client.networks();
        let mut state = unpoisoned(self.state.lock());
        let is_full = state.tickets.len() >= self.most.places
            || is_other && state.others().len() >= self.most.places / self.most.part_of_others;
        let number = state.next_number;
        state.next_number += 1;
        let line = &mut state.lane(is_other).line;
        let position = line.push(network, number, Waiting { client, call });
        let displaced = if is_full { line.displace() } else { None };
        state.tickets.insert(number, At::Waiting(network, position));
        if let Some((displaced, _)) = &displaced {
            state.tickets.remove(displaced);
        }
        state.call_next(self.most);
        drop(state);
        // The displaced one hears of it when its sender is dropped.
        let is_newcomer = displaced.is_some_and(|(displaced, _)| displaced == number);
        (!is_newcomer).then_some(Ticket {
            number,
            called: Some(called),
        })
    }

    fn leave(&self, ticket: &Ticket, is_other: bool) {
        let mut state = unpoisoned(self.state.lock());
        match state.tickets.remove(&ticket.number) {
            Some(At::Reading) => {
                state.lane(is_other).reading -= 1;
                state.call_next(self.most);
            }
            Some(At::Waiting(network, position)) => {
                drop(state.lane(is_other).line.remove(network, position));
            }
            // Displaced.
            None => {}
        }
    }
}

impl ReadingPlace {
    /// Waits for its turn, which lasts until it [leaves](Self::leave). False when it had to make room for another one.
    pub(crate) async fn turn(&self) -> bool {
        let called = {
            let mut ticket = unpoisoned(self.ticket.lock());
            if ticket.is_none() {
                *ticket = self.turns.enter(self.client, self.is_other);
            }
            ticket.as_mut().and_then(|ticket| ticket.called.take())
        };
        match called {
            Some(called) => called.await.is_ok(),
            None => false,
        }
    }

    /// Makes room for the read of another one.
    pub(crate) fn leave(&self) {
        let ticket = unpoisoned(self.ticket.lock()).take();
        if let Some(ticket) = ticket {
            self.turns.leave(&ticket, self.is_other);
        }
    }
}

impl Drop for ReadingPlace {
    fn drop(&mut self) {
        self.leave();
    }
}

impl State {
    fn lane(&mut self, is_other: bool) -> &mut Lane {
        let [spoken_for, others] = &mut self.lanes;
        if is_other { others } else { spoken_for }
    }

    fn others(&self) -> &Lane {
        &self.lanes[1]
    }

    /// Calls those whose turn it is now. Others first: they have no more than their part.
    fn call_next(&mut self, most: Most) {
        while self.lanes.iter().map(|lane| lane.reading).sum::<usize>() < most.reading {
            let has_share = self.others().reading < most.reading / most.part_of_others;
            let next = match has_share {
                true => self.lane(true).pop().or_else(|| self.lane(false).pop()),
                false => self.lane(false).pop(),
            };
            let Some((number, call)) = next else {
                return;
            };
            self.tickets.insert(number, At::Reading);
            // A place whose owner has gone away is left by it.
            let _ = call.send(());
        }
    }
}

impl Lane {
    fn len(&self) -> usize {
        self.reading + self.line.len
    }

    fn pop(&mut self) -> Option<(u64, oneshot::Sender<()>)> {
        let (number, waiting) = self.line.pop()?;
        self.reading += 1;
        Some((number, waiting.call))
    }
}

impl Line {
    fn push(&mut self, network: Network, number: u64, waiting: Waiting) -> Position {
        let of_network = self.networks.entry(network).or_insert_with(|| InNetwork {
            salt: rand::random(),
            tag: 0,
            turns: VecDeque::new(),
            waiting: BTreeMap::new(),
            clients: HashMap::default(),
        });
        self.sizes.remove(&of_network.size());
        let last = of_network.turns.back().map_or(0, |(tag, _)| *tag);
        let turn = (self.tag.max(last) + 1, number);
        of_network.turns.push_back(turn);
        self.turns.insert(turn, network);
        let (count, last) = of_network.clients.entry(waiting.client).or_default();
        let position = (of_network.tag.max(*last) + 1, number);
        *count += 1;
        *last = position.0;
        of_network.waiting.insert(position, waiting);
        self.sizes.insert(of_network.size(), network);
        self.len += 1;
        position
    }

    /// The next one, with its number.
    fn pop(&mut self) -> Option<(u64, Waiting)> {
        let (turn, network) = self.turns.pop_first()?;
        self.tag = turn.0;
        let of_network = self.networks.get_mut(&network)?;
        of_network.turns.pop_front();
        let (position, _) = of_network.waiting.first_key_value()?;
        let position = *position;
        of_network.tag = position.0;
        Some((position.1, self.take(network, position)?))
    }

    /// Takes out one that waits in the largest network: the last one of the client with the most.
    fn displace(&mut self) -> Option<(u64, Waiting)> {
        let (_, network) = self.sizes.last_key_value()?;
        let network = *network;
        let (position, _) = self.networks.get(&network)?.waiting.last_key_value()?;
        let position = *position;
        Some((position.1, self.remove(network, position)?))
    }

    fn remove(&mut self, network: Network, position: Position) -> Option<Waiting> {
        let of_network = self.networks.get_mut(&network)?;
        if let Some(turn) = of_network.turns.pop_back() {
            self.turns.remove(&turn);
        }
        self.take(network, position)
    }

    fn take(&mut self, network: Network, position: Position) -> Option<Waiting> {
        let of_network = self.networks.get_mut(&network)?;
        let size = (of_network.waiting.len(), of_network.salt);
        let waiting = of_network.waiting.remove(&position)?;
        self.sizes.remove(&size);
        self.len -= 1;
        if let Some((count, last)) = of_network.clients.get_mut(&waiting.client) {
            *count -= 1;
            // A client that comes and goes must stand neither beside its own others nor ever further back.
            if *last == position.0 {
                *last -= 1;
            }
            if *count == 0 {
                of_network.clients.remove(&waiting.client);
            }
        }
        match of_network.waiting.is_empty() {
            true => drop(self.networks.remove(&network)),
            false => drop(self.sizes.insert(of_network.size(), network)),
        }
        Some(waiting)
    }
}

impl InNetwork {
    fn size(&self) -> (usize, u64) {
        (self.waiting.len(), self.salt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(places: usize, reading: usize) -> Arc<Turns> {
        Arc::new(Turns::new(Most {
            places,
            reading,
            part_of_others: 4,
        }))
    }

    fn client(text: &str) -> ClientGroup {
        ClientGroup::of(text.parse().ok())
    }

    /// Whether it was called; none if it had to leave.
    fn called(place: &ReadingPlace) -> Option<bool> {
        let mut ticket = unpoisoned(place.ticket.lock());
        let called = ticket.as_mut()?.called.as_mut()?;
        match called.try_recv() {
            Ok(()) => Some(true),
            Err(oneshot::error::TryRecvError::Empty) => Some(false),
            Err(oneshot::error::TryRecvError::Closed) => None,
        }
    }

    /// In which order these read, one after the other, when one of the first address reads already.
    fn order(addresses: &[&str]) -> Vec<usize> {
        let turns = turns(1_000, 1);
        let mut before = turns.place(client(addresses[0]), false);
        let mut places: Vec<_> = addresses.iter().map(|text| turns.place(client(text), false)).collect();
        let mut order = Vec::new();
        while order.len() < places.len() {
            drop(before.take());
            let next = places
                .iter()
                .position(|place| place.as_ref().is_some_and(|place| called(place) == Some(true)));
            order.push(next.unwrap());
            before = places[next.unwrap()].take();
        }
        drop(before);
        assert_eq!(turns.len(), 0);
        order
    }

    #[test]
    fn networks_take_turns_and_clients_in_them() {
        let [one, beside, other] = ["192.0.2.1", "192.0.2.2", "198.51.100.1"];
        assert_eq!(order(&[one, one, one, one, other]), [0, 4, 1, 2, 3]);
        assert_eq!(order(&[one, one, one, beside, other, other]), [0, 4, 3, 5, 1, 2]);
        let [first, second] = ["2001:db8:1:1::1", "2001:db8:1:2::1"];
        assert_eq!(order(&[first, second, first, second, one]), [0, 4, 1, 2, 3]);
    }

    #[test]
    fn largest_network_makes_room_for_newcomers() {
        let turns = turns(4, 1);
        let flood: Vec<_> = (0..4)
            .filter_map(|host| turns.place(ClientGroup::of(Some([192, 0, 2, host].into())), false))
            .collect();
        assert_eq!(flood.len(), 4);
        let newcomer = turns.place(client("198.51.100.1"), false).unwrap();
        assert_eq!((turns.len(), called(&newcomer)), (4, Some(false)));
        assert_eq!(called(&flood[3]), None, "the newest");
        assert!(turns.place(client("192.0.2.9"), false).is_none());
        let mut flood = flood.into_iter();
        drop(flood.next());
        drop(flood.next());
        assert_eq!(called(&newcomer), Some(true));
        drop((newcomer, flood));
        assert_eq!(turns.len(), 0);
    }

    #[tokio::test]
    async fn displaced_one_has_no_turn_and_may_come_again() {
        let turns = turns(3, 1);
        // Of networks with equally many, chance decides.
        let [reads, before, waits] = ["192.0.2.1"; 3].map(|text| turns.place(client(text), false).unwrap());
        assert!(reads.turn().await);
        let other = turns.place(client("198.51.100.1"), false).unwrap();
        assert!(!waits.turn().await);
        waits.leave();
        before.leave();
        reads.leave();
        assert!(other.turn().await);
        other.leave();
        assert!(waits.turn().await, "a second read");
        drop((reads, before, waits, other));
        assert_eq!(turns.len(), 0);
    }

    /// It comes again after each of its turns, one by one, while four of another network wait.
    #[test]
    fn network_that_comes_again_has_every_second_turn() {
        let turns = turns(100, 1);
        let place = |text| turns.place(client(text), false);
        let is_called = |place: &Option<ReadingPlace>| place.as_ref().is_some_and(|place| called(place) == Some(true));
        let mut reads = place("192.0.2.1");
        let mut others: Vec<_> = (0..4).map(|_| place("198.51.100.1")).collect();
        let mut again = place("192.0.2.1");
        let mut order = Vec::new();
        for _ in 0..8 {
            drop(reads.take());
            let is_again = is_called(&again);
            order.push(is_again);
            reads = match is_again {
                true => std::mem::replace(&mut again, place("192.0.2.1")),
                false => others.iter_mut().find(|other| is_called(other)).unwrap().take(),
            };
        }
        assert_eq!(order, [false, true, false, true, false, true, false, true]);
    }

    /// One that comes and goes again stands where it would have stood.
    #[test]
    fn client_that_goes_away_stands_no_further_in_front() {
        let turns = turns(100, 1);
        let _reads = turns.place(client("203.0.113.1"), false);
        let mut flood: Vec<_> = (0..8).map(|_| turns.place(client("192.0.2.1"), false)).collect();
        for _ in 0..4 {
            flood[7] = None;
            flood[7] = turns.place(client("192.0.2.1"), false);
        }
        let _beside = turns.place(client("192.0.2.2"), false);
        let state = unpoisoned(turns.state.lock());
        let line = &state.lanes[0].line;
        let [network, ..] = client("192.0.2.1").networks();
        let tags: Vec<u64> = line.networks[&network].waiting.keys().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [1, 1, 2, 3, 4, 5, 6, 7, 8]);
        drop(state);
    }

    proptest! {
        #[test]
        fn places_and_turns_are_bounded_and_none_is_lost(
            steps in prop::collection::vec((0u8..5, 0u8..3, any::<bool>(), 0usize..40), 1..300),
        ) {
            const MOST: Most = Most { places: 24, reading: 8, part_of_others: 4 };
            let turns = Arc::new(Turns::new(MOST));
            let mut places: Vec<(ReadingPlace, bool)> = Vec::new();
            for (network, host, is_other, left) in steps {
                if left < places.len() {
                    drop(places.swap_remove(left));
                } else if let Some(place) = turns.place(ClientGroup::of(Some([10, 0, network, host].into())), is_other) {
                    places.push((place, is_other));
                }
                let state = unpoisoned(turns.state.lock());
                let reading = state.lanes.each_ref().map(|lane| lane.reading);
                let waiting = state.lanes.each_ref().map(|lane| lane.line.len);
                prop_assert!(reading[1] <= 2 && reading[0] + reading[1] <= 8);
                prop_assert!(reading[1] + waiting[1] <= 6);
                prop_assert!(state.tickets.len() <= 24);
                prop_assert_eq!(state.tickets.len(), reading.iter().chain(&waiting).sum::<usize>());
                prop_assert!(waiting[0] == 0 || reading[0] + reading[1] == 8, "a turn is free");
                prop_assert!(waiting[1] == 0 || reading[1] == 2 || reading[0] + reading[1] == 8);
                for lane in &state.lanes {
                    let line = &lane.line;
                    prop_assert_eq!(line.turns.len(), line.len);
                    prop_assert_eq!(line.sizes.len(), line.networks.len());
                    for network in line.networks.values() {
                        prop_assert_eq!(network.turns.len(), network.waiting.len());
                        let counted: usize = network.clients.values().map(|(count, _)| *count).sum();
                        prop_assert_eq!(counted, network.waiting.len());
                        prop_assert!(network.clients.values().all(|(count, _)| *count > 0));
                    }
                }
            }
            drop(places);
            prop_assert_eq!(turns.len(), 0);
            let state = unpoisoned(turns.state.lock());
            prop_assert!(state.lanes.iter().all(|lane| lane.len() == 0 && lane.line.networks.is_empty()));
        }
    }
}
