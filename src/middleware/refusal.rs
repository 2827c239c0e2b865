//! Makes the response to a refused request: the responder's, completed with what the protocol asks for.

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::request::Parts;

use super::answer::wait;
use super::challenge::Challenges;
use super::grpc;
use super::rate_limit;
use super::respond::Respond;
use super::vary::{self, Vary};
use crate::check::{Rejection, RejectionClass};

/// What the layer adds to refusals.
#[derive(Clone, Copy, Default)]
pub(super) struct Additions<'a> {
    pub(super) challenges: Option<&'a Challenges>,
    pub(super) vary: Option<&'a Vary>,
    pub(super) legacy_rate_limit: bool,
}

/// Makes the response to a refused request.
pub(super) fn refuse<B, R: Respond<B>>(
    rejection: Rejection,
    request: &Parts,
    responder: &R,
    additions: Additions<'_>,
) -> Response<B> {
    let rejection = match additions.challenges {
        Some(challenges) if rejection.kind().class() == RejectionClass::MissingCredential => {
            rejection.with_key_places(challenges.key_places())
        }
        _ => rejection,
    };
    let mut response = responder.respond(&rejection, request);
    // A gRPC response is a 200 by definition and carries the refusal in its own headers. Not to a request that is no call:
    // brute force over HTTP/1.1 would look like success in every log.
    let is_grpc = response.headers().contains_key(&grpc::STATUS) && grpc::may_be_call(request);
    if !is_grpc {
        complete(&mut response, &rejection, additions);
    }
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(ours) = additions.vary {
        vary::merge(headers, ours);
    }
    response.extensions_mut().insert(rejection);
    response
}

