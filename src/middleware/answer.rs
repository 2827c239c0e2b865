//! What a refused client is told: the one table, and the one function that makes refusals of it.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Response, StatusCode};

use super::challenge::Challenges;
use super::grpc;
use super::rate_limit;
use super::respond::Respond;
use super::vary::{self, Vary};
use crate::check::{Rejection, RejectionClass, RejectionKind};

/// A client told to stay away for longer would miss that the service is back.
const LONGEST_OUTAGE: Duration = Duration::from_secs(60);

/// One row of the table.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The code of gRPC's own list.
    pub(super) grpc_status: &'static str,
    pub(super) problem: Problem,
    pub(super) title: &'static str,
    pub(super) detail: &'static str,
}

/// The type of a problem (RFC 9457, section 3.1.1).
pub(super) enum Problem {
    /// A name below the base that the responder was given.
    Own(&'static str),
    /// A whole URI, of a registered type.
    Registered(&'static str),
}

impl Answer {
    /// The row of a rejection. It depends on what a client may be told, so that all credentials that do not work are
    /// one row.
    pub(super) fn to(rejection: &Rejection) -> &'static Self {
        match rejection.kind().class() {
            RejectionClass::MissingCredential => &MISSING,
            RejectionClass::InvalidCredential => &INVALID,
            RejectionClass::MultipleCredentials => &MULTIPLE,
            RejectionClass::Forbidden => match rejection.kind() {
                RejectionKind::NetworkNotAllowed => &NETWORK,
                RejectionKind::InsecureTransport => &TRANSPORT,
                _ => &SCOPE,
            },
            RejectionClass::TooManyRequests => match rejection.kind() {
                RejectionKind::TooManyFailures => &FAILURES,
                _ => &LIMIT,
            },
            RejectionClass::Unavailable => &UNAVAILABLE,
            RejectionClass::Misconfigured => &MISCONFIGURED,
        }
    }
}

/// The HTTP status of a refusal, for responders of one's own; never a 2xx.
///
/// | rejection | status |
/// |---|---|
/// | no credential, or one that does not work | 401 |
/// | several credentials | 400 |
/// | scope, network or transport | 403 |
/// | limits | 429 |
/// | not now | 503 |
/// | a layer is missing | 500 |
pub fn status_code(rejection: &Rejection) -> StatusCode {
    Answer::to(rejection).status
}

/// How long a client is asked to wait, if at all; never less than a second, which is the finest that HTTP can say.
///
/// What is refused because something is down is refused to everybody at once: such waits are spread over half as long
/// again, so that not everybody comes back at once either.
pub(super) fn wait(rejection: &Rejection) -> Option<Duration> {
    let least = Duration::from_secs(1);
    let wait = rejection.retry_after().unwrap_or(least).max(least);
    match rejection.kind().class() {
        RejectionClass::TooManyRequests => Some(wait),
        RejectionClass::Unavailable => {
            let latest = (wait + (wait / 2).max(least)).min(LONGEST_OUTAGE.max(wait));
            Some(rand::random_range(wait..=latest))
        }
        _ => None,
    }
}

/// What a layer knows that responders do not.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) challenges: Option<&'a Challenges>,
    pub(super) vary: Option<&'a Vary>,
    pub(super) legacy_rate_limit: bool,
}

/// Makes the response of a refusal: the responder's, with everything that the protocol asks for and it left out.
pub(super) fn refuse<B, R: Respond<B>>(
    rejection: Rejection,
    request: &Parts,
    responder: &R,
    terms: Terms<'_>,
) -> Response<B> {
    let mut response = responder.respond(&rejection, request);
    // gRPC answers are 200 by definition, and tell the refusal in fields of their own.
    if !response.headers().contains_key(&grpc::STATUS) {
        complete(&mut response, &rejection, terms);
    }
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(ours) = terms.vary {
        vary::merge(headers, ours);
    }
    response.extensions_mut().insert(rejection);
    response
}

fn complete<B>(response: &mut Response<B>, rejection: &Rejection, terms: Terms<'_>) {
    // `Response::new` is a 200: a responder that only thinks of the body must not turn a refusal into a success.
    if response.status().is_success() {
        *response.status_mut() = status_code(rejection);
    }
    let headers = response.headers_mut();
    if let Some(challenges) = terms.challenges {
        challenges.write(rejection, headers);
    }
    if let Some(wait) = wait(rejection)
        && let Some(seconds) = rate_limit::integer(rate_limit::whole_seconds(wait))
    {
        headers.entry(RETRY_AFTER).or_insert(seconds);
    }
    if let Some(limited) = rejection.limits() {
        let limits = || limited.limits.iter().map(|(limit, state)| (limit, *state));
        rate_limit::write(headers, limits());
        if terms.legacy_rate_limit {
            rate_limit::write_legacy(headers, limits());
        }
    }
}

const MISSING: Answer = Answer {
    status: StatusCode::UNAUTHORIZED,
    grpc_status: grpc::UNAUTHENTICATED,
    problem: Problem::Own("unauthenticated"),
    title: "The request is not authenticated",
    detail: "An API key is required, and the request has none.",
};

const INVALID: Answer = Answer {
    detail: "The API key is not valid.",
    ..MISSING
};

const MULTIPLE: Answer = Answer {
    status: StatusCode::BAD_REQUEST,
    grpc_status: grpc::INVALID_ARGUMENT,
    problem: Problem::Own("multiple-credentials"),
    title: "The request has more than one API key",
    detail: "Send one API key, in one place.",
};

const SCOPE: Answer = Answer {
    status: StatusCode::FORBIDDEN,
    grpc_status: grpc::PERMISSION_DENIED,
    problem: Problem::Own("forbidden"),
    title: "The API key may not be used for this",
    detail: "The API key lacks the scope that this needs.",
};

