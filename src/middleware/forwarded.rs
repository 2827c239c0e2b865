//! Reads the headers in which proxies tell for whom, and over what, they forward.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::source::is_token;
use crate::error::ConfigError;
use crate::key::Networks;

/// The proxies that are believed, and the one header that they write.
#[derive(Clone, Debug)]
pub(super) struct TrustedProxies {
    header: Form,
    networks: Networks,
}

/// How the header is written.
#[derive(Clone, Debug)]
enum Form {
    /// RFC 7239.
    Forwarded,
    /// Values separated by commas; every proxy adds one on the right.
    List(HeaderName),
    /// One value.
    Single(HeaderName),
}

/// Well-known headers that hold addresses.
const OF_ADDRESSES: &[&str] = &["x-forwarded-for", "x-real-ip", "x-client-ip", "true-client-ip"];
/// Well-known headers that hold a scheme.
const OF_SCHEMES: &[&str] = &["x-forwarded-proto", "x-forwarded-scheme", "x-url-scheme"];
/// Those that hold neither: `on` is no scheme.
const OF_NEITHER: &[&str] = &[
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-ssl",
    "front-end-https",
];

impl TrustedProxies {
    /// Proxies that tell for whom they forward.
    pub(super) fn of_addresses(header: &str, networks: Networks) -> Result<Self, ConfigError> {
        Self::new("trusted proxies", header, networks, "an address", OF_SCHEMES)
    }

    /// Proxies that tell how they were called.
    pub(super) fn of_schemes(header: &str, networks: Networks) -> Result<Self, ConfigError> {
        Self::new("require https", header, networks, "a scheme", OF_ADDRESSES)
    }

    /// A header that never holds what is looked for would be accepted and never match: nobody's address would be known, or
    /// every request refused.
    fn new(
        setting: &'static str,
        header: &str,
        networks: Networks,
        wanted: &str,
        unfit: &[&str],
    ) -> Result<Self, ConfigError> {
        if networks.is_empty() {
            return Err(ConfigError::new(
                setting,
                "without a trusted network the header is never read",
            ));
        }
        let name = HeaderName::try_from(header)
            .map_err(|_| ConfigError::new(setting, format!("{header:?} is not a header name")))?;
        if unfit.iter().chain(OF_NEITHER).any(|unfit| name == *unfit) {
            return Err(ConfigError::new(setting, format!("{name} does not hold {wanted}")));
        }
        let header = if name == FORWARDED {
            Form::Forwarded
        } else if name == "x-forwarded-for" || name == "x-forwarded-proto" {
            Form::List(name)
        } else {
            Form::Single(name)
        };
        Ok(Self { header, networks })
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// For whom a trusted proxy forwards: the first address from the right that is not one of the proxies', since
    /// everything left of it may have been written by the client. Nothing when what stands there is no address.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        match &self.header {
            Form::Single(name) => address(only(headers, name)?.as_bytes()),
            Form::List(name) => {
                let lines = headers.get_all(name).iter().rev();
                self.first_beyond(lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',').map(address)))
            }
            Form::Forwarded => {
                let lines = headers.get_all(FORWARDED).iter().rev();
                self.first_beyond(lines.flat_map(|line| reversed(line).map(|element| address(element?.node?))))
            }
        }
    }

    fn first_beyond(&self, addresses: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut last = None;
        for address in addresses {
            let address = address?;
            if !self.trusts(address) {
                return Some(address);
            }
            last = Some(address);
        }
        last
    }

    /// Whether every proxy says that it was called over HTTPS; nothing when none says anything.
    ///
    /// All of them, since not every proxy replaces what the one before it (or the client) wrote: a client can turn its
    /// own request into a refused one that way, but no plain request into a good one.
    pub(super) fn is_https(&self, headers: &HeaderMap) -> Option<bool> {
        let is_https = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"https");
        let mut all = None;
        match &self.header {
            Form::Single(name) | Form::List(name) => {
                for line in headers.get_all(name) {
                    let line = line.as_bytes().split(|byte| *byte == b',').all(is_https);
                    all = Some(all.unwrap_or(true) && line);
                }
            }
            Form::Forwarded => {
                for line in headers.get_all(FORWARDED) {
                    let line = reversed(line).all(|element| element.and_then(|it| it.scheme).is_some_and(is_https));
                    all = Some(all.unwrap_or(true) && line);
                }
            }
        }
        all
    }
}