fn complete<B>(response: &mut Response<B>, rejection: &Rejection, additions: Additions<'_>) {
    // `Response::new` is a 200: a responder that only sets the body must not turn a refusal into a success.
    if response.status().is_success() {
        *response.status_mut() = rejection.status();
    }
    let headers = response.headers_mut();
    if let Some(challenges) = additions.challenges {
        challenges.write(rejection, headers);
    }
    if let Some(wait) = wait(rejection) {
        let seconds = HeaderValue::from(rate_limit::whole_seconds(wait));
        headers.entry(RETRY_AFTER).or_insert(seconds);
    }
    if let Some(limited) = rejection.limits() {
        let limits = || limited.limits.iter().map(|(limit, state)| (limit, *state));
        rate_limit::write(headers, limits());
        if additions.legacy_rate_limit {
            rate_limit::write_legacy(headers, limits());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::header::{CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
    use http::{Request, StatusCode, Version};

    use super::*;
    use crate::check::RejectionKind;
    use crate::middleware::grpc::GrpcStatus;
    use crate::middleware::problem::ProblemJson;
    use crate::middleware::respond::HeadersOnly;
    use crate::middleware::source::KeySource;

    const KINDS: &[RejectionKind] = &[
        RejectionKind::MissingCredential,
        RejectionKind::MultipleCredentials,
        RejectionKind::MalformedKey,
        RejectionKind::UnknownKey,
        RejectionKind::WrongSecret,
        RejectionKind::KeyDisabled,
        RejectionKind::KeyRevoked,
        RejectionKind::KeyExpired,
        RejectionKind::OrganizationInactive,
        RejectionKind::UserDisabled,
        RejectionKind::CanaryUsed,
        RejectionKind::UnknownFeature,
        RejectionKind::EnvironmentNotAllowed,
        RejectionKind::NetworkNotAllowed,
        RejectionKind::InsufficientScope,
        RejectionKind::InsecureTransport,
        RejectionKind::RateLimited,
        RejectionKind::TooManyFailures,
        RejectionKind::Busy,
        RejectionKind::StoreUnavailable,
        RejectionKind::NotConfirmed,
        RejectionKind::InvalidRecord,
        RejectionKind::LimiterUnavailable,
        RejectionKind::MissingLayer,
        RejectionKind::InvalidScope,
    ];

    fn refused<R: Respond<Bytes>>(kind: RejectionKind, responder: &R, content_type: &'static str) -> Response<Bytes> {
        let request = Request::post("/").version(Version::HTTP_2);
        let request = request.header(CONTENT_TYPE, content_type).body(()).unwrap();
        let challenges = Challenges::new("api", &[KeySource::bearer()]);
        let vary = Vary::by(&[KeySource::bearer()]).unwrap();
        let additions = Additions {
            challenges: Some(&challenges),
            vary: Some(&vary),
            legacy_rate_limit: false,
        };
        refuse(Rejection::new(kind), &request.into_parts().0, responder, additions)
    }

    #[test]
    fn no_refusal_is_a_success_whatever_the_responder() {
        let careless = |_: &Rejection, _: &Parts| Response::new(Bytes::from_static(b"no"));
        for kind in KINDS {
            for response in [
                refused(*kind, &ProblemJson::new(), "text/plain"),
                refused(*kind, &HeadersOnly, "text/plain"),
                refused(*kind, &careless, "text/plain"),
            ] {
                assert!(response.status().as_u16() >= 400, "{kind:?}");
                assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
                assert_eq!(response.headers()[VARY], "authorization");
                assert_eq!(response.extensions().get::<Rejection>().unwrap().kind(), *kind);
            }
            for response in [
                refused(*kind, &ProblemJson::new(), "application/grpc"),
                refused(*kind, &GrpcStatus, "text/plain"),
            ] {
                assert_eq!(response.status(), StatusCode::OK);
                assert_ne!(response.headers()["grpc-status"], "0");
                assert!(response.body().is_empty());
                assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
                assert_eq!(response.headers()[VARY], "authorization");
                assert_eq!(response.extensions().get::<Rejection>().unwrap().kind(), *kind);
            }
        }
    }

    #[test]
    fn no_refusal_over_http1_is_a_success() {
        let own = |_: &Rejection, _: &Parts| {
            let response = Response::builder().header("grpc-status", "16");
            response.body(Bytes::new()).unwrap()
        };
        for kind in KINDS {
            for (version, method, content_type) in [
                (Version::HTTP_11, "POST", "application/grpc"),
                (Version::HTTP_10, "POST", "application/grpc+proto"),
                (Version::HTTP_11, "POST", "application/json"),
                (Version::HTTP_11, "GET", "application/grpc-web"),
                (Version::HTTP_2, "GET", "application/grpc"),
                (Version::HTTP_2, "OPTIONS", "application/grpc-web"),
            ] {
                let request = Request::builder().version(version).method(method);
                let request = request.header(CONTENT_TYPE, content_type).body(()).unwrap();
                let request = request.into_parts().0;
                let rejection = || Rejection::new(*kind);
                let additions = Additions::default;
                for response in [
                    refuse::<Bytes, _>(rejection(), &request, &ProblemJson::new(), additions()),
                    refuse(rejection(), &request, &GrpcStatus, additions()),
                    refuse(rejection(), &request, &own, additions()),
                ] {
                    assert_eq!(
                        response.status(),
                        rejection().status(),
                        "{kind:?} {method} {content_type}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_kind_has_its_row() {
        for kind in KINDS {
            let (status, grpc) = match kind.class() {
                RejectionClass::MissingCredential | RejectionClass::InvalidCredential => (401, "16"),
                RejectionClass::MultipleCredentials => (400, "3"),
                RejectionClass::Forbidden => (403, "7"),
                RejectionClass::TooManyRequests => (429, "8"),
                RejectionClass::Unavailable => (503, "14"),
                RejectionClass::Misconfigured => (500, "13"),
            };
            let problem = refused(*kind, &ProblemJson::new(), "text/plain");
            assert_eq!(problem.status(), status, "{kind:?}");
            assert_eq!(problem.headers().contains_key(RETRY_AFTER), matches!(status, 429 | 503));
            let body: serde_json::Value = serde_json::from_slice(problem.body()).unwrap();
            assert_eq!(body["status"], status);
            let kind_of = body["type"].as_str().unwrap();
            assert!(kind_of.starts_with("https://") || kind_of.starts_with("urn:"), "{body}");
            assert!(body["title"].is_string() && body["detail"].is_string());
            let grpc_answer = refused(*kind, &GrpcStatus, "application/grpc");
            assert_eq!(grpc_answer.headers()["grpc-status"], grpc, "{kind:?}");
            let pushback = grpc_answer.headers().contains_key("grpc-retry-pushback-ms");
            assert_eq!(pushback, matches!(status, 429 | 503));
        }
    }

    #[test]
    fn all_invalid_credentials_get_the_same_response() {
        let invalid = KINDS
            .iter()
            .filter(|kind| kind.class() == RejectionClass::InvalidCredential);
        for responder in [
            ProblemJson::new(),
            ProblemJson::new().type_base("https://e.example/").unwrap(),
        ] {
            for content_type in ["text/plain", "application/grpc"] {
                let seen: Vec<String> = invalid
                    .clone()
                    .map(|kind| refused(*kind, &responder, content_type))
                    .map(|response| format!("{} {:?} {:?}", response.status(), response.headers(), response.body()))
                    .collect();
                assert_eq!(seen.len(), 10);
                assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
            }
        }
    }

    #[test]
    fn headers_of_the_responder_are_kept() {
        let own = |_: &Rejection, _: &Parts| {
            let response = Response::builder()
                .status(418)
                .header(WWW_AUTHENTICATE, "Own")
                .header(CACHE_CONTROL, "no-cache")
                .header(RETRY_AFTER, "7")
                .header(VARY, "accept");
            response.body(Bytes::new()).unwrap()
        };
        let response = refused(RejectionKind::Busy, &own, "text/plain");
        assert_eq!(response.status(), 418);
        let headers = [WWW_AUTHENTICATE, CACHE_CONTROL, RETRY_AFTER, VARY].map(|name| response.headers()[name].clone());
        assert_eq!(headers, ["Own", "no-cache", "7", "accept, authorization"]);
    }

    #[test]
    fn waits_are_whole_seconds_and_at_least_one() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_001, "60")] {
            let rejection = Rejection::new(RejectionKind::RateLimited).with_retry_after(Duration::from_millis(wait));
            let parts = Request::new(()).into_parts().0;
            let response: Response<Bytes> = refuse(rejection, &parts, &HeadersOnly, Additions::default());
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{wait}");
        }
    }
}
