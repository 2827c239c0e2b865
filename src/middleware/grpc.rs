//! Refusals for gRPC clients: HTTP 200, headers only, and a gRPC status ("Trailers-Only" in the gRPC protocol).

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::answer::{Answer, spaced, wait};
use super::respond::Respond;
use crate::check::Rejection;

pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Answers every refused request with a gRPC status, whatever its content type. For any body type with `Default`.
///
/// | refused because of | `grpc-status` |
/// |---|---|
/// | no credential, or an invalid one | 16 `UNAUTHENTICATED` |
/// | several credentials | 3 `INVALID_ARGUMENT` |
/// | scope, network, transport | 7 `PERMISSION_DENIED` |
/// | rate limits | 8 `RESOURCE_EXHAUSTED`, with `grpc-retry-pushback-ms` |
/// | an outage | 14 `UNAVAILABLE`, with `grpc-retry-pushback-ms` |
///
/// Use it for tonic, whose body type has no `From<Bytes>`. [`ProblemJson`](crate::ProblemJson) answers gRPC requests the
/// same way and all others in JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl<B: Default> Respond<B> for GrpcStatus {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        let mut response = Response::new(B::default());
        write(rejection, content_type(&request.headers), response.headers_mut());
        response
    }
}

/// The content type to answer with, if this is a gRPC request.
///
/// Only POST requests are: otherwise a GET with that content type would get a 200, a success to caches and monitoring.
pub(super) fn requested(request: &Parts) -> Option<HeaderValue> {
    if request.method != Method::POST {
        return None;
    }
    let value = request.headers.get(CONTENT_TYPE)?.as_bytes();
    let is_grpc = starts_with(value, b"application/grpc")
        && matches!(
            value.get(b"application/grpc".len()),
            None | Some(b'+' | b'-' | b';' | b' ')
        );
    is_grpc.then(|| content_type(&request.headers))
}

/// One of three constants: what the client sent is not echoed.
fn content_type(headers: &HeaderMap) -> HeaderValue {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    HeaderValue::from_static(if starts_with(value, b"application/grpc-web-text") {
        "application/grpc-web-text"
    } else if starts_with(value, b"application/grpc-web") {
        "application/grpc-web"
    } else {
        "application/grpc"
    })
}

fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Writes the headers of a refusal.
pub(super) fn write(rejection: &Rejection, content_type: HeaderValue, headers: &mut HeaderMap) {
    let answer = Answer::to(rejection);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(&STATUS, HeaderValue::from_static(answer.grpc_status));
    let mut message = answer.detail.to_owned();
    let scopes = rejection.required_scopes();
    if !scopes.is_empty() {
        message.push_str(&format!(" ({})", spaced(scopes)));
    }
    if let Ok(message) = HeaderValue::try_from(utf8_percent_encode(&message, MESSAGE_ESCAPES).to_string()) {
        headers.insert(&MESSAGE, message);
    }
    if let Some(wait) = wait(rejection) {
        let pushback = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        headers.insert(&PUSHBACK, HeaderValue::from(pushback));
    }
}

/// What `grpc-message` escapes beside non-ASCII characters: everything but space to `~`, and `%`.
const MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn requested_with(method: Method, content_type: &str) -> Option<HeaderValue> {
        let request = Request::builder().method(method).header(CONTENT_TYPE, content_type);
        requested(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn grpc_requests_are_posts_with_its_content_type() {
        for (sent, answered) in [
            ("application/grpc", Some("application/grpc")),
            ("Application/GRPC+proto", Some("application/grpc")),
            ("application/grpc;x=y", Some("application/grpc")),
            ("application/grpc-web+proto", Some("application/grpc-web")),
            ("application/grpc-web-text", Some("application/grpc-web-text")),
            ("application/grpcx", None),
            ("application/json", None),
            ("application/gr", None),
        ] {
            let answered = answered.map(HeaderValue::from_static);
            assert_eq!(requested_with(Method::POST, sent), answered, "{sent}");
            assert_eq!(requested_with(Method::GET, sent), None, "{sent}");
        }
        assert_eq!(requested(&Request::post("/").body(()).unwrap().into_parts().0), None);
    }

    #[test]
    fn messages_are_percent_encoded() {
        let encoded = utf8_percent_encode("100% of ünits\n ~\u{7f}", MESSAGE_ESCAPES).to_string();
        assert_eq!(encoded, "100%25 of %C3%BCnits%0A ~%7F");
    }
}