/// The value of a header of which there must be one line: a second one is someone else's.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// An address as proxies write it: with or without port, IPv6 in brackets or not.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address: IpAddr = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(bracketed)?;
    Some(address.to_canonical())
}

/// One element of a `Forwarded` header (RFC 7239, section 4).
#[derive(Clone, Copy, Default)]
struct Element<'h> {
    node: Option<&'h [u8]>,
    scheme: Option<&'h [u8]>,
}

/// The elements of a line, last one first; a line that cannot be read is one unreadable element.
///
/// A line is read from its start, because quoted strings hold commas. A quotation mark that a client leaves open makes
/// the whole line unreadable, never its last element someone else's.
fn reversed(line: &HeaderValue) -> impl Iterator<Item = Option<Element<'_>>> {
    let mut elements = SmallVec::<[Option<Element<'_>>; 4]>::new();
    match read_elements(line.as_bytes(), &mut elements) {
        Some(()) => {}
        None => {
            elements.clear();
            elements.push(None);
        }
    }
    elements.into_iter().rev()
}

fn read_elements<'h>(mut rest: &'h [u8], elements: &mut SmallVec<[Option<Element<'h>>; 4]>) -> Option<()> {
    let mut element = Element::default();
    loop {
        rest = rest.trim_ascii_start();
        if !matches!(rest.first(), None | Some(b',' | b';')) {
            // A name is a token: one that reached over a comma to the next `=` would let a client swallow the element
            // that the proxy appended.
            let end = rest.iter().position(|byte| !is_token(*byte)).filter(|end| *end > 0)?;
            let (name, after) = rest.split_at_checked(end)?;
            let (value, after) = read_value(after.strip_prefix(b"=")?)?;
            let place = match name {
                name if name.eq_ignore_ascii_case(b"for") => Some(&mut element.node),
                name if name.eq_ignore_ascii_case(b"proto") => Some(&mut element.scheme),
                _ => None,
            };
            if let Some(place) = place
                && place.replace(value).is_some()
            {
                return None;
            }
            rest = after.trim_ascii_start();
        }
        match rest.split_first() {
            None => {
                elements.push(Some(element));
                return Some(());
            }
            Some((b',', after)) => {
                elements.push(Some(std::mem::take(&mut element)));
                rest = after;
            }
            Some((b';', after)) => rest = after,
            Some(_) => return None,
        }
    }
}

