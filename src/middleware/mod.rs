//! The Tower layer for HTTP services: its rules, and what to know before deploying it.
//!
//! The types are at the crate's root: [`ApiKeyLayer`](crate::ApiKeyLayer), [`RequireScope`](crate::RequireScope) and
//! [`RequireHttps`](crate::RequireHttps), each with its service and future, and [`Respond`](crate::Respond) for how refusals
//! look.
//!
//! 1. The layer reads every configured [source](crate::KeySource), by default `Authorization: Bearer` and `x-api-key`. Two
//!    keys, equal or not, are refused with 400, also if a proxy has joined them in one line. No key is a 401 without an error
//!    code, or an anonymous request if the layer is [optional](crate::ApiKeyLayer::optional). An empty value, and a key
//!    without its scheme or with another one, are that 401 in any case: a client that sends them means to have a key.
//! 2. Every invalid key gets the same 401, byte for byte. A valid key that may not be used gets a 403 (scope, network) or a
//!    429 (rate limit). An outage is a 503, never a 401.
//! 3. The inner service is called after the verdict, never before, and on the instance that was polled ready. That instance
//!    stays reserved while a key is read and hashed. A `ConcurrencyLimit` inside this layer therefore counts requests that
//!    are still being checked; put it around this layer if it should bound everything, and otherwise give it room.
//! 4. The key is removed from the request before inner services see it, and cut out of every other header that holds it.
//!    Credentials of others, such as those of another `Authorization` scheme, stay, marked sensitive. [`AuthContext`](crate::AuthContext) is inserted into
//!    the extensions; a context that was there before is removed.
//! 5. Refusals are responses, never errors. The inner service's error and both body types stay as they are.
//! 6. Handlers and layers inside refuse by this layer: [`AuthContext::require`](crate::AuthContext::require), the axum extractor
//!    and [`RequireScope`](crate::RequireScope) get the answer that it would give itself.
//! 7. A refusal has its [`Rejection`](crate::Rejection) in its extensions, for logging layers around.
//!
//! # Deployment
//!
//! The page [`deploying`](crate::deploying) has what to set for nginx, HAProxy and others, for browsers and for Unix sockets.
//!
//! The layer believes proxies only after [`trusted_proxies`](crate::ApiKeyLayer::trusted_proxies) names them. Until then the
//! client's address is the peer's.
//!
//! It must be able to find the peer's address: set [`client_address`](crate::ApiKeyLayer::client_address), or insert
//! [`ClientAddress`](crate::ClientAddress). **With a plain `axum::serve(listener, app)` the address is unknown**, and all
//! clients count as one:
//!
//! - They share what is otherwise divided among clients: the two loads at a time for unverified keys of one lookup, the
//!   places in the hash queue, and the [failure budget](crate::ApiKeysBuilder::failure_budget). Anyone who knows a
//!   lookup, which is not secret, can delay its owner's first check (503) with wrong keys. Under pressure, a few wrong keys
//!   from one client make every key that is not cached yet fail with 429. Cached keys keep working.
//! - Keys with allowed networks are refused.
//!
//! The layer logs a warning for the first request with an unknown address that has to wait for a check.
//!
//! Browsers send CORS preflight requests without a key: put a CORS layer around this one, or they get a 401.
//!
//! Responses depend on the headers that keys come in. Keep `Vary` and `Cache-Control` if there are caches on the way.
//!
//! # Example
//!
//! ```
//! use axum::body::Body;
//! use axum::http::{Request, StatusCode};
//! use axum::{Router, routing::get};
//! use tower::ServiceExt;
//! use tower_api_key::store::MemoryStore;
//! use tower_api_key::{ApiKeyLayer, IssueRequest, Issuer, RequireScope};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let issuer = Issuer::new(store.clone())?;
//! let acme = issuer.create_organization("acme").await?;
//! let reader = issuer.issue(IssueRequest::new(acme.id, "reader").scopes("orders:read".parse()?)).await?;
//!
//! let may_write = RequireScope::new("orders:write".parse()?);
//! let app = Router::new()
//!     .route("/orders", get(|| async { "orders" }))
//!     .route("/admin", get(|| async { "admin" }).route_layer(may_write))
//!     .route_layer(ApiKeyLayer::new(store))
//!     .route("/public", get(|| async { "open" }));
//!
//! let key = reader.key.expose_secret();
//! for (path, presented, status) in [
//!     ("/orders", Some(key), StatusCode::OK),
//!     ("/admin", Some(key), StatusCode::FORBIDDEN),
//!     ("/orders", Some("rubbish"), StatusCode::UNAUTHORIZED),
//!     ("/orders", None, StatusCode::UNAUTHORIZED),
//!     ("/public", None, StatusCode::OK),
//! ] {
//!     let request = Request::get(path).body(Body::empty())?;
//!     let (mut parts, body) = request.into_parts();
//!     if let Some(key) = presented {
//!         parts.headers.insert("x-api-key", key.parse()?);
//!     }
//!     let response = app.clone().oneshot(Request::from_parts(parts, body)).await?;
//!     assert_eq!(response.status(), status, "{path}");
//! }
//! # Ok(())
//! # }
//! ```

mod accessors;
pub(crate) mod address;
mod admit;
mod answer;
mod authorization;
mod challenge;
mod cors;
mod credential;
pub(crate) mod defaults;
mod deferred;
pub(crate) mod errors;
#[cfg(feature = "axum")]
pub(crate) mod extract;
mod forwarded;
pub(crate) mod future;
pub(crate) mod grpc;
pub(crate) mod handle;
mod https;
mod in_handler;
mod json;
mod key_like;
pub(crate) mod layer;
pub(crate) mod members;
pub(crate) mod meter;
pub(crate) mod others;
pub(crate) mod problem;
mod proxies;
mod query;
mod rate_limit;
mod refusal;
mod rejection;
mod reported_address;
pub(crate) mod require;
pub(crate) mod require_https;
pub(crate) mod require_scope;
pub(crate) mod respond;
pub(crate) mod service;
mod settings;
pub(crate) mod source;
mod span;
pub(crate) mod success;
mod syntax;
mod transport;
mod vary;
mod websocket;
