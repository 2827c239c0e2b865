//! Who shares a fate: the clients that are treated as one when something runs short.

use std::net::IpAddr;

/// The clients that count as one where a bounded resource is shared out: an IPv4 address by itself, or an IPv6 /64.
///
/// A single subscriber is commonly given a whole /64 (RFC 6177), so counting IPv6 addresses one by one would give each
/// of them 2^64 shares. An IPv4-mapped IPv6 address is the IPv4 address. All clients without a known address are one
/// group: not knowing who asks must never be an advantage.
///
/// ```
/// use tower_api_key::hash::ClientGroup;
///
/// let group = |address: &str| ClientGroup::of(Some(address.parse().unwrap()));
/// assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
/// assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
/// assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.1"));
/// assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
/// assert_eq!(ClientGroup::of(None), ClientGroup::UNKNOWN);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientGroup(Members);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Members {
    Unknown,
    V4(u32),
    V6Network(u64),
    ThisProcess,
}

impl ClientGroup {
    /// The one group of all clients whose address is not known.
    pub const UNKNOWN: Self = Self(Members::Unknown);

    /// Work that the service itself asked for, such as issuing a key; no client can be in this group.
    pub(crate) const THIS_PROCESS: Self = Self(Members::ThisProcess);

    /// The group of this address.
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::UNKNOWN,
            Some(IpAddr::V4(address)) => Self(Members::V4(address.to_bits())),
            Some(IpAddr::V6(address)) => Self(Members::V6Network((address.to_bits() >> 64) as u64)),
        }
    }
}
