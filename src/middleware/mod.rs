//! The layer for HTTP services: where keys are found, who is let through, and how refusals look.
//!
//! What most programs need is at the crate's root; here is the rest, and the rules:
//!
//! 1. A key is looked for in every configured place: by default `Authorization: Bearer` and `x-api-key`. Two keys are
//!    refused with 400, equal or not. None, or an empty one, is a 401 without an error code, or an anonymous request
//!    where the layer is [optional](crate::ApiKeyLayer::optional).
//! 2. A key that does not work is a 401, byte for byte the same whatever the reason. A key that works is told apart: 403
//!    for a scope or a network, 429 for a limit. What is down is a 503, never a 401.
//! 3. The inner service is called after the verdict, never before, and with the instance that was polled ready.
//!    It stays reserved while a key is read and hashed: a `ConcurrencyLimit` inside this layer counts those requests too,
//!    so that slow checks take its places. Put limiting layers around this one if they are to bound everything, and give
//!    an inner one places to spare.
//! 4. The key leaves the request before inner services see it, and [`AuthContext`](crate::AuthContext) enters its
//!    extensions; whatever context was there before is removed.
//! 5. Refusals are responses, never errors. Errors and both body types of the inner service stay as they are.
//! 6. The [`Rejection`](crate::Rejection) rides in the extensions of a refusal, for logging layers around.
//!
//! # Deployment caveat
//!
//! What proxies add is believed only after [`trusted_proxies`](crate::ApiKeyLayer::trusted_proxies) names them; until then
//! the client's address is the peer's.
//!
//! The layer has to be told who the peer is: set [`client_address`](crate::ApiKeyLayer::client_address), or insert
//! [`ClientAddress`](crate::ClientAddress). **A plain `axum::serve(listener, app)` tells nothing**, and then everybody is
//! one client:
//!
//! - What is shared out among clients is not: the two loads at a time for keys of one lookup that are not proven yet, the
//!   places in the hash queue, the [failure budget](crate::AuthenticatorBuilder::failure_budget). Whoever knows a lookup,
//!   which is no secret, can keep its owner's first check waiting (503) with wrong keys, and under pressure a few wrong
//!   keys from anyone have every new key of everyone told to come again (429). Keys that were checked already go on to
//!   work.
//! - Keys with allowed networks are refused.
//!
//! The first request that waits for a check without an address is told of with a warning, once for each layer.
//!
//! Browsers send their CORS preflight requests without any key: put a CORS layer around this one, or they get a 401.
//!
//! Answers of one server to good and bad keys depend on request headers: leave `Vary` and `Cache-Control` in place where
//! there are caches on the way.
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

pub(crate) mod address;
mod admit;
mod anonymous;
mod answer;
mod challenge;
mod credential;
#[cfg(feature = "axum")]
mod extract;
mod forwarded;
mod future;
mod gate;
pub(crate) mod grpc;
pub(crate) mod layer;
pub(crate) mod problem;
mod query;
mod rate_limit;
pub(crate) mod require_https;
pub(crate) mod require_scope;
pub(crate) mod respond;
mod service;
pub(crate) mod source;
mod success;
mod vary;

pub use self::answer::status_code;
#[cfg(feature = "axum")]
pub use self::extract::MissingAuthContext;
pub use self::future::ResponseFuture;
pub use self::gate::GateFuture;
pub use self::problem::{FromBytes, WithBody};
pub use self::require_https::RequireHttpsService;
pub use self::require_scope::RequireScopeService;
pub use self::respond::RespondWith;
pub use self::service::ApiKeyService;
pub use self::success::RateLimitFields;
