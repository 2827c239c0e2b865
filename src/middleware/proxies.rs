//! The proxies that are trusted to report the client's address, or the scheme it used.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use super::forwarded::elements_from_right;
use super::reported_address::{self, Port};
use crate::error::{ConfigError, quoted};
use crate::key::Networks;

/// Trusted proxies, and the one header they write.
#[derive(Clone, Debug)]
pub(super) struct TrustedProxies {
    header: HeaderSyntax,
    networks: Networks,
}

/// The header, by its syntax.
#[derive(Clone, Debug)]
enum HeaderSyntax {
    /// RFC 7239.
    Forwarded,
    /// Values separated by commas. Each proxy appends one.
    List(HeaderName),
    /// One value.
    Single(HeaderName, Port),
}

/// What the trusted proxies say about the scheme that the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Every value is `https` or `wss`.
    Secure,
    /// Every value is `http` or `ws`.
    Clear,
    /// Values that differ, or say something else.
    Unknown,
}

/// Well-known headers that hold addresses. An IPv6 address without brackets has no port in them, except in the last one.
const ADDRESS_HEADERS: &[&str] = &[
    "x-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    "do-connecting-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-nf-client-connection-ip",
    VIEWER_ADDRESS,
];
/// Holds one address, always with a port, and no brackets.
const VIEWER_ADDRESS: &str = "cloudfront-viewer-address";
/// Well-known headers that hold a scheme.
const SCHEME_HEADERS: &[&str] = &[
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-url-scheme",
    "cloudfront-forwarded-proto",
];
/// Well-known headers that hold neither (`on` is not a scheme, and JSON is not read).
const OTHER_HEADERS: &[&str] = &[
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-ssl",
    "front-end-https",
    "cf-visitor",
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
            HeaderSyntax::Forwarded
        } else if name == "x-forwarded-for" || name == "x-forwarded-proto" {
            HeaderSyntax::List(name)
        } else if name == VIEWER_ADDRESS {
            HeaderSyntax::Single(name, Port::Always)
        } else if ADDRESS_HEADERS.iter().any(|known| name == *known) {
            HeaderSyntax::Single(name, Port::Bracketed)
        } else {
            HeaderSyntax::Single(name, Port::Unknown)
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
            HeaderSyntax::Single(name, port) => reported_address::read(only(headers, name)?.as_bytes(), *port),
            HeaderSyntax::List(name) => {
                let lines = headers.get_all(name).iter().rev();
                let values = lines.flat_map(|line| values(line).rev());
                self.first_untrusted(values.map(|value| reported_address::read(value, Port::Bracketed)))
            }
            HeaderSyntax::Forwarded => {
                let lines = headers.get_all(FORWARDED).iter().rev();
                // The grammar asks for brackets. Who leaves them out may write a port as well.
                let read = |client: &[u8]| reported_address::read(client, Port::Unknown);
                self.first_untrusted(
                    lines.flat_map(|line| elements_from_right(line).map(|element| read(element?.client?))),
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

    /// What all values say together; `None` without the header.
    ///
    /// Every value counts, because not every proxy replaces what the client or an earlier proxy wrote. A client can have its
    /// own request refused that way, but cannot pass a plain request off as HTTPS.
    pub(super) fn transport(&self, headers: &HeaderMap) -> Option<Transport> {
        match &self.header {
            HeaderSyntax::Single(name, _) | HeaderSyntax::List(name) => {
                headers.get(name)?;
                let lines = headers.get_all(name).iter();
                Some(Transport::of_all(lines.flat_map(values).map(Transport::of)))
            }
            HeaderSyntax::Forwarded => {
                headers.get(FORWARDED)?;
                let elements = headers.get_all(FORWARDED).iter().flat_map(elements_from_right);
                let schemes = elements.map(|element| element.and_then(|element| element.scheme));
                Some(Transport::of_all(
                    schemes.map(|scheme| scheme.map_or(Transport::Unknown, Transport::of)),
                ))
            }
        }
    }
}

impl Transport {
    /// Proxies write the scheme of the request (RFC 7239, section 5.4), some of them `ws` and `wss` for WebSockets.
    fn of(scheme: &[u8]) -> Self {
        let is = |one: &[u8], other: &[u8]| scheme.eq_ignore_ascii_case(one) || scheme.eq_ignore_ascii_case(other);
        if is(b"https", b"wss") {
            Self::Secure
        } else if is(b"http", b"ws") {
            Self::Clear
        } else {
            Self::Unknown
        }
    }

    fn of_all(mut values: impl Iterator<Item = Self>) -> Self {
        let Some(first) = values.next() else {
            return Self::Unknown;
        };
        if values.all(|value| value == first) {
            first
        } else {
            Self::Unknown
        }
    }
}

/// The values of a line, in order. Empty ones are no values (RFC 9110, section 5.6.1.2).
fn values(line: &HeaderValue) -> impl DoubleEndedIterator<Item = &[u8]> {
    let values = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    values.filter(|value| !value.is_empty())
}

/// The value of a header that must have exactly one line: a second one was written by someone else.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
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
            (&["192.0.2.1, "], Some("192.0.2.1")),
            (&[",198.51.100.9,, ,192.0.2.1 ,10.0.0.2,\t,"], Some("192.0.2.1")),
            (&["192.0.2.1", "", ", "], Some("192.0.2.1")),
            (&["192.0.2.1, fe80::1%eth0"], Some("fe80::1")),
            (&[", ,"], None),
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
            (&["for=192.0.2.1,"], Some("192.0.2.1")),
            (
                &[", for=198.51.100.9,, for=192.0.2.1 , ,for=10.0.0.1,"],
                Some("192.0.2.1"),
            ),
            (&["for=192.0.2.1", "", " ,"], Some("192.0.2.1")),
            (&["for=\"[fe80::1%eth0]\""], Some("fe80::1")),
            (&["for=\"192.0.2.1:_hidden\""], Some("192.0.2.1")),
            (&["for=\"2001:db8::a:b:c:d:1234\""], None),
            // An element whose pairs are empty is an element: a proxy that says nothing.
            (&["for=192.0.2.1, ;"], None),
            (&[" , "], None),
            (&[""], None),
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
    fn transport_is_secure_or_clear_if_all_values_agree() {
        use Transport::{Clear, Secure, Unknown};
        let networks: Networks = "10.0.0.0/8".parse().unwrap();
        let said = |name: &'static str, lines: &[&'static str]| {
            let proxies = TrustedProxies::reporting_scheme(name, networks.clone()).unwrap();
            proxies.transport(&headers(name, lines))
        };
        for (lines, expected) in [
            (&[][..], None),
            (&["https"], Some(Secure)),
            (&["HTTPS"], Some(Secure)),
            (&["wss"], Some(Secure)),
            (&["WSS , https"], Some(Secure)),
            (&["http"], Some(Clear)),
            (&["ws"], Some(Clear)),
            (&["ws, http"], Some(Clear)),
            (&["https, http"], Some(Unknown)),
            (&["http, https"], Some(Unknown)),
            (&["wss, ws"], Some(Unknown)),
            (&["https", "http"], Some(Unknown)),
            (&["https, https"], Some(Secure)),
            (&["https, ,", ""], Some(Secure)),
            (&["on"], Some(Unknown)),
            (&["httpss"], Some(Unknown)),
            (&[","], Some(Unknown)),
            (&[""], Some(Unknown)),
        ] {
            assert_eq!(said("x-forwarded-proto", lines), expected, "{lines:?}");
            assert_eq!(said("x-our-scheme", lines), expected, "{lines:?}");
        }
        for (lines, expected) in [
            (&["for=192.0.2.1;proto=https"][..], Some(Secure)),
            (&["proto=wss"], Some(Secure)),
            (&["proto=\"wss\",", ","], Some(Secure)),
            (&["proto=ws;for=192.0.2.1, proto=http"], Some(Clear)),
            (&["for=192.0.2.1;proto=https, for=10.0.0.1;proto=http"], Some(Unknown)),
            (&["for=192.0.2.1"], Some(Unknown)),
            (&["proto=\"https"], Some(Unknown)),
            (&["proto=https;x, proto=http;for=192.0.2.1"], Some(Unknown)),
            (&["proto=https, ;"], Some(Unknown)),
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
                proptest::prop_assert!(!matches!(proxies.transport(&headers), None | Some(Transport::Secure)));
            }
        }
    }
}
