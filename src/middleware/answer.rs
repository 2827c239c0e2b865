//! The table of refusals: what a client may be told about each.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::check::{Rejection, RejectionClass, RejectionKind};
use crate::key::Scope;

/// One row of the table.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The code in gRPC's own list.
    pub(super) grpc_status: &'static str,
    pub(super) problem: Problem,
    pub(super) title: &'static str,
    pub(super) detail: &'static str,
}

/// The type of a problem (RFC 9457, section 3.1.1).
pub(super) enum Problem {
    /// A name below the base that the responder has.
    Own(&'static str),
    /// The whole URI of a registered type.
    Registered(&'static str),
}

impl Answer {
    /// The row of a rejection. All invalid credentials share one row.
    pub(super) fn to(rejection: &Rejection) -> &'static Self {
        match rejection.kind().class() {
            RejectionClass::MissingCredential => &MISSING,
            RejectionClass::InvalidCredential => &INVALID,
            RejectionClass::MultipleCredentials => &MULTIPLE,
            RejectionClass::Forbidden => match rejection.kind() {
                RejectionKind::NetworkNotAllowed => &NETWORK,
                RejectionKind::InsecureTransport if rejection.is_in_clear() => &CLEAR_TRANSPORT,
                RejectionKind::InsecureTransport => &TRANSPORT,
                _ if rejection.any_scope_suffices() => &ANY_SCOPE,
                _ if rejection.required_scopes().len() > 1 => &ALL_SCOPES,
                _ => &SCOPE,
            },
            RejectionClass::TooManyRequests => match rejection.kind() {
                RejectionKind::TooManyFailures => &FAILURES,
                _ => &LIMIT,
            },
            RejectionClass::Unavailable => &UNAVAILABLE,
            RejectionClass::Misconfigured => match rejection.kind() {
                RejectionKind::InvalidScope => &INVALID_SCOPE,
                _ => &MISCONFIGURED,
            },
        }
    }
}

/// The sentence that explains the refusal to the client.
pub(super) fn detail(rejection: &Rejection) -> Cow<'static, str> {
    let sentence = Answer::to(rejection).detail;
    match rejection.key_places() {
        Some(places) => format!("{sentence} {places}").into(),
        None => sentence.into(),
    }
}

/// How long to ask the client to wait, if at all. At least a second, which is the finest that `Retry-After` can express.
///
/// An outage refuses all clients at once. Its waits are spread over half as long again, so that they do not all return at
/// once. No other place adds jitter to `Retry-After`.
pub(super) fn wait(rejection: &Rejection) -> Option<Duration> {
    let least = Duration::from_secs(1);
    let wait = rejection.retry_after().unwrap_or(least).max(least);
    match rejection.kind().class() {
        RejectionClass::TooManyRequests => Some(wait),
        RejectionClass::Unavailable => {
            let latest = (wait + (wait / 2).max(least)).min(LONGEST_OUTAGE_WAIT.max(wait));
            Some(rand::random_range(wait..=latest))
        }
        _ => None,
    }
}

/// Whether the same request can succeed soon.
///
/// A limit without room for minutes is a quota that is used up. Client libraries that were only told how long it takes would
/// sleep until then, even for days, or fail at their deadline without the reason, or retry at once.
pub(super) fn is_worth_retrying(rejection: &Rejection) -> bool {
    match rejection.kind().class() {
        RejectionClass::TooManyRequests => rejection.retry_after().unwrap_or_default() <= LONGEST_CLIENT_WAIT,
        RejectionClass::Unavailable => true,
        _ => false,
    }
}

/// Scopes with single spaces between (RFC 6749, section 3.3).
pub(super) fn spaced(scopes: &[Scope]) -> String {
    let texts: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
    texts.join(" ")
}

/// Jitter never goes beyond this: a client that waits longer would not notice that the service is back.
const LONGEST_OUTAGE_WAIT: Duration = Duration::from_secs(60);

/// The longest time for which a client should hold a request back.
const LONGEST_CLIENT_WAIT: Duration = Duration::from_secs(60);

// The codes of gRPC.
const INVALID_ARGUMENT: &str = "3";
const PERMISSION_DENIED: &str = "7";
const RESOURCE_EXHAUSTED: &str = "8";
const INTERNAL: &str = "13";
const UNAVAILABLE_CODE: &str = "14";
const UNAUTHENTICATED: &str = "16";

const MISSING: Answer = Answer {
    status: StatusCode::UNAUTHORIZED,
    grpc_status: UNAUTHENTICATED,
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
    grpc_status: INVALID_ARGUMENT,
    problem: Problem::Own("multiple-credentials"),
    title: "The request has more than one API key",
    detail: "Send one API key, in one place.",
};

const SCOPE: Answer = Answer {
    status: StatusCode::FORBIDDEN,
    grpc_status: PERMISSION_DENIED,
    problem: Problem::Own("forbidden"),
    title: "The API key may not be used for this",
    detail: "The API key lacks the scope that this needs.",
};

const ANY_SCOPE: Answer = Answer {
    detail: "This needs one of several scopes, and the API key has none of them.",
    ..SCOPE
};

const ALL_SCOPES: Answer = Answer {
    detail: "This needs several scopes, and the API key lacks at least one of them.",
    ..SCOPE
};

const NETWORK: Answer = Answer {
    detail: "The API key may not be used from this network.",
    ..SCOPE
};

const TRANSPORT: Answer = Answer {
    problem: Problem::Own("insecure-transport"),
    title: "The request is not known to have come over HTTPS",
    detail: "Use HTTPS. If the request came over HTTPS, the proxy in front of the service does not say so.",
    ..SCOPE
};

const CLEAR_TRANSPORT: Answer = Answer {
    title: "The request did not come over HTTPS",
    detail: "Use HTTPS. A key that was sent without it may have been read on the way: replace it.",
    ..TRANSPORT
};

const LIMIT: Answer = Answer {
    status: StatusCode::TOO_MANY_REQUESTS,
    grpc_status: RESOURCE_EXHAUSTED,
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
    grpc_status: UNAVAILABLE_CODE,
    problem: Problem::Registered("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"),
    title: "Request cannot be satisfied due to temporary server capacity constraints",
    detail: "The API key cannot be checked at the moment.",
};

const MISCONFIGURED: Answer = Answer {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    grpc_status: INTERNAL,
    problem: Problem::Own("misconfigured"),
    title: "The service is misconfigured",
    detail: MISSING_LAYER,
};

const INVALID_SCOPE: Answer = Answer {
    detail: "The service requires a scope that is not valid.",
    ..MISCONFIGURED
};

/// For the developers of the service. It holds nothing that helps a client.
pub(super) const MISSING_LAYER: &str = "The request has no `AuthContext`: put an `ApiKeyLayer` around this route.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_an_outage_are_spread() {
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
