//! What the queue remembers about clients, and the two orders that follow from it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rand::seq::IteratorRandom;

use crate::client::{ClientGroup, Network};

/// The clients that had a turn lately, and their networks. They need not have jobs in the queue: otherwise a client whose jobs
/// come and go would count as new each time.
#[derive(Default)]
pub(super) struct Standings {
    /// How many turns there were.
    turns: u64,
    /// How many of them went to jobs that nothing speaks for.
    ordinary_turns: u64,
    networks: HashMap<Network, Standing, RandomState>,
    #[cfg(test)]
    looked_up: std::cell::Cell<usize>,
}

/// What is remembered about a client, or about all clients of a network. Turns count from 1.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// The last verdict was a right key.
    is_proven: bool,
    /// The turn of the last wrong key.
    last_wrong: u64,
    last_turn: u64,
    /// For a network: clients that have sent wrong keys, fewer those that have sent right ones since.
    wrong_clients: u8,
}

/// The order of turns: the client with the smallest is next.
///
/// Clients that have sent wrong keys come after all others, and before them those in a network whose last key was wrong: a new
/// address there is no reason to come before a client of another network. Then the network whose last turn is longest ago
/// comes first; in it the client whose last wrong key is longest ago; and among equals the one whose last turn is. Every second
/// turn goes to a proven client if there is one: a flood from more networks than the queue has places consists of unknown
/// clients, and each of them would have a first turn.
///
/// The service itself has no wrong keys, and while it hashes many keys its next job is always there. So it has no two turns
/// in succession while others wait whose turn it could be: otherwise it would have all of them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TurnOrder {
    is_passed_over: bool,
    is_this_process_again: bool,
    is_suspect: bool,
    is_beside_wrong: bool,
    /// Of the networks around the client, from the largest.
    last_turns: [u64; ClientGroup::LEVELS - 1],
    last_wrong: u64,
    last_turn: u64,
}

/// The order of displacement among clients or networks with equally many jobs: the one with the largest loses a job.
///
/// Those whose last key was wrong are the first to lose one. Then newcomers, but only while they have more than half of the
/// places in question: otherwise clients from more networks than there are places would keep all newcomers out, once each of
/// them has sent a right key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TieOrder {
    is_wrong: bool,
    yields: bool,
    last_wrong: u64,
}

/// A client is forgotten after this many turns of others.
const REMEMBERED: u64 = 8192;
/// With so many clients that have sent wrong keys, all of their network that have sent no right one count as they do: an
/// attacker with a network has a new address for every key.
const FILLED: u8 = 4;
const MOST_WRONG_CLIENTS: u8 = 16;

impl Standing {
    /// Neither right nor wrong keys are known of it.
    fn is_new(self) -> bool {
        !self.is_proven && self.last_wrong == 0
    }
}

impl Standings {
    pub(super) fn turn_order(&self, client: ClientGroup) -> TurnOrder {
        let standings = client.networks().map(|network| self.of(network));
        let [around @ .., standing] = &standings;
        let next_turn = self.ordinary_turns + 1;
        TurnOrder {
            is_passed_over: next_turn.is_multiple_of(2) && !standing.is_proven,
            is_this_process_again: client == ClientGroup::THIS_PROCESS && standing.last_turn == self.turns,
            is_suspect: is_suspect(&standings),
            is_beside_wrong: around
                .iter()
                .any(|network| !network.is_proven && network.last_wrong > 0),
            last_turns: std::array::from_fn(|level| around[level].last_turn),
            last_wrong: standing.last_wrong,
            last_turn: standing.last_turn,
        }
    }

    /// The one of these that loses a job. Of equals, chance decides.
    pub(super) fn loser_of(&self, ties: &[Network]) -> Option<Network> {
        let standings = || ties.iter().map(|network| (*network, self.of(*network)));
        let newcomers = standings().filter(|(_, standing)| standing.is_new()).count();
        let new_ones_yield = newcomers * 2 > ties.len();
        let order = |standing: Standing| TieOrder {
            is_wrong: !standing.is_proven && standing.last_wrong > 0,
            yields: standing.is_new() == new_ones_yield,
            last_wrong: standing.last_wrong,
        };
        let last = standings().map(|(_, standing)| order(standing)).max()?;
        let equals = standings().filter(|(_, standing)| order(*standing) == last);
        equals.choose(&mut rand::rng()).map(|(network, _)| network)
    }

