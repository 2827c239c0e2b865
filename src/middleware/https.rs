//! Whether a request reached the proxy in front of the service over HTTPS.

use std::sync::Arc;

use http::Request;

use super::address::AddressRule;
use super::proxies::{Transport, TrustedProxies};
use crate::check::Rejection;

/// Which proxies are believed about the scheme.
#[derive(Clone, Debug)]
pub(super) struct HttpsRule {
    proxies: Arc<TrustedProxies>,
    pub(super) allow_loopback: bool,
}

impl HttpsRule {
    pub(super) fn new(proxies: TrustedProxies) -> Self {
        Self {
            proxies: Arc::new(proxies),
            allow_loopback: false,
        }
    }

    pub(super) fn judge<Q>(&self, address: &AddressRule, request: &Request<Q>) -> Result<(), Rejection> {
        let peer = address.peer(request.extensions()).address();
        let is_trusted = peer.is_some_and(|peer| self.proxies.trusts(peer));
        match self.proxies.transport(request.headers()) {
            Some(Transport::Secure) if is_trusted => Ok(()),
            Some(Transport::Clear) if is_trusted => Err(Rejection::clear_transport()),
            None if self.allow_loopback && peer.is_some_and(|peer| peer.is_loopback()) => Ok(()),
            _ => Err(Rejection::unknown_transport()),
        }
    }
}
