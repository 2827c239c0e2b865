//! Refusals as gRPC clients understand them: HTTP 200, headers only, and a status of gRPC's own.
//!
//! The form is "Trailers-Only" of the gRPC protocol over HTTP/2; no gRPC framework is needed to write it.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use super::answer::{Answer, wait};
use super::rate_limit;
use super::respond::Respond;
use crate::check::Rejection;

pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

pub(super) const INVALID_ARGUMENT: &str = "3";
pub(super) const PERMISSION_DENIED: &str = "7";
pub(super) const RESOURCE_EXHAUSTED: &str = "8";
pub(super) const INTERNAL: &str = "13";
pub(super) const UNAVAILABLE: &str = "14";
pub(super) const UNAUTHENTICATED: &str = "16";

/// Refusals for gRPC services, whatever the request's content type; for any body that has an empty default.
///
/// | refused because of | `grpc-status` |
/// |---|---|
/// | no credential, or one that does not work | 16 `UNAUTHENTICATED` |
/// | several credentials | 3 `INVALID_ARGUMENT` |
/// | scope, network, transport | 7 `PERMISSION_DENIED` |
/// | limits | 8 `RESOURCE_EXHAUSTED`, with `grpc-retry-pushback-ms` |
/// | not now | 14 `UNAVAILABLE`, with `grpc-retry-pushback-ms` |
///
/// [`ProblemJson`](crate::ProblemJson) answers gRPC requests in the same way and others in JSON; this one is for bodies
/// that cannot be made of bytes, such as tonic's.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl<B: Default> Respond<B> for GrpcStatus {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        let mut response = Response::new(B::default());
        write(rejection, content_type(&request.headers), response.headers_mut());
        response
    }
}

/// The content type to answer with, when the request is one of gRPC.
///
/// Those are POST requests. A status of 200, which any other method would get by naming the content type, is a success
/// to caches and to whoever watches the service.
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

/// One of three fixed texts: what the client wrote is not echoed.
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

/// Writes the fields of a refusal.
pub(super) fn write(rejection: &Rejection, content_type: HeaderValue, headers: &mut HeaderMap) {
    let answer = Answer::to(rejection);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(&STATUS, HeaderValue::from_static(answer.grpc_status));
    let message = match rejection.missing_scope() {
        Some(scope) => percent_encoded(&format!("{} ({scope})", answer.detail)),
        None => percent_encoded(answer.detail),
    };
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(&MESSAGE, message);
    }
    let pushback = wait(rejection).map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    if let Some(pushback) = pushback.and_then(rate_limit::integer) {
        headers.insert(&PUSHBACK, pushback);
    }
}

/// As `grpc-message` is written: everything outside of space to `~`, and `%`, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn requested_with(method: Method, content_type: &str) -> Option<HeaderValue> {
        let request = Request::builder().method(method).header(CONTENT_TYPE, content_type);
        requested(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn grpc_is_told_by_the_content_type() {
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
    fn messages_are_encoded_for_the_wire() {
        assert_eq!(percent_encoded("100% of ünits\n"), "100%25 of %C3%BCnits%0A");
    }
}
