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
//! the client's address is the peer's. Keys with allowed networks are refused when the address is not known, so set
//! [`client_address`](crate::ApiKeyLayer::client_address) or insert [`ClientAddress`](crate::ClientAddress).
//!
//! Answers of one server to good and bad keys depend on request headers: leave `Vary` and `Cache-Control` in place where
//! there are caches on the way.

pub(crate) mod address;
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
