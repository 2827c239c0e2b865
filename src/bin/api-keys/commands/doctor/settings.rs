//! Settings of the configuration file: proxies, addresses, HTTPS, formats.

use std::net::IpAddr;

use tower_api_key::config::{Config, ProxiesConfig};

use super::Checks;

pub(super) fn look(checks: &mut Checks, config: &Config) {
    let proxies = config.proxies();
    https(checks, config, proxies.as_ref());
    match &proxies {
        None => checks.note(
            "proxies",
            "the configuration names none: the client's address is that of the connection, and behind a proxy that is the proxy's. Keys \
             with networks are refused there, and all clients share one failure budget: set [proxies]",
        ),
        Some(proxies) => addresses(checks, proxies),
    }
    formats(checks, config);
}

fn https(checks: &mut Checks, config: &Config, proxies: Option<&ProxiesConfig>) {
    let listen = config.server().listen;
    let header = proxies.and_then(|proxies| proxies.scheme_header.as_deref());
    match header {
        Some(header) => checks.good("HTTPS", format!("requests are admitted that came over it, as {header} says")),
        None if !listen.ip().is_loopback() => checks.wrong(
            "HTTPS",
            format!(
                "server.listen is {listen}, and nothing says whether a request came over HTTPS: keys would cross the network in clear. Set \
                 proxies.scheme_header, such as \"x-forwarded-proto\", or listen on 127.0.0.1"
            ),
        ),
        None if proxies.is_some() => checks.note(
            "HTTPS",
            "proxies are named, and proxies.scheme_header is not: requests that reached a proxy in clear are admitted",
        ),
        None => checks.good("HTTPS", format!("serve listens on {listen}, which only this machine reaches")),
    }
}

fn addresses(checks: &mut Checks, proxies: &ProxiesConfig) {
    let everyone: Vec<String> = proxies
        .networks
        .iter()
        .filter(|network| network.prefix_len() == 0)
        .map(ToString::to_string)
        .collect();
    let said = match (&proxies.header, &proxies.scheme_header) {
        (Some(header), Some(scheme)) => format!("{header} and {scheme}"),
        (Some(header), None) | (None, Some(header)) => header.clone(),
        (None, None) => return,
    };
    if !everyone.is_empty() {
        return checks.wrong(
            "proxies",
            format!(
                "everyone is a trusted proxy ({}), so every client writes its own {said}. Set proxies.networks to the addresses of your \
                 proxies",
                everyone.join(", ")
            ),
        );
    }
    let public: Vec<String> = proxies
        .networks
        .iter()
        .filter(|network| !is_private(network.network()))
        .map(ToString::to_string)
        .collect();
    match public.is_empty() {
        true => checks.good("proxies", format!("{said} is believed of {} alone", proxies.networks)),
        false => checks.note(
            "proxies",
            format!(
                "{said} is believed of public networks: {}. See that nobody but your proxies has addresses in them, or that they replace \
                 the header",
                public.join(", ")
            ),
        ),
    }
    if proxies.header.is_none() {
        checks.note(
            "client address",
            "proxies are named, and proxies.header is not: the client's address is that of the proxy, so keys with networks are refused",
        );
    }
}

/// Not reached from the Internet: loopback, private, link-local, and what carriers share.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn formats(checks: &mut Checks, config: &Config) {
    for format in config.formats().into_iter().flat_map(|formats| formats.iter()) {
        if format.has_keyed_checksum() {
            continue;
        }
        let name = match format.prefix() {
            "" => "a format without a prefix".to_owned(),
            prefix => format!("the format of {prefix}_"),
        };
        checks.note(
            "formats",
            format!(
                "{name} has no keyed checksum, so each invented key of it costs a read of the database: leave it out once no key of it is \
                 in use"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Vec<(&'static str, Option<bool>)> {
        let mut checks = Checks::default();
        look(&mut checks, &Config::parse(text).unwrap());
        checks.0.iter().map(|check| (check.about, check.is_good)).collect()
    }

    #[test]
    fn proxies_and_formats_are_judged() {
        let both = |networks: &str| {
            format!(
                "[proxies]\nheader = \"x-forwarded-for\"\nscheme_header = \"x-forwarded-proto\"\nnetworks = [\"{networks}\"]\n"
            )
        };
        let (https, good) = (("HTTPS", Some(true)), Some(true));
        assert_eq!(about(""), [https, ("proxies", None)]);
        assert_eq!(about(&both("10.0.0.0/8")), [https, ("proxies", good)]);
        assert_eq!(about(&both("fd00::/8")), [https, ("proxies", good)]);
        for everyone in ["0.0.0.0/0", "::/0"] {
            assert_eq!(about(&both(everyone)), [https, ("proxies", Some(false))]);
        }
        assert_eq!(about(&both("198.51.100.0/24")), [https, ("proxies", None)]);
        let scheme = "[proxies]\nscheme_header = \"x-forwarded-proto\"\nnetworks = [\"::1\"]\n";
        assert_eq!(about(scheme), [https, ("proxies", good), ("client address", None)]);
        let header = "[proxies]\nheader = \"x-forwarded-for\"\nnetworks = [\"127.0.0.1\"]\n";
        assert_eq!(about(header), [("HTTPS", None), ("proxies", good)]);
        assert_eq!(
            about("[server]\nlisten = \"0.0.0.0:8080\"\n"),
            [("HTTPS", Some(false)), ("proxies", None)]
        );
        let formats = "[[formats]]\nprefix = \"acme\"\n[[formats]]\npreset = \"cmpz\"\n";
        assert_eq!(about(formats), [https, ("proxies", None), ("formats", None)]);
    }
}
