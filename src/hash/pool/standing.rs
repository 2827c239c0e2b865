//! What the queue remembers about clients, and the two orders that follow from it.

use std::collections::HashMap;

use crate::client::ClientGroup;

/// The clients that had a turn lately. They need not have jobs in the queue: otherwise a client whose jobs come and go
/// would count as new each time.
#[derive(Default)]
pub(super) struct Standings {
    /// How many turns there were.
    turns: u64,
    clients: HashMap<ClientGroup, Standing>,
}

/// What is remembered about a client. Turns count from 1.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// Its last verdict was a right key.
    is_proven: bool,
    /// The turn of its last wrong key.
    last_wrong: u64,
    last_turn: u64,
}

/// The order of turns: the client with the smallest is next.
///
/// The client whose last wrong key is longest ago comes first, and among equals the one whose last turn is longest ago.
/// Every second turn goes to a proven client if there is one: a flood from more addresses than the queue has places
/// consists of unknown clients, and each of them would have a first turn.
///
/// The service itself has no wrong keys, and while it hashes many keys its next job is always there. So it has no two turns
/// in succession while others wait whose turn it could be: otherwise it would have all of them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TurnOrder {
    is_passed_over: bool,
    is_this_process_again: bool,
    last_wrong: u64,
    last_turn: u64,
}

/// The order of displacement: the client with the largest loses a job to one with a smaller one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LoadOrder {
    jobs: usize,
    is_unproven: bool,
    last_wrong: u64,
}

/// A client is forgotten after this many turns of others.
const REMEMBERED: u64 = 8192;

impl Standings {
    pub(super) fn turn_order(&self, client: ClientGroup) -> TurnOrder {
        let standing = self.of(client);
        let next_turn = self.turns + 1;
        TurnOrder {
            is_passed_over: next_turn.is_multiple_of(2) && !standing.is_proven,
            is_this_process_again: client == ClientGroup::THIS_PROCESS && standing.last_turn == self.turns,
            last_wrong: standing.last_wrong,
            last_turn: standing.last_turn,
        }
    }

    /// With this many jobs in the queue.
    pub(super) fn load_order(&self, client: ClientGroup, jobs: usize) -> LoadOrder {
        let standing = self.of(client);
        LoadOrder {
            jobs,
            is_unproven: !standing.is_proven,
            last_wrong: standing.last_wrong,
        }
    }

    /// This client has the next turn.
    pub(super) fn begin_turn(&mut self, client: ClientGroup) {
        self.turns += 1;
        self.clients.entry(client).or_default().last_turn = self.turns;
        if self.clients.len() as u64 > 2 * REMEMBERED {
            let forgotten = self.turns.saturating_sub(REMEMBERED);
            self.clients.retain(|_, standing| standing.last_turn > forgotten);
        }
    }

    /// The key of this client's last turn was right or wrong. A client that is forgotten by now stays so.
    pub(super) fn record_verdict(&mut self, client: ClientGroup, was_right: bool) {
        if let Some(standing) = self.clients.get_mut(&client) {
            standing.is_proven = was_right;
            if !was_right {
                standing.last_wrong = standing.last_turn;
            }
        }
    }

    /// Whether the last verdict about this client was a wrong key.
    pub(super) fn is_suspect(&self, client: ClientGroup) -> bool {
        let standing = self.of(client);
        standing.last_wrong > 0 && !standing.is_proven
    }

    fn of(&self, client: ClientGroup) -> Standing {
        let standing = self.clients.get(&client).copied().unwrap_or_default();
        Standing {
            // The service itself never presents a key that proves it. Were it unproven, every new address would come
            // before it, and a flood from new addresses would stop all issuing.
            is_proven: standing.is_proven || client == ClientGroup::THIS_PROCESS,
            ..standing
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn only_the_last_clients_are_remembered() {
        let mut standings = Standings::default();
        for number in 0..5 * REMEMBERED as u32 {
            let client = ClientGroup::of(Some(IpAddr::from(number.to_be_bytes())));
            standings.begin_turn(client);
            standings.record_verdict(client, false);
            assert!(standings.clients.len() as u64 <= 2 * REMEMBERED);
            assert!(standings.clients.contains_key(&client));
        }
        let forgotten = ClientGroup::of(Some(IpAddr::from([0, 0, 0, 0])));
        standings.record_verdict(forgotten, false);
        assert!(!standings.clients.contains_key(&forgotten));
    }
}
