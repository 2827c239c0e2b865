//! Networks that a key may be used from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::error::{ParseError, unlike};

/// The networks that a key may be used from, at most 256. A key without networks may be used from anywhere.
///
/// Addresses are compared in canonical form: `::ffff:192.0.2.7`, as an IPv6 socket shows an IPv4 client, equals
/// `192.0.2.7`, and the network `::ffff:192.0.2.0/120` equals `192.0.2.0/24`.
///
/// ```
/// use tower_api_key::key::Networks;
///
/// let office: Networks = "192.0.2.0/24 2001:db8::/48".parse()?;
/// assert!(office.contains("::ffff:192.0.2.7".parse().unwrap()));
/// assert!(!office.contains("198.51.100.1".parse().unwrap()));
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// A set of networks, sorted and without duplicates.
    ///
    /// # Errors
    /// When there are more than 256.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, ParseError> {
        let mut networks: Vec<IpNet> = networks.into_iter().map(canonical).collect();
        networks.sort();
        networks.dedup();
        if networks.len() > MOST {
            let problem = format!("must be at most {MOST}, got {}", networks.len());
            return Err(ParseError::new("networks", problem));
        }
        Ok(Self(networks.into()))
    }

    /// Whether one of the networks contains the address. An empty set contains nothing.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether each of the networks is inside one of the others.
    pub(crate) fn are_within(&self, others: &Self) -> bool {
        let is_within = |network: &IpNet| others.0.iter().any(|other| other.contains(network));
        self.0.iter().all(is_within)
    }

    /// Whether there are no networks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The networks, in order.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }
}

fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    if let IpNet::V6(six) = network
        && six.prefix_len() >= 96
        && let Some(four) = six.addr().to_ipv4_mapped()
        && let Ok(mapped) = IpNet::new(IpAddr::V4(four), six.prefix_len() - 96)
    {
        return mapped;
    }
    network
}

impl FromStr for Networks {
    type Err = ParseError;

    /// Reads networks in CIDR notation or single addresses, separated by white space or commas.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let words = text.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty());
        let networks: Result<Vec<IpNet>, ParseError> = words
            .zip(1..)
            .map(|(word, number)| parse_one(word).map_err(|error| error.of_entry(number)))
            .collect();
        Self::new(networks?)
    }
}

/// One network, or one address as the network of itself alone.
pub(super) fn parse_one(text: &str) -> Result<IpNet, ParseError> {
    if let Ok(network) = text.parse() {
        return Ok(network);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let problem = match (unlike(text, is_written_in), text.split_once('/')) {
        (Some(wrong), _) => format!("must be an IP address or `address/length`, got {wrong}"),
        (None, Some((address, _))) if is_address(address) => {
            "must have a length of 0 to 32 after the `/` of an IPv4 network, and of 0 to 128 for IPv6".to_owned()
        }
        _ => format!("must be an IP address or `address/length`, got {} bytes", text.len()),
    };
    Err(ParseError::new("network", problem))
}

/// Whether networks are written with this character.
fn is_written_in(_: usize, c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/')
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{network}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Networks({self})")
    }
}

const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_and_networks_equal_plain_ones() {
        let networks: Networks = "::ffff:192.0.2.0/120".parse().unwrap();
        assert_eq!(networks.to_string(), "192.0.2.0/24");
        assert!(networks.contains("192.0.2.9".parse().unwrap()));
        assert!(networks.contains("::ffff:192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn addresses_and_host_bits_are_read_and_rubbish_is_not() {
        let networks: Networks = "10.1.2.3, 10.9.8.7/8".parse().unwrap();
        assert_eq!(networks.to_string(), "10.0.0.0/8 10.1.2.3/32");
        assert!("10.0.0.0/33".parse::<Networks>().is_err());
        assert!("example.com".parse::<Networks>().is_err());
        assert!(!Networks::default().contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn errors_say_where_and_not_what() {
        for (text, problem) in [
            (
                "10.0.0.0/33",
                "entry 1 must have a length of 0 to 32 after the `/` of an IPv4 network, and of 0 to 128 for IPv6",
            ),
            (
                "::/129",
                "entry 1 must have a length of 0 to 32 after the `/` of an IPv4 network, and of 0 to 128 for IPv6",
            ),
            (
                "::1 10.0.0/8",
                "entry 2 must be an IP address or `address/length`, got 8 bytes",
            ),
            (
                "deed.com",
                "entry 1 must be an IP address or `address/length`, got a lower-case letter at byte 7",
            ),
        ] {
            let error = text.parse::<Networks>().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid network: {problem}"));
        }
    }
}
