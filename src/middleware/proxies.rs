//! The proxies that are trusted to report the client's address, or the scheme it used.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use super::forwarded::elements_from_right;
use crate::error::{ConfigError, quoted};
use crate::key::Networks;

/// Trusted proxies, and the one header they write.
#[derive(Clone, Debug)]
pub(super) struct TrustedProxies {
    header: Form,
    networks: Networks,
}

/// The header, by its syntax.
#[derive(Clone, Debug)]
enum Form {
    /// RFC 7239.
    Forwarded,
    /// Values separated by commas. Each proxy appends one.
    List(HeaderName),
    /// One value.
    Single(HeaderName),
}

/// Well-known headers that hold addresses.
const ADDRESS_HEADERS: &[&str] = &["x-forwarded-for", "x-real-ip", "x-client-ip", "true-client-ip"];
/// Well-known headers that hold a scheme.
const SCHEME_HEADERS: &[&str] = &["x-forwarded-proto", "x-forwarded-scheme", "x-url-scheme"];
/// Well-known headers that hold neither (`on` is not a scheme).
const OTHER_HEADERS: &[&str] = &[
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-ssl",
    "front-end-https",
];

impl TrustedProxies {
    /// Proxies that report the client's address.
    pub(super) fn reporting_address(header: &str, networks: Networks) -> Result<Self, ConfigError> {
        Self::new("trusted proxies", header, networks, "an address", SCHEME_HEADERS)
    }

    /// Proxies that report the scheme of the request they received.
    pub(super) fn reporting_scheme(header: &str, networks: Networks) -> Result<Self, ConfigError> {
        Self::new("require https", header, networks, "a scheme", ADDRESS_HEADERS)
    }

    /// Refuses headers that can never hold the wanted value: with one, no client address would be known, or every
    /// request would be refused.
    fn new(
        setting: &'static str,
        header: &str,
        networks: Networks,
        wanted: &str,
        unfit: &[&str],
    ) -> Result<Self, ConfigError> {
        if networks.is_empty() {
            return Err(ConfigError::new(setting, "need at least one trusted network, got none"));
        }
        let name = HeaderName::try_from(header)
            .map_err(|_| ConfigError::new(setting, format!("must be a header name, got {}", quoted(header))))?;
        if unfit.iter().chain(OTHER_HEADERS).any(|unfit| name == *unfit) {
            return Err(ConfigError::new(
                setting,
                format!("must be a header that holds {wanted}, got `{name}`"),
            ));
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

    /// The client's address: the first from the right that is not a trusted proxy's. The client may have written anything
    /// to the left of it. `None` if that value is not an address.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        match &self.header {
            Form::Single(name) => address(only(headers, name)?.as_bytes()),
            Form::List(name) => {
                let lines = headers.get_all(name).iter().rev();
                self.first_untrusted(lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',').map(address)))
            }
            Form::Forwarded => {
                let lines = headers.get_all(FORWARDED).iter().rev();
                self.first_untrusted(
                    lines.flat_map(|line| elements_from_right(line).map(|element| address(element?.client?))),
                )
            }
        }
    }

    fn first_untrusted(&self, addresses: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
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

    /// Whether every value says `https`; `None` without the header.
    ///
    /// Every value, because not every proxy replaces what the client or an earlier proxy wrote. A client can have its own
    /// request refused that way, but cannot pass a plain request off as HTTPS.
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
                    let mut elements = elements_from_right(line);
                    let line = elements.all(|element| element.and_then(|it| it.scheme).is_some_and(is_https));
                    all = Some(all.unwrap_or(true) && line);
                }
            }
        }
        all
    }
}

/// The value of a header that must have exactly one line: a second one was written by someone else.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
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
        let proxies = TrustedProxies::reporting_address(name, networks).unwrap();
        proxies.client(&headers(name, lines)).map(|address| address.to_string())
    }

    #[test]
    fn list_is_read_from_the_right_to_the_first_untrusted() {
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
    fn single_address_header_must_hold_exactly_one() {
        assert_eq!(client("x-real-ip", &["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("x-real-ip", &["192.0.2.1, 192.0.2.2"]), None);
        assert_eq!(client("x-real-ip", &["192.0.2.1", "192.0.2.1"]), None);
    }

    #[test]
    fn forwarded_quotes_and_parameters_are_read() {
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
    fn quote_left_open_by_the_client_hides_nothing() {
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
    fn https_needs_every_value_to_say_so() {
        let networks: Networks = "10.0.0.0/8".parse().unwrap();
        let said = |name: &'static str, lines: &[&'static str]| {
            let proxies = TrustedProxies::reporting_scheme(name, networks.clone()).unwrap();
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
                let proxies = TrustedProxies::reporting_address(name, networks.clone()).unwrap();
                let line = HeaderValue::from_str(&format!("{spoofed}, {appended}")).unwrap();
                let headers: HeaderMap = [(HeaderName::from_static(name), line)].into_iter().collect();
                let client = proxies.client(&headers);
                proptest::prop_assert!(client.is_none() || client == Some(real), "{client:?}");
                proptest::prop_assert_eq!(proxies.is_https(&headers), Some(false));
            }
        }
    }
}