/// A token or a quoted string, and what follows it. An escape inside quotes is passed over but not resolved: no
/// address and no scheme needs one.
fn read_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let ends = |byte: &u8| matches!(byte, b',' | b';' | b' ' | b'\t' | b'"');
        let end = text.iter().position(ends).unwrap_or(text.len());
        return Some(text.split_at(end));
    };
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((quoted.get(..at)?, quoted.get(at + 1..)?)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, lines: &[&'static str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_bytes(line.as_bytes()).unwrap(),
                )
            })
            .collect()
    }

    fn client(name: &'static str, lines: &[&'static str]) -> Option<String> {
        let networks = "10.0.0.0/8 2001:db8:ffff::/48".parse().unwrap();
        let proxies = TrustedProxies::of_addresses(name, networks).unwrap();
        proxies.client(&headers(name, lines)).map(|address| address.to_string())
    }

    #[test]
    fn lists_are_read_from_the_right_up_to_the_first_stranger() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], Some("192.0.2.1")),
            (&["198.51.100.9, 192.0.2.1"], Some("192.0.2.1")),
            (&["198.51.100.9, 192.0.2.1, 10.0.0.2,10.0.0.1"], Some("192.0.2.1")),
            (&["198.51.100.9", "192.0.2.1", "10.0.0.2"], Some("192.0.2.1")),
            (&["10.1.1.1, 10.0.0.2"], Some("10.1.1.1")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1:4711"], Some("192.0.2.1")),
            (&["[2001:db8::1]:4711"], Some("2001:db8::1")),
            (&["[2001:db8::1], 2001:db8:ffff::1"], Some("2001:db8::1")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1, "], None),
            (&["192.0.2.1, rubbish, 10.0.0.1"], None),
            (&["192.0.2.1:99999"], None),
            (&["192.0.2.1 192.0.2.2"], None),
            (&["[192.0.2.1]"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(client("x-forwarded-for", lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn one_address_means_one() {
        assert_eq!(client("x-real-ip", &["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("x-real-ip", &["192.0.2.1, 192.0.2.2"]), None);
        assert_eq!(client("x-real-ip", &["192.0.2.1", "192.0.2.1"]), None);
    }

    #[test]
    fn forwarded_elements_are_read_with_their_quotes() {
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], Some("192.0.2.1")),
            (
                &["For=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.1"],
                Some("2001:db8::1"),
            ),
            (
                &["for=198.51.100.9, for=192.0.2.1;by=\"a,b;for=1.1.1.1\" , for=10.0.0.9"],
                Some("192.0.2.1"),
            ),
            (
                &["for=198.51.100.9", "proto=http; for=\"192.0.2.1:80\""],
                Some("192.0.2.1"),
            ),
            (&["for=192.0.2.1;"], Some("192.0.2.1")),
            (&["for=_hidden"], None),
            (&["for=unknown, for=10.0.0.1"], None),
            (&["proto=https"], None),
            (&["for=192.0.2.1;for=192.0.2.2"], None),
            (&["for=192.0.2.1 for=192.0.2.2"], None),
            (&["192.0.2.1"], None),
            (&["for=\"192.0.2.1"], None),
            (&["for=\"192.0.2.1\\"], None),
            (&["for=\"192.0.2\\.1\""], None),
            (&["for=198.51.100.9;x, for=192.0.2.1"], None),
            (&["for=198.51.100.9;x , for=192.0.2.1"], None),
            (&["for=198.51.100.9;=, for=192.0.2.1"], None),
            (&["for =192.0.2.1"], None),
        ] {
            assert_eq!(client("forwarded", lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_quotation_mark_left_open_by_the_client_hides_nothing() {
        // What follows the attack was appended by the proxy to the same line.
        for line in [
            "for=198.51.100.9;x=\", for=192.0.2.1",
            "for=198.51.100.9;x=\", for=\"192.0.2.1\"",
            "for=198.51.100.9;x=\", for=\"192.0.2.1\";by=\"10.0.0.1\"",
            "for=198.51.100.9;x=\"\\, for=\"192.0.2.1\"",
        ] {
            assert_eq!(client("forwarded", &[line]), None, "{line}");
        }
    }

    #[test]
    fn https_is_what_every_proxy_says() {
        let networks: Networks = "10.0.0.0/8".parse().unwrap();
        let said = |name: &'static str, lines: &[&'static str]| {
            let proxies = TrustedProxies::of_schemes(name, networks.clone()).unwrap();
            proxies.is_https(&headers(name, lines))
        };
        for (lines, expected) in [
            (&[][..], None),
            (&["https"], Some(true)),
            (&["HTTPS"], Some(true)),
            (&["http"], Some(false)),
            (&["https, http"], Some(false)),
            (&["http, https"], Some(false)),
            (&["https", "http"], Some(false)),
            (&["https, https"], Some(true)),
            (&[""], Some(false)),
        ] {
            assert_eq!(said("x-forwarded-proto", lines), expected, "{lines:?}");
        }
        for (lines, expected) in [
            (&["for=192.0.2.1;proto=https"][..], Some(true)),
            (&["for=192.0.2.1;proto=https, for=10.0.0.1;proto=http"], Some(false)),
            (&["for=192.0.2.1"], Some(false)),
            (&["proto=\"https"], Some(false)),
            (&["proto=https;x, proto=http;for=192.0.2.1"], Some(false)),
        ] {
            assert_eq!(said("forwarded", lines), expected, "{lines:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(4_096))]
        #[test]
        fn what_the_client_writes_never_becomes_its_address(
            spoofed in "[ -~]{0,40}|(for=198\\.51\\.100\\.9|proto=https|;x|=|,|\"|\\\\){0,5}"
        ) {
            let networks: Networks = "10.0.0.0/8".parse().unwrap();
            let real: IpAddr = "192.0.2.1".parse().unwrap();
            for (name, appended) in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1;proto=http")] {
                let proxies = TrustedProxies::of_addresses(name, networks.clone()).unwrap();
                let line = HeaderValue::from_str(&format!("{spoofed}, {appended}")).unwrap();
                let headers: HeaderMap = [(HeaderName::from_static(name), line)].into_iter().collect();
                let client = proxies.client(&headers);
                proptest::prop_assert!(client.is_none() || client == Some(real), "{client:?}");
                proptest::prop_assert_eq!(proxies.is_https(&headers), Some(false));
            }
        }
    }
}
