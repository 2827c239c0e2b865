//! Routes that need a scope.

use std::fmt;
use std::slice;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::accessors::inner_accessors;
use super::deferred::Deferred;
use super::handle::{Anonymous, LayerHandle};
use super::problem::ProblemJson;
use super::refusal::{Additions, refuse};
use super::require::RequireFuture;
use super::respond::Respond;
use super::settings::Settings;
use crate::check::{AuthContext, Rejection};
use crate::error::ConfigError;
use crate::key::{Scope, ScopeSet};

/// Admits requests whose key has the required scopes. Put it inside an [`ApiKeyLayer`](crate::ApiKeyLayer).
///
/// | request | response |
/// |---|---|
/// | its key lacks a scope | 403, with the required scopes in the challenge and the body |
/// | no key, inside an [optional](crate::ApiKeyLayer::optional) layer | 401 |
/// | no `ApiKeyLayer` around the route | 500, never an open route |
///
/// The layer around it answers, as it would itself: by its [responder](crate::ApiKeyLayer::responder), with its realm and for
/// its sources. For another answer, set a [`responder`](Self::responder).
///
/// The request was admitted before, so its limits are charged although it is refused. A scope that is known for all routes of
/// a layer costs nothing with [`ApiKeyLayer::require_scope`](crate::ApiKeyLayer::require_scope).
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use tower_api_key::RequireScope;
///
/// # fn router<S>(api_keys: tower_api_key::ApiKeyLayer<S>) -> Result<Router, tower_api_key::ConfigError>
/// # where S: tower_api_key::store::KeyStore {
/// let by_method = RequireScope::by_method("orders:read".parse()?, "orders:write".parse()?);
/// let orders = get(|| async { "orders" }).post(|| async { "ordered" }).layer(by_method);
/// let any = RequireScope::any(["reports:read".parse()?, "admin".parse()?])?;
/// let reports = get(|| async { "reports" }).layer(any);
/// # Ok(
/// Router::new()
///     .route("/orders", orders)
///     .route("/reports", reports)
///     .route_layer(api_keys)
/// # )
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct RequireScope<R = ProblemJson> {
    need: Arc<Need>,
    responder: R,
    /// Whether the layer around answers in place of the responder.
    is_deferred: bool,
}

/// What a request needs.
#[derive(Debug)]
enum Need {
    All(Box<[Scope]>),
    Any(Box<[Scope]>),
    ByMethod { read: Scope, write: Scope },
}

impl RequireScope {
    /// Requires this scope.
    pub fn new(scope: Scope) -> Self {
        Self::with(Need::All(Box::new([scope])))
    }

