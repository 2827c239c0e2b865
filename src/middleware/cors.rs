//! The headers that a CORS layer around an `ApiKeyLayer` has to name.

use http::HeaderName;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

use super::layer::ApiKeyLayer;
use super::{rate_limit, success};

/// For browsers. They ask before they send a key to another origin, in a request without one: put the CORS layer around this
/// layer.
///
/// ```
/// use axum::Router;
/// use axum::http::{Method, header};
/// use axum::routing::get;
/// use tower_api_key::ApiKeyLayer;
/// use tower_api_key::store::MemoryStore;
/// use tower_http::cors::CorsLayer;
///
/// let keys = ApiKeyLayer::new(MemoryStore::new());
/// let cors = CorsLayer::new()
///     .allow_origin(["https://app.example.com".parse()?])
///     .allow_methods([Method::GET, Method::POST])
///     .allow_headers([keys.cors_request_headers(), vec![header::CONTENT_TYPE]].concat())
///     .expose_headers(keys.cors_response_headers());
/// // The layer that is added last is the outermost.
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).route_layer(keys).layer(cors);
/// # let _ = app;
/// # Ok::<_, axum::http::header::InvalidHeaderValue>(())
/// ```
impl<S, R> ApiKeyLayer<S, R> {
    /// The request headers that keys come in, for `Access-Control-Allow-Headers`: by default `authorization` and `x-api-key`.
    /// Add those that your own routes read, such as `content-type`.
    pub fn cors_request_headers(&self) -> Vec<HeaderName> {
        self.settings().sources().header_names().cloned().collect()
    }

    /// The headers of this layer's responses that scripts may want to read, for `Access-Control-Expose-Headers`: the
    /// challenge, `retry-after`, the rate-limit headers and `api-key-expires`.
    ///
    /// For gRPC-Web, expose `grpc-status`, `grpc-message` and `grpc-retry-pushback-ms` as well.
    pub fn cors_response_headers(&self) -> Vec<HeaderName> {
        let options = self.settings().success;
        let limits = rate_limit::header_names(options.legacy_rate_limit);
        let expires = options.expires.then(|| success::EXPIRES.clone());
        [WWW_AUTHENTICATE, RETRY_AFTER]
            .into_iter()
            .chain(limits)
            .chain(expires)
            .collect()
    }
}
