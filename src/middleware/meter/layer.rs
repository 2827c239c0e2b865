//! The layer, its settings and its service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::super::accessors::inner_accessors;
use super::super::handle::Anonymous;
use super::body::MeteredBody;
use super::future::{Call, MeterFuture};
use super::request_body::CountedBody;
use super::running::MeteredRequest;
use super::settings::Settings;
use crate::check::AuthContext;
use crate::usage::{KeptAddress, Meter};

/// Makes a [usage event](crate::usage::UsageEvent) of each request that an [`ApiKeyLayer`](crate::ApiKeyLayer) around it has admitted.
/// Requests without a key, inside an [optional](crate::ApiKeyLayer::optional) layer, are not metered.
///
/// The event is made when the response's body has ended, was dropped, or was never made: of each request exactly one. It is queued then;
/// nothing of it is waited for.
///
/// The request's body becomes a [`CountedBody`], the response's a [`MeteredBody`]. Routes of axum and tonic take any body; a service of
/// your own must be generic over the body of its requests. For one that is not, such as axum's `from_fn` within a `ServiceBuilder`, turn
/// it back: `.map_request(|request: http::Request<_>| request.map(axum::body::Body::new))` after the meter.
///
/// Put [`RequireScope`](crate::RequireScope) inside it, so that its refusals are events. Of two meters around a route the outer one counts.
/// Layers outside it that time out or replace bodies look like clients that went away.
///
/// ```
/// use axum::extract::MatchedPath;
/// use axum::{Router, routing::get};
/// use tower_api_key::key::{Actor, Timestamp};
/// use tower_api_key::usage::{MemoryUsage, Meter, UsageExt, UsageOf, UsageRange};
/// use tower_api_key::{ApiKeys, IssueRequest, MeterLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use axum::body::Body;
/// # use tower::ServiceExt;
/// let keys = ApiKeys::open("memory:").await?;
/// let usage = MemoryUsage::new();
/// let meter = Meter::builder().start(usage.clone())?;
/// // The template of the route, which axum knows inside `route_layer`.
/// let metered = MeterLayer::new(&meter).route(|extensions| Some(extensions.get::<MatchedPath>()?.as_str()));
/// let app: Router = Router::new()
///     .route("/orders/{id}", get(|| async { "an order" }))
///     .route_layer(metered)
///     .route_layer(keys.layer());
///
/// let issuer = keys.issuer().acting_as(Actor::service());
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "reader")).await?;
/// for order in ["/orders/1", "/orders/2"] {
///     let request = http::Request::get(order).header("x-api-key", issued.key.expose_secret());
///     let response = app.clone().oneshot(request.body(Body::empty())?).await?;
///     axum::body::to_bytes(response.into_body(), 1024).await?;
/// }
///
/// // At the end of the program: what waits is stored.
/// meter.close().await;
/// let month = UsageRange::month_of(UsageOf::Organization(acme.id), Timestamp::now())?;
/// let endpoints = usage.endpoints(month, 10.try_into()?).await?;
/// assert_eq!((&*endpoints[0].route, endpoints[0].sums.requests), ("/orders/{id}", 2));
/// assert_eq!(endpoints[0].sums.bytes_out, 16);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct MeterLayer(Arc<Settings>);

impl MeterLayer {
    /// Queues events in this meter.
    pub fn new(meter: &Meter) -> Self {
        Self(Arc::new(Settings::new(meter.clone())))
    }

    /// Finds the template of a request's route in its extensions, such as axum's `MatchedPath`. Without one, or for `None`, the route is
    /// `(none)`. It must not be the path of the request: a layer keeps 1,000 routes apart, and all others are `(other)`.
    pub fn route(mut self, route: impl for<'r> Fn(&'r Extensions) -> Option<&'r str> + Send + Sync + 'static) -> Self {
        self.settings().route = Arc::new(route);
        self
    }

    /// How much is kept of the client's address. Default: its network, a /24 or a /48 of IPv6.
    pub fn address(mut self, kept: KeptAddress) -> Self {
        self.settings().address = kept;
        self
    }

    /// Whether the client's user agent is kept: at most 256 bytes, with what may be a key masked. Default: yes.
    pub fn user_agent(mut self, is_kept: bool) -> Self {
        self.settings().keeps_agent = is_kept;
        self
    }

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.0)
    }
}

impl<I> Layer<I> for MeterLayer {
    type Service = MeterService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        MeterService {
            inner,
            settings: self.0.clone(),
        }
    }
}

/// The service of a [`MeterLayer`].
#[derive(Clone)]
pub struct MeterService<I> {
    inner: I,
    settings: Arc<Settings>,
}

impl<I> MeterService<I> {
    inner_accessors!();
}

impl<I, Q, B> Service<Request<Q>> for MeterService<I>
where
    I: Service<Request<CountedBody<Q>>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<MeteredBody<B>>;
    type Error = I::Error;
    type Future = MeterFuture<I::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let running = begin(&self.settings, &mut request);
        let call = Call::new(running.clone(), request.method().clone());
        let request = request.map(|body| CountedBody::new(body, running));
        MeterFuture::new(self.inner.call(request), call)
    }
}

/// Begins to meter a request, if it has a key, and no layer around this one meters it.
fn begin<Q>(settings: &Arc<Settings>, request: &mut Request<Q>) -> Option<Arc<MeteredRequest>> {
    let Some(context) = request.extensions().get::<AuthContext>() else {
        if request.extensions().get::<Anonymous>().is_none() {
            settings.warn_of_missing_layer();
        }
        return None;
    };
    if context.is_metered() {
        return None;
    }
    let running = Arc::new(MeteredRequest::new(settings.clone(), context.clone(), request));
    request
        .extensions_mut()
        .get_mut::<AuthContext>()?
        .metered(running.clone());
    Some(running)
}

impl fmt::Debug for MeterLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterLayer").finish_non_exhaustive()
    }
}

impl<I: fmt::Debug> fmt::Debug for MeterService<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