const NETWORK: Answer = Answer {
    detail: "The API key may not be used from this network.",
    ..SCOPE
};

const TRANSPORT: Answer = Answer {
    problem: Problem::Own("insecure-transport"),
    title: "The request did not come over HTTPS",
    detail: "Use HTTPS. A key that was sent without it may have been read on the way: rotate it.",
    ..SCOPE
};

const LIMIT: Answer = Answer {
    status: StatusCode::TOO_MANY_REQUESTS,
    grpc_status: grpc::RESOURCE_EXHAUSTED,
    problem: Problem::Registered("https://iana.org/assignments/http-problem-types#quota-exceeded"),
    title: "Request cannot be satisfied as assigned quota has been exceeded",
    detail: "A rate limit of the API key or of its organization is exhausted.",
};

const FAILURES: Answer = Answer {
    problem: Problem::Registered("https://iana.org/assignments/http-problem-types#abnormal-usage-detected"),
    title: "Request not satisfied due to detection of abnormal request pattern",
    detail: "Too many wrong API keys came from this address.",
    ..LIMIT
};

const UNAVAILABLE: Answer = Answer {
    status: StatusCode::SERVICE_UNAVAILABLE,
    grpc_status: grpc::UNAVAILABLE,
    problem: Problem::Registered("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"),
    title: "Request cannot be satisfied due to temporary server capacity constraints",
    detail: "The API key cannot be checked at the moment.",
};

const MISCONFIGURED: Answer = Answer {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    grpc_status: grpc::INTERNAL,
    problem: Problem::Own("misconfigured"),
    title: "The service is put together wrongly",
    detail: MISSING_LAYER,
};

/// For whoever builds the service; there is nothing in it that a client could use.
pub(super) const MISSING_LAYER: &str =
    "There is no `AuthContext` in the request: this route is not inside an `ApiKeyLayer`.";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http::header::{CONTENT_TYPE, VARY, WWW_AUTHENTICATE};

    use super::*;
    use crate::middleware::grpc::GrpcStatus;
    use crate::middleware::problem::ProblemJson;
    use crate::middleware::respond::{HeadersOnly, RespondWith};
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
    ];

    fn refused<R: Respond<Bytes>>(kind: RejectionKind, responder: &R, content_type: &'static str) -> Response<Bytes> {
        let request = Request::post("/").header(CONTENT_TYPE, content_type).body(()).unwrap();
        let challenges = Challenges::new("api", &[KeySource::bearer()]);
        let vary = Vary::by(&[KeySource::bearer()]).unwrap();
        let terms = Terms {
            challenges: Some(&challenges),
            vary: Some(&vary),
            legacy_rate_limit: false,
        };
        refuse(Rejection::new(kind), &request.into_parts().0, responder, terms)
    }

    #[test]
    fn no_refusal_is_a_success_whoever_writes_it() {
        let careless = RespondWith(|_: &Rejection, _: &Parts| Response::new(Bytes::from_static(b"no")));
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
    fn whatever_is_wrong_with_a_key_looks_the_same() {
        let invalid = KINDS
            .iter()
            .filter(|kind| kind.class() == RejectionClass::InvalidCredential);
        for responder in [
            ProblemJson::new(),
            ProblemJson::new().with_type_base("https://e.example/").unwrap(),
        ] {
            for content_type in ["text/plain", "application/grpc"] {
                let seen: Vec<String> = invalid
                    .clone()
                    .map(|kind| refused(*kind, &responder, content_type))
                    .map(|response| format!("{} {:?} {:?}", response.status(), response.headers(), response.body()))
                    .collect();
                assert_eq!(seen.len(), 7);
                assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
            }
        }
    }

    #[test]
    fn what_a_responder_writes_itself_is_left_alone() {
        let own = RespondWith(|_: &Rejection, _: &Parts| {
            let response = Response::builder()
                .status(418)
                .header(WWW_AUTHENTICATE, "Own")
                .header(CACHE_CONTROL, "no-cache")
                .header(RETRY_AFTER, "7")
                .header(VARY, "accept");
            response.body(Bytes::new()).unwrap()
        });
        let response = refused(RejectionKind::Busy, &own, "text/plain");
        assert_eq!(response.status(), 418);
        let fields = [WWW_AUTHENTICATE, CACHE_CONTROL, RETRY_AFTER, VARY].map(|name| response.headers()[name].clone());
        assert_eq!(fields, ["Own", "no-cache", "7", "accept, authorization"]);
    }

    #[test]
    fn waits_are_whole_seconds_and_at_least_one() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_001, "60")] {
            let rejection = Rejection::new(RejectionKind::RateLimited).with_retry_after(Duration::from_millis(wait));
            let parts = Request::new(()).into_parts().0;
            let terms = Terms {
                challenges: None,
                vary: None,
                legacy_rate_limit: false,
            };
            let response: Response<Bytes> = refuse(rejection, &parts, &HeadersOnly, terms);
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{wait}");
        }
    }

    #[test]
    fn not_everybody_comes_back_at_once_after_an_outage() {
        for (after, earliest, latest) in [(0, 1_000, 2_000), (10_000, 10_000, 15_000), (50_000, 50_000, 60_000)] {
            let rejection = Rejection::new(RejectionKind::StoreUnavailable);
            let rejection = rejection.with_retry_after(Duration::from_millis(after));
            let waits: Vec<Duration> = (0..100).filter_map(|_| wait(&rejection)).collect();
            let allowed = Duration::from_millis(earliest)..=Duration::from_millis(latest);
            assert!(waits.iter().all(|wait| allowed.contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }
}