    /// Requires at least one of these scopes.
    ///
    /// A refusal lists all of them. A `WWW-Authenticate` challenge has no way to say that one is enough; the body says it.
    ///
    /// # Errors
    /// If there are none, or more than 16.
    pub fn any(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, ConfigError> {
        Ok(Self::with(Need::Any(checked(scopes)?)))
    }

    /// Requires all of these scopes. A refusal lists all of them, those that the key has included.
    ///
    /// # Errors
    /// If there are none, or more than 16.
    pub fn all(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, ConfigError> {
        Ok(Self::with(Need::All(checked(scopes)?)))
    }

    /// Requires `read` for GET, HEAD and OPTIONS, and `write` for every other method. Neither implies the other; a refusal
    /// names the one that the method needs.
    ///
    /// gRPC calls are POST requests and need `write`.
    ///
    /// A CORS preflight is an OPTIONS request without a key, so the [`ApiKeyLayer`](crate::ApiKeyLayer) refuses it. Put a CORS
    /// layer around both.
    pub fn by_method(read: Scope, write: Scope) -> Self {
        Self::with(Need::ByMethod { read, write })
    }

    fn with(need: Need) -> Self {
        Self {
            need: Arc::new(need),
            responder: ProblemJson::new(),
            is_deferred: true,
        }
    }
}

impl<R> RequireScope<R> {
    /// Answers refused requests with this responder, instead of the layer's. For a closure, see [`Respond`].
    ///
    /// A service whose body type has no `From<Bytes>`, such as tonic's, needs one: there, name
    /// [`GrpcStatus`](crate::GrpcStatus) here and for the layer.
    pub fn responder<T>(self, responder: T) -> RequireScope<T> {
        RequireScope {
            need: self.need,
            responder,
            is_deferred: false,
        }
    }
}

impl Need {
    /// The scopes for this method, and whether any of them suffices.
    fn scopes(&self, method: &Method) -> (&[Scope], bool) {
        match self {
            Self::All(scopes) => (scopes, false),
            Self::Any(scopes) => (scopes, true),
            Self::ByMethod { read, write } => match *method {
                Method::GET | Method::HEAD | Method::OPTIONS => (slice::from_ref(read), false),
                _ => (slice::from_ref(write), false),
            },
        }
    }

    /// The scopes that decide, if the request has what it needs.
    fn met_by(&self, method: &Method, granted: &ScopeSet) -> Option<&[Scope]> {
        match self.scopes(method) {
            (scopes, true) => scopes.iter().find(|scope| granted.allows(scope)).map(slice::from_ref),
            (scopes, false) => scopes.iter().all(|scope| granted.allows(scope)).then_some(scopes),
        }
    }
}

/// `all` of no scopes would be an open route.
fn checked(scopes: impl IntoIterator<Item = Scope>) -> Result<Box<[Scope]>, ConfigError> {
    let scopes: Box<[Scope]> = scopes.into_iter().take(MOST_SCOPES + 1).collect();
    let got = match scopes.len() {
        0 => "none",
        1..=MOST_SCOPES => return Ok(scopes),
        _ => "more",
    };
    let problem = format!("must be 1 to {MOST_SCOPES}, got {got}");
    Err(ConfigError::new("required scopes", problem))
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

/// The service of a [`RequireScope`].
#[derive(Clone)]
pub struct RequireScopeService<I, R> {
    inner: I,
    layer: RequireScope<R>,
}

impl<I, R> RequireScopeService<I, R> {
    inner_accessors!();
}

impl<I, R, Q, B> Service<Request<Q>> for RequireScopeService<I, R>
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
        let layer = &self.layer;
        if let Some(context) = request.extensions().get::<AuthContext>()
            && let Some(scopes) = layer.need.met_by(request.method(), context.scopes())
        {
            context.scopes_used(scopes);
            return RequireFuture::calling(self.inner.call(request));
        }
        let (parts, _body) = request.into_parts();
        let response = layer.refuse(parts);
        // As in `ApiKeyService`: a refused request must not hold what the inner service reserved.
        self.inner = self.inner.clone();
        RequireFuture::refused(response)
    }
}

impl<R> RequireScope<R> {
    fn refuse<B>(&self, request: Parts) -> Response<B>
    where
        R: Respond<B>,
    {
        let context = request.extensions.get::<AuthContext>();
        let (mut response, layer) = match (context, request.extensions.get::<Anonymous>()) {
            (Some(context), _) => {
                let layer = LayerHandle::of(context);
                (self.forbid(context, layer.as_deref(), &request), layer)
            }
            (None, Some(Anonymous(layer))) => {
                let response = layer.refuse_anonymous(&request, &self.responder);
                (response, Some(layer.clone()))
            }
            (None, None) => {
                let (scopes, _) = self.need.scopes(&request.method);
                tracing::error!(
                    ?scopes,
                    "a route requires a scope, but there is no ApiKeyLayer around it"
                );
                let rejection = Rejection::missing_layer();
                (refuse(rejection, &request, &self.responder, Additions::default()), None)
            }
        };
        if let (Some(layer), true) = (layer, self.is_deferred) {
            Deferred::mark(&mut response, layer, request);
        }
        response
    }

    fn forbid<B>(&self, context: &AuthContext, layer: Option<&LayerHandle>, request: &Parts) -> Response<B>
    where
        R: Respond<B>,
    {
        let (scopes, any_suffices) = self.need.scopes(&request.method);
        context.lacks_scopes(scopes);
        let rejection = context.name_key(Rejection::insufficient_scope(scopes.into(), any_suffices));
        match layer {
            Some(layer) => {
                layer.record_refusal(&rejection, context.client());
                refuse(rejection, request, &self.responder, layer.settings.additions())
            }
            // A context that no layer inserted, such as a test's.
            None => refuse(rejection, request, &self.responder, Settings::default().additions()),
        }
    }
}

impl<R> fmt::Debug for RequireScope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScope")
            .field("need", &self.need)
            .finish_non_exhaustive()
    }
}

impl<I: fmt::Debug, R> fmt::Debug for RequireScopeService<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScopeService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}

/// Refusals list the scopes in a header.
const MOST_SCOPES: usize = 16;
