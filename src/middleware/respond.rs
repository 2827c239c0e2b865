//! How refusals look.

use http::Response;
use http::request::Parts;

use crate::check::Rejection;

/// Makes the response to a refused request.
///
/// Implemented by [`ProblemJson`](crate::ProblemJson), the formats in [`errors`](crate::errors),
/// [`GrpcStatus`](crate::GrpcStatus), [`HeadersOnly`], and every closure or function
/// `Fn(&Rejection, &Parts) -> Response<B> + Clone`. Wrap a closure in [`respond_fn`] so that its arguments need no type
/// annotations:
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{ApiKeyLayer, respond_fn};
///
/// let layer = ApiKeyLayer::new(MemoryStore::new()).responder(respond_fn(|rejection, request| {
///     let text = format!("{}: {}", request.uri.path(), rejection.status());
///     Response::new(Bytes::from(text))
/// }));
/// # let _ = layer;
/// ```
///
/// The layer completes the response: it replaces a success status with
/// [`Rejection::status`](crate::Rejection::status), and adds `WWW-Authenticate`, `Retry-After`, the rate-limit
/// headers, `Cache-Control: no-store` and `Vary` where they apply and are missing. A response with a `grpc-status` header
/// keeps its status, and gets only `Cache-Control` and `Vary`, if the request may be a gRPC call: a POST over HTTP/2, or
/// gRPC-Web. The [`Rejection`] goes into the response's extensions.
///
/// [`ApiKeyLayer`](crate::ApiKeyLayer) and layers inside it pass the request without its credentials. The credentials are
/// still there if the layer [keeps them](crate::ApiKeyLayer::keep_credential), and in
/// [`RequireHttps`](crate::RequireHttps), which stands outside. In headers they are marked sensitive, so `Debug` does not
/// show them; in the query of the URI they are visible.
///
/// # Security
/// Do not copy the request's headers or query into the response or a log without checking
/// [`is_sensitive`](http::HeaderValue::is_sensitive).
///
/// Give clients no more than the [class](crate::RejectionKind::class) of the rejection. A response that shows whether a key
/// exists, or why it does not work, helps to guess keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make refusals with body `{B}`",
    label = "not a responder for body `{B}`",
    note = "`ProblemJson` needs a body with `From<Bytes>`: for another one, use `ProblemJson::with_body`",
    note = "`GrpcStatus` and `HeadersOnly` need a body with `Default`: tonic's has it",
    note = "a closure must be `Fn(&Rejection, &http::request::Parts) -> Response<{B}> + Clone`; `respond_fn` infers its arguments"
)]
pub trait Respond<B>: Clone {
    /// Makes the response.
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B>;
}

impl<F, B> Respond<B> for F
where
    F: Fn(&Rejection, &Parts) -> Response<B> + Clone,
{
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self(rejection, request)
    }
}

/// Returns the closure unchanged. It lets the compiler infer the closure's arguments, which it cannot do when a closure is
/// passed to `responder` directly. See [`Respond`] for an example.
pub fn respond_fn<F, B>(respond: F) -> F
where
    F: Fn(&Rejection, &Parts) -> Response<B> + Clone,
{
    respond
}

/// Answers refused requests with a status and headers, and an empty body. For any body type with `Default`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadersOnly;

impl<B: Default> Respond<B> for HeadersOnly {
    fn respond(&self, rejection: &Rejection, _request: &Parts) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = rejection.status();
        response
    }
}