    /// This client has the next turn.
    pub(super) fn begin_turn(&mut self, client: ClientGroup, goes_ahead: bool) {
        self.turns += 1;
        self.ordinary_turns += u64::from(!goes_ahead);
        for network in client.networks() {
            self.networks.entry(network).or_default().last_turn = self.turns;
        }
        if self.networks.len() as u64 > 2 * REMEMBERED * ClientGroup::LEVELS as u64 {
            let forgotten = self.turns.saturating_sub(REMEMBERED);
            self.networks.retain(|_, standing| standing.last_turn > forgotten);
        }
    }

    /// The key of this client's last turn was right or wrong. A client that is forgotten by now stays so.
    pub(super) fn record_verdict(&mut self, client: ClientGroup, was_right: bool) {
        let was_known = self.of_client(client);
        for network in client.networks() {
            let Some(standing) = self.networks.get_mut(&network) else {
                continue;
            };
            standing.is_proven = was_right;
            if was_right {
                standing.wrong_clients = standing.wrong_clients.saturating_sub(1);
                continue;
            }
            standing.last_wrong = standing.last_turn;
            if was_known.last_wrong == 0 || was_known.is_proven {
                standing.wrong_clients = (standing.wrong_clients + 1).min(MOST_WRONG_CLIENTS);
            }
        }
    }

    /// Whether wrong keys came from this client, or from several in a network of it, and no right one from itself since.
    pub(super) fn is_suspect(&self, client: ClientGroup) -> bool {
        is_suspect(&client.networks().map(|network| self.of(network)))
    }

    fn of_client(&self, client: ClientGroup) -> Standing {
        let [.., own] = client.networks();
        self.of(own)
    }

    #[cfg(test)]
    pub(super) fn looked_up(&self) -> usize {
        self.looked_up.get()
    }

    fn of(&self, network: Network) -> Standing {
        #[cfg(test)]
        self.looked_up.set(self.looked_up.get() + 1);
        let standing = self.networks.get(&network).copied().unwrap_or_default();
        Standing {
            // The service itself never presents a key that proves it. Were it unproven, every new address would come
            // before it, and a flood from new addresses would stop all issuing.
            is_proven: standing.is_proven || network.is_this_process(),
            ..standing
        }
    }
}

/// By the standings of a client's networks, from the largest to the client's own.
fn is_suspect(standings: &[Standing; ClientGroup::LEVELS]) -> bool {
    let [.., own] = standings;
    let is_filled = |standing: &Standing| standing.wrong_clients >= FILLED;
    !own.is_proven && (own.last_wrong > 0 || standings.iter().any(is_filled))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn only_the_last_clients_are_remembered() {
        let mut standings = Standings::default();
        for number in 0..8 * REMEMBERED as u32 {
            let client = ClientGroup::of(Some(IpAddr::from(number.to_be_bytes())));
            standings.begin_turn(client, false);
            standings.record_verdict(client, false);
            assert!(standings.networks.len() as u64 <= 6 * REMEMBERED);
            assert!(
                client
                    .networks()
                    .iter()
                    .all(|network| standings.networks.contains_key(network))
            );
        }
        let [.., forgotten] = ClientGroup::of(Some(IpAddr::from([0, 0, 0, 0]))).networks();
        standings.record_verdict(ClientGroup::of(Some(IpAddr::from([0, 0, 0, 0]))), false);
        assert!(!standings.networks.contains_key(&forgotten));
    }

    #[test]
    fn network_counts_as_suspect_once_it_fills_with_wrong_keys() {
        let client = |text: &str| ClientGroup::of(text.parse().ok());
        for (wrong, neighbour, stranger) in [
            (
                ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
                "192.0.2.9",
                "192.0.3.9",
            ),
            (
                [
                    "2001:db8:1:100::1",
                    "2001:db8:1:200::1",
                    "2001:db8:1:300::1",
                    "2001:db8:1:400::1",
                ],
                "2001:db8:1:ffff::1",
                "2001:db8:2:100::1",
            ),
        ] {
            let mut standings = Standings::default();
            for (number, text) in wrong.into_iter().enumerate() {
                for _ in 0..9 {
                    assert!(!standings.is_suspect(client(neighbour)), "{number} are few");
                    standings.begin_turn(client(text), false);
                    standings.record_verdict(client(text), false);
                    assert!(standings.is_suspect(client(text)));
                    if number == 3 {
                        break;
                    }
                }
            }
            assert!(standings.is_suspect(client(neighbour)));
            assert!(!standings.is_suspect(client(stranger)));
            // A right key speaks for its client, and a little for its network.
            standings.begin_turn(client(neighbour), false);
            standings.record_verdict(client(neighbour), true);
            assert!(!standings.is_suspect(client(neighbour)));
            assert!(!standings.is_suspect(client(&neighbour.replace('9', "8").replace("ffff", "eeee"))));
        }
    }
}
