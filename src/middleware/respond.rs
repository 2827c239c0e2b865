//! How refusals look.

use std::fmt;

use http::Response;
use http::request::Parts;

use super::answer::status_code;
use crate::check::Rejection;

/// Makes the response of a refused request.
///
/// Whatever it returns, the layer completes: a status that is a success becomes the one of
/// [`status_code`], and `WWW-Authenticate`, `Retry-After`, the rate-limit fields, `Cache-Control: no-store` and `Vary`
/// are added where they belong and are not there. A response with a `grpc-status` field is left as it is. The
/// [`Rejection`] is put into the response's extensions in any case.
///
/// An [`ApiKeyLayer`](crate::ApiKeyLayer) hands the request over without its credentials, and so do layers inside of it.
/// Where it [keeps them](crate::ApiKeyLayer::keep_credential), and for [`RequireHttps`](crate::RequireHttps), which stands
/// outside of it, they are in the request still: in headers that are marked sensitive, which `Debug` does not show, or in
/// the query of the URI, which it does.
///
/// # Security
/// Put nothing of the request's headers or query into the answer or a log without asking
/// [`is_sensitive`](http::HeaderValue::is_sensitive).
///
/// Tell clients no more than [the class](crate::RejectionKind::class) of the rejection: an answer that shows whether a key
/// exists, or why it does not work, is a help for guessing.
pub trait Respond<B>: Clone {
    /// Makes the response.
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B>;
}

/// Refusals of a status and headers, for any body that has an empty default.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadersOnly;

impl<B: Default> Respond<B> for HeadersOnly {
    fn respond(&self, rejection: &Rejection, _request: &Parts) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = status_code(rejection);
        response
    }
}

/// The responder that a closure becomes, see [`ApiKeyLayer::respond_with`](crate::ApiKeyLayer::respond_with).
#[derive(Clone, Copy)]
pub struct RespondWith<F>(pub(super) F);

impl<F, B> Respond<B> for RespondWith<F>
where
    F: Fn(&Rejection, &Parts) -> Response<B> + Clone,
{
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        (self.0)(rejection, request)
    }
}

impl<F> fmt::Debug for RespondWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RespondWith(..)")
    }
}
