//! Refusals in the error formats of well-known APIs.

mod format;

use bytes::Bytes;
use http::Response;
use http::header::HeaderValue;
use http::request::Parts;

use self::format::Format;
use super::answer::{detail, is_worth_retrying};
use super::respond::Respond;
use super::{grpc, json};
use crate::check::Rejection;

/// Answers as OpenAI's API does.
///
/// Its client libraries raise `AuthenticationError`, `PermissionDeniedError` and `RateLimitError`, with the sentence as their
/// message.
pub fn openai() -> ErrorFormat {
    ErrorFormat(Format::OpenAi)
}

/// Answers as Anthropic's API does.
///
/// Its client libraries raise `AuthenticationError`, `PermissionDeniedError` and `RateLimitError`, with the sentence in their
/// message. Its Python library sends keys in `x-api-key` up to version 1 and as `Authorization: Bearer` from version 2 on; both
/// are default sources of the layer.
pub fn anthropic() -> ErrorFormat {
    ErrorFormat(Format::Anthropic)
}

/// Answers as Stripe's API does.
///
/// Its client libraries raise `AuthenticationError`, `PermissionError` and `RateLimitError`, with the sentence as their
/// message.
pub fn stripe() -> ErrorFormat {
    ErrorFormat(Format::Stripe)
}

/// Answers in the error format of a well-known API, so that its official client libraries raise their own errors. Made by
/// [`openai`], [`anthropic`] and [`stripe`].
///
/// The status and the headers are those of every other refusal. The body is JSON: the sentence that explains the refusal, and
/// the API's own name for the [class](crate::RejectionClass) of it. gRPC requests get a gRPC status.
///
/// The body type needs `From<Bytes>`, as axum's and hyper's usual ones have. For others, see
/// [`with_body`](Self::with_body).
///
/// # Retries
///
/// The client libraries send a refused request again after 429 and 503, and wait as long as `Retry-After` says; Stripe's only
/// after 503, and it ignores `Retry-After`. A header tells them not to where that is useless: for every other status, and for
/// a limit that has no room within the next minute. Without it some would sleep until then, and others would repeat the
/// request at once. It is `x-should-retry: false`, for Stripe's libraries `stripe-should-retry: false`.
///
/// # Security
/// These APIs themselves have an error code for each cause, and show a part of the key. This format does neither: every
/// invalid key gets the same response, byte for byte.
///
/// # Example
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{ApiKeyLayer, errors};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # type Body = Full<bytes::Bytes>;
/// # let inner = service_fn(|_: Request<()>| async { Ok::<_, std::convert::Infallible>(Response::new(Body::default())) });
/// let layer = ApiKeyLayer::new(MemoryStore::new()).responder(errors::openai());
/// let request = Request::get("/v1/models").header("authorization", "Bearer sk-wrong").body(())?;
/// let response = layer.layer(inner).oneshot(request).await?;
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["x-should-retry"], "false");
/// let body = response.into_body().collect().await?.to_bytes();
/// assert_eq!(
///     body,
///     r#"{"error":{"message":"The API key is not valid.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorFormat(Format);

impl ErrorFormat {
    /// Makes bodies with a function, for body types without `From<Bytes>`.
    #[must_use]
    pub fn with_body<B, F>(self, body: F) -> impl Respond<B>
    where
        F: Fn(Bytes) -> B + Clone,
    {
        move |rejection: &Rejection, request: &Parts| self.response(rejection, request, &body)
    }

    fn response<B>(self, rejection: &Rejection, request: &Parts, body: impl Fn(Bytes) -> B) -> Response<B> {
        let text = || self.0.body(rejection, &detail(rejection));
        let mut response = json::response(rejection, request, "application/json", body, text);
        if !response.headers().contains_key(&grpc::STATUS) && !is_worth_retrying(rejection) {
            let no = HeaderValue::from_static("false");
            response.headers_mut().insert(self.0.retry_header(), no);
        }
        response
    }
}

impl<B: From<Bytes>> Respond<B> for ErrorFormat {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self.response(rejection, request, B::from)
    }
}
