//! Refusals for gRPC clients: HTTP 200, headers only, and a gRPC status ("Trailers-Only" in the gRPC protocol).
//!
//! Only for requests that can be gRPC calls: POST, over HTTP/2 or newer, or gRPC-Web. For any other request a 200 would be a
//! success, to clients, caches and monitoring.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, Version};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::answer::{Answer, detail, is_worth_retrying, spaced, wait};
use super::respond::Respond;
use crate::check::Rejection;

pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// A negative time (gRFC A6, "Pushback").
const DO_NOT_RETRY: &str = "-1";

/// Answers refused calls with a gRPC status, whatever their content type. For any body type with `Default`.
///
/// A call is a POST request over HTTP/2 or newer, or gRPC-Web. Any other request is no gRPC, and gets the HTTP status of its
/// refusal and no body, as from [`HeadersOnly`](crate::HeadersOnly).
///
/// | refused because of | `grpc-status` |
/// |---|---|
/// | no credential, or an invalid one | 16 `UNAUTHENTICATED` |
/// | several credentials | 3 `INVALID_ARGUMENT` |
/// | scope, network, transport | 7 `PERMISSION_DENIED` |
/// | rate limits | 8 `RESOURCE_EXHAUSTED`, with `grpc-retry-pushback-ms` |
/// | an outage | 14 `UNAVAILABLE`, with `grpc-retry-pushback-ms` |
///
/// The pushback of a limit without room within the next minute is -1, which means that the client must not retry.
///
/// Use it for tonic, whose body type has no `From<Bytes>`. [`ProblemJson`](crate::ProblemJson) answers gRPC requests the
/// same way and all others in JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl<B: Default> Respond<B> for GrpcStatus {
    fn respond(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        let mut response = Response::new(B::default());
        if may_be_call(request) {
            write(rejection, content_type(&request.headers), response.headers_mut());
        } else {
            *response.status_mut() = rejection.status();
        }
        response
    }
}

/// The content type to answer with, if this is a gRPC call.
pub(super) fn requested(request: &Parts) -> Option<HeaderValue> {
    let is_grpc = may_be_call(request) && matches!(subtype(request), Some(None | Some(b'+' | b'-' | b';' | b' ')));
    is_grpc.then(|| content_type(&request.headers))
}

/// Whether a gRPC status could be an answer to this request. gRPC needs HTTP/2; gRPC-Web, for browsers, does not.
pub(super) fn may_be_call(request: &Parts) -> bool {
    let is_new = || request.version >= Version::HTTP_2;
    let is_web = || content_type(&request.headers) != "application/grpc";
    request.method == Method::POST && (is_new() || is_web())
}

/// What follows `application/grpc` in the content type.
fn subtype(request: &Parts) -> Option<Option<u8>> {
    let value = request.headers.get(CONTENT_TYPE)?.as_bytes();
    starts_with(value, GRPC).then(|| value.get(GRPC.len()).copied())
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
    let mut message = detail(rejection).into_owned();
    let scopes = rejection.required_scopes();
    if !scopes.is_empty() {
        message.push_str(&format!(" ({})", spaced(scopes)));
    }
    if let Ok(message) = HeaderValue::try_from(utf8_percent_encode(&message, MESSAGE_ESCAPES).to_string()) {
        headers.insert(&MESSAGE, message);
    }
    if let Some(wait) = wait(rejection) {
        // With the time until a quota is renewed, a client would wait for it and end at its deadline, without the reason.
        let pushback = match is_worth_retrying(rejection) {
            true => HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            false => HeaderValue::from_static(DO_NOT_RETRY),
        };
        headers.insert(&PUSHBACK, pushback);
    }
}

const GRPC: &[u8] = b"application/grpc";

/// What `grpc-message` escapes beside non-ASCII characters: everything but space to `~`, and `%`.
const MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn requested_with(version: Version, method: Method, content_type: &str) -> Option<HeaderValue> {
        let request = Request::builder().version(version).method(method);
        let request = request.header(CONTENT_TYPE, content_type).body(()).unwrap();
        requested(&request.into_parts().0)
    }

    #[test]
    fn calls_are_posts_over_http2_with_its_content_type() {
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
            for version in [Version::HTTP_2, Version::HTTP_3] {
                assert_eq!(requested_with(version, Method::POST, sent), answered, "{sent}");
                assert_eq!(requested_with(version, Method::GET, sent), None, "{sent}");
            }
            let over_web = answered.filter(|answered| answered != "application/grpc");
            for version in [Version::HTTP_10, Version::HTTP_11] {
                assert_eq!(requested_with(version, Method::POST, sent), over_web, "{sent}");
                assert_eq!(requested_with(version, Method::GET, sent), None, "{sent}");
            }
        }
        assert_eq!(requested(&Request::post("/").body(()).unwrap().into_parts().0), None);
    }

    #[test]
    fn messages_are_percent_encoded() {
        let encoded = utf8_percent_encode("100% of ünits\n ~\u{7f}", MESSAGE_ESCAPES).to_string();
        assert_eq!(encoded, "100%25 of %C3%BCnits%0A ~%7F");
    }
}
