//! Where a request comes from, and which clients share one part of a bounded resource.

use std::net::{IpAddr, Ipv6Addr};

/// Clients that count as one where a bounded resource is shared: one IPv4 address, or one IPv6 /64.
///
/// A single subscriber commonly has a whole /64 (RFC 6177), so counting IPv6 addresses one by one would give each of them
/// 2^64 shares. An IPv4-mapped IPv6 address counts as the IPv4 address. All clients with unknown address are one group: to
/// hide the address must never be an advantage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientGroup(Members);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Members {
    Unknown,
    V4(u32),
    V6Network(u64),
    ThisProcess,
}

/// A network that clients are part of, or a client itself as the smallest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    level: u8,
    members: Members,
}

impl ClientGroup {
    /// How many networks each client has.
    pub(crate) const LEVELS: usize = 3;

    /// The group of all clients with unknown address.
    pub(crate) const UNKNOWN: Self = Self(Members::Unknown);

    /// The service itself, such as when it issues a key; no client is in this group.
    pub(crate) const THIS_PROCESS: Self = Self(Members::ThisProcess);

    /// The group of this address.
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::UNKNOWN,
            Some(IpAddr::V4(address)) => Self(Members::V4(address.to_bits())),
            Some(IpAddr::V6(address)) => Self(Members::V6Network((address.to_bits() >> 64) as u64)),
        }
    }
}

impl ClientGroup {
    /// The networks around this client, from the largest to the client itself: a /48, a /56 and the /64 of IPv6, which is what
    /// providers hand out (RFC 6177), and a /24 of IPv4. An attacker has as many addresses as its network.
    pub(crate) fn networks(self) -> [Network; Self::LEVELS] {
        let [large, middle] = match self.0 {
            Members::V4(address) => [Members::V4(address & 0xffff_ff00); 2],
            Members::V6Network(network) => [16, 8].map(|bits| Members::V6Network(network >> bits << bits)),
            members => [members; 2],
        };
        [(0, large), (1, middle), (2, self.0)].map(|(level, members)| Network { level, members })
    }
}

impl Network {
    /// Its place among the networks of a client: 0 for the largest.
    pub(crate) fn level(self) -> usize {
        self.level.into()
    }

    pub(crate) fn has(self, client: ClientGroup) -> bool {
        client.networks().get(self.level()) == Some(&self)
    }

    /// Whether it is the service itself.
    pub(crate) fn is_this_process(self) -> bool {
        self.members == Members::ThisProcess
    }
}

/// Where a request comes from, as far as it is known.
///
/// Kept in words, because the bytes of an [`IpAddr`] are moved one by one, several times for every request. An IPv4 address is
/// kept as the IPv6 address that it is mapped to (RFC 4291, section 2.5.5.2), so that both compare equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientOrigin {
    high: u64,
    low: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unknown,
    Client,
    Proxy,
}

impl ClientOrigin {
    pub(crate) const UNKNOWN: Self = Self {
        high: 0,
        low: 0,
        kind: Kind::Unknown,
    };

    /// A client at this address.
    pub(crate) fn client(address: Option<IpAddr>) -> Self {
        match address {
            None => Self::UNKNOWN,
            Some(IpAddr::V4(address)) => Self {
                high: 0,
                low: MAPPED << 32 | u64::from(address.to_bits()),
                kind: Kind::Client,
            },
            Some(IpAddr::V6(address)) => Self {
                high: (address.to_bits() >> 64) as u64,
                low: address.to_bits() as u64,
                kind: Kind::Client,
            },
        }
    }

    /// A client behind a trusted proxy that did not pass its address on: this is the proxy's own address.
    pub(crate) fn proxy(address: IpAddr) -> Self {
        Self {
            kind: Kind::Proxy,
            ..Self::client(Some(address))
        }
    }

    pub(crate) fn is_proxy(&self) -> bool {
        self.kind == Kind::Proxy
    }

    /// The address in its canonical form.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let bits = u128::from(self.high) << 64 | u128::from(self.low);
        (self.kind != Kind::Unknown).then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical())
    }

    /// The network that it is in, a /24 or a /48 of IPv6, as a number that no other one has.
    pub(crate) fn network(&self) -> u64 {
        const IPV6: u64 = 1 << 63;
        match self.kind {
            Kind::Unknown => 0,
            _ if self.high == 0 && self.low >> 32 == MAPPED => self.low >> 8,
            _ => IPV6 | self.high >> 16,
        }
    }

    /// The group that this client belongs to.
    pub(crate) fn group(&self) -> ClientGroup {
        ClientGroup::of(self.address())
    }
}

/// The bits before the IPv4 address in the lower half of an IPv4-mapped IPv6 address.
const MAPPED: u64 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_network_is_one_group_and_ipv4_address_is_one() {
        let group = |address: &str| ClientGroup::of(Some(address.parse().unwrap()));
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(ClientGroup::of(None), ClientGroup::UNKNOWN);
    }

    #[test]
    fn network_is_a_24_or_a_48() {
        let network = |address: &str| ClientOrigin::client(address.parse().ok()).network();
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.254"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::9"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
        assert_eq!(network("unknown"), 0);
    }

    #[test]
    fn networks_are_nested() {
        let shared = |one: &str, two: &str| {
            let [one, two] = [one, two].map(|text| ClientGroup::of(text.parse().ok()).networks());
            std::array::from_fn(|level| one[level] == two[level])
        };
        assert_eq!(shared("192.0.2.1", "192.0.2.1"), [true, true, true]);
        assert_eq!(shared("192.0.2.1", "192.0.2.2"), [true, true, false]);
        assert_eq!(shared("192.0.2.1", "192.0.3.1"), [false, false, false]);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:2::2"), [true, true, true]);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:3::1"), [true, true, false]);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:102::1"), [true, false, false]);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:2:2::1"), [false, false, false]);
        assert_eq!(shared("192.0.2.1", "::c000:201"), [false, false, false]);
        assert!(
            ClientGroup::THIS_PROCESS
                .networks()
                .iter()
                .all(|own| own.is_this_process())
        );
    }

    #[test]
    fn origin_is_the_canonical_address() {
        for text in [
            "0.0.0.0",
            "192.0.2.7",
            "255.255.255.255",
            "::",
            "::1",
            "2001:db8:1:2:3:4:5:6",
            "::ffff:192.0.2.7",
        ] {
            let address: IpAddr = text.parse().unwrap();
            let (client, proxy) = (ClientOrigin::client(Some(address)), ClientOrigin::proxy(address));
            assert_eq!(client.address(), Some(address.to_canonical()), "{text}");
            assert_eq!(proxy.address(), client.address());
            assert!(proxy.is_proxy() && !client.is_proxy());
            assert!(client != ClientOrigin::UNKNOWN, "{text}");
            assert_eq!(client.group(), ClientGroup::of(Some(address)));
        }
        assert_eq!(ClientOrigin::client(None).address(), None);
        assert_eq!(ClientOrigin::UNKNOWN.group(), ClientGroup::UNKNOWN);
        let of = |text: &str| ClientOrigin::client(text.parse().ok());
        assert!(of("::ffff:192.0.2.7") == of("192.0.2.7"));
    }
}
