//! Routes for some keys only.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::anonymous::Anonymous;
use super::answer::{Terms, refuse};
use super::challenge::Challenges;
use super::credential::Sources;
use super::gate::GateFuture;
use super::problem::ProblemJson;
use super::respond::{Respond, RespondWith};
use super::source::KeySource;
use crate::check::{AuthContext, Rejection, RejectionKind};
use crate::error::ConfigError;
use crate::key::Scope;

/// Lets requests through whose key has a scope; it stands inside an [`ApiKeyLayer`](crate::ApiKeyLayer).
///
/// A key without the scope is refused with 403, which names it, and a request without a key, inside an
/// [optional](crate::ApiKeyLayer::optional) layer, with 401. Without a layer around it there is a 500 that says so, never
/// an open route.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use tower_api_key::RequireScope;
///
/// # fn router<L>(api_keys: tower_api_key::ApiKeyLayer<L>) -> Result<Router, tower_api_key::ConfigError>
/// # where L: tower_api_key::store::KeyStore {
/// let orders = get(|| async { "orders" }).layer(RequireScope::new("orders:read".parse()?));
/// # Ok(
/// Router::new().route("/orders", orders).route_layer(api_keys)
/// # )
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireScope<R = ProblemJson> {
    rule: Arc<Rule>,
    responder: R,
}

#[derive(Clone)]
struct Rule {
    scope: Scope,
    sources: Sources,
}

impl RequireScope {
    /// A layer that asks for this scope.
    pub fn new(scope: Scope) -> Self {
        Self {
            rule: Arc::new(Rule {
                scope,
                sources: Sources::default(),
            }),
            responder: ProblemJson::new(),
        }
    }
}

impl<R> RequireScope<R> {
    /// Names the places where the layer around looks for keys, for its challenge to clients; needed when it was given
    /// [`sources`](crate::ApiKeyLayer::sources).
    ///
    /// # Errors
    /// When there is none, or one place twice.
    pub fn sources(mut self, sources: impl IntoIterator<Item = KeySource>) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.rule).sources = Sources::new(sources)?;
        Ok(self)
    }

    /// Answers refused requests with another responder.
    pub fn responder<T>(self, responder: T) -> RequireScope<T> {
        RequireScope {
            rule: self.rule,
            responder,
        }
    }

    /// Answers refused requests with a closure, see [`Respond`].
    pub fn respond_with<F, B>(self, respond: F) -> RequireScope<RespondWith<F>>
    where
        F: Fn(&Rejection, &Parts) -> Response<B> + Clone,
    {
        self.responder(RespondWith(respond))
    }
}

impl<I, R: Clone> Layer<I> for RequireScope<R> {
    type Service = RequireScopeService<I, R>;

    fn layer(&self, inner: I) -> Self::Service {
        RequireScopeService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that a [`RequireScope`] makes.
#[derive(Clone)]
pub struct RequireScopeService<I, R> {
    inner: I,
    layer: RequireScope<R>,
}

impl<I, R, Q, B> Service<Request<Q>> for RequireScopeService<I, R>
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
        let RequireScope { rule, responder } = &self.layer;
        let scope = &rule.scope;
        let context = request.extensions().get::<AuthContext>();
        if context.is_some_and(|context| context.allows(scope)) {
            return GateFuture::calling(self.inner.call(request));
        }
        let (parts, _body) = request.into_parts();
        let (context, anonymous) = (
            parts.extensions.get::<AuthContext>(),
            parts.extensions.get::<Anonymous>(),
        );
        let response = match (context, anonymous) {
            (Some(context), _) => forbidden(context, rule, &parts, responder),
            (None, Some(anonymous)) => anonymous.refuse(&parts, responder),
            (None, None) => {
                tracing::error!(%scope, "a route that needs a scope is not inside an ApiKeyLayer");
                let rejection = Rejection::new(RejectionKind::MissingLayer);
                refuse(rejection, &parts, responder, terms(None))
            }
        };
        // As in `ApiKeyService`: what was polled ready gives back what it reserved.
        self.inner = self.inner.clone();
        GateFuture::refused(response)
    }
}

fn forbidden<B, R: Respond<B>>(context: &AuthContext, rule: &Rule, request: &Parts, responder: &R) -> Response<B> {
    let rejection = Rejection::insufficient_scope(rule.scope.clone())
        .of_key(context.key_id(), context.organization().id, context.user())
        .with_lookup(context.lookup().as_str());
    context.record_refusal(&rejection);
    let challenges = Challenges::new(context.realm(), rule.sources.listed());
    refuse(rejection, request, responder, terms(Some(&challenges)))
}

/// `Vary` is written by the layer around, whose response this is.
fn terms(challenges: Option<&Challenges>) -> Terms<'_> {
    Terms {
        challenges,
        vary: None,
        legacy_rate_limit: false,
    }
}

impl<R> fmt::Debug for RequireScope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScope")
            .field("scope", &self.rule.scope)
            .field("sources", &self.rule.sources.listed())
            .finish_non_exhaustive()
    }
}

impl<I: fmt::Debug, R> fmt::Debug for RequireScopeService<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScopeService")
            .field("inner", &self.inner)
            .field("scope", &self.layer.rule.scope)
            .finish_non_exhaustive()
    }
}
