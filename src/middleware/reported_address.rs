//! Reads an address as proxies write it: with or without a port, brackets or a zone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a header's grammar says about ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// An IPv6 address has a port only behind brackets.
    Bracketed,
    /// Every address has one, an IPv6 address without brackets too.
    Always,
    /// The grammar is not known. An IPv6 address without brackets may have a port.
    Unknown,
}

/// The address without its port and its zone, which means something on the proxy's machine only. `None` if the text is no
/// address, or could be two: taking a port for the end of an address would name another client.
pub(super) fn read(text: &[u8], port: Port) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            let has_port = after.strip_prefix(':').is_some_and(is_port);
            if !has_port && (!after.is_empty() || port == Port::Always) {
                return None;
            }
            IpAddr::V6(v6(host)?)
        }
        None => without_brackets(text, port)?,
    };
    Some(address.to_canonical())
}

fn without_brackets(text: &str, port: Port) -> Option<IpAddr> {
    let before_port = text
        .rsplit_once(':')
        .filter(|(_, port)| is_port(port))
        .map(|(host, _)| host);
    let v4 = |host: &str| host.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    let any = |host: &str| v4(host).or_else(|| v6(host).map(IpAddr::V6));
    match (port, any(text), before_port.and_then(any)) {
        (Port::Always, _, address) => address,
        (Port::Bracketed, whole, _) => whole.or_else(|| v4(before_port?)),
        (Port::Unknown, Some(whole), Some(shorter)) => (whole == shorter).then_some(whole),
        (Port::Unknown, whole, shorter) => whole.or(shorter),
    }
}

fn v6(host: &str) -> Option<Ipv6Addr> {
    let Some((address, zone)) = host.split_once('%') else {
        return host.parse().ok();
    };
    let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic());
    address.parse().ok().filter(|_| is_zone)
}

/// A number, or a name that hides it (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let hides = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(hides),
        // `u16` alone would accept a sign.
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(port: Port, cases: &[(&str, Option<&str>)]) {
        for (text, address) in cases {
            let read = read(text.as_bytes(), port).map(|address| address.to_string());
            assert_eq!(read.as_deref(), *address, "{text}");
        }
    }

    #[test]
    fn bracketed_ports_and_zones_are_dropped() {
        reads(
            Port::Bracketed,
            &[
                ("192.0.2.1", Some("192.0.2.1")),
                (" 192.0.2.1:4711\t", Some("192.0.2.1")),
                ("192.0.2.1:_hidden", Some("192.0.2.1")),
                ("::ffff:192.0.2.1", Some("192.0.2.1")),
                ("2001:db8::a:b:c:d:1234", Some("2001:db8:0:a:b:c:d:1234")),
                ("[2001:db8::1]", Some("2001:db8::1")),
                ("[2001:db8::1]:4711", Some("2001:db8::1")),
                ("fe80::1%eth0", Some("fe80::1")),
                ("[fe80::1%25eth0]:80", Some("fe80::1")),
                ("[::ffff:192.0.2.1%lo]", Some("192.0.2.1")),
                ("2001:db8:1:2:3:4:5:6:4711", None),
                ("192.0.2.1%eth0", None),
                ("fe80::1%", None),
                ("fe80::1% a", None),
                ("%eth0", None),
                ("[192.0.2.1]", None),
                ("[2001:db8::1", None),
                ("[2001:db8::1]4711", None),
                ("[2001:db8::1]:", None),
                ("[2001:db8::1]:99999", None),
                ("192.0.2.1:", None),
                ("192.0.2.1:+80", None),
                ("192.0.2.1:99999", None),
                ("192.0.2.1:_", None),
                ("192.0.2.1 192.0.2.2", None),
                ("unknown", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn port_that_is_always_there_is_always_dropped() {
        reads(
            Port::Always,
            &[
                ("198.51.100.10:46532", Some("198.51.100.10")),
                ("2001:db8::a:b:c:d:1234", Some("2001:db8::a:b:c:d")),
                ("2001:db8:1:2:3:4:5:6:46532", Some("2001:db8:1:2:3:4:5:6")),
                ("2001:db8::1:46532", Some("2001:db8::1")),
                ("[2001:db8::1]:46532", Some("2001:db8::1")),
                ("fe80::1%eth0:46532", Some("fe80::1")),
                ("198.51.100.10", None),
                ("2001:db8:1:2:3:4:5:6", None),
                ("2001:db8::a:b", None),
                ("[2001:db8::1]", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn text_that_could_be_two_addresses_is_none() {
        reads(
            Port::Unknown,
            &[
                ("2001:db8::a:b:c:d:1234", None),
                ("2001:db8::a:1", None),
                ("2001:db8::1", Some("2001:db8::1")),
                ("2001:db8::a:b", Some("2001:db8::a:b")),
                ("2001:db8::a:65535", Some("2001:db8::a")),
                ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2:3:4:5:6")),
                ("2001:db8:1:2:3:4:5:6:4711", Some("2001:db8:1:2:3:4:5:6")),
                ("::1", Some("::1")),
                ("[2001:db8::a:b:c:d:1234]", Some("2001:db8:0:a:b:c:d:1234")),
                ("192.0.2.1", Some("192.0.2.1")),
                ("192.0.2.1:80", Some("192.0.2.1")),
                ("fe80::1%eth0", Some("fe80::1")),
                ("fe80::1%eth0:80", Some("fe80::1")),
                ("unknown", None),
                ("", None),
            ],
        );
    }
}
