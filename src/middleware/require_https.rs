//! No keys over plain connections.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::accessors::inner_accessors;
use super::admit::Shared;
use super::handle::LayerHandle;
use super::https::HttpsRule;
use super::problem::ProblemJson;
use super::refusal::{Additions, refuse};
use super::require::RequireFuture;
use super::respond::Respond;
use crate::store::KeyStore;

/// Refuses requests that did not reach the proxy in front of the service over HTTPS, with 403.
///
/// Made by [`ApiKeyLayer::require_https`](crate::ApiKeyLayer::require_https); put it around that layer, or around more than it:
/// for the layer alone there is [`ApiKeyLayer::only_https`](crate::ApiKeyLayer::only_https). It is for services
/// behind a proxy that terminates TLS, and believes what a trusted proxy says about the scheme. A service that terminates TLS
/// itself does not need it. The scheme in the request's own URI is ignored: clients write it.
///
/// A scheme is secure if it is `https`, or `wss`, which some proxies write for WebSockets. If several proxies each add a
/// value, all of them must be secure. Let the outermost one replace what clients send.
///
/// The refusal advises to replace the key only if the request certainly came in clear: a trusted proxy wrote `http` or `ws`,
/// and nothing else. Otherwise, it says that the scheme is not known.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use tower_api_key::ApiKeyLayer;
/// use tower_api_key::store::MemoryStore;
///
/// let api_keys = ApiKeyLayer::new(MemoryStore::new());
/// let https = api_keys.require_https("x-forwarded-proto", "10.0.0.0/8".parse()?)?.allow_loopback();
/// // The layer that is added last is the outermost.
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(api_keys).layer(https);
/// # let _ = app;
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireHttps<R = ProblemJson> {
    rule: Rule,
    responder: R,
}

#[derive(Clone)]
struct Rule {
    layer: Arc<LayerHandle>,
    /// The authenticator, which records refusals only while it exists.
    _authenticator: Arc<dyn Any + Send + Sync>,
    https: HttpsRule,
}

impl<R> RequireHttps<R> {
    pub(super) fn new<S: KeyStore>(shared: &Shared<S>, https: HttpsRule, responder: R) -> Self {
        Self {
            rule: Rule {
                layer: shared.handle.clone(),
                _authenticator: Arc::new(shared.authenticator.clone()),
                https,
            },
            responder,
        }
    }

    /// Admits requests from this machine to this machine without the header, for development: the peer's address and `Host` are
    /// loopback, no proxy has left a header, such as `Forwarded`, `X-Forwarded-For` or `Via`, and the request is not one of HTTP/1.0,
    /// which is the default of proxies towards a server.
    ///
    /// # Security
    /// A proxy on the same machine that leaves no header, and keeps no `Host`, looks like a client of this machine.
    pub fn allow_loopback(mut self) -> Self {
        self.rule.https.allow_loopback = true;
        self
    }

    /// Answers refused requests with this responder. For a closure, see [`Respond`].
    ///
    /// # Security
    /// The key is still in the request, because this layer stands around the one that removes it. The values of
    /// `Authorization`, `Proxy-Authorization`, `x-api-key` and the layer's [sources](crate::ApiKeyLayer::sources) are marked
    /// sensitive, so `Debug` does not show them; a key in the query of the URI is visible. A key that came over a plain
    /// connection should be replaced.
    pub fn responder<T>(self, responder: T) -> RequireHttps<T> {
        RequireHttps {
            rule: self.rule,
            responder,
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

/// The service of a [`RequireHttps`].
#[derive(Clone)]
pub struct RequireHttpsService<I, R> {
    inner: I,
    layer: RequireHttps<R>,
}

impl<I, R> RequireHttpsService<I, R> {
    inner_accessors!();
}

impl<I, R, Q, B> Service<Request<Q>> for RequireHttpsService<I, R>
where
    I: Service<Request<Q>, Response = Response<B>> + Clone,
    R: Respond<B>,
{
    type Response = Response<B>;
    type Error = I::Error;
    type Future = RequireFuture<I::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let RequireHttps { rule, responder } = &self.layer;
        let settings = &rule.layer.settings;
        let Err(rejection) = rule.https.judge(&settings.address, &request) else {
            return RequireFuture::calling(self.inner.call(request));
        };
        let client = settings.address.client(request.headers(), request.extensions());
        rule.layer.record_refusal(&rejection, client);
        let (mut parts, _body) = request.into_parts();
        // Clients also put keys where this layer does not look. A responder that logs the request must not log them.
        settings.sources().mark(&mut parts.headers);
        let response = refuse(rejection, &parts, responder, Additions::default());
        // As in `ApiKeyService`: a refused request must not hold what the inner service reserved.
        self.inner = self.inner.clone();
        RequireFuture::refused(response)
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
            .field("address", &self.rule.layer.settings.address)
            .field("https", &self.rule.https)
            .finish_non_exhaustive()
    }
}
