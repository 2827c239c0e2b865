//! Where a key may be used from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::error::ConfigError;

const MOST: usize = 256;

/// The networks a key may be used from; empty means from anywhere. At most 256.
///
/// Addresses are compared in canonical form: an IPv4 client that reaches an IPv6 socket as `::ffff:192.0.2.7` is
/// `192.0.2.7`, and a network written as `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
///
/// ```
/// use tower_api_key::key::Networks;
///
/// let office: Networks = "192.0.2.0/24 2001:db8::/48".parse()?;
/// assert!(office.contains("::ffff:192.0.2.7".parse().unwrap()));
/// assert!(!office.contains("198.51.100.1".parse().unwrap()));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// These networks.
    ///
    /// # Errors
    /// When there are more than 256.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, ConfigError> {
        let mut networks: Vec<IpNet> = networks.into_iter().map(canonical).collect();
        networks.sort();
        networks.dedup();
        if networks.len() > MOST {
            return Err(ConfigError::new("networks", "at most 256"));
        }
        Ok(Self(networks.into()))
    }

    /// Whether the address lies in one of the networks. With no networks at all nothing is contained.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The networks.
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
    type Err = ConfigError;

    /// Reads networks in CIDR form, or single addresses, with white space or commas between.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let words = text.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty());
        let networks: Result<Vec<IpNet>, ConfigError> = words
            .map(|word| {
                word.parse::<IpNet>()
                    .or_else(|_| word.parse::<IpAddr>().map(IpNet::from))
                    .map_err(|_| {
                        ConfigError::new(
                            "network",
                            format!("{word:?} is neither `address/length` nor an address"),
                        )
                    })
            })
            .collect();
        Self::new(networks?)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_and_networks_are_the_same_as_plain_ones() {
        let networks: Networks = "::ffff:192.0.2.0/120".parse().unwrap();
        assert_eq!(networks.to_string(), "192.0.2.0/24");
        assert!(networks.contains("192.0.2.9".parse().unwrap()));
        assert!(networks.contains("::ffff:192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn single_addresses_host_bits_and_rubbish() {
        let networks: Networks = "10.1.2.3, 10.9.8.7/8".parse().unwrap();
        assert_eq!(networks.to_string(), "10.0.0.0/8 10.1.2.3/32");
        assert!("10.0.0.0/33".parse::<Networks>().is_err());
        assert!("example.com".parse::<Networks>().is_err());
        assert!(!Networks::default().contains("10.0.0.1".parse().unwrap()));
    }
}
