//! When clients that were sent away come back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::client::{ClientGroup, Network};
use crate::clock::Monotonic;

/// When the clients that were sent away are expected back, so that each finds a free place.
///
/// They are told times one after another: were they all told the same one, most would be sent away again. But a flood from a
/// few networks must not push everyone's time back, so nobody has to come back much later than networks that take turns would
/// let it. Usually that is later: clients that start together are spread over their networks.
pub(super) struct Returns {
    /// When the last of them is expected.
    last: Monotonic,
    /// Those who are expected, by time; the number tells equal times apart.
    expected: BTreeMap<(Monotonic, u64), Network>,
    next_number: u64,
    /// How many of each network are expected.
    of_network: HashMap<Network, u32, RandomState>,
    /// How many networks have so many.
    networks: BTreeMap<u32, u32>,
}

/// Beyond these, nobody is counted. At the time of a default hash, fewer have times within a minute.
const MOST: usize = 8192;
/// In a flood, clients are told so many times the turn of their network: those of other networks that were told earlier times
/// when they were alone come in between.
const SLACK: u32 = 2;

impl Returns {
    pub(super) fn new() -> Self {
        Self {
            last: Monotonic::from_nanos(0),
            expected: BTreeMap::new(),
            next_number: 0,
            of_network: HashMap::default(),
            networks: BTreeMap::new(),
        }
    }

    /// When one more of this client's network finds a place: `half` from now at the earliest, and if a place becomes free after
    /// `each`.
    pub(super) fn next(&mut self, client: ClientGroup, half: Duration, each: Duration, now: Monotonic) -> Monotonic {
        self.forget_returned(now);
        let in_turn = each.saturating_mul(SLACK.saturating_mul(self.turn_of(network_of(client))));
        self.last.after(each).min(now.after(in_turn)).max(now.after(half))
    }

    /// One more client that is expected back: at this time, or at the latest one if that is sooner.
    pub(super) fn add(&mut self, client: ClientGroup, at: Monotonic, latest: Monotonic, each: Duration) {
        self.last = self.last.after(each).max(at).min(latest);
        if self.expected.len() < MOST {
            let network = network_of(client);
            self.expected.insert((at.min(latest), self.next_number), network);
            self.next_number += 1;
            self.count(network, 1);
        }
    }

    /// How many come before one more of this network, if networks take turns, itself included.
    fn turn_of(&self, network: Network) -> u32 {
        let own = self.of_network.get(&network).map_or(1, |count| count.saturating_add(1));
        let before = |(count, networks): (&u32, &u32)| count.min(&own).saturating_mul(*networks);
        self.networks.iter().map(before).fold(1, u32::saturating_add)
    }

    fn forget_returned(&mut self, now: Monotonic) {
        while let Some(first) = self.expected.first_entry()
            && first.key().0 <= now
        {
            let network = first.remove();
            self.count(network, -1);
        }
    }

    /// Changes how many of a network are expected.
    fn count(&mut self, network: Network, by: i32) {
        let before = self.of_network.remove(&network).unwrap_or_default();
        let after = before.saturating_add_signed(by);
        if let Some(networks) = self.networks.get_mut(&before) {
            *networks -= 1;
            if *networks == 0 {
                self.networks.remove(&before);
            }
        }
        if after > 0 {
            self.of_network.insert(network, after);
            *self.networks.entry(after).or_default() += 1;
        }
    }
}

fn network_of(client: ClientGroup) -> Network {
    let [largest, ..] = client.networks();
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_millis(10);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn client(network: u8, number: u8) -> ClientGroup {
        ClientGroup::of(Some([192, 0, network, number].into()))
    }

    /// In milliseconds from now.
    fn send_away(returns: &mut Returns, client: ClientGroup, now: u64) -> u64 {
        let time = returns.next(client, Duration::ZERO, EACH, at(now));
        returns.add(client, time, at(now + 60_000), EACH);
        u64::try_from(time.since(at(now)).as_millis()).unwrap()
    }

    #[test]
    fn clients_of_one_network_come_one_after_another() {
        let mut returns = Returns::new();
        let times: Vec<u64> = (0..5)
            .map(|number| send_away(&mut returns, client(0, number), 0))
            .collect();
        assert_eq!(times, [10, 20, 30, 40, 50]);
        // Two have come back.
        assert_eq!(send_away(&mut returns, client(0, 9), 20), 40);
    }

    #[test]
    fn flood_of_other_networks_pushes_no_client_beyond_its_turn() {
        let mut returns = Returns::new();
        for number in 0..200 {
            for network in 0..8 {
                send_away(&mut returns, client(network, number), 0);
            }
        }
        // Eight networks before it, and twice their time.
        for turn in 1..=3 {
            assert_eq!(send_away(&mut returns, client(100, 1), 0), 2 * 9 * turn * 10);
        }
        let one_of_many = send_away(&mut returns, client(0, 255), 0);
        assert!(one_of_many > 10_000, "{one_of_many}");
    }

    #[test]
    fn who_has_come_back_is_forgotten() {
        let mut returns = Returns::new();
        for number in 0..50 {
            send_away(&mut returns, client(number, 1), 0);
        }
        assert_eq!(returns.turn_of(network_of(client(200, 1))), 51);
        send_away(&mut returns, client(0, 1), 60_000);
        assert_eq!(
            (returns.expected.len(), returns.of_network.len(), returns.networks.len()),
            (1, 1, 1)
        );
    }

    #[test]
    fn number_of_those_expected_is_bounded() {
        let mut returns = Returns::new();
        for number in 0..20_000_u32 {
            let client = ClientGroup::of(Some(std::net::Ipv4Addr::from_bits(number << 8).into()));
            send_away(&mut returns, client, 0);
        }
        assert_eq!((returns.expected.len(), returns.of_network.len()), (MOST, MOST));
        assert_eq!(returns.networks.values().sum::<u32>() as usize, MOST);
    }
}
