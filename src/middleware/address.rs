//! Where a request comes from.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use http::Extensions;
use http::header::HeaderMap;

use super::proxies::TrustedProxies;
use crate::client::ClientOrigin;

/// The address of the peer, as a request extension that the server inserts.
///
/// The layer reads it unless [`ApiKeyLayer::client_address`](crate::ApiKeyLayer::client_address) sets a function. It must
/// come from the connection, never from what a client sent:
///
/// ```
/// use std::net::IpAddr;
/// use tower_api_key::ClientAddress;
///
/// let peer: IpAddr = "192.0.2.7".parse()?;
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(ClientAddress(peer));
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Finds the peer's address among a request's extensions.
pub(super) type PeerAddress = fn(&Extensions) -> Option<IpAddr>;

/// How the client's address is found.
#[derive(Clone, Default)]
pub(super) struct AddressRule {
    pub(super) peer: Option<PeerAddress>,
    pub(super) proxies: Option<TrustedProxies>,
    /// Set once the warning about unknown addresses was written.
    pub(super) warned: OnceLock<()>,
}

impl AddressRule {
    /// The address on the other end of the connection.
    pub(super) fn peer(&self, extensions: &Extensions) -> ClientOrigin {
        ClientOrigin::client(match self.peer {
            Some(find) => find(extensions),
            None => extensions.get::<ClientAddress>().map(|address| address.0),
        })
    }

    /// The client's address. It is unknown if a trusted proxy sends no header, or an unreadable one. The proxy's own address
    /// must not stand in for it: keys bound to the inner network would accept anyone.
    pub(super) fn client(&self, headers: &HeaderMap, extensions: &Extensions) -> ClientOrigin {
        let peer = self.peer(extensions);
        match &self.proxies {
            Some(proxies) => behind(proxies, peer, headers),
            None => peer,
        }
    }

    /// Warns once if a request has no known address. Called for requests that have to wait anyway, so that it costs others
    /// nothing.
    pub(super) fn warn_if_unknown(&self, headers: &HeaderMap, extensions: &Extensions) {
        if self.client(headers, extensions) != ClientOrigin::UNKNOWN {
            return;
        }
        self.warned.get_or_init(|| {
            tracing::warn!(
                peer = self.peer(extensions).address().map(tracing::field::display),
                "client address unknown: all such requests share one failure budget, so one abusive client can block the \
                 others; set ApiKeyLayer::client_address, and trusted_proxies behind a proxy"
            );
        });
    }
}

fn behind(proxies: &TrustedProxies, peer: ClientOrigin, headers: &HeaderMap) -> ClientOrigin {
    let address = match peer.address() {
        Some(peer) if proxies.trusts(peer) => proxies.client(headers),
        other => other,
    };
    match address {
        // Clients behind it cannot be told apart.
        Some(address) if proxies.trusts(address) => ClientOrigin::proxy(address),
        other => ClientOrigin::client(other),
    }
}

impl fmt::Debug for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressRule")
            .field("peer", &self.peer.map_or("ClientAddress", |_| "function"))
            .field("proxies", &self.proxies)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn rule() -> AddressRule {
        let networks = "10.0.0.0/8".parse().unwrap();
        AddressRule {
            peer: None,
            proxies: TrustedProxies::reporting_address("x-forwarded-for", networks).ok(),
            warned: OnceLock::new(),
        }
    }

    fn client(rule: &AddressRule, peer: Option<&str>, header: Option<&'static str>) -> Option<String> {
        let mut extensions = Extensions::new();
        if let Some(peer) = peer {
            extensions.insert(ClientAddress(peer.parse().unwrap()));
        }
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("x-forwarded-for", HeaderValue::from_static(header));
        }
        let client = rule.client(&headers, &extensions);
        assert_eq!(
            client.is_proxy(),
            rule.proxies.is_some() && client.address().is_some_and(|it| it.to_string().starts_with("10."))
        );
        client.address().map(|address| address.to_string())
    }

    #[test]
    fn header_counts_only_from_a_trusted_proxy() {
        let rule = rule();
        let spoofed = Some("198.51.100.9");
        assert_eq!(client(&rule, Some("10.0.0.1"), spoofed).as_deref(), spoofed);
        assert_eq!(client(&rule, Some("::ffff:10.0.0.1"), spoofed).as_deref(), spoofed);
        assert_eq!(client(&rule, Some("192.0.2.7"), spoofed).as_deref(), Some("192.0.2.7"));
        assert_eq!(client(&rule, None, spoofed), None);
        assert_eq!(client(&rule, Some("10.0.0.1"), None), None);
        assert_eq!(client(&rule, Some("10.0.0.1"), Some("rubbish")), None);
        let inside = client(&rule, Some("10.0.0.1"), Some("10.0.0.2"));
        assert_eq!(inside.as_deref(), Some("10.0.0.2"));
        let plain = AddressRule::default();
        assert_eq!(client(&plain, Some("10.0.0.1"), spoofed).as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn function_replaces_the_extension() {
        let rule = AddressRule {
            peer: Some(|extensions| extensions.get::<IpAddr>().copied()),
            ..AddressRule::default()
        };
        let mut extensions = Extensions::new();
        extensions.insert(ClientAddress("192.0.2.7".parse().unwrap()));
        assert!(rule.peer(&extensions) == ClientOrigin::UNKNOWN);
        extensions.insert::<IpAddr>("::ffff:192.0.2.8".parse().unwrap());
        assert_eq!(rule.peer(&extensions).address(), "192.0.2.8".parse().ok());
    }
}
