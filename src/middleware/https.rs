//! Whether a request reached the proxy in front of the service over HTTPS.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{Request, Version};

use super::address::AddressRule;
use super::proxies::{Transport, TrustedProxies};
use crate::check::Rejection;

/// Which proxies are believed about the scheme.
#[derive(Clone, Debug)]
pub(super) struct HttpsRule {
    /// `None`: no proxy is asked.
    proxies: Option<Arc<TrustedProxies>>,
    pub(super) allow_loopback: bool,
}

impl HttpsRule {
    pub(super) fn new(proxies: TrustedProxies) -> Self {
        Self {
            proxies: Some(Arc::new(proxies)),
            allow_loopback: false,
        }
    }

    /// What comes from this machine to this machine, and nothing else.
    pub(super) fn loopback() -> Self {
        Self {
            proxies: None,
            allow_loopback: true,
        }
    }

    pub(super) fn judge<Q>(&self, address: &AddressRule, request: &Request<Q>) -> Result<(), Rejection> {
        let peer = address.peer(request.extensions()).address();
        let said = self.proxies.as_ref().and_then(|proxies| {
            let is_trusted = peer.is_some_and(|peer| proxies.trusts(peer));
            Some((proxies.transport(request.headers())?, is_trusted))
        });
        match said {
            Some((Transport::Secure, true)) => Ok(()),
            Some((Transport::Clear, true)) => Err(Rejection::clear_transport()),
            None if self.allow_loopback && peer.is_some_and(|peer| is_within_machine(request, peer)) => Ok(()),
            _ => Err(Rejection::unknown_transport()),
        }
    }
}

/// Whether a client on this machine asked for this machine. A proxy on it has a loopback address too, but forwards the name that
/// the client asked for, or leaves a header.
fn is_within_machine<Q>(request: &Request<Q>, peer: IpAddr) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    let is_forwarded = request.headers().keys().any(|name| is_of_proxy(name.as_str()));
    // The default of proxies towards a server, such as nginx before 1.29.7, which then adds no header and names this machine.
    let is_recent = request.version() > Version::HTTP_10;
    peer.is_loopback() && is_loopback_host(host.unwrap_or_default()) && !is_forwarded && is_recent
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// What proxies and networks of proxies leave: whom they ask for, how they were asked, or that it was they.
fn is_of_proxy(name: &str) -> bool {
    const STARTS: [&str; 5] = ["forwarded", "x-forwarded", "x-original-", "x-envoy-", "cf-"];
    const ENDS: [&str; 3] = ["client-ip", "clientip", "-connecting-ip"];
    const NAMES: [&str; 10] = [
        "via",
        "cdn-loop",
        "front-end-https",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
        "x-proxyuser-ip",
        "x-real-ip",
        "x-real-port",
        "x-scheme",
        "x-url-scheme",
    ];
    STARTS.iter().any(|start| name.starts_with(start))
        || ENDS.iter().any(|end| name.ends_with(end))
        || NAMES.contains(&name)
}
