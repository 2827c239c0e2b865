//! No keys over plain connections.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, Entry, HeaderMap, HeaderName, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::address::AddressRule;
use super::answer::{Terms, refuse};
use super::forwarded::TrustedProxies;
use super::gate::GateFuture;
use super::problem::ProblemJson;
use super::respond::{Respond, RespondWith};
use crate::check::{Outcomes, Rejection, RejectionKind};
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::key::Networks;

/// Refuses requests that did not reach the proxy in front of the service over HTTPS, with 403.
///
/// Put it around the [`ApiKeyLayer`](crate::ApiKeyLayer). It is for services behind a proxy that ends TLS: the scheme is
/// what a trusted proxy says it is. A service that ends TLS itself needs no such layer. The scheme in the request's own
/// URI proves nothing and is not looked at: clients write it.
///
/// Where several proxies each add a value, all of them must be `https`. Let the outermost one replace what clients send.
///
/// ```
/// use tower_api_key::RequireHttps;
///
/// let https = RequireHttps::new("x-forwarded-proto", "10.0.0.0/8".parse()?)?.allow_loopback();
/// assert!(RequireHttps::new("x-forwarded-proto", "".parse()?).is_err());
/// # let _ = https;
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireHttps<R = ProblemJson> {
    rule: Arc<Rule>,
    responder: R,
}

#[derive(Clone)]
struct Rule {
    // Its own `proxies` are not used: the header with the scheme is another one than that with the address.
    address: AddressRule,
    proxies: TrustedProxies,
    allow_loopback: bool,
    // There is no authenticator out here to record refusals.
    outcomes: Arc<Outcomes>,
    clock: Clock,
}

impl RequireHttps {
    /// A layer that believes this header when the peer is a proxy in these networks: `x-forwarded-proto`, `forwarded`
    /// (RFC 7239, its `proto`), or another one that holds a scheme.
    ///
    /// The peer's address comes from [`ClientAddress`](crate::ClientAddress), or from the function given to
    /// [`client_address`](Self::client_address). A peer that is not known is not trusted.
    ///
    /// # Errors
    /// When this is no header name or one that is known to hold no scheme, such as `x-forwarded-for`, or there are no
    /// networks.
    pub fn new(header: &str, proxies: Networks) -> Result<Self, ConfigError> {
        Ok(Self {
            rule: Arc::new(Rule {
                address: AddressRule::default(),
                proxies: TrustedProxies::of_schemes(header, proxies)?,
                allow_loopback: false,
                outcomes: Arc::default(),
                clock: Clock::system(),
            }),
            responder: ProblemJson::new(),
        })
    }
}

impl<R> RequireHttps<R> {
    /// Takes the peer's address from the request's extensions with a function, see
    /// [`ApiKeyLayer::client_address`](crate::ApiKeyLayer::client_address).
    pub fn client_address(mut self, find: fn(&Extensions) -> Option<IpAddr>) -> Self {
        Arc::make_mut(&mut self.rule).address.peer = Some(find);
        self
    }

    /// Lets requests through that come from this machine and from no proxy: for development.
    ///
    /// # Security
    /// Behind a proxy on the same machine, requests that it sends without the header pass.
    pub fn allow_loopback(mut self) -> Self {
        Arc::make_mut(&mut self.rule).allow_loopback = true;
        self
    }

    /// Answers refused requests with another responder.
    ///
    /// # Security
    /// As for [`respond_with`](Self::respond_with).
    pub fn responder<T>(self, responder: T) -> RequireHttps<T> {
        RequireHttps {
            rule: self.rule,
            responder,
        }
    }

    /// Answers refused requests with a closure, see [`Respond`].
    ///
    /// # Security
    /// The key is in the request still, because this layer stands around the one that takes it out. The values of
    /// `Authorization`, `Proxy-Authorization` and `x-api-key` are marked sensitive, so that `Debug` does not show them; keys in
    /// headers of another name or in the query are not. The key came over a plain connection: it should be replaced.
    pub fn respond_with<F, B>(self, respond: F) -> RequireHttps<RespondWith<F>>
    where
        F: Fn(&Rejection, &Parts) -> Response<B> + Clone,
    {
        self.responder(RespondWith(respond))
    }
}

impl Rule {
    fn admits<Q>(&self, request: &Request<Q>) -> bool {
        let Some(peer) = self.address.peer(request.extensions()).address() else {
            return false;
        };
        let trusted = self.proxies.trusts(peer);
        match self.proxies.is_https(request.headers()) {
            Some(is_https) => trusted && is_https,
            None => self.allow_loopback && peer.is_loopback(),
        }
    }
}

impl<I, R: Clone> Layer<I> for RequireHttps<R> {
    type Service = RequireHttpsService<I, R>;

    fn layer(&self, inner: I) -> Self::Service {
        RequireHttpsService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that a [`RequireHttps`] makes.
#[derive(Clone)]
pub struct RequireHttpsService<I, R> {
    inner: I,
    layer: RequireHttps<R>,
}

impl<I, R, Q, B> Service<Request<Q>> for RequireHttpsService<I, R>
where
    I: Service<Request<Q>, Response = Response<B>> + Clone,
    R: Respond<B>,
{
    type Response = Response<B>;
    type Error = I::Error;
    type Future = GateFuture<I::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        if self.layer.rule.admits(&request) {
            return GateFuture::calling(self.inner.call(request));
        }
        let rejection = Rejection::new(RejectionKind::InsecureTransport);
        let rule = &self.layer.rule;
        let peer = rule.address.peer(request.extensions());
        rule.outcomes.refused(&rejection, peer, rule.clock.now());
        let (mut parts, _body) = request.into_parts();
        mark_sensitive(&mut parts.headers);
        let terms = Terms {
            challenges: None,
            vary: None,
            legacy_rate_limit: false,
        };
        let response = refuse(rejection, &parts, &self.layer.responder, terms);
        // As in `ApiKeyService`: what was polled ready gives back what it reserved.
        self.inner = self.inner.clone();
        GateFuture::refused(response)
    }
}

/// Where keys usually are: the places of the layer inside are not known here. A responder that logs the request must not
/// write a key into the log for which nobody has to break in.
fn mark_sensitive(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, PROXY_AUTHORIZATION, HeaderName::from_static("x-api-key")] {
        if let Entry::Occupied(mut lines) = headers.entry(name) {
            for line in lines.iter_mut() {
                line.set_sensitive(true);
            }
        }
    }
}

impl<I: fmt::Debug, R> fmt::Debug for RequireHttpsService<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireHttpsService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}

impl<R> fmt::Debug for RequireHttps<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireHttps")
            .field("address", &self.rule.address)
            .field("proxies", &self.rule.proxies)
            .field("allow_loopback", &self.rule.allow_loopback)
            .finish_non_exhaustive()
    }
}
